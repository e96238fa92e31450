"""Shape: the same numbers elsewhere. Each op here is linear, and its gradient puts the numbers back.

reshape ↔ reshape, transpose ↔ inverse transpose, broadcast_to ↔ sum_to, concat and pad → slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import (
    as_tuple,
    axes_of,
    axis_of,
    expect,
    is_whole,
    of_one_dtype,
    one_line,
    refuse_huge,
    sizes_of,
)


class Reshape(Function):
    """The same elements, in row-major order, in another shape; gx is gy in the old one."""

    any_dtype = True

    def forward(self, x, shape):
        self.shape = x.shape
        return kernels.reshape(x, shape)

    def backward(self, gy):
        return gy.reshape(self.shape)


class Transpose(Function):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...];  gx is gy with the axes put back."""

    any_dtype = True

    def forward(self, x, axes):
        self.inverse = tuple(int(axis) for axis in np.argsort(axes))
        return kernels.transpose(x, axes)

    def backward(self, gy):
        return gy.transpose(self.inverse)


class BroadcastTo(Function):
    """x repeated along new axes and axes of size 1; gx is the sum over the repetitions."""

    any_dtype = True

    def forward(self, x, shape):
        self.shape = x.shape
        return kernels.broadcast_to(x, shape)

    def backward(self, gy):
        return gy.sum_to(self.shape)


class Concat(Function):
    """The inputs one after the other along an axis; each gets its stretch of gy."""

    any_dtype = True

    def forward(self, *arrays, axis):
        self.axis, self.sizes = axis, [array.shape[axis] for array in arrays]
        return kernels.concat(arrays, axis)

    def backward(self, gy):
        gradients, start = [], 0
        for size in self.sizes:
            gradients.append(gy[(slice(None),) * self.axis + (slice(start, start + size),)])
            start += size
        return tuple(gradients)


class Pad(Function):
    """x with `value` around it;  gx is the part of gy inside of the border."""

    any_dtype = True

    def forward(self, x, widths, value):
        self.inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
        return kernels.pad(x, widths, value)

    def backward(self, gy):
        return gy[self.inside]


# --- what users call --------------------------------------------------------------------------------------------------


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x in another shape with as many elements; one size may be −1. Raises ShapeError if the numbers differ."""
    expect("reshape", x)
    sizes = sizes_of("reshape", x, shape[0] if len(shape) == 1 else shape)
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes = tuple(x.size // known if size == -1 else size for size in sizes)
    if min(sizes, default=0) < 0 or math.prod(sizes) != x.size:
        raise ShapeError(f"reshape of shape {x.shape}, {x.size} elements, to {sizes} is not possible")
    return x if sizes == x.shape else Reshape.apply(x, shape=sizes)


def flatten(x: Tensor, start_axis: int = 0) -> Tensor:
    """All axes from start_axis on as one: (N, C, H, W) with start_axis=1 -> (N, C·H·W)."""
    expect("flatten", x)
    if not is_whole(start_axis) or not 0 <= start_axis <= x.ndim:
        raise ShapeError(f"flatten from axis {one_line(start_axis)} is not possible: x has shape {x.shape}")
    return reshape(x, *x.shape[:start_axis], math.prod(x.shape[start_axis:]))


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Axes in another order; without arguments reversed. Raises ShapeError if `axes` is not a permutation."""
    expect("transpose", x)
    order = as_tuple(axes[0]) if len(axes) == 1 else axes
    order = order or tuple(reversed(range(x.ndim)))
    whole = all(map(is_whole, order))
    positive = tuple(int(axis) % x.ndim if -x.ndim <= axis < x.ndim else axis for axis in order) if whole else ()
    if not whole or sorted(positive) != list(range(x.ndim)):
        raise ShapeError(f"transpose of shape {x.shape} needs each of its {x.ndim} axes once, got {one_line(order)}")
    return Transpose.apply(x, axes=positive)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape`. Raises ShapeError if that does not broadcast."""
    expect("broadcast_to", x)
    if type(shape) is tuple and x.shape == shape:
        return x
    shape = sizes_of("broadcast_to", x, shape)
    tail = shape[len(shape) - x.ndim :] if len(shape) >= x.ndim else None
    if (
        tail is None
        or min(shape, default=0) < 0
        or any(size not in (1, wanted) for size, wanted in zip(x.shape, tail, strict=True))
    ):
        raise ShapeError(f"broadcast_to cannot turn shape {x.shape} into {shape}: sizes must be equal, or 1 in x")
    refuse_huge("broadcast_to", x, shape)
    return x if x.shape == shape else BroadcastTo.apply(x, shape=shape)


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """x without the axes of size 1 in `axis` (None: all of them). Raises ShapeError if one is larger."""
    expect("squeeze", x)
    axes = [a for a, size in enumerate(x.shape) if size == 1] if axis is None else axes_of("squeeze", x, axis)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(f"squeeze of axis {axis} is not possible: x has shape {x.shape}, and only sizes of 1 can go")
    return reshape(x, tuple(size for a, size in enumerate(x.shape) if a not in axes))


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of size 1 at position `axis`. Raises ShapeError if there is no such position."""
    expect("expand_dims", x)
    if not is_whole(axis) or not -x.ndim - 1 <= axis <= x.ndim:
        raise ShapeError(f"expand_dims at axis {one_line(axis)} is not possible: x has shape {x.shape}")
    position = int(axis) % (x.ndim + 1)
    return reshape(x, (*x.shape[:position], 1, *x.shape[position:]))


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors one after the other along axis. Raises ShapeError if the other axes differ, or there are none."""
    tensors = _tensors("concat", tensors)
    along = axis_of("concat", tensors[0], axis)
    first = tensors[0].shape
    for tensor in tensors:
        if tensor.ndim != len(first) or any(
            a != b for position, (a, b) in enumerate(zip(first, tensor.shape, strict=True)) if position != along
        ):
            raise ShapeError(
                f"concat along axis {axis} got shapes {first} and {tensor.shape}: other axes must be equal"
            )
    return Concat.apply(*tensors, axis=along)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis. Raises ShapeError if their shapes differ."""
    tensors = _tensors("stack", tensors)
    first = tensors[0].shape
    if any(tensor.shape != first for tensor in tensors):
        raise ShapeError(f"stack needs tensors of one shape, got {', '.join(str(tensor.shape) for tensor in tensors)}")
    if not is_whole(axis) or not -len(first) - 1 <= axis <= len(first):
        raise ShapeError(f"stack along a new axis {one_line(axis)} is not possible: the tensors have shape {first}")
    return concat([expand_dims(tensor, axis) for tensor in tensors], axis)


def _tensors(op: str, tensors: Any) -> list[Tensor]:
    """A sequence of Tensors, integers among them in the dtype of the floating ones."""
    if not isinstance(tensors, Iterable):
        expect(op, tensors, "each part of a list")
    tensors = list(tensors)
    for position, tensor in enumerate(tensors):
        expect(op, tensor, f"tensors[{position}]")
    if not tensors:
        raise ShapeError(f"{op} needs at least one tensor")
    return of_one_dtype(op, tensors)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with widths[i] = (before, after) elements of `value` around axis i. Raises ShapeError unless all are ≥ 0."""
    expect("pad", x)
    sides = [as_tuple(side) for side in as_tuple(widths)]
    if len(sides) != x.ndim or not all(len(s) == 2 and all(map(is_whole, s)) and min(s) >= 0 for s in sides):
        raise ShapeError(
            f"pad needs (before, after), both ≥ 0, for each of the {x.ndim} axes of shape {x.shape}, "
            f"got {one_line(widths)}"
        )
    if not isinstance(value, int | float | np.number):
        raise ArgumentError(f"pad of shape {x.shape} needs a number as value, got {one_line(value)}")
    widths = tuple((int(before), int(after)) for before, after in sides)
    refuse_huge("pad", x, tuple(size + before + after for size, (before, after) in zip(x.shape, widths, strict=True)))
    return Pad.apply(x, widths=widths, value=value)
