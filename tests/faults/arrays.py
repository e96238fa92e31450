"""Faults of arithmetic, broadcasting, reductions, shapes and products."""

from __future__ import annotations

import math

import numpy as np

from minicnn import Tensor, ops
from minicnn.kernels import reference
from minicnn.ops.arithmetic import Abs, Cast, Compare, Div, Maximum, Mul, Neg, Sqrt, Sub, Where
from minicnn.ops.elementary import Pow, PowOfTensors
from minicnn.ops.joining import Concat
from minicnn.ops.linear import Linear, MatMul
from minicnn.ops.pad import Pad
from minicnn.ops.reduction import Max, Mean, Sum
from minicnn.ops.shape import BroadcastTo, Reshape, Transpose

from .planting import Fault, after_backward, attribute, backward, forward, op

# --- arithmetic, broadcasting, reductions -----------------------------------------------------------------------------


def first_slice(x, shape):
    """Undoes a broadcast by taking one of the copies."""
    shape = tuple(shape)
    y = x[(0,) * (x.ndim - len(shape))] if x.ndim > len(shape) else x
    return y[tuple(slice(0, size) if size == 1 else slice(None) for size in shape)]


def power_without_logarithm(self, gy):
    x, e, y = self.saved
    gx = gy * e * x ** (e - 1.0) if self.needs_grad(0) else None
    ge = gy * y if self.needs_grad(1) else None
    return [g if g is None else g.sum_to(shape) for g, shape in zip((gx, ge), self.shapes, strict=True)]


def ties_counted_twice(right):
    def forward(self, x, axes, keepdims):
        y = right(self, x, axes, keepdims)
        self.save((self._saving[0] > 0).astype(x.dtype))
        return y

    return forward


def first_takes_all(right):
    """Of several maxima the one that comes first, along all of the axes."""

    def forward(self, x, axes, keepdims):
        y = right(self, x, axes, keepdims)
        ahead = range(len(axes))
        ties = np.moveaxis(self._saving[0] > 0, axes, ahead)
        places = math.prod(x.shape[axis] for axis in axes)
        nth = ties.reshape(places, *ties.shape[len(axes) :]).cumsum(axis=0).reshape(ties.shape)
        self.save(np.moveaxis(ties & (nth == 1), ahead, axes).astype(x.dtype))
        return y

    return forward


def both_win(right):
    def forward(self, a, b):
        y = right(self, a, b)
        self.save(np.ceil(self._saving[0]))
        return y

    return forward


def greater_as_not_less(right):
    def forward(self, a, b, how):
        return ~right(self, a, b, "less") if how == "greater" else right(self, a, b, how)

    return forward


def add_at_assigns(v, index, shape):
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
    Fault("the sign forgotten in backward", "neg", "coursework", backward(Neg, lambda self, gy: gy * 1.0),
          "gradient_is_the_derivative"),
    Fault("square of the divisor forgotten", "div", "coursework",
          after_backward(Div, lambda self, gy, ga, gb: (ga, gb * self.saved[1] if gb is not None and
                                                        gb.shape == self.saved[1].shape else gb)),
          "gradient_is_the_derivative"),
    Fault("exponent not reduced by one", "pow", "coursework",
          backward(Pow, lambda self, gy: gy * (self.saved[0] ** self.exponent * self.exponent)),
          "gradient_is_the_derivative"),
    Fault("logarithm forgotten", "pow (of tensors)", "coursework",
          backward(PowOfTensors, power_without_logarithm), "gradient_is_the_derivative"),
    Fault("factor 2 forgotten", "sqrt", "coursework",
          backward(Sqrt, lambda self, gy: gy / self.saved[0]), "gradient_is_the_derivative"),
    Fault("gradient 1 on both sides", "abs", "coursework", backward(Abs, lambda self, gy: gy),
          "gradient_is_the_derivative"),
    Fault("where they are equal, both get all", "maximum", "comparing with >= on both sides",
          forward(Maximum, both_win), "gradient_at_kinks"),
    Fault("of two that are equal, each gets the whole gradient", "minimum", "Theano, issue 6470",
          forward(Maximum, both_win), "gradient_at_kinks"),
    Fault("> as not <: true where they are equal", "compare", "comparisons made of one another",
          forward(Compare, greater_as_not_less), "forward_is_the_oracle"),
    Fault("both branches get the gradient", "where", "multiplying by a mask is forgotten in backward",
          backward(Where, lambda self, gy: (gy.sum_to(self.shapes[0]), gy.sum_to(self.shapes[1]))),
          "gradient_is_the_derivative"),
    Fault("ties get the whole gradient each", "max", "x == max as the mask",
          forward(Max, ties_counted_twice), "gradient_at_kinks"),
    Fault("the first of equal minima gets the whole gradient", "min", "PyTorch, issue 35699: with dim, but not without",
          forward(Max, first_takes_all), "gradient_at_kinks"),
    Fault("1/n missing in backward", "mean", "minitorch-style labs",
          after_backward(Mean, lambda self, gy, gx: gx * (gx.size / gy.size)),
          "gradient_is_the_derivative"),
    Fault("gradient broadcast along the wrong axis", "sum", "keepdims forgotten; right for square arrays and axis 0",
          backward(Sum, lambda self, gy: gy.reshape(gy.shape + (1,) * (len(self.shape) - gy.ndim))
                   .broadcast_to(self.shape)), "gradient_is_the_derivative"),
    Fault("axes of size 1 are not summed, only new ones", "sum_to", "nd4j, issue 2424: a row added to a matrix",
          op(ops.sum_to, lambda right: lambda x, shape: right(x, x.shape[x.ndim - len(shape) :])),
          "forward_is_the_oracle"),
    Fault("the last of equal maxima", "argmax", ">= for > in a loop",
          attribute(reference, "argmax", last_argmax), "forward_is_the_oracle"),
    Fault("gradient stays in the other dtype", "cast", "backward passes gy on",
          backward(Cast, lambda self, gy: gy), "dtype_is_kept"),
    Fault("assigns where indices repeat", "add_at", "NumPy's a[i] += v",
          attribute(reference, "add_at", add_at_assigns), "forward_is_the_oracle"),
    Fault("the same, seen from getitem's gradient", "getitem", "embedding layers: a word that occurs twice",
          attribute(reference, "add_at", add_at_assigns), "gradient_is_the_derivative"),
)  # fmt: skip


# --- shape and products -----------------------------------------------------------------------------------------------


def slices_by_first_size(self, gy):
    """Slices as if all inputs were as long as the first."""
    before, size = (slice(None),) * self.axis, self.sizes[0]
    starts = [min(i * size, gy.shape[self.axis] - n) for i, n in enumerate(self.sizes)]
    return tuple(gy[(*before, slice(start, start + n))] for start, n in zip(starts, self.sizes, strict=True))


STACK = ops.stack

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
    Fault("from axis 1 on, whatever start_axis is", "flatten", "PyTorch's nn.Flatten, whose default is another",
          op(ops.flatten, lambda right: lambda x, start_axis=0: right(x, min(1, x.ndim))), "forward_is_the_oracle"),
    Fault("gradient averaged over the copies", "broadcast_to", "mean's backward, turned round",
          after_backward(BroadcastTo, lambda self, gy, gx: gx * (gx.size / max(1, gy.size))),
          "gradient_is_the_derivative"),
    Fault("all axes of size 1, whatever axis is", "squeeze", "Tacotron 2, pull request 303: with a batch of one",
          op(ops.squeeze, lambda right: lambda x, axis=None: right(x)), "forward_is_the_oracle"),
    Fault("a negative axis counted among the old ones", "expand_dims", "MXNet, pull request 8489",
          op(ops.expand_dims, lambda right: lambda x, axis: right(x, axis + x.ndim if axis < 0 else axis)),
          "forward_is_the_oracle"),
    Fault("a negative new axis counted among the old ones", "stack",
          "Swift for TensorFlow, pull request 351, in the gradient of stacking",
          attribute(ops, "stack", lambda tensors, axis: STACK(tensors, axis + (axis < 0) * tensors[0].ndim)),
          "forward_is_the_oracle"),
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
