"""Mistakes in convolution and pooling."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..kernels import reference
from ..kernels.reference import windows as rooms
from ..kernels.window import Window, make_window
from ..tensor import Tensor
from .cause import Cause, arguments, gradient, result
from .subject import Subject, distinct

PADDING = (0, 1, ((0, 1), (2, 0)), "same")
STRIDE = (1, 2, (2, 1))
SIZES = {"N": (1, 2, 3), "C": (1, 2, 4), "K": (1, 2, 5), "H": (3, 5, 7), "W": (3, 4, 7), "R": (2, 2, 3), "S": (2, 2, 3)}

SUBJECTS = (
    Subject(
        "conv2d", ops.conv2d, ("x", "weight", "bias"),
        (lambda N, C, K, H, W, R, S, groups=1: ((N, C * groups, H, W), (K * groups, C, R, S), (K * groups,)),),
        SIZES, {"stride": STRIDE, "padding": PADDING, "dilation": (1, 2, (2, 1)), "groups": (1, 2)}, optional=1,
    ),
    Subject(
        "conv_transpose2d", ops.conv_transpose2d, ("x", "weight", "bias"),
        (lambda N, C, K, H, W, R, S, groups=1: ((N, K * groups, H, W), (K * groups, C, R, S), (C * groups,)),),
        SIZES | {"H": (2, 3, 4), "W": (2, 2, 4)},
        {"stride": STRIDE, "padding": (0, 1, ((0, 1), (1, 0))), "output_padding": (0, (1, 0)), "groups": (1, 2)},
        optional=1,
    ),
    Subject(
        "max_pool2d", ops.max_pool2d, ("x",), (lambda N, C, H, W: ((N, C, H, W),),), SIZES,
        {"kernel_size": (2, (3, 2), 3), "stride": (1, 2, (2, 1)), "padding": (0, 1, ((0, 1), (1, 0))),
         "ceil_mode": (False, True)}, distinct,
    ),
    Subject(
        "avg_pool2d", ops.avg_pool2d, ("x",), (lambda N, C, H, W: ((N, C, H, W),),), SIZES,
        {"kernel_size": (2, (3, 2), 3), "stride": (1, 2, (2, 1)), "padding": (0, 1, ((0, 1), (1, 0))),
         "ceil_mode": (False, True), "count_include_pad": (True, False)},
    ),
)  # fmt: skip


# --- convolution ------------------------------------------------------------------------------------------------------


def window(c) -> Window:
    kernel = c.weight.shape[2:] if hasattr(c, "weight") else c.kernel_size
    stride = kernel if c.stride is None else c.stride
    dilation, ceil_mode = getattr(c, "dilation", 1), getattr(c, "ceil_mode", False)
    return make_window(c.x.shape[2:], kernel, stride, c.padding, dilation, ceil_mode)


def turned(weight):
    """The kernel by 180°."""
    return weight[:, :, ::-1, ::-1]


def swapped_if_square(array):
    return array.swapaxes(-1, -2) if array.shape[-1] == array.shape[-2] else array


def input_gradient(c, weight=None, **moved):
    """conv2d's, with another kernel or another window."""
    weight, size = c.weight if weight is None else weight, c.x.shape[2:]
    return reference.conv_transpose2d(c.gy, weight, None, window(c)._replace(**moved), c.groups, size)


def gradient_columns(c):
    """What each window hands back to the inputs that it read, (N, C, R, S, P, Q)."""
    n, k, p, q = c.gy.shape
    weight = c.weight.reshape(c.groups, k // c.groups, -1)
    columns = np.matmul(weight.transpose(0, 2, 1), c.gy.reshape(n, c.groups, k // c.groups, p * q))
    return columns.reshape(n, c.x.shape[1], *c.weight.shape[2:], p, q)


def assigned(columns, moving, size):
    """col2im with = for +=: where windows overlap, the last one stays."""
    n, c, _, _, p, q = columns.shape
    (top, bottom), (left, right) = moving.overhang(size)
    image = np.zeros((n, c, top + size[0] + bottom, left + size[1] + right), columns.dtype)
    for (r, s), where_read in rooms.taps(moving, (p, q)):
        image[where_read] = columns[:, :, r, s]
    return image[:, :, top : top + size[0], left : left + size[1]]


def overlaps(c):
    """How many windows read each input; 1 where none does."""
    moving, size = window(c), c.x.shape[2:]
    ones = np.ones((1, 1, *moving.kernel, *moving.output_size(size)))
    return np.maximum(rooms.col2im(ones, moving, size), 1)


def corner(c):
    """The input gradient of a padded image, whose padding is not cut off at the top and left but at the end."""
    (top, bottom), (left, right) = window(c).overhang(c.x.shape[2:])
    h, w = c.x.shape[2:]
    unpadded = window(c)._replace(pad=((0, 0), (0, 0)))
    size = top + h + bottom, left + w + right
    return reference.conv_transpose2d(c.gy, c.weight, None, unpadded, c.groups, size)[:, :, :h, :w]


def rolled(c):
    """Each group reads the channels of the one before."""
    channels = c.x.shape[1]
    return c.x[:, np.roll(np.arange(channels), channels // c.groups)]


def ends_swapped(c):
    return tuple(side[::-1] for side in window(c).pad)


def half_of_kernel(c):
    """What PyTorch users write for "same": half of the kernel on each side, whatever the stride."""
    if c.padding != "same":
        return c.padding
    moving = window(c)
    return tuple(((d * (k - 1)) // 2,) * 2 for k, d in zip(moving.kernel, moving.dilation, strict=True))


CONVOLUTION = (
    Cause("kernel flipped, as in mathematics", "conv2d", "code that began with scipy.signal.convolve2d",
          arguments(weight=lambda c: turned(c.weight))),
    Cause("weight gradient flipped", "conv2d", "the same code, backward", gradient(weight=lambda c: turned(c.gweight))),
    Cause("input gradient with the kernel unflipped", "conv2d", "a backward that calls the forward loop again",
          gradient(x=lambda c: input_gradient(c, turned(c.weight)))),
    Cause("weight gradient transposed where the kernel is square", "conv2d", "im2col with (s, r) for (r, s)",
          gradient(weight=lambda c: swapped_if_square(c.gweight))),
    Cause("windows overwrite one another in the input gradient", "conv2d", "col2im with = for +=: PyDyNet, shipped",
          gradient(x=lambda c: assigned(gradient_columns(c), window(c), c.x.shape[2:]))),
    Cause("input gradient averaged where windows overlap", "conv2d", "patches merged by averaging",
          gradient(x=lambda c: c.gx / overlaps(c))),
    Cause("group index off by one", "conv2d", "grouped convolution in coursework", arguments(x=rolled)),
    Cause("pads swapped: bottom on top, right on the left", "conv2d", "ports from TensorFlow",
          arguments(padding=ends_swapped)),
    Cause("SAME with the odd row on top", "conv2d", "ports from TensorFlow",
          arguments(padding=lambda c: ends_swapped(c) if c.padding == "same" else c.padding)),
    Cause("SAME as half the kernel on each side", "conv2d", "EfficientNet ports to PyTorch",
          arguments(padding=half_of_kernel)),
    Cause("padding ignored", "conv2d", "an argument that is passed on nowhere", arguments(padding=lambda c: 0)),
    Cause("stride and dilation exchanged", "conv2d", "two options by position, in the wrong order",
          arguments(stride=lambda c: c.dilation, dilation=lambda c: c.stride)),
    Cause("padding of the input gradient cut off at the wrong end", "conv2d", "padded[:, :, :h, :w] in backward",
          gradient(x=corner)),
    Cause("dilation ignored in the input gradient", "conv2d", "dilation added to forward only",
          gradient(x=lambda c: input_gradient(c, dilation=(1, 1)))),
    Cause("stride ignored in the input gradient", "conv2d", "stride added to forward only",
          gradient(x=lambda c: input_gradient(c, stride=(1, 1)))),
    Cause("bias gradient of the first image only", "conv2d", "the batch sum forgotten",
          gradient(bias=lambda c: c.gy[0].sum((1, 2)))),
    Cause("bias gradient averaged over the batch", "conv2d", "1/N once here and once in the loss",
          gradient(bias=lambda c: c.gbias / len(c.x))),
    Cause("bias gradient averaged over images and pixels", "conv2d", "mean for sum",
          gradient(bias=lambda c: c.gy.mean((0, 2, 3)))),
    Cause("weight gradient averaged over the batch", "conv2d", "1/N once here and once in the loss",
          gradient(weight=lambda c: c.gweight / len(c.x))),
    Cause("weight gradient of the last image only", "conv2d", "= for += in a loop over the batch",
          gradient(weight=lambda c: reference.conv2d_weight(c.x[-1:], c.gy[-1:], window(c), c.groups))),
    Cause("bias added once for every input channel", "conv2d", "the addition stands inside of the loop over channels",
          arguments(bias=lambda c: c.bias if c.bias is None else c.bias * float(c.weight.shape[1]))),
)  # fmt: skip


# --- pooling ----------------------------------------------------------------------------------------------------------


def zero_padded_max(c):
    """Windows that see padding give at least 0."""
    whole = window(c).counts(c.x.shape[2:], include_pad=False) == np.prod(window(c).kernel)
    return ops.where(whole, c.y, ops.maximum(c.y, 0.0))


def winners(c):
    return reference.max_pool2d(c.x, window(c))[1]


def scattered(c, indices):
    return reference.max_pool2d_scatter(c.gy, indices, c.x.shape[2:])


def last_scattered(c):
    """The gradients of windows that share a winner overwrite one another."""
    planes = np.zeros((*c.x.shape[:2], c.x[0, 0].size + 1), c.gy.dtype)
    for index, winner in np.ndenumerate(winners(c)):
        planes[(*index[:2], winner)] = c.gy[index]
    return planes[:, :, :-1].reshape(c.x.shape)


def in_window(c):
    indices = winners(c)
    return np.where(indices < 0, indices, indices % np.prod(window(c).kernel))


def columns_of(gy, moving):
    """gy for every input of its window, (N, C, R, S, P, Q)."""
    return np.broadcast_to(gy[:, :, None, None], (*gy.shape[:2], *moving.kernel, *gy.shape[2:]))


def spread(c):
    return rooms.col2im(columns_of(c.gy, window(c)), window(c), c.x.shape[2:])


def counts(c):
    return np.maximum(window(c).counts(c.x.shape[2:], c.count_include_pad), 1)


def shares(c):
    return c.gy / counts(c)


POOLING = (
    Cause("padded with 0, not −∞", "max_pool2d", "DeZero, PyDyNet", result(zero_padded_max)),
    Cause("scatter assigns where windows share a winner", "max_pool2d", "indexed assignment in NumPy",
          gradient(x=last_scattered)),
    Cause("index counted in the window, not in the plane", "max_pool2d", "argmax over the columns of im2col",
          gradient(x=lambda c: scattered(c, in_window(c)))),
    Cause("the whole window gets the gradient", "max_pool2d", "np.repeat as the inverse of pooling",
          gradient(x=spread)),
    Cause("the gradient is shared out, as by average pooling", "max_pool2d", "copied from average pooling",
          gradient(x=lambda c: spread(c) / np.prod(window(c).kernel))),
    Cause("ceil_mode's last window dropped", "avg_pool2d", "ports from Caffe", arguments(ceil_mode=lambda c: False)),
    Cause("count_include_pad ignored", "avg_pool2d", "ONNX importers", arguments(count_include_pad=lambda c: True)),
    Cause("padding is never counted", "avg_pool2d", "TensorFlow's convention",
          arguments(count_include_pad=lambda c: False)),
    Cause("every window divided by R·S", "avg_pool2d", "the mean of what hangs over the edge",
          result(lambda c: c.y * Tensor(counts(c) / np.prod(window(c).kernel), dtype=c.y.dtype))),
    Cause("gradient not divided by the count", "avg_pool2d", "sum pooling's backward",
          gradient(x=lambda c: c.gx * np.prod(window(c).kernel))),
    Cause("windows overwrite one another in the gradient", "avg_pool2d", "= for += where windows overlap",
          gradient(x=lambda c: assigned(columns_of(shares(c), window(c)), window(c), c.x.shape[2:]))),
)  # fmt: skip

CAUSES = CONVOLUTION + POOLING
