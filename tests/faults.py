"""The catalogue of faults: real bugs, planted one at a time, each of which some property must reject.

A check that cannot fail is a defect; this is how the checks are checked. `python -m tests.faults` prints the table:
what was planted, where it has been seen, and which properties caught it.

A fault breaks one thing for as long as its `with` block lasts: a kernel of a book, forward or backward of a Function,
the window geometry, or the engine itself. Its properties then run on a few cases that never change, and on the edges.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import Tensor, autograd, function, ops
from minicnn.device import generator
from minicnn.function import Function
from minicnn.kernels import cpu, reference, window
from minicnn.kernels.window import Window
from minicnn.ops.activation import LogSoftmax, ReLU, ScaledTanh, Sigmoid, Softmax, Tanh
from minicnn.ops.arithmetic import Abs, Add, Cast, Div, Exp, Maximum, Mul, Pow, Sqrt, Sub, Where
from minicnn.ops.conv import Conv2d, Conv2dWeight, ConvTranspose2d
from minicnn.ops.dropout import Dropout
from minicnn.ops.linear import Linear, MatMul
from minicnn.ops.loss import CrossEntropy
from minicnn.ops.pool import AvgPool2d, AvgUnpool2d, MaxScatter, ReLUMaxPool2d
from minicnn.ops.reduction import Max, Mean, Sum
from minicnn.ops.shape import Concat, Pad, Reshape, Transpose

from .op_table import ROWS, Op
from .properties import PROPERTIES
from .strategies import examples

CASES = 8  # of each op, besides its edges


@dataclass(frozen=True)
class Fault:
    """One planted bug: in which op it shows, where such a thing was seen, how it is planted, what must reject it."""

    name: str
    op: str  # a row of the op table
    seen_in: str
    plant: Callable[[], AbstractContextManager]
    caught_by: str  # at least by this property; the table shows all that do
    device: str = "reference"  # whose book computes


def rejections(op: Op, device: str) -> dict[str, str]:
    """The properties that do not hold for an op, each with the first line of its complaint."""
    found = {}
    cases = examples(op.inputs, CASES)
    for prop in PROPERTIES:
        if prop.applies(op):
            for case in itertools.chain(cases, op.edges if prop.at_edges else ()):
                try:
                    with warnings.catch_warnings(action="error"):
                        prop.check(op, case, device)
                except Exception as error:  # an op that crashes is rejected, too
                    found[prop.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                    break
    return found


# --- how to plant -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """owner.name is `value` inside of the block. Windows are cached: those computed on the other side are forgotten."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    forget_geometry()
    try:
        yield
    finally:
        setattr(owner, name, before)
        forget_geometry()


def forget_geometry() -> None:
    for thing in (*vars(window).values(), *vars(Window).values()):
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()


def kernel(name: str, wrong: Callable[..., Callable], book: Any = reference) -> Callable[[], AbstractContextManager]:
    """The kernel `name` is wrong(the right one)."""
    return lambda: replaced(book, name, wrong(getattr(book, name)))


def backward(cls: type[Function], wrong: Callable[..., Any]) -> Callable[[], AbstractContextManager]:
    return lambda: replaced(cls, "backward", wrong)


def after_backward(cls: type[Function], change: Callable[..., Any]) -> Callable[[], AbstractContextManager]:
    """backward is right, but then change(self, gy, *gradients) is made of what it returns."""
    right = cls.backward

    def wrong(self, gy):
        returned = right(self, gy)
        return change(self, gy, *(returned if isinstance(returned, tuple) else (returned,)))

    return backward(cls, wrong)


def forward(cls: type[Function], wrong: Callable[..., Callable]) -> Callable[[], AbstractContextManager]:
    """forward is wrong(the right one)."""
    return lambda: replaced(cls, "forward", wrong(cls.forward))


def attribute(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager]:
    return lambda: replaced(owner, name, value)


# --- convolution ------------------------------------------------------------------------------------------------------


def col2im_assigns(columns, window, size):
    n, c, _, _, p, q = columns.shape
    (top, bottom), (left, right) = window.overhang(size)
    image = np.zeros((n, c, top + size[0] + bottom, left + size[1] + right), columns.dtype)
    for (r, s), where_read in reference.taps(window, (p, q)):
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
        self.columns = reference.im2col(x, window)
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
          attribute(reference, "col2im", col2im_assigns), "gradient_is_the_adjoint"),
    Fault("the same, seen from conv2d's gradient", "conv2d", "PyDyNet, shipped",
          attribute(reference, "col2im", col2im_assigns), "gradient_is_the_derivative"),
    Fault("kernel flipped, as in mathematics", "conv2d", "code that began with scipy.signal.convolve2d",
          kernel("conv2d", lambda right: lambda x, w, *rest: right(x, w[:, :, ::-1, ::-1], *rest)),
          "forward_is_the_oracle"),
    Fault("weight gradient flipped", "conv2d", "the same code, backward",
          kernel("conv2d_weight", lambda right: lambda *args: right(*args)[:, :, ::-1, ::-1].copy()),
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
        image = reference.padded(x, window, -np.inf)
        for (r, s), where_read in reference.taps(window, y.shape[2:]):
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
          backward(ReLUMaxPool2d, lambda self, gy: MaxScatter.apply(gy, indices=self.indices, size=self.size)),
          "gradient_is_the_derivative"),
    Fault("relu left out where windows are fused", "relu_max_pool2d", "a fast path for one window size",
          kernel("relu_max_pool2d", lambda right: reference.max_pool2d), "forward_is_the_oracle"),
)  # fmt: skip


# --- arithmetic, broadcasting, reductions -----------------------------------------------------------------------------


def first_slice(x, shape):
    """Undoes a broadcast by taking one of the copies."""
    shape = tuple(shape)
    y = x[(0,) * (x.ndim - len(shape))] if x.ndim > len(shape) else x
    return y[tuple(slice(0, size) if size == 1 else slice(None) for size in shape)]


def ties_counted_twice(right):
    def forward(self, x, axes, keepdims):
        y = right(self, x, axes, keepdims)
        self.save((self._saving[0] > 0).astype(x.dtype))
        return y

    return forward


def both_win(right):
    def forward(self, a, b):
        y = right(self, a, b)
        self.save(np.ceil(self._saving[0]))
        return y

    return forward


def scatter_add_assigns(v, index, shape):
    total = np.zeros(shape, v.dtype)
    total[index] += v
    return total


def last_argmax(x, axis):
    return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)


ARITHMETIC = (
    Fault("broadcast not summed: one copy taken", "add", "engines with their own unbroadcast",
          attribute(Tensor, "sum_to", first_slice), "gradient_is_the_derivative"),
    Fault("sign of the second gradient", "sub", "copied from add",
          backward(Sub, lambda self, gy: (gy.sum_to(self.shapes[0]), gy.sum_to(self.shapes[1]))),
          "gradient_is_the_derivative"),
    Fault("each gradient is that of the other", "mul", "a and b mixed up, hidden by tests with a = b",
          backward(Mul, lambda self, gy: ((gy * self.saved[0]).sum_to(self.shapes[0]),
                                          (gy * self.saved[1]).sum_to(self.shapes[1]))),
          "each_gradient_by_itself"),
    Fault("square of the divisor forgotten", "div", "coursework",
          after_backward(Div, lambda self, gy, ga, gb: (ga, gb * self.saved[1] if gb is not None and
                                                        gb.shape == self.saved[1].shape else gb)),
          "gradient_is_the_derivative"),
    Fault("exponent not reduced by one", "pow", "coursework",
          backward(Pow, lambda self, gy: gy * (self.saved[0] ** self.exponent * self.exponent)),
          "gradient_is_the_derivative"),
    Fault("factor 2 forgotten", "sqrt", "coursework",
          backward(Sqrt, lambda self, gy: gy / self.saved[0]), "gradient_is_the_derivative"),
    Fault("gradient 1 on both sides", "abs", "coursework", backward(Abs, lambda self, gy: gy),
          "gradient_is_the_derivative"),
    Fault("where they are equal, both get all", "maximum", "comparing with >= on both sides",
          forward(Maximum, both_win), "gradient_at_kinks"),
    Fault("both branches get the gradient", "where", "multiplying by a mask is forgotten in backward",
          backward(Where, lambda self, gy: (gy.sum_to(self.shapes[0]), gy.sum_to(self.shapes[1]))),
          "gradient_is_the_derivative"),
    Fault("ties get the whole gradient each", "max", "x == max as the mask",
          forward(Max, ties_counted_twice), "gradient_at_kinks"),
    Fault("1/n missing in backward", "mean", "minitorch-style labs",
          after_backward(Mean, lambda self, gy, gx: gx * (gx.size / gy.size)),
          "gradient_is_the_derivative"),
    Fault("gradient broadcast along the wrong axis", "sum", "keepdims forgotten; right for square arrays and axis 0",
          backward(Sum, lambda self, gy: gy.reshape(gy.shape + (1,) * (len(self.shape) - gy.ndim))
                   .broadcast_to(self.shape)), "gradient_is_the_derivative"),
    Fault("the last of equal maxima", "argmax", ">= for > in a loop",
          attribute(reference, "argmax", last_argmax), "forward_is_the_oracle"),
    Fault("gradient stays in the other dtype", "cast", "backward passes gy on",
          backward(Cast, lambda self, gy: gy), "dtype_is_kept"),
    Fault("scatter-add assigns for repeated indices", "scatter_add", "NumPy's a[i] += v",
          attribute(reference, "scatter_add", scatter_add_assigns), "forward_is_the_oracle"),
    Fault("the same, seen from getitem's gradient", "getitem", "embedding layers: a word that occurs twice",
          attribute(reference, "scatter_add", scatter_add_assigns), "gradient_is_the_derivative"),
)  # fmt: skip


# --- shape and products -----------------------------------------------------------------------------------------------


def slices_by_first_size(self, gy):
    """Slices as if all inputs were as long as the first."""
    before, size = (slice(None),) * self.axis, self.sizes[0]
    starts = [min(i * size, gy.shape[self.axis] - n) for i, n in enumerate(self.sizes)]
    return tuple(gy[(*before, slice(start, start + n))] for start, n in zip(starts, self.sizes, strict=True))


SHAPE = (
    Fault("slices of the gradient shifted", "concat", "inputs of one size assumed",
          backward(Concat, slices_by_first_size), "gradient_is_the_derivative"),
    Fault("axes not inverted in backward", "transpose", "right for every permutation of two axes",
          forward(Transpose, lambda right: lambda self, x, axes:
                  (right(self, x, axes), setattr(self, "inverse", tuple(axes)))[0]), "gradient_is_the_derivative"),
    Fault("gradient taken from the corner, not the middle", "pad", "pad before taken for pad after",
          backward(Pad, lambda self, gy: gy[tuple(slice(0, s.stop - s.start) for s in self.inside)]),
          "gradient_is_the_derivative"),
    Fault("gradient in column-major order", "reshape", "Fortran order",
          backward(Reshape, lambda self, gy: gy.transpose().reshape(self.shape[::-1]).transpose()),
          "gradient_is_the_derivative"),
    Fault("transpose forgotten where the matrix is square", "matmul", "tests with square matrices",
          after_backward(MatMul, lambda self, gy, ga, gb:
                         (ops.matmul(gy, self.saved[1]).sum_to(ga.shape) if ga is not None and
                          self.saved[1].shape[-1] == self.saved[1].shape[-2] else ga, gb)),
          "gradient_is_the_derivative"),
    Fault("gradient of the first row only in the bias", "linear", "the batch sum forgotten",
          after_backward(Linear, lambda self, gy, gx, gw, gb: (gx, gw, gb if gb is None else gy[0] * 1.0)),
          "gradient_is_the_derivative"),
    Fault("weight gradient transposed where it is square", "linear", "xᵀ·gy for gyᵀ·x",
          after_backward(Linear, lambda self, gy, gx, gw, gb:
                         (gx, gw.transpose() if gw is not None and gw.shape[0] == gw.shape[1] else gw, gb)),
          "gradient_is_the_derivative"),
)  # fmt: skip


# --- activations and losses -------------------------------------------------------------------------------------------


def overflowing_softmax(x, axis):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def labels_off_by_one(right):
    def forward(self, logits, labels):
        return right(self, logits, np.maximum(labels - 1, 0))

    return forward


def refuse_empty(right):
    def softmax(x, axis):
        x.max()
        return right(x, axis)

    return softmax


def open_at_zero(right):
    def forward(self, x):
        y = right(self, x)
        self.save(np.where(x >= 0, 1, -1).astype(x.dtype))  # what backward compares with 0
        return y

    return forward


def mask_redrawn(self, gy):
    seed, call = generator.next_call()
    return Dropout.apply(gy, p=0.5, seed=seed, call=call)


ACTIVATIONS = (
    Fault("backward lets everything through", "relu", "the mask forgotten", backward(ReLU, lambda self, gy: gy * 1.0),
          "gradient_is_the_derivative"),
    Fault("gradient 1 at 0", "relu", "x >= 0 as the mask", forward(ReLU, open_at_zero), "gradient_at_kinks"),
    Fault("1 − y for 1 − y²", "tanh", "coursework", backward(Tanh, lambda self, gy: gy * (1.0 - self.saved[0])),
          "gradient_is_the_derivative"),
    Fault("factor 1 − y forgotten", "sigmoid", "coursework", backward(Sigmoid, lambda self, gy: gy * self.saved[0]),
          "gradient_is_the_derivative"),
    Fault("slope 2/3 forgotten in backward", "scaled_tanh", "LeNet-5 re-implementations",
          after_backward(ScaledTanh, lambda self, gy, gx: gx * 1.5), "gradient_is_the_derivative"),
    Fault("softmax without the sum: y·(1 − y)", "softmax", "sigmoid's formula, element by element",
          backward(Softmax, lambda self, gy: gy * self.saved[0] * (1.0 - self.saved[0])), "gradient_is_the_derivative"),
    Fault("gradient 0: right for a cotangent of ones", "softmax", "what DeZero's checker lets pass",
          backward(Softmax, lambda self, gy: gy * 0.0), "gradient_is_the_derivative"),
    Fault("overflow: the largest logit is not subtracted", "softmax", "most first versions",
          attribute(reference, "softmax", overflowing_softmax), "forward_is_the_oracle"),
    Fault("an empty batch crashes", "softmax", "the last batch of a filtered data set",
          kernel("softmax", refuse_empty), "sizes_zero_and_one"),
    Fault("sum over the last axis, whatever axis is", "softmax", "segmentation models: the class axis is 1",
          after_backward(Softmax, lambda self, gy, gx: (y := self.saved[0]) * (gy - (gy * y).sum(-1, keepdims=True))),
          "gradient_is_the_derivative"),
    Fault("y for e^y", "log_softmax", "softmax's backward, copied",
          backward(LogSoftmax, lambda self, gy: gy - self.saved[0] * gy.sum(axis=self.axis, keepdims=True)),
          "gradient_is_the_derivative"),
    Fault("not divided by N", "cross_entropy", "sum for mean",
          attribute(Tensor, "mean", ops.sum), "forward_is_the_oracle"),
    Fault("label off by one", "cross_entropy", "classes numbered from 1",
          forward(CrossEntropy, labels_off_by_one), "forward_is_the_oracle"),
    Fault("cotangent ignored", "cross_entropy", "the loss is taken to be the end of the graph",
          after_backward(CrossEntropy, lambda self, gy, gz: gz / gy.reshape(-1, 1)),
          "gradient_is_the_derivative"),
    Fault("mask redrawn in backward", "dropout", "layers without a saved mask", backward(Dropout, mask_redrawn),
          "gradient_is_the_derivative"),
    Fault("no rescaling by 1/(1 − p)", "dropout", "the paper scales at test time instead",
          forward(Dropout, lambda right: lambda self, x, p, **place: right(self, x, p, **place) * x.dtype.type(1 - p)),
          "forward_is_the_oracle"),
    Fault("scaled by 1/p", "dropout", "p taken for the probability to keep",
          forward(Dropout, lambda right: lambda self, x, p, seed, call: right(self, x, 1 - p, seed, call)),
          "forward_is_the_oracle"),
)  # fmt: skip


# --- the engine -------------------------------------------------------------------------------------------------------


def in_place(x):
    return np.maximum(x, 0, out=x)


def exp_backward_in_place(self, gy):
    y = self.saved[0].data
    y *= gy.data
    return Tensor(y)


def detached(right):
    return lambda self, node: right(self, node).detach()


def output_kept(right):
    def keep(self, array, inputs, outputs, *rest):
        self.result = outputs[0]
        return right(self, array, inputs, outputs, *rest)

    return keep


calls = itertools.count()


def drifting(right):
    """Another rounding at every other call, as sums with atomics have."""
    return lambda a, b: right(a, b) if next(calls) % 2 else np.nextafter(right(a, b), np.inf).astype(a.dtype)


def memory_of(right):
    """Reads the array's memory from the start, whatever its strides."""

    def relu(x):
        owner = x
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return right(owner.ravel(order="K")[: x.size].reshape(x.shape))

    return relu


def needs_writeable(right):
    def sigmoid(x):
        if not x.flags.writeable:
            raise TypeError("buffer source array is read-only")
        return right(x)

    return sigmoid


ENGINE = (
    Fault("one gradient array for two consumers", "add", "engines that set .grad without a copy",
          attribute(autograd, "_is_shared", lambda *args: False), "gradients_share_no_memory"),
    Fault("a second gradient overwrites the first", "mul", "DeZero before its step 14",
          attribute(autograd.Accumulate, "forward", lambda self, a, b: b), "two_uses_add_up"),
    Fault("gradients accumulate in place", "add", "+= on a gradient that is shared",
          attribute(autograd.Accumulate, "forward", lambda self, a, b: np.add(a, b, out=a) if a.ndim else a + b),
          "two_uses_add_up"),
    Fault("a saved array is modified by backward", "exp", "saving a temporary at the wrong end",
          backward(Exp, exp_backward_in_place), "nothing_given_is_modified"),
    Fault("the input is modified in place", "relu", "inplace=True", attribute(reference, "relu", in_place),
          "nothing_given_is_modified"),
    Fault("saved results are constants", "tanh", "engines that save arrays: first derivative right, second wrong",
          lambda: replaced(function.SavedOutput, "__call__", detached(function.SavedOutput.__call__)),
          "second_derivative"),
    Fault("saved inputs are constants", "log", "the same", lambda: replaced(
        function.SavedInput, "__call__", detached(function.SavedInput.__call__)), "second_derivative"),
    Fault("a node holds its result", "exp", "DeZero before its step 17: a reference cycle",
          lambda: replaced(Function, "_keep", output_kept(Function._keep)), "memory_is_released"),
    Fault("backward frees nothing", "mul", "saved arrays live as long as the loss",
          attribute(Function, "release", lambda self: None), "memory_is_released"),
    Fault("keeps inputs that nobody asks for", "add", "self.inputs = inputs in a base class",
          forward(Add, lambda right: lambda self, a, b: (self.save(a, b), right(self, a, b))[1]),
          "keeps_what_it_declares"),
    Fault("float64 computed in float32", "matmul", "a cast inside of a fast kernel",
          kernel("matmul", lambda right: lambda a, b: right(np.float32(a), np.float32(b)).astype(a.dtype)),
          "forward_is_the_oracle"),
    Fault("float32 becomes float64", "mul", "a NumPy scalar in the formula",
          kernel("mul", lambda right: lambda a, b: right(a, b) * np.float64(1)), "dtype_is_kept"),
    Fault("two runs differ in the last digit", "matmul", "atomic adds on a GPU", kernel("matmul", drifting),
          "two_runs_give_the_same_bytes"),
    Fault("strides ignored", "relu", "C kernels that take a pointer and a size", kernel("relu", memory_of),
          "layout_does_not_matter"),
    Fault("a fast approximation on the cpu only", "tanh", "rational tanh in float32",
          kernel("tanh", lambda right: lambda x: right(x) + (x.dtype == np.float32) * x.dtype.type(1e-4), cpu),
          "device_equals_reference", device="cpu"),
    Fault("a kernel needs writeable arrays", "sigmoid", "compiled signatures for mutable arrays",
          kernel("sigmoid", needs_writeable),
          "nothing_given_is_modified"),
)  # fmt: skip


FAULTS = CONVOLUTION + POOLING + ARITHMETIC + SHAPE + ACTIVATIONS + ENGINE


def main() -> None:
    """Print the table: plant each fault, and say which properties rejected it."""
    for fault in FAULTS:
        with fault.plant():
            caught = rejections(ROWS[fault.op], fault.device)
        print(f"{fault.op:<18}{fault.name}")
        print(f"{'':<18}  seen in    {fault.seen_in}")
        print(f"{'':<18}  caught by  {', '.join(caught).replace('_', ' ') or 'NOTHING'}")
    print(f"{len(FAULTS)} faults in {len({fault.op for fault in FAULTS})} ops")


if __name__ == "__main__":
    main()
