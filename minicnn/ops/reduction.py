"""Reductions. Their gradients are broadcasts: what summed an axis away hands the same gradient to all along it.

axis: an int, a tuple of ints, or None for all; keepdims leaves the axes in place with size 1, as in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import axes_of, axis_of, expect, flag, floating, is_number, one_line, sizes_of
from .arithmetic import where
from .joining import concat


def _with_ones(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


class Sum(Function):
    """y = Σ x over the axes;  ∂y/∂x = 1, so gx is gy broadcast."""

    any_dtype = True

    def forward(self, x, axes, keepdims):
        self.shape, self.kept = x.shape, _with_ones(x.shape, axes)
        return kernels.sum(x, axes, keepdims)

    def backward(self, gy):
        return gy.reshape(self.kept).broadcast_to(self.shape)


class Mean(Function):
    """y = 1/n · Σ x over the axes;  ∂y/∂x = 1/n."""

    def forward(self, x, axes, keepdims):
        self.shape, self.kept = x.shape, _with_ones(x.shape, axes)
        self.share = 1 / math.prod(x.shape[axis] for axis in axes)
        return kernels.mul(kernels.sum(x, axes, keepdims), x.dtype.type(self.share))

    def backward(self, gy):
        return (gy * self.share).reshape(self.kept).broadcast_to(self.shape)


class Max(Function):
    """y = max x over the axes;  the gradient goes to the maximum, in equal shares where there are several."""

    def forward(self, x, axes, keepdims):
        largest = kernels.amax(x, axes, True)
        ties = kernels.cast(kernels.compare(x, largest, "equal"), x.dtype)
        count = kernels.maximum(kernels.sum(ties, axes, True), x.dtype.type(1))  # NaN equals nothing: 0 ties
        self.save(kernels.div(ties, count))
        self.kept = largest.shape
        return largest if keepdims else kernels.reshape(largest, _without(x.shape, axes))

    def backward(self, gy):
        (share,) = self.saved
        return gy.reshape(self.kept) * share


class Var(Function):
    """y = Σ (x − x̄)² / (n − c) over the axes, where x̄ is the mean over them;  ∂y/∂x = 2·(x − x̄) / (n − c).

    That x̄ moves with x changes nothing, since Σ (x − x̄) = 0. c is the correction.
    """

    def forward(self, x, axes, keepdims, correction):
        self.save(x)
        self.axes, self.kept = axes, _with_ones(x.shape, axes)
        self.divisor = math.prod(x.shape[axis] for axis in axes) - correction
        return _variance(x, axes, keepdims, self.divisor)

    def backward(self, gy):
        (x,) = self.saved
        return gy.reshape(self.kept) * (x - x.mean(self.axes, True)) * (2 / self.divisor)


class Std(Function):
    """y = √var;  ∂y/∂x = (x − x̄) / ((n − c)·y), and 0 where y = 0, as in PyTorch: there all x are equal."""

    def forward(self, x, axes, keepdims, correction):
        self.axes, self.kept = axes, _with_ones(x.shape, axes)
        self.divisor = math.prod(x.shape[axis] for axis in axes) - correction
        y = kernels.sqrt(_variance(x, axes, keepdims, self.divisor))
        self.save(x, y)
        return y

    def backward(self, gy):
        x, y = self.saved
        y = y.reshape(self.kept)
        deviation = x - x.mean(self.axes, True)
        return gy.reshape(self.kept) * (deviation / ((y + (y == 0.0)) * self.divisor))


def _variance(x: Any, axes: tuple[int, ...], keepdims: bool, divisor: float) -> Any:
    n = math.prod(x.shape[axis] for axis in axes)
    deviation = kernels.sub(x, kernels.mul(kernels.sum(x, axes, True), x.dtype.type(1 / n)))
    return kernels.mul(kernels.sum(kernels.mul(deviation, deviation), axes, keepdims), x.dtype.type(1 / divisor))


class LogSumExp(Function):
    """y = ln Σ eˣ over the axes;  ∂y/∂x = e^(x − y), the softmax of x (0 where all x are −∞)."""

    name = "logsumexp"

    def forward(self, x, axes, keepdims):
        self.kept = _with_ones(x.shape, axes)
        y = kernels.logsumexp(x, axes, keepdims)
        self.save(x, y)
        return y

    def backward(self, gy):
        x, y = self.saved
        y = where(y == -math.inf, 0.0, y).reshape(self.kept)
        return gy.reshape(self.kept) * (x - y).exp()


def _without(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Σ x over axis (0 over no elements). Raises ShapeError for an axis that is not there, ArgumentError for keepdims
    that is no bool."""
    expect("sum", x)
    return Sum.apply(x, axes=axes_of("sum", x, axis), keepdims=flag("sum", "keepdims", keepdims))


def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Σ x / n over axis. Raises ShapeError over no elements, where it is not defined."""
    expect("mean", x)
    axes = axes_of("mean", x, axis)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ShapeError(f"mean over axes {axes} of shape {x.shape} has no elements to average")
    return Mean.apply(x, axes=axes, keepdims=flag("mean", "keepdims", keepdims))


def max(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest x over axis; NaN if there is one. Raises ShapeError over no elements."""
    expect("max", x)
    axes = axes_of("max", x, axis)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ShapeError(f"max over axes {axes} of shape {x.shape} has no elements to compare")
    return Max.apply(x, axes=axes, keepdims=flag("max", "keepdims", keepdims))


def min(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest x over axis: −max(−x). Errors as max."""
    expect("min", x)
    floating("min", x)
    axes = axes_of("min", x, axis)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ShapeError(f"min over axes {axes} of shape {x.shape} has no elements to compare")
    return -max(-x, axes, flag("min", "keepdims", keepdims))


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    """Index of the first largest x along one axis, int64; no gradient. Errors as max."""
    expect("argmax", x)
    along = axis_of("argmax", x, axis)
    if x.shape[along] == 0:
        raise ShapeError(f"argmax along axis {axis} of shape {x.shape} has no elements to compare")
    return ArgMax.apply(x, axis=along)


def argmin(x: Tensor, axis: int = -1) -> Tensor:
    """Index of the first smallest x along one axis, int64; no gradient. Errors as max."""
    expect("argmin", x)
    along = axis_of("argmin", x, axis)
    if x.shape[along] == 0:
        raise ShapeError(f"argmin along axis {axis} of shape {x.shape} has no elements to compare")
    return ArgMin.apply(x, axis=along)


def var(x: Tensor, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Tensor:
    """The variance of x over axis: Σ (x − x̄)² / (n − correction).

    correction=0, NumPy's default, is the variance of these numbers; 1, PyTorch's, the unbiased estimate from a sample.
    Raises ShapeError unless n > correction, ArgumentError if it is no number.
    """
    return Var.apply(x, **_statistics("var", x, axis, keepdims, correction))


def std(x: Tensor, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Tensor:
    """The standard deviation of x over axis, √var: see var. Its gradient is 0 where all x are equal."""
    return Std.apply(x, **_statistics("std", x, axis, keepdims, correction))


def _statistics(op: str, x: Tensor, axis: Any, keepdims: Any, correction: Any) -> dict[str, Any]:
    expect(op, x)
    axes = axes_of(op, x, axis)
    if not is_number(correction):
        raise ArgumentError(f"{op} of shape {x.shape} needs a number as correction, got {one_line(correction)}")
    count = math.prod(x.shape[a] for a in axes)
    if count == 0 or not count > correction:
        raise ShapeError(
            f"{op} over axes {axes} of shape {x.shape} has {count} elements, and needs more than its "
            f"correction={correction}"
        )
    return {"axes": axes, "keepdims": flag(op, "keepdims", keepdims), "correction": float(correction)}


def logsumexp(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """ln Σ eˣ over axis, without overflow (−∞ over no elements). Raises ShapeError for an axis that is not there."""
    expect("logsumexp", x)
    axes = axes_of("logsumexp", x, axis)
    return LogSumExp.apply(x, axes=axes, keepdims=flag("logsumexp", "keepdims", keepdims))


def prod(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Π x over axis (1 over no elements); its gradient, the product of the others, is right at zeros too.

    Raises ShapeError for an axis that is not there.
    """
    expect("prod", x)
    axes = axes_of("prod", x, axis)
    shape = _with_ones(x.shape, axes) if flag("prod", "keepdims", keepdims) else _without(x.shape, axes)
    count = math.prod(x.shape[a] for a in axes)
    if count == 0:
        return x.sum(axes).reshape(shape) + 1
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    factors = x.transpose(axes + rest).reshape(count, *_without(x.shape, axes))
    while len(factors) > 1:  # halve by halves: no division, which zeros would forbid
        half = len(factors) // 2
        pairs = factors[:half] * factors[half : 2 * half]
        factors = concat([pairs, factors[2 * half :]]) if len(factors) % 2 else pairs
    return factors.reshape(shape)


class ArgMin(Function):
    """Index of the first minimum: piecewise constant, no gradient."""

    name = "argmin"
    any_dtype = True

    def forward(self, x, axis):
        return kernels.argmin(x, axis)


class ArgMax(Function):
    """Index of the first maximum: piecewise constant, no gradient."""

    name = "argmax"
    any_dtype = True

    def forward(self, x, axis):
        return kernels.argmax(x, axis)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo a broadcast from `shape` to x.shape: sum over the axes it added or stretched. x itself if there are none.

    Raises ShapeError unless `shape` broadcasts to x.shape.
    """
    expect("sum_to", x)
    if type(shape) is tuple and x.shape == shape:
        return x
    shape = sizes_of("sum_to", x, shape)
    added = x.ndim - len(shape)
    if added < 0 or any(size not in (1, x.shape[a + added]) for a, size in enumerate(shape)):
        raise ShapeError(f"sum_to cannot turn shape {x.shape} into {shape}: that does not broadcast to it")
    stretched = tuple(a + added for a, size in enumerate(shape) if size == 1 and x.shape[a + added] != 1)
    y = Sum.apply(x, axes=tuple(range(added)) + stretched, keepdims=True)
    return y.reshape(shape)
