"""Convolutions that the kernels of every device are tried on."""

from __future__ import annotations

from minicnn.kernels.window import Window


def window(kernel, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1)):
    return Window(kernel, stride, pad, dilation)


#       N, C, K, (H, W), window, groups
CASES = {
    "plain": (2, 3, 5, (9, 8), window((3, 3)), 1),
    "a linear layer": (6, 5, 7, (4, 3), window((4, 3)), 1),
    "one pixel": (1, 1, 1, (1, 1), window((1, 1)), 1),
    "even kernel": (2, 4, 6, (7, 10), window((2, 4), pad=((1, 0), (2, 1))), 1),
    "1x7": (2, 3, 4, (5, 9), window((1, 7), pad=((0, 0), (3, 3))), 1),
    "stride 2": (3, 5, 9, (11, 12), window((3, 3), (2, 2), ((1, 1), (1, 1))), 1),
    "stride 3, left-over rows": (2, 3, 4, (12, 11), window((2, 2), (3, 3)), 1),
    "strides differ": (2, 3, 4, (9, 13), window((3, 2), (1, 3), ((1, 1), (0, 1))), 1),
    "stride above kernel": (2, 3, 4, (10, 9), window((1, 1), (2, 2)), 1),
    "stride 4 of 11": (1, 3, 8, (23, 27), window((11, 11), (4, 4), ((2, 2), (2, 2))), 1),
    "dilation": (2, 3, 4, (11, 12), window((3, 3), pad=((2, 2), (2, 2)), dilation=(2, 2)), 1),
    "dilation and stride share a factor": (2, 3, 4, (13, 12), window((3, 3), (2, 2), ((2, 1), (1, 2)), (2, 4)), 1),
    "dilation and stride do not": (2, 3, 4, (13, 14), window((3, 4), (2, 3), ((2, 1), (1, 2)), (3, 2)), 1),
    "asymmetric pads": (2, 3, 4, (6, 7), window((3, 3), pad=((0, 2), (3, 0))), 1),
    "rows of nothing but padding": (2, 3, 4, (4, 5), window((2, 2), pad=((4, 3), (3, 4))), 1),
    "groups": (2, 6, 9, (8, 7), window((3, 3), pad=((1, 1), (1, 1))), 3),
    "depthwise": (2, 17, 17, (9, 10), window((3, 3), (2, 2), ((1, 1), (1, 1))), 17),
    "depthwise, two of each": (1, 4, 8, (6, 6), window((3, 3)), 4),
    "all tails": (3, 7, 17, (7, 9), window((3, 3), pad=((1, 1), (1, 1))), 1),
    "LeNet 2": (5, 6, 16, (14, 14), window((5, 5)), 1),
}
