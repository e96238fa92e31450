"""Faults of unpooling, of indices, of adaptive and global pooling; and of TF-SAME where windows pool."""

from __future__ import annotations

import numpy as np

from minicnn import Tensor
from minicnn.kernels import reference, window
from minicnn.kernels.cpu import adaptive as cpu_rooms
from minicnn.kernels.reference import adaptive as rooms
from minicnn.kernels.window import Window
from minicnn.ops import pool as pool_ops
from minicnn.ops.adaptive import AdaptiveAvgPool2d, AdaptiveAvgUnpool2d, AdaptiveMaxPool2d
from minicnn.ops.pool import MaxGather, MaxPool2d, MaxScatter, MaxUnpool2d

from .planting import Fault, after_backward, attribute, backward, forward, kernel, replaced
from .windows import same_on_top, scatter_assigns

# --- bins -------------------------------------------------------------------------------------------------------------


def floor_ends(size, outputs):
    """⌊(o + 1)·size/outputs⌋: then bins never overlap, and elements are enough for all only if outputs ≤ size."""
    return tuple((o * size // outputs, max((o + 1) * size // outputs, o * size // outputs + 1)) for o in range(outputs))


def fixed_windows(size, outputs):
    """The window and stride that a plain pooling would need, ⌊size/outputs⌋ and what is left."""
    stride = max(1, size // outputs)
    kernel = max(1, size - (outputs - 1) * stride)
    return tuple((min(o * stride, size - kernel), min(o * stride, size - kernel) + kernel) for o in range(outputs))


def assigning(gy, size):
    """Every element takes the gradient of the last bin it lies in."""
    gx = np.zeros((*gy.shape[:2], *size), gy.dtype)
    for output, covered in rooms.places(size, gy.shape[2:]):
        area = gx[covered]
        area[...] = gy[output][..., None, None] / (area.shape[2] * area.shape[3])
    return gx


def constant_divisor(right):
    """As if every bin had H·W / (P·Q) elements."""

    def adaptive_avg_pool2d(x, size):
        y = right(x, size)
        for output, covered in rooms.places(x.shape[2:], size):
            y[output] = x[covered].sum(axis=(2, 3)) * (size[0] * size[1] / (x.shape[2] * x.shape[3]))
        return y

    return adaptive_avg_pool2d


def largest_bin(self, gy):
    """Divided by the elements of the largest bin, whichever it is."""
    counts = np.zeros(gy.shape, gy.dtype)
    for output, (_, rows, columns) in rooms.places(self.size, gy.shape[2:]):
        counts[output] = (rows.stop - rows.start) * (columns.stop - columns.start)
    return AdaptiveAvgUnpool2d.apply(gy * Tensor(counts / counts.max(initial=1), device=gy.device), size=self.size)


def index_in_bin(right):
    def adaptive_max_pool2d(x, size):
        y, indices = right(x, size)
        for output, (_, rows, columns) in rooms.places(x.shape[2:], size):
            row, column = np.divmod(indices[output], x.shape[3])
            indices[output] = (row - rows.start) * (columns.stop - columns.start) + column - columns.start
        return y, indices

    return adaptive_max_pool2d


def last_of_equals(right):
    def adaptive_max_pool2d(x, size):
        y, indices = right(x[:, :, ::-1, ::-1], size)
        return y[:, :, ::-1, ::-1], (x.shape[2] * x.shape[3] - 1 - indices[:, :, ::-1, ::-1]).astype(np.int32)

    return adaptive_max_pool2d


def sum_pool(right):
    return lambda x, size: right(x, size) * (x.shape[2] * x.shape[3] if size == (1, 1) else 1)


BINS = (
    Fault("bins that end at the floor", "adaptive_avg_pool2d", "adaptive pooling written as array_split",
          attribute(rooms, "bins", floor_ends), "forward_is_the_oracle"),
    Fault("bins that end at the floor, of maxima", "adaptive_max_pool2d (indices)", "the same",
          attribute(rooms, "bins", floor_ends), "forward_is_the_oracle"),
    Fault("bins that end at the floor on the cpu only", "adaptive_avg_pool2d", "a fast path beside a slow one",
          attribute(cpu_rooms, "bins", floor_ends), "forward_is_the_oracle", device="cpu"),
    Fault("bins as one window and stride", "adaptive_max_pool2d", "exporters that replace adaptive by plain pooling",
          attribute(rooms, "bins", fixed_windows), "forward_is_the_oracle"),
    Fault("the gradient assigns where bins overlap", "adaptive_avg_pool2d", "gradients written for sizes that divide",
          kernel("adaptive_avg_pool2d_transpose", lambda right: assigning), "gradient_is_the_adjoint"),
    Fault("the gradient of maxima assigns where bins overlap", "adaptive_max_pool2d", "indexed assignment in NumPy",
          attribute(reference, "max_pool2d_scatter", scatter_assigns), "gradient_is_the_derivative"),
    Fault("bins of unequal size divided by one number", "adaptive_avg_pool2d", "H·W / (P·Q) taken for every bin",
          kernel("adaptive_avg_pool2d", constant_divisor), "forward_is_the_oracle"),
    Fault("the gradient divided by the largest bin", "adaptive_avg_pool2d", "forward generalised, backward not",
          backward(AdaptiveAvgPool2d, largest_bin), "gradient_is_the_derivative"),
    Fault("second derivative by other bins", "adaptive_avg_pool2d", "double backward written by hand",
          backward(AdaptiveAvgUnpool2d, lambda self, v: AdaptiveAvgPool2d.apply(v[:, :, ::-1], size=self.bins)),
          "second_derivative"),
    Fault("index counted in the bin, not in the plane", "adaptive_max_pool2d", "argmax of each slice",
          kernel("adaptive_max_pool2d", index_in_bin), "gradient_is_the_derivative"),
    Fault("the last of equal maxima of a bin wins", "adaptive_max_pool2d", ">= for > in a loop",
          kernel("adaptive_max_pool2d", last_of_equals), "gradient_at_kinks"),
    Fault("global pooling sums", "global_avg_pool2d", "the division left to the next layer's weights",
          kernel("adaptive_avg_pool2d", sum_pool), "forward_is_the_oracle"),
    Fault("global pooling's gradient is not divided", "global_avg_pool2d", "gy broadcast, in coursework",
          after_backward(AdaptiveAvgPool2d, lambda self, gy, g: g * float(self.size[0] * self.size[1])),
          "gradient_is_the_adjoint"),
    Fault("global pooling over the channels too", "global_max_pool2d", "a reshape to (N, −1) before the maximum",
          kernel("adaptive_max_pool2d", lambda right: lambda x, size: tuple(
              np.broadcast_to(a[:, :1], a.shape) for a in right(x, size))), "forward_is_the_oracle"),
)  # fmt: skip


# --- indices and unpooling --------------------------------------------------------------------------------------------


def index_with_padding(right):
    """Counted in the padded image, as a kernel that pads first has it."""

    def max_pool2d(x, window):
        y, indices = right(x, window)
        h, w = x.shape[2:]
        (top, _), (left, after) = window.overhang((h, w))
        row, column = np.divmod(indices, w)
        moved = (row + top) * (left + w + after) + column + left
        return y, np.where(indices < 0, indices, moved).astype(np.int32)

    return max_pool2d


def adds(x, indices, size):
    """Numbers that meet in one place add up."""
    kept = indices.astype(np.int32)
    return reference.max_pool2d_scatter(x, kept, size), kept


def first_stays(right):
    def max_unpool2d(x, indices, size):
        y, kept = right(x[:, :, ::-1, ::-1], indices[:, :, ::-1, ::-1], size)
        return y, kept[:, :, ::-1, ::-1]

    return max_unpool2d


def covered_too(right):
    """Forward is right, but all indices are kept for backward, those of covered numbers too."""
    return lambda x, indices, size: (right(x, indices, size)[0], indices.astype(np.int32))


def down_columns(right):
    """The index is taken for w·H + h."""

    def max_unpool2d(x, indices, size):
        column, row = np.divmod(indices, size[0])
        return right(x, np.where(indices < 0, indices, row * size[1] + column), size)

    return max_unpool2d


def without_padding(right):
    def unpooled_size(x, kernel_size, stride, padding, output_size):
        return right(x, kernel_size, stride, 0, output_size)

    return unpooled_size


def gathers_by_output(self, gy):
    """gy at the index counted in (P, Q), not in (H, W)."""
    p, q = self.indices.shape[2:]
    return MaxGather.apply(gy, indices=np.where(self.indices < 0, -1, self.indices % (p * q)).astype(np.int32))


def full_divisor_at_the_end(right):
    """ceil_mode's last window divided by R·S, the others rightly."""

    def counts(self, size, include_pad):
        found = right(self, size, include_pad)
        if self.ceil_mode and self.overhang(size) != self.pad:
            found[-1, -1] = self.kernel[0] * self.kernel[1]
        return found

    return counts


def end_not_counted(self, size, include_pad):
    """count_include_pad for the padding at the top and left; at the end all is cut off that is not input."""
    per_axis = []
    for axis, outputs in enumerate(self.output_size(size)):
        before = self.pad[axis][0]
        start = np.arange(outputs) * self.stride[axis] - before
        first = np.maximum(start, -before if include_pad else 0)
        per_axis.append(np.minimum(start + self.kernel[axis], size[axis]) - first)
    return per_axis[0][:, None] * per_axis[1][None, :]


UNPOOLING = (
    Fault("indices counted with the padding", "max_pool2d (indices)", "argmax over a padded copy",
          kernel("max_pool2d", index_with_padding), "forward_is_the_oracle"),
    Fault("indices of 32 bits", "max_pool2d (indices)", "the kernel's own indices handed out",
          forward(MaxPool2d, lambda right: lambda self, x, window, return_indices=False: (
              right(self, x, window), self.indices) if return_indices else right(self, x, window)), "dtype_is_kept"),
    Fault("the indices' gradient taken for the maxima's", "max_pool2d (with indices)", "a tuple unpacked from its end",
          backward(MaxPool2d, lambda self, gy, _=None: MaxScatter.apply(
              gy if _ is None else gy * 0.0, indices=self.indices, size=self.size)), "gradient_is_the_derivative"),
    Fault("the same of bins", "adaptive_max_pool2d (with indices)", "a tuple unpacked from its end",
          backward(AdaptiveMaxPool2d, lambda self, gy, _=None: MaxScatter.apply(
              gy if _ is None else gy * 0.0, indices=self.indices, size=self.size)), "gradient_is_the_derivative"),
    Fault("numbers that meet add up", "max_unpool2d", "scatter_add, where overlapping windows share a maximum",
          kernel("max_unpool2d", lambda right: adds), "forward_is_the_oracle"),
    Fault("of numbers that meet the first stays", "max_unpool2d", "a parallel scatter, in any order",
          kernel("max_unpool2d", first_stays), "forward_is_the_oracle"),
    Fault("numbers that were covered get a gradient", "max_unpool2d", "a backward that gathers at every index",
          kernel("max_unpool2d", covered_too), "gradient_is_the_derivative"),
    Fault("index read down columns", "max_unpool2d", "ports from Matlab",
          kernel("max_unpool2d", down_columns), "forward_is_the_oracle"),
    Fault("unpooled size forgets the padding", "max_unpool2d", "(P − 1)·stride + kernel",
          attribute(pool_ops, "_unpooled_size", without_padding(pool_ops._unpooled_size)), "forward_is_the_oracle"),
    Fault("gradient gathered in the small plane", "max_unpool2d", "index modulo the wrong size",
          backward(MaxUnpool2d, gathers_by_output), "gradient_is_the_derivative"),
    Fault("SAME with the odd row on top, of a maximum", "max_pool2d", "ports from TensorFlow",
          kernel("same_padding", same_on_top, window), "forward_is_the_oracle"),
    Fault("SAME with the odd row on top, of an average", "avg_pool2d", "ports from TensorFlow",
          kernel("same_padding", same_on_top, window), "forward_is_the_oracle"),
    Fault("ceil_mode's last window divided by its full size", "avg_pool2d", "ceil_mode added to the loop only",
          lambda: replaced(Window, "counts", full_divisor_at_the_end(Window.counts)), "forward_is_the_oracle"),
    Fault("padding at the end not counted", "avg_pool2d", "clipping that cannot tell padding from what hangs over",
          attribute(Window, "counts", end_not_counted), "forward_is_the_oracle"),
)  # fmt: skip
