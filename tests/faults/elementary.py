"""Faults of elementary functions, statistics, picking by position, moving about, padding and einsum."""

from __future__ import annotations

import importlib

import numpy as np

from minicnn import Tensor, ops
from minicnn.function import Function
from minicnn.kernels import reference
from minicnn.ops import joining
from minicnn.ops.einsum import Einsum
from minicnn.ops.elementary import Clip, Cos, Expm1, Floor, Reciprocal, Sin
from minicnn.ops.indexing import Scatter
from minicnn.ops.joining import Concat, Flip, Roll, Split
from minicnn.ops.reduction import LogSumExp, Std, Var

from .arrays import last_argmax
from .planting import Fault, after_backward, attribute, backward, forward, kernel, op

# --- functions and clip -----------------------------------------------------------------------------------------------


def bounds_excluded(right):
    def forward(self, x, low, high):
        y = right(self, x, low, high)
        strictly = np.ones(y.shape, bool)
        if low is not None:
            strictly &= x > low
        if high is not None:
            strictly &= x < high
        self.whose = (strictly, *self.whose[1:])
        return y

    return forward


def crossed_bounds(right):
    """The bounds one after the other, the gradient to each where it was the result at some time."""

    def forward(self, x, low, high):
        y = right(self, x, low, high)
        if low is not None and self.whose[1] is not None:
            self.whose = (self.whose[0], np.broadcast_to(x < low, y.shape), self.whose[2])
        return y

    return forward


def half_away_from_zero(x):
    return np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x)


FUNCTIONS = (
    Fault("ln(1 + x) as it is written", "log1p", "small x lose all their digits",
          attribute(reference, "log1p", lambda x: np.log(1 + x)), "forward_is_the_oracle"),
    Fault("y for y + 1", "expm1", "exp's backward, copied", backward(Expm1, lambda self, gy: gy * self.saved[0]),
          "gradient_is_the_derivative"),
    Fault("sign forgotten in backward", "cos", "sin's backward, copied",
          backward(Cos, lambda self, gy: gy * ops.sin(self.saved[0])), "gradient_is_the_derivative"),
    Fault("cosine of the result", "sin", "y kept for backward, as exp's is",
          backward(Sin, lambda self, gy: gy * ops.cos(ops.sin(self.saved[0]))), "gradient_is_the_derivative"),
    Fault("one factor taken for a constant: x for 2x", "square", "PyTorch code with .data in it",
          op(ops.square, lambda right: lambda x: x * x.detach()), "gradient_is_the_derivative"),
    Fault("1 at 0", "sign", "networks of binary weights, x >= 0",
          kernel("sign", lambda right: lambda x: right(x) + (x == 0)), "forward_is_the_oracle"),
    Fault("1/x for 1/x² in backward", "reciprocal", "coursework",
          backward(Reciprocal, lambda self, gy: -gy * self.saved[0]), "gradient_is_the_derivative"),
    Fault("straight through", "floor", "quantisation, where it is meant", backward(Floor, lambda self, gy: gy * 1.0),
          "gradient_is_the_derivative"),
    Fault("halves are rounded away from zero", "round", "what school teaches",
          attribute(reference, "rint", half_away_from_zero), "forward_is_the_oracle"),
    Fault("gradient passes outside of the bounds", "clip", "a clip that is meant for gradients, used on values",
          backward(Clip, lambda self, gy: (gy.sum_to(self.shapes[0]), None, None)), "gradient_is_the_derivative"),
    Fault("gradient 0 on the bounds", "clip", "comparing with < and >", forward(Clip, bounds_excluded),
          "gradient_at_kinks"),
    Fault("bounds get no gradient", "clip (by tensors)", "the bounds are taken to be numbers",
          after_backward(Clip, lambda self, gy, gx, low, high:
                         (gx, None if low is None else low * 0.0, None if high is None else high * 0.0)),
          "gradient_is_the_derivative"),
    Fault("where the bounds are crossed, both get the gradient", "clip (by tensors)", "maximum and minimum by masks",
          forward(Clip, crossed_bounds), "gradient_is_the_derivative"),
)  # fmt: skip


# --- statistics -------------------------------------------------------------------------------------------------------


def divided_by_n(right):
    return lambda self, x, axes, keepdims, correction: right(self, x, axes, keepdims, 0.0)


def overflowing_logsumexp(x, axis, keepdims):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def refusing_nothing(right):
    def logsumexp(x, axis, keepdims):
        x.max(axis=axis)
        return right(x, axis, keepdims)

    return logsumexp


class Quotient(Function):
    """Π x over the axes; ∂y/∂x = y/x, which is NaN where x = 0."""

    def forward(self, x, axis, keepdims):
        y = np.prod(x, axis=axis, keepdims=True)
        self.save(x, y)
        return y if keepdims else np.prod(x, axis=axis)

    def backward(self, gy):
        x, y = self.saved
        return gy.reshape(y.shape) * (y / x)


STATISTICS = (
    Fault("n for n − 1, backward too", "var", "NumPy's default taken for PyTorch's", forward(Var, divided_by_n),
          "forward_is_the_oracle"),
    Fault("n for n − 1 in backward only", "var", "2/n·(x − x̄) from the lecture, whatever the divisor",
          after_backward(Var, lambda self, gy, gx: gx * (self.divisor / (gx.size / gy.size))),
          "gradient_is_the_derivative"),
    Fault("the mean is not taken off in backward", "var", "as if it were a mean of squares",
          backward(Var, lambda self, gy: gy.reshape(self.kept) * self.saved[0] * (2 / self.divisor)),
          "gradient_is_the_derivative"),
    Fault("NaN where all are equal", "std", "var and sqrt, one after the other",
          backward(Std, lambda self, gy: gy.reshape(self.kept) * (
              self.saved[0] - self.saved[0].mean(self.axes, True)) / (self.saved[1].reshape(self.kept) * self.divisor)),
          "sizes_zero_and_one"),
    Fault("overflow: the largest is not taken off", "logsumexp", "the formula as it is written",
          attribute(reference, "logsumexp", overflowing_logsumexp), "forward_is_the_oracle"),
    Fault("not divided by the sum in backward", "logsumexp", "the exponentials kept from forward",
          backward(LogSumExp, lambda self, gy: gy.reshape(self.kept) * ops.exp(self.saved[0])),
          "gradient_is_the_derivative"),
    Fault("nothing to add is an error", "logsumexp", "NumPy's max of no elements",
          kernel("logsumexp", refusing_nothing), "sizes_zero_and_one"),
    Fault("the product divided by x: NaN at 0", "prod", "PyTorch, issue 773; MXNet, issue 17864; Burn, issue 5533",
          op(ops.prod, lambda right: lambda x, axis=None, keepdims=False:
             Quotient.apply(x, axis=axis, keepdims=keepdims)), "sizes_zero_and_one"),
    Fault("the last of equal minima", "argmin", "<= for < in a loop",
          attribute(reference, "argmin", lambda x, axis: last_argmax(-x, axis)), "forward_is_the_oracle"),
)  # fmt: skip


# --- picking by position, moving about, padding -----------------------------------------------------------------------


def scatter_assigns(v, index, axis, size):
    total = np.zeros((*v.shape[:axis], size, *v.shape[axis + 1 :]), v.dtype)
    np.put_along_axis(total, index, v, axis)
    return total


def halves_swapped(self, *gradients):
    return Concat.apply(*gradients[::-1], axis=self.axis)


def parts_of_length(x, sections, axis):
    """As split(x, 2) is read by PyTorch."""
    n = x.shape[axis]
    sizes = [min(sections, n - i) for i in range(0, n, sections)] if isinstance(sections, int) else sections
    return Split.apply(x, sizes=tuple(sizes), axis=axis % x.ndim)


def as_even_as_possible(x, chunks, axis):
    """As NumPy's array_split cuts."""
    sizes = tuple(len(part) for part in np.array_split(np.arange(x.shape[axis]), chunks))
    return Split.apply(x, sizes=sizes, axis=axis % x.ndim)


def without_the_diagonal(right):
    return lambda op, x, k, without=0: right(op, x, k, 1 - without)


def crop(gy, widths, mode):
    return gy[tuple(slice(before, n - after) for n, (before, after) in zip(gy.shape, widths, strict=True))].copy()


def last_of_the_border(gy, widths, mode):
    """The edge gets the gradient of one copy: assigned, not added up."""
    gx = crop(gy, widths, mode)
    for axis, (before, after) in enumerate(widths):
        lines, inside = np.moveaxis(gx, axis, 0), np.moveaxis(crop_but(gy, widths, axis), axis, 0)
        if before:
            lines[0] += inside[0]
        if after:
            lines[-1] += inside[-1]
    return gx


def crop_but(gy, widths, kept):
    return crop(gy, [(0, 0) if axis == kept else side for axis, side in enumerate(widths)], "edge")


def swapped(right):
    """Each source with its destination."""

    def moveaxis(x, source, destination):
        for a, b in zip(np.atleast_1d(source), np.atleast_1d(destination), strict=True):
            x = ops.swapaxes(x, a, b)
        return x

    return moveaxis


def repeat_as_tile(right):
    def repeat(x, repeats, axis=None):
        if not isinstance(repeats, int) or not repeats:
            return right(x, repeats, axis)
        return ops.concat([x.reshape(-1) if axis is None else x] * repeats, axis or 0)

    return repeat


def filled_up_behind(right):
    def tile(x, reps):
        counts = np.atleast_1d(np.asarray(reps, int))
        return right(x, (*counts.tolist(), *[1] * (x.ndim - counts.size)))

    return tile


def without_graph(*tensors):
    return tuple(Tensor(array.copy()) for array in np.broadcast_arrays(*(tensor.data for tensor in tensors)))


MOVING = (
    Fault("its gradient assigns where indices repeat", "gather", "put_along_axis for the adjoint of take_along_axis",
          attribute(reference, "scatter_add", scatter_assigns), "gradient_is_the_derivative"),
    Fault("assigns where it should add", "scatter_add", "scatter for scatter_add",
          attribute(reference, "scatter_add", scatter_assigns), "forward_is_the_oracle"),
    Fault("src gets no gradient", "scatter_add", "an update that is taken for a constant",
          after_backward(Scatter, lambda self, gy, g_src: g_src * 0.0), "gradient_is_the_derivative"),
    Fault("without an axis, along the first one", "take", "pandas' take",
          op(ops.take, lambda right: lambda x, indices, axis=None: right(x, indices, 0 if axis is None else axis)),
          "forward_is_the_oracle"),
    Fault("one axis moved, not two exchanged", "swapaxes", "right for neighbours, and so for matrices",
          op(ops.swapaxes, lambda right: lambda x, axis1, axis2: ops.moveaxis(x, source=axis1, destination=axis2)),
          "forward_is_the_oracle"),
    Fault("exchanged, not moved", "moveaxis", "Datumaro, pull request 1980: images mirrored at their diagonal",
          op(ops.moveaxis, swapped), "forward_is_the_oracle"),
    Fault("the arrays alone: the graph ends there", "broadcast_arrays", "NumPy's functions in the middle of a model",
          attribute(ops, "broadcast_arrays", without_graph), "gradient_is_the_derivative"),
    Fault("gradients of the parts joined in another order", "split", "parts used last come first in a list",
          backward(Split, halves_swapped), "gradient_is_the_derivative"),
    Fault("a number taken for the length of the parts", "split", "ports between NumPy and PyTorch",
          attribute(ops, "split", parts_of_length), "forward_is_the_oracle"),
    Fault("as even as possible, not the last one shorter", "chunk", "NumPy's array_split for PyTorch's chunk",
          attribute(ops, "chunk", as_even_as_possible), "forward_is_the_oracle"),
    Fault("not flipped back", "flip", "augmentation code, where no gradient passes",
          backward(Flip, lambda self, gy: gy * 1.0), "gradient_is_the_derivative"),
    Fault("rolled on in the same direction", "roll", "right for half of an even length",
          backward(Roll, lambda self, gy: Roll.apply(gy, shifts=self.shifts, axes=self.axes)),
          "gradient_is_the_derivative"),
    Fault("all of it again and again: tile", "repeat", "PyTorch, whose repeat it is", op(ops.repeat, repeat_as_tile),
          "forward_is_the_oracle"),
    Fault("too few numbers taken for those of the first axes", "tile", "filled up behind, not in front",
          op(ops.tile, filled_up_behind), "forward_is_the_oracle"),
    Fault("all that tril leaves out: no diagonal", "triu", "what is not lower taken for upper",
          op(ops.triu, lambda right: lambda x, k=0: x - ops.tril(x, k)), "forward_is_the_oracle"),
    Fault("diagonal on the other side", "tril", "< for <=, causal masks off by one",
          attribute(joining, "_below", without_the_diagonal(joining._below)), "forward_is_the_oracle"),
    Fault("the edge is mirrored, too", "pad (reflect)", "NumPy's symmetric for its reflect",
          attribute(reference, "pad_with_copies", lambda x, widths, mode:
                    np.pad(x, widths, mode="symmetric") if widths else x.copy()), "forward_is_the_oracle"),
    Fault("gradient of the border dropped", "pad (reflect)", "zero padding's backward, kept for all modes",
          attribute(reference, "fold_copies", crop), "gradient_is_the_derivative"),
    Fault("the edge gets the gradient of one copy", "pad (edge)", "assigned, not added up",
          attribute(reference, "fold_copies", last_of_the_border), "gradient_is_the_derivative"),
)  # fmt: skip


# --- einsum -----------------------------------------------------------------------------------------------------------

einsum_module = importlib.import_module("minicnn.ops.einsum")  # minicnn.ops.einsum is the function
gradient_of_operand = Einsum.gradient


def transposed_where_it_fits(self, k, gy):
    g = gradient_of_operand(self, k, gy)
    return g.transpose() if g.ndim == 2 and g.shape == g.shape[::-1] else g


def averaged(self, k, gy):
    """An axis that was summed away shares the gradient out, as that of a mean does."""
    g = gradient_of_operand(self, k, gy)
    others = (self.output, *self.terms[:k], *self.terms[k + 1 :])
    alone = [n for name, n in zip(self.terms[k], self.shapes[k], strict=True) if not any(name in o for o in others)]
    return g * (1 / int(np.prod(alone))) if alone and min(alone) else g


def in_order_of_appearance(right):
    """ "ba" as "ba->ba", where NumPy has "ba->ab"."""

    def names(formula, terms, output, operands):
        if output is None:
            letters = "".join(terms).replace(".", "")
            output = "..." * ("..." in formula) + "".join(n for n in letters if letters.count(n) == 1)
        return right(formula, terms, output, operands)

    return names


CONTRACTION = (
    Fault("the result's axes in order of appearance", "einsum", "implicit formulas, not sorted",
          attribute(einsum_module, "_names_for_the_rest", in_order_of_appearance(einsum_module._names_for_the_rest)),
          "forward_is_the_oracle"),
    Fault("gradient transposed where it is square", "einsum", "tests with square matrices",
          attribute(Einsum, "gradient", transposed_where_it_fits), "gradient_is_the_derivative"),
    Fault("axes summed alone get a mean's gradient", "einsum", "broadcasting back, and dividing",
          attribute(Einsum, "gradient", averaged), "gradient_is_the_derivative"),
)  # fmt: skip

ELEMENTARY = FUNCTIONS + STATISTICS + MOVING + CONTRACTION
