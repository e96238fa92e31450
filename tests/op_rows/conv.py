"""Rows of convolution as networks use it: what the general recipe draws seldom, or not large enough, drawn every time.

depthwise                one channel for each group, and several outputs of it (Xception, MobileNet)
1×7 and 7×1              long and flat (Inception)
dilated                  three taps with holes, where padding is no longer half of the kernel (DeepLab)
TF-SAME                  even and odd kernels, strides and dilations, so that the odd row of padding is there
stride above kernel      pixels that nothing reads, at the end and in between; transposed, holes in the output
"""

from __future__ import annotations

from minicnn import ops

from ..oracles import windows
from ..strategies import Case, Choices
from .row import Op, edge

# --- recipes ----------------------------------------------------------------------------------------------------------


def _case(choose: Choices, size, weight, channels: int, **options) -> Case:
    bias = (weight[0],) if choose.maybe() else None
    return Case(((2, channels, *size), weight, bias), options, seed=choose.seed())


def depthwise_inputs(choose: Choices) -> Case:
    channels, outputs = choose.integer(2, 4), choose.integer(1, 2)
    size = choose.integer(4, 5), choose.integer(4, 6)
    weight = (channels * outputs, 1, choose.integer(2, 3), choose.integer(2, 3))
    padding = choose.one_of(0, 1, ((0, 1), (1, 0)), "same")
    return _case(choose, size, weight, channels, stride=choose.one_of(1, 2, (2, 1)), padding=padding, groups=channels)


def long_inputs(choose: Choices) -> Case:
    """Padding along the kernel, or across it, where every output row beyond is nothing but padding."""
    length = choose.one_of(5, 7)
    flat = choose.maybe()
    kernel, size = ((1, length), (3, 8)) if flat else ((length, 1), (8, 3))
    along = choose.one_of(length // 2, 0, 1)
    padding = choose.one_of((0, along) if flat else (along, 0), (0, along) if flat else (along, 0), "same", 1)
    stride = choose.one_of(1, 1, (1, 2), (2, 1))
    return _case(choose, size, (2, 2, *kernel), 2, stride=stride, padding=padding)


def dilated_inputs(choose: Choices) -> Case:
    dilation = choose.one_of(2, (2, 3), (3, 1))
    size = choose.integer(7, 8), choose.integer(7, 9)
    padding = choose.one_of(0, dilation, ((2, 0), (1, 3)), "same")
    stride = choose.one_of(1, 2, (1, 3))
    return _case(choose, size, (2, 2, 3, 3), 2, stride=stride, padding=padding, dilation=dilation)


def same_inputs(choose: Choices) -> Case:
    """Sizes and strides for which an odd number of rows or columns is missing in most cases."""
    kernel = choose.one_of((3, 3), (2, 3), (5, 2), (4, 4))
    stride, dilation = choose.one_of(2, (2, 3), (1, 2), 1), choose.one_of(1, 1, (1, 2), (2, 1))
    size = choose.integer(5, 7), choose.integer(5, 8)
    return _case(choose, size, (2, 2, *kernel), 2, stride=stride, padding="same", dilation=dilation)


def sparse_inputs(choose: Choices) -> Case:
    kernel = choose.integer(1, 2), choose.integer(1, 2)
    size = choose.integer(5, 8), choose.integer(5, 8)
    padding = choose.one_of(0, 0, ((0, 1), (1, 0)), "same")
    return _case(choose, size, (3, 2, *kernel), 2, stride=choose.one_of(3, (4, 3), (3, 5)), padding=padding)


def transposed_inputs(choose: Choices) -> Case:
    """Holes that no kernel fills, before and after output_padding; groups of one channel or of two."""
    channels = choose.integer(2, 3)
    groups = choose.one_of(channels, 1)
    stride = choose.one_of((3, 2), (2, 4), (3, 3))
    weight = (channels, choose.integer(1, 2), choose.integer(1, 2), choose.integer(1, 3))
    extra = tuple(choose.integer(0, s - 1) for s in stride)
    padding = choose.one_of(0, 0, ((0, 0), (0, 1)))
    bias = (weight[1] * groups,) if choose.maybe() else None
    size = choose.one_of((2, 3), (3, 2), (1, 4))
    options = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups}
    return Case(((2, channels, *size), weight, bias), options, seed=choose.seed())


# --- compositions -----------------------------------------------------------------------------------------------------


def channel_by_channel(x, w, b, groups, **options):
    """Each group a convolution of its own."""
    outputs = len(w) // groups
    parts = []
    for g in range(groups):
        own = slice(g * outputs, (g + 1) * outputs)
        parts.append(ops.conv2d(x[:, g : g + 1], w[own], None if b is None else b[own], **options))
    return ops.concat(parts, axis=1)


VARIANTS = (
    Op("conv2d (depthwise)", ops.conv2d, windows.conv2d, depthwise_inputs, order=2, affine="all", keeps=(0, 1),
       composition=channel_by_channel,
       edges=(edge((1, 3, 1, 1), (3, 1, 1, 1), (3,), groups=3), edge((2, 5, 2, 3), (10, 1, 2, 2), None, groups=5))),
    Op("conv2d (1×7 and 7×1)", ops.conv2d, windows.conv2d, long_inputs, order=1, affine="all", keeps=(0, 1),
       edges=(edge((1, 1, 1, 7), (2, 1, 1, 7), (2,)), edge((1, 1, 7, 1), (2, 1, 7, 1), (2,), padding=(3, 0)),
              edge((1, 1, 2, 1), (1, 1, 1, 7), None, padding=(0, 3)))),
    Op("conv2d (dilated)", ops.conv2d, windows.conv2d, dilated_inputs, order=1, affine="all", keeps=(0, 1),
       edges=(edge((1, 1, 3, 3), (1, 1, 3, 3), (1,), padding=6, dilation=6),)),  # only the middle tap sees anything
    Op("conv2d (TF-SAME)", ops.conv2d, windows.conv2d, same_inputs, order=1, affine="all", keeps=(0, 1),
       edges=(edge((1, 1, 1, 2), (1, 1, 4, 5), None, stride=3, padding="same"),)),
    Op("conv2d (stride above kernel)", ops.conv2d, windows.conv2d, sparse_inputs, order=1, affine="all", keeps=(0, 1),
       edges=(edge((1, 1, 9, 2), (2, 1, 1, 2), (2,), stride=9),)),
    Op("conv_transpose2d (stride above kernel)", ops.conv_transpose2d, windows.conv_transpose2d, transposed_inputs,
       order=2, affine="all", keeps=(0, 1),
       edges=(edge((1, 2, 1, 1), (2, 1, 1, 1), (2,), stride=4, output_padding=3, groups=2),)),
)  # fmt: skip
