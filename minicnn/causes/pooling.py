"""Mistakes in pooling."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..kernels import reference
from ..kernels.reference import windows as rooms
from ..tensor import Tensor
from .cause import Cause, arguments, gradient, result
from .convolution import SIZES, assigned, in_a_loop, odd_on_top, window
from .subject import Subject, distinct

IMAGES = (lambda N, C, H, W: ((N, C, H, W),),)

SUBJECTS = (
    Subject(
        "max_pool2d", ops.max_pool2d, ("x",), (lambda N, C, H, W: ((N, C, H, W),),), SIZES,
        {"kernel_size": (2, (3, 2), 3), "stride": (1, 2, (2, 1)), "padding": (0, 1, ((0, 1), (1, 0)), "same"),
         "ceil_mode": (False, True)}, distinct,
    ),
    Subject(
        "avg_pool2d", ops.avg_pool2d, ("x",), (lambda N, C, H, W: ((N, C, H, W),),), SIZES,
        {"kernel_size": (2, (3, 2), 3), "stride": (1, 2, (2, 1)), "padding": (0, 1, ((0, 1), (1, 0)), "same"),
         "ceil_mode": (False, True), "count_include_pad": (True, False)},
    ),
    Subject("global_avg_pool2d", ops.global_avg_pool2d, ("x",), IMAGES, SIZES),
    Subject("global_max_pool2d", ops.global_max_pool2d, ("x",), IMAGES, SIZES, values=distinct),
    Subject("adaptive_avg_pool2d", ops.adaptive_avg_pool2d, ("x",), IMAGES, SIZES,
            {"output_size": (2, (3, 2), (2, 3))}),
)  # fmt: skip


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


def mask_in_a_loop(c):
    """dx[window] = mask · gy: where windows overlap, the zeros of a later mask overwrite the gradient of an earlier."""
    moving, indices = window(c), winners(c)
    (top, _), (left, _) = moving.overhang(c.x.shape[2:])
    rows, columns = np.divmod(indices, c.x.shape[3])
    tap = [(np.arange(moving.kernel[axis]) * moving.dilation[axis]) for axis in (0, 1)]

    def taps(n, p, q):
        row = tap[0][:, None] + p * moving.stride[0] - top == rows[n, :, p, q][:, None, None]
        column = tap[1][None, :] + q * moving.stride[1] - left == columns[n, :, p, q][:, None, None]
        return (row & column) * c.gy[n, :, p, q][:, None, None]

    return in_a_loop(c, taps)


def columns_of(gy, moving):
    """gy for every input of its window, (N, C, R, S, P, Q)."""
    return np.broadcast_to(gy[:, :, None, None], (*gy.shape[:2], *moving.kernel, *gy.shape[2:]))


def spread(c):
    return rooms.col2im(columns_of(c.gy, window(c)), window(c), c.x.shape[2:])


def counts(c):
    return np.maximum(window(c).counts(c.x.shape[2:], c.count_include_pad), 1)


def divided_by(wrong):
    """The sum over each window, divided by something else."""
    return result(lambda c: c.y * Tensor(counts(c) / wrong(c), dtype=c.y.dtype))


def full_at_the_end(c):
    """R·S for ceil_mode's last window, the right count for the others."""
    moving, found = window(c), counts(c)
    if moving.ceil_mode and moving.overhang(c.x.shape[2:]) != moving.pad:
        found[-1, -1] = np.prod(moving.kernel)
    return found


def end_not_counted(c):
    """count_include_pad for the padding at the top and left; at the end all is cut off that is not input."""
    moving, size, per_axis = window(c), c.x.shape[2:], []
    for axis, outputs in enumerate(moving.output_size(size)):
        start = np.arange(outputs) * moving.stride[axis] - moving.pad[axis][0]
        first = start if c.count_include_pad else np.maximum(start, 0)
        per_axis.append(np.minimum(start + moving.kernel[axis], size[axis]) - first)
    return np.maximum(per_axis[0][:, None] * per_axis[1][None, :], 1)


def shares(c):
    return c.gy / counts(c)


def bins(c):
    """Each output's place, and the rows and columns of its bin."""
    (h, w), (p, q) = c.x.shape[2:], c.y.shape[2:]
    for i, j in np.ndindex(p, q):
        rows, columns = slice(i * h // p, -(-(i + 1) * h // p)), slice(j * w // q, -(-(j + 1) * w // q))
        yield (..., i, j), (..., rows, columns), (rows.stop - rows.start) * (columns.stop - columns.start)


def mean_bin(c):
    factor = np.empty(c.y.shape[2:], c.y.dtype)
    for output, _, size in bins(c):
        factor[output] = size * factor.size / c.x[0, 0].size
    return c.y * Tensor(factor, device=c.y.device)


def bins_assign(c):
    gx = np.zeros_like(c.x)
    for output, covered, size in bins(c):
        gx[covered] = c.gy[output][..., None, None] / size
    return gx


CAUSES = (
    Cause("padded with 0, not −∞", "max_pool2d", "DeZero, PyDyNet", result(zero_padded_max)),
    Cause("SAME with the odd row on top, of a maximum", "max_pool2d", "ports from TensorFlow",
          arguments(padding=odd_on_top)),
    Cause("scatter assigns where windows share a winner", "max_pool2d", "indexed assignment in NumPy",
          gradient(x=last_scattered)),
    Cause("= for += in a loop over windows, of masks", "max_pool2d", "max_pool_backward_naive of coursework",
          gradient(x=mask_in_a_loop)),
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
    Cause("what hangs over the padding is counted", "avg_pool2d", "dividing by R·S",
          divided_by(lambda c: np.prod(window(c).kernel))),
    Cause("ceil_mode's last window divided by its full size", "avg_pool2d", "ceil_mode added to the loop only",
          divided_by(full_at_the_end)),
    Cause("padding at the end not counted", "avg_pool2d", "clipping that cannot tell padding from what hangs over",
          divided_by(end_not_counted)),
    Cause("SAME with the odd row on top, of an average", "avg_pool2d", "ports from TensorFlow",
          arguments(padding=odd_on_top)),
    Cause("gradient not divided by the count", "avg_pool2d", "sum pooling's backward",
          gradient(x=lambda c: c.gx * np.prod(window(c).kernel))),
    Cause("windows overwrite one another in the gradient", "avg_pool2d", "= for += where windows overlap",
          gradient(x=lambda c: assigned(columns_of(shares(c), window(c)), window(c), c.x.shape[2:]))),
    Cause("global pooling sums", "global_avg_pool2d", "the division forgotten",
          result(lambda c: c.y * float(c.x.shape[2] * c.x.shape[3]))),
    Cause("global pooling's gradient is not divided", "global_avg_pool2d", "the sum's backward",
          gradient(x=lambda c: np.broadcast_to(c.gy, c.x.shape))),
    Cause("global pooling's gradient divided by rows only", "global_avg_pool2d", "H for H·W",
          gradient(x=lambda c: c.gx * c.x.shape[3])),
    Cause("the largest of all channels", "global_max_pool2d", "a reshape to (N, −1) before the maximum",
          result(lambda c: c.y.max(axis=1, keepdims=True).broadcast_to(c.y.shape))),
    Cause("everywhere the gradient of the largest", "global_max_pool2d", "the mask forgotten",
          gradient(x=lambda c: np.broadcast_to(c.gy, c.x.shape))),
    Cause("bins of unequal size divided by one number", "adaptive_avg_pool2d", "H·W/(P·Q) as the size of every bin",
          result(mean_bin)),
    Cause("the gradient assigns where bins overlap", "adaptive_avg_pool2d", "= for += in a loop over bins",
          gradient(x=bins_assign)),
)  # fmt: skip
