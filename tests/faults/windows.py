"""Faults of convolution and pooling."""

from __future__ import annotations

import numpy as np

from minicnn.kernels import cpu, reference, window
from minicnn.kernels.reference import windows as rooms
from minicnn.kernels.window import Window
from minicnn.ops.conv import Conv2d, Conv2dWeight, ConvTranspose2d
from minicnn.ops.pool import AvgPool2d, AvgUnpool2d

from .planting import Fault, after_backward, attribute, backward, forward, kernel, replaced

# --- convolution ------------------------------------------------------------------------------------------------------


def col2im_assigns(columns, window, size):
    n, c, _, _, p, q = columns.shape
    (top, bottom), (left, right) = window.overhang(size)
    image = np.zeros((n, c, top + size[0] + bottom, left + size[1] + right), columns.dtype)
    for (r, s), where_read in rooms.taps(window, (p, q)):
        image[where_read] = columns[:, :, r, s]
    return image[:, :, top : top + size[0], left : left + size[1]].copy()


def groups_rolled(right):
    def conv2d(x, w, b, window, groups):
        return right(np.roll(x, x.shape[1] // groups, axis=1), w, b, window, groups)

    return conv2d


def pads_swapped(right):
    def conv2d(x, w, b, window, groups):
        pad = tuple(sides[::-1] for sides in window.pad)
        return right(x, w, b, window._replace(pad=pad), groups)

    return conv2d


def input_gradient_with(**options):
    """conv2d's input gradient computed with another window."""

    def change(self, gy, gx, gw, gb):
        if gx is not None:
            moved = self.window._replace(**options)
            gx = ConvTranspose2d.apply(gy, self.saved[1], None, window=moved, groups=self.groups, output_size=self.size)
        return gx, gw, gb

    return after_backward(Conv2d, change)


def kept_columns(right):
    def forward(self, x, w, b, window, groups):
        self.columns = rooms.im2col(x, window)
        return right(self, x, w, b, window, groups)

    return forward


def same_on_top(right):
    return lambda *arguments: tuple((after, before) for before, after in right(*arguments))


def symmetric_padding(size, kernel, stride, dilation):
    """What PyTorch users write for "same": half of the kernel on each side, whatever the stride."""
    return tuple(((d * (k - 1)) // 2,) * 2 for k, d in zip(kernel, dilation, strict=True))


def last_rows_zero(right):
    def conv_transpose2d(gy, w, b, window, groups, output_size):
        smallest = window.transposed_size(gy.shape[2:])
        missing = [(0, m - n) for m, n in zip(output_size, smallest, strict=True)]
        return np.pad(right(gy, w, b, window, groups, smallest), [(0, 0), (0, 0), *missing])

    return conv_transpose2d


def half_precision(right):
    """Right in float64; in float32 it sums in half precision."""

    def conv2d(x, w, b, window, groups):
        y = right(x, w, b, window, groups)
        return y.astype(np.float16).astype(y.dtype) if y.dtype == np.float32 else y

    return conv2d


CONVOLUTION = (
    Fault("col2im assigns where windows overlap", "conv_transpose2d", "PyDyNet, shipped",
          attribute(rooms, "col2im", col2im_assigns), "gradient_is_the_adjoint"),
    Fault("windows overwrite one another in the input gradient", "conv2d", "PyDyNet, shipped",
          attribute(rooms, "col2im", col2im_assigns), "gradient_is_the_derivative"),
    Fault("kernel flipped, as in mathematics", "conv2d", "code that began with scipy.signal.convolve2d",
          kernel("conv2d", lambda right: lambda x, w, *rest: right(x, w[:, :, ::-1, ::-1], *rest)),
          "forward_is_the_oracle"),
    Fault("weight gradient flipped", "conv2d", "the same code, backward",
          kernel("conv2d_weight", lambda right: lambda *args: (
              lambda gw, gb: (gw[:, :, ::-1, ::-1].copy(), gb))(*right(*args))),
          "gradient_is_the_derivative"),
    Fault("weight gradient transposed where the kernel is square", "conv2d", "im2col with (s, r) for (r, s)",
          after_backward(Conv2d, lambda self, gy, gx, gw, gb:
                         (gx, gw.transpose(0, 1, 3, 2) if gw is not None and gw.shape[2] == gw.shape[3] else gw, gb)),
          "gradient_is_the_derivative"),
    Fault("group index off by one", "conv2d", "grouped convolution in coursework",
          kernel("conv2d", groups_rolled), "forward_is_the_oracle"),
    Fault("pads swapped: bottom on top, right on the left", "conv2d", "ports from TensorFlow",
          kernel("conv2d", pads_swapped), "forward_is_the_oracle"),
    Fault("dilation ignored in the input gradient", "conv2d", "dilation added to forward only",
          input_gradient_with(dilation=(1, 1)), "gradient_is_the_derivative"),
    Fault("stride ignored in the input gradient", "conv2d", "stride added to forward only",
          input_gradient_with(stride=(1, 1)), "gradient_is_the_derivative"),
    Fault("bias gradient of the first image only", "conv2d", "the batch sum forgotten",
          after_backward(Conv2d, lambda self, gy, gx, gw, gb: (gx, gw, gb if gb is None else gy[0].sum(axis=(1, 2)))),
          "gradient_is_the_derivative"),
    Fault("bias gradient averaged over the batch", "conv2d", "1/N once here and once in the loss",
          after_backward(Conv2d, lambda self, gy, gx, gw, gb: (gx, gw, gb if gb is None else gb * (1 / len(gy)))),
          "gradient_is_the_adjoint"),
    Fault("SAME with the odd row on top", "conv2d", "ports from TensorFlow",
          kernel("same_padding", same_on_top, window), "forward_is_the_oracle"),
    Fault("SAME as half the kernel on each side", "conv2d", "EfficientNet ports to PyTorch",
          attribute(window, "same_padding", symmetric_padding), "forward_is_the_oracle"),
    Fault("the im2col columns are kept", "conv2d", "most NumPy engines: VGG runs out of memory",
          forward(Conv2d, kept_columns), "keeps_what_it_declares"),
    Fault("sums in half precision, in float32 only", "conv2d", "mixed-precision kernels",
          kernel("conv2d", half_precision), "forward_is_the_oracle_in_float32"),
    Fault("second derivative in the weight missing", "conv2d", "double backward written by hand",
          after_backward(ConvTranspose2d, lambda self, gy, g, gw, gb: (g, gw * 0.0 if gw is not None else gw, gb)),
          "second_derivative"),
    Fault("sign of the gradient in gy", "conv2d_weight", "the third face is rarely tested",
          after_backward(Conv2dWeight, lambda self, gy, gx, g: (gx, -g if g is not None else g)),
          "gradient_is_the_derivative"),
    Fault("output_padding cut off: the last rows stay 0", "conv_transpose2d", "deconvolution layers",
          kernel("conv_transpose2d", last_rows_zero), "forward_is_the_oracle"),
)  # fmt: skip


# --- pooling ----------------------------------------------------------------------------------------------------------


def zero_padded_max(right):
    def max_pool2d(x, window):
        y, indices = right(x, window)
        whole = window.counts(x.shape[2:], include_pad=False) == window.kernel[0] * window.kernel[1]
        return np.where(whole, y, np.maximum(y, 0)), indices

    return max_pool2d


def index_in_window(right):
    def max_pool2d(x, window):
        y, indices = right(x, window)
        return y, np.where(indices < 0, indices, indices % (window.kernel[0] * window.kernel[1])).astype(np.int32)

    return max_pool2d


def last_of_equals(right):
    """Compares with >= where > is meant."""

    def max_pool2d(x, window):
        y, indices = right(x, window)
        h, w = x.shape[2:]
        (top, _), (left, _) = window.overhang((h, w))
        image = rooms.padded(x, window, -np.inf)
        for (r, s), where_read in rooms.taps(window, y.shape[2:]):
            row = np.arange(y.shape[2])[:, None] * window.stride[0] + r * window.dilation[0] - top
            column = np.arange(y.shape[3])[None, :] * window.stride[1] + s * window.dilation[1] - left
            inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            indices = np.where(inside & (image[where_read] == y), row * w + column, indices)
        return y, indices.astype(np.int32)

    return max_pool2d


def scatter_assigns(gy, indices, size):
    n, c = gy.shape[:2]
    planes = np.zeros((n, c, size[0] * size[1] + 1), gy.dtype)
    for index in np.ndindex(*gy.shape):
        planes[(*index[:2], indices[index])] = gy[index]
    return planes[:, :, :-1].reshape(n, c, *size)


def winners_of_the_plain_pooling(right):
    def relu_max_pool2d(x, window):
        return right(x, window)[0], reference.max_pool2d(x, window)[1]

    return relu_max_pool2d


def ceil_always(self, axis, size):
    """Rounds up without asking where the last window starts."""
    before, after = self.pad[axis]
    room = size + before + after - self.extent[axis]
    return -(-room // self.stride[axis]) + 1 if self.ceil_mode else room // self.stride[axis] + 1


def never_ceil(self, axis, size):
    return (size + sum(self.pad[axis]) - self.extent[axis]) // self.stride[axis] + 1


def whole_windows(self, size, include_pad):
    return np.full(self.output_size(size), self.kernel[0] * self.kernel[1])


def always_include_pad(right):
    return lambda self, size, include_pad: right(self, size, True)


POOLING = (
    Fault("padded with 0, not −∞", "max_pool2d", "DeZero, PyDyNet",
          kernel("max_pool2d", zero_padded_max), "forward_is_the_oracle"),
    Fault("scatter assigns where windows share a winner", "max_pool2d", "indexed assignment in NumPy",
          attribute(reference, "max_pool2d_scatter", scatter_assigns), "gradient_is_the_derivative"),
    Fault("index counted in the window, not in the plane", "max_pool2d", "argmax over the columns of im2col",
          kernel("max_pool2d", index_in_window), "gradient_is_the_derivative"),
    Fault("the last of equal maxima wins, not the first", "max_pool2d", ">= for > in a loop",
          kernel("max_pool2d", last_of_equals), "gradient_at_kinks"),
    Fault("the last of equal maxima wins on the cpu only", "max_pool2d", "a fast path beside a slow one",
          kernel("max_pool2d", last_of_equals, cpu), "gradient_at_kinks", device="cpu"),
    Fault("ceil_mode's last window dropped", "avg_pool2d", "ports from Caffe",
          attribute(Window, "_outputs", never_ceil), "forward_is_the_oracle"),
    Fault("ceil_mode's window begins in the padding at the end", "max_pool2d", "ports from Caffe",
          attribute(Window, "_outputs", ceil_always), "forward_is_the_oracle"),
    Fault("count_include_pad ignored", "avg_pool2d", "ONNX importers",
          lambda: replaced(Window, "counts", always_include_pad(Window.counts)), "forward_is_the_oracle"),
    Fault("what hangs over the padding is counted", "avg_pool2d", "dividing by R·S",
          attribute(Window, "counts", whole_windows), "forward_is_the_oracle"),
    Fault("gradient not divided by the count", "avg_pool2d", "sum pooling's backward",
          backward(AvgPool2d, lambda self, gy: AvgUnpool2d.apply(
              gy * float(np.prod(self.options["window"].kernel)), **self.options, size=self.size)),
          "gradient_is_the_adjoint"),
    Fault("second derivative goes to the wrong windows", "max_pool2d", "double backward written by hand",
          kernel("max_pool2d_gather", lambda right: lambda x, indices: right(x, indices[..., ::-1])),
          "second_derivative"),
    Fault("gradient passes where the fused relu is off", "relu_max_pool2d", "this project, before it landed",
          kernel("relu_max_pool2d", winners_of_the_plain_pooling), "gradient_is_the_derivative"),
    Fault("relu left out where windows are fused", "relu_max_pool2d", "a fast path for one window size",
          kernel("relu_max_pool2d", lambda right: reference.max_pool2d), "forward_is_the_oracle"),
)  # fmt: skip
