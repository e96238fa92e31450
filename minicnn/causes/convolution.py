"""Mistakes in convolution."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..kernels import reference
from ..kernels.reference import windows as rooms
from ..kernels.window import Window, make_window, pair, same_padding
from ..tensor import Tensor
from .cause import Cause, arguments, gradient, result
from .subject import Subject

PADDING = (0, (1, 0), ((0, 1), (2, 0)), "same")
STRIDE = (1, 2, (2, 1))
SIZES = {"N": (1, 2, 3), "C": (1, 2, 4), "K": (1, 2, 5), "H": (3, 5, 7), "W": (3, 4, 7), "R": (2, 2, 3), "S": (2, 2, 3)}


def depthwise(x, weight):
    """Each channel a group: if there is one only, that tells nothing."""
    return (x, weight, weight[:1]) if x[1] > 1 else ()


SUBJECTS = (
    Subject(
        "conv2d", ops.conv2d, ("x", "weight", "bias"),
        (
            lambda N, C, K, H, W, R, S, groups=1: ((N, C * groups, H, W), (K * groups, C, R, S), (K * groups,)),
            lambda N, K, H, W, R, S, groups: depthwise((N, groups, H, W), (K * groups, 1, R, S)),
        ),
        SIZES, {"stride": STRIDE, "padding": PADDING, "dilation": (1, 2, (2, 1)), "groups": (1, 2)}, optional=1,
    ),
    Subject(
        "conv_transpose2d", ops.conv_transpose2d, ("x", "weight", "bias"),
        (lambda N, C, K, H, W, R, S, groups=1: ((N, K * groups, H, W), (K * groups, C, R, S), (C * groups,)),),
        SIZES | {"H": (2, 3, 4), "W": (2, 2, 4)},
        {"stride": STRIDE, "padding": (0, (1, 0), ((0, 1), (1, 0))), "output_padding": (0, (1, 0)), "groups": (1, 2)},
        optional=1,
    ),
)  # fmt: skip


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


def handed_back(gy, weight, groups):
    """What each window gives to the places that it read, (N, C, R, S, P, Q)."""
    n, k, p, q = gy.shape
    columns = np.matmul(
        weight.reshape(groups, k // groups, -1).transpose(0, 2, 1), gy.reshape(n, groups, k // groups, p * q)
    )
    return columns.reshape(n, weight.shape[1] * groups, *weight.shape[2:], p, q)


def assigned(columns, moving, size):
    """col2im with = for +=: where windows overlap, the last one stays."""
    n, c, _, _, p, q = columns.shape
    (top, bottom), (left, right) = moving.overhang(size)
    image = np.zeros((n, c, top + size[0] + bottom, left + size[1] + right), columns.dtype)
    for (r, s), where_read in rooms.taps(moving, (p, q)):
        image[where_read] = columns[:, :, r, s]
    return image[:, :, top : top + size[0], left : left + size[1]]


def in_a_loop(c, taps):
    """dx[window] = taps(n, p, q) in a loop over images and windows: later windows overwrite earlier ones."""
    moving, (h, w) = window(c), c.x.shape[2:]
    (top, bottom), (left, right) = moving.overhang((h, w))
    image = np.zeros((*c.x.shape[:2], top + h + bottom, left + w + right), c.x.dtype)
    for n, p, q in np.ndindex(len(c.x), *c.gy.shape[2:]):
        rows = slice(p * moving.stride[0], p * moving.stride[0] + moving.extent[0], moving.dilation[0])
        columns = slice(q * moving.stride[1], q * moving.stride[1] + moving.extent[1], moving.dilation[1])
        image[n, :, rows, columns] = taps(n, p, q)
    return image[:, :, top : top + h, left : left + w]


def loop_over_windows(c):
    columns = handed_back(c.gy, c.weight, c.groups)
    return in_a_loop(c, lambda n, p, q: columns[n, :, :, :, p, q])


def loop_over_filters(c):
    """The innermost loop is over the filters of a group, so that only the last one is left."""
    of_group = np.arange(c.groups) * (len(c.weight) // c.groups) + len(c.weight) // c.groups - 1
    columns = handed_back(c.gy[:, of_group], c.weight[of_group], c.groups)
    return in_a_loop(c, lambda n, p, q: columns[n, :, :, :, p, q])


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


def unread_first(c):
    """The rows and columns at the end that no window reaches are put at the beginning."""
    reached = window(c).transposed_size(c.gy.shape[2:])
    unread = [max(0, size - last) for size, last in zip(c.x.shape[2:], reached, strict=True)]
    return np.roll(c.gx, unread, axis=(2, 3))


def rolled(c):
    """Each group reads the channels of the one before."""
    channels = c.x.shape[1]
    return c.x[:, np.roll(np.arange(channels), channels // c.groups)]


def ends_swapped(c):
    return tuple(side[::-1] for side in window(c).pad)


def odd_on_top(c):
    return ends_swapped(c) if c.padding == "same" else c.padding


def half_of_kernel(c):
    """What PyTorch users write for "same": half of the kernel on each side, whatever the stride."""
    if c.padding != "same":
        return c.padding
    moving = window(c)
    return tuple(((d * (k - 1)) // 2,) * 2 for k, d in zip(moving.kernel, moving.dilation, strict=True))


def same(c, **moved):
    """What "same" would be if the window were another."""
    moving = window(c)._replace(**moved)
    size = c.x.shape[2:]
    return same_padding(size, moving.kernel, moving.stride, moving.dilation) if c.padding == "same" else c.padding


def same_of_multiples(c):
    """kernel − stride, as if every size were a multiple of the stride."""
    if c.padding != "same":
        return c.padding
    total = [max(0, extent - stride) for extent, stride in zip(window(c).extent, window(c).stride, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def is_pair(option):
    return isinstance(option, tuple) and all(isinstance(part, int) for part in option)


def in_turn(c):
    """Depthwise: output k reads channel k mod C, as if the outputs of a channel did not stand side by side."""
    channels, outputs = c.x.shape[1], c.weight.shape[0]
    if c.groups in (1, outputs) or c.groups != channels:
        return c.y
    x = c.x[:, np.arange(outputs) % channels]
    return ops.conv2d(x, c.weight, c.bias, c.stride, c.padding, c.dilation, outputs)


def shared(c):
    """Every group gets the mean weight gradient of all."""
    each = c.gweight.reshape(c.groups, -1, *c.gweight.shape[1:])
    return np.broadcast_to(each.mean(0), each.shape).reshape(c.gweight.shape)


CONVOLUTION = (
    Cause("kernel flipped, as in mathematics", "conv2d", "code that began with scipy.signal.convolve2d",
          arguments(weight=lambda c: turned(c.weight))),
    Cause("weight gradient flipped", "conv2d", "the same code, backward", gradient(weight=lambda c: turned(c.gweight))),
    Cause("input gradient with the kernel unflipped", "conv2d", "a backward that calls the forward loop again",
          gradient(x=lambda c: input_gradient(c, turned(c.weight)))),
    Cause("weight gradient transposed where the kernel is square", "conv2d", "im2col with (s, r) for (r, s)",
          gradient(weight=lambda c: swapped_if_square(c.gweight))),
    Cause("windows overwrite one another in the input gradient", "conv2d", "col2im with = for +=: PyDyNet, shipped",
          gradient(x=lambda c: assigned(handed_back(c.gy, c.weight, c.groups), window(c), c.x.shape[2:]))),
    Cause("= for += in a loop over windows", "conv2d", "conv_backward_naive of coursework",
          gradient(x=loop_over_windows)),
    Cause("= for += in a loop over windows and filters", "conv2d", "conv_backward_naive of coursework",
          gradient(x=loop_over_filters)),
    Cause("input gradient averaged where windows overlap", "conv2d", "patches merged by averaging",
          gradient(x=lambda c: c.gx / overlaps(c))),
    Cause("group index off by one", "conv2d", "grouped convolution in coursework", arguments(x=rolled)),
    Cause("pads swapped: bottom on top, right on the left", "conv2d", "ports from TensorFlow",
          arguments(padding=ends_swapped)),
    Cause("SAME with the odd row on top", "conv2d", "ports from TensorFlow",
          arguments(padding=odd_on_top)),
    Cause("SAME as half the kernel on each side", "conv2d", "EfficientNet ports to PyTorch",
          arguments(padding=half_of_kernel)),
    Cause("SAME as if there were no dilation", "conv2d", "SAME added before dilation was",
          arguments(padding=lambda c: same(c, dilation=(1, 1)))),
    Cause("SAME as kernel − stride", "conv2d", "the formula for sizes that the stride divides",
          arguments(padding=same_of_multiples)),
    Cause("padding (rows, columns) swapped", "conv2d", "Inception ports that count x before y",
          arguments(padding=lambda c: c.padding[::-1] if is_pair(c.padding) else c.padding)),
    Cause("strides of rows and columns swapped", "conv2d", "code that was only run with square strides",
          arguments(stride=lambda c: window(c).stride[::-1], padding=lambda c: window(c).pad)),
    Cause("dilations of rows and columns swapped", "conv2d", "code that was only run with square dilations",
          arguments(dilation=lambda c: window(c).dilation[::-1], padding=lambda c: window(c).pad)),
    Cause("outputs of depthwise channels in turn", "conv2d", "weights moved from TensorFlow's order",
          result(in_turn)),
    Cause("groups share a weight gradient", "conv2d", "an einsum with one letter for two axes",
          gradient(weight=shared)),
    Cause("padding ignored", "conv2d", "an argument that is passed on nowhere", arguments(padding=lambda c: 0)),
    Cause("stride and dilation exchanged", "conv2d", "two options by position, in the wrong order",
          arguments(stride=lambda c: c.dilation, dilation=lambda c: c.stride)),
    Cause("padding of the input gradient cut off at the wrong end", "conv2d", "padded[:, :, :h, :w] in backward",
          gradient(x=corner)),
    Cause("dilation ignored in the input gradient", "conv2d", "dilation added to forward only",
          gradient(x=lambda c: input_gradient(c, dilation=(1, 1)))),
    Cause("stride ignored in the input gradient", "conv2d", "stride added to forward only",
          gradient(x=lambda c: input_gradient(c, stride=(1, 1)))),
    Cause("unread pixels at the wrong end", "conv2d", "gradients padded to the size of the input",
          gradient(x=unread_first)),
    Cause("bias gradient of the first image only", "conv2d", "the batch sum forgotten",
          gradient(bias=lambda c: c.gy[0].sum((1, 2)))),
    Cause("bias gradient averaged over the batch", "conv2d", "1/N once here and once in the loss",
          gradient(bias=lambda c: c.gbias / len(c.x))),
    Cause("bias gradient averaged over images and pixels", "conv2d", "mean for sum",
          gradient(bias=lambda c: c.gy.mean((0, 2, 3)))),
    Cause("depthwise bias gradient of one channel for all", "conv2d", "a sum over one axis too many",
          gradient(bias=lambda c: c.gbias * 0 + c.gbias.mean())),
    Cause("weight gradient averaged over the batch", "conv2d", "1/N once here and once in the loss",
          gradient(weight=lambda c: c.gweight / len(c.x))),
    Cause("weight gradient of the last image only", "conv2d", "= for += in a loop over the batch",
          gradient(weight=lambda c: reference.conv2d_weight(c.x[-1:], c.gy[-1:], window(c), c.groups, False)[0])),
    Cause("bias added once for every input channel", "conv2d", "the addition stands inside of the loop over channels",
          arguments(bias=lambda c: c.bias if c.bias is None else c.bias * float(c.weight.shape[1]))),
)  # fmt: skip


def overwriting(c):
    """Transposed, with col2im that assigns."""
    y = assigned(handed_back(c.x.data, c.weight.data, c.groups), window(c), c.y.shape[2:])
    return Tensor(y if c.bias is None else y + c.bias.data[:, None, None])


def without_last(c):
    """What output_padding asks for at the end stays 0."""
    y = ops.conv_transpose2d(c.x, c.weight, c.bias, c.stride, c.padding, 0, c.groups, c.dilation)
    return ops.pad(y, [(0, whole - size) for whole, size in zip(c.y.shape, y.shape, strict=True)])


def first_for_last(c):
    """What output_padding asks for at the end is put at the beginning."""
    rows, columns = pair(c.output_padding, "output_padding", 0)
    h, w = c.y.shape[2:]
    return c.y[:, :, np.roll(np.arange(h), rows)][:, :, :, np.roll(np.arange(w), columns)]


TRANSPOSED = (
    Cause("col2im assigns where windows overlap", "conv_transpose2d", "PyDyNet, shipped", result(overwriting)),
    Cause("output_padding cut off: the last rows stay 0", "conv_transpose2d", "deconvolution layers",
          result(without_last)),
    Cause("output_padding at the top", "conv_transpose2d", "deconvolution layers", result(first_for_last)),
)  # fmt: skip

CAUSES = CONVOLUTION + TRANSPOSED
