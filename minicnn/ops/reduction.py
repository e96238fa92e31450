"""Reductions. Their gradients are broadcasts: what summed an axis away hands the same gradient to all along it.

axis: an int, a tuple of ints, or None for all; keepdims leaves the axes in place with size 1, as in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..errors import ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import axes_of, axis_of, expect, flag, floating, sizes_of


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


class ArgMax(Function):
    """Index of the first maximum: piecewise constant, no gradient."""

    name = "argmax"
    any_dtype = True

    def forward(self, x, axis):
        return kernels.argmax(x, axis)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo a broadcast from `shape` to x.shape: sum over the axes it added or stretched. x itself if there are none."""
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
