"""Shape: the same numbers elsewhere. Each op here is linear, and its gradient puts the numbers back.

reshape ↔ reshape, transpose ↔ inverse transpose, broadcast_to ↔ sum_to, getitem ↔ scatter_add, concat and pad → slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..errors import IndexingError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .reduction import axes_of


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


class GetItem(Function):
    """y = x[index], all of NumPy's indices;  gx is zero but for gy added at index."""

    name = "getitem"
    any_dtype = True

    def forward(self, x, index):
        self.index, self.shape = index, x.shape
        return kernels.getitem(x, index)

    def backward(self, gy):
        return scatter_add(gy, self.index, self.shape)


class ScatterAdd(Function):
    """y = zeros of `shape`, with v added at index (repeated positions add up);  gv = gy[index]."""

    any_dtype = True

    def forward(self, v, index, shape):
        self.index = index
        return kernels.scatter_add(v, index, shape)

    def backward(self, gy):
        return gy[self.index]


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
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else tuple(shape)
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and x.size % known == 0:
        sizes = tuple(x.size // known if size == -1 else size for size in sizes)
    if min(sizes, default=0) < 0 or math.prod(sizes) != x.size:
        raise ShapeError(f"reshape of shape {x.shape}, {x.size} elements, to {sizes} is not possible")
    return x if sizes == x.shape else Reshape.apply(x, shape=sizes)


def flatten(x: Tensor, start_axis: int = 0) -> Tensor:
    """All axes from start_axis on as one: (N, C, H, W) with start_axis=1 -> (N, C·H·W)."""
    if not 0 <= start_axis <= x.ndim:
        raise ShapeError(f"flatten from axis {start_axis} is not possible: x has shape {x.shape}")
    return reshape(x, *x.shape[:start_axis], math.prod(x.shape[start_axis:]))


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Axes in another order; without arguments reversed. Raises ShapeError if `axes` is not a permutation."""
    order = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], tuple | list) else tuple(axes)
    order = order or tuple(reversed(range(x.ndim)))
    positive = tuple(axis % x.ndim if -x.ndim <= axis < x.ndim else axis for axis in order)
    if sorted(positive) != list(range(x.ndim)):
        raise ShapeError(f"transpose of shape {x.shape} needs each of its {x.ndim} axes once, got {order}")
    return Transpose.apply(x, axes=positive)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape`. Raises ShapeError if that does not broadcast."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    tail = shape[len(shape) - x.ndim :] if len(shape) >= x.ndim else None
    if tail is None or any(size not in (1, wanted) for size, wanted in zip(x.shape, tail, strict=True)):
        raise ShapeError(f"broadcast_to cannot turn shape {x.shape} into {shape}: sizes must be equal, or 1 in x")
    return BroadcastTo.apply(x, shape=shape)


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """x without the axes of size 1 in `axis` (None: all of them). Raises ShapeError if one is larger."""
    axes = [a for a, size in enumerate(x.shape) if size == 1] if axis is None else axes_of("squeeze", x, axis)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(f"squeeze of axis {axis} is not possible: x has shape {x.shape}, and only sizes of 1 can go")
    return reshape(x, tuple(size for a, size in enumerate(x.shape) if a not in axes))


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of size 1 at position `axis`. Raises ShapeError if there is no such position."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise ShapeError(f"expand_dims at axis {axis} is not possible: x has shape {x.shape}")
    position = axis % (x.ndim + 1)
    return reshape(x, (*x.shape[:position], 1, *x.shape[position:]))


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices, None, ..., and arrays of integers or bools, as in NumPy.

    Raises IndexingError if the index does not fit the shape.
    """
    index = tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index)
    try:
        return GetItem.apply(x, index=index)
    except IndexError as error:
        raise IndexingError(f"index {index!r} does not fit a tensor of shape {x.shape}: {error}") from None


def _plain(index: Any) -> Any:
    return index.data if isinstance(index, Tensor) else index


def iterate(x: Tensor) -> Iterator[Tensor]:
    """x[0], x[1], ..."""
    return (getitem(x, position) for position in range(len(x)))


def scatter_add(v: Tensor, index: Any, shape: Sequence[int]) -> Tensor:
    """Zeros of `shape`, with v added at index, positions that repeat adding up: the adjoint of getitem.

    Raises IndexingError if index does not fit shape, ShapeError if v does not have the shape of what index selects.
    """
    index = tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index)
    try:
        selected = np.broadcast_to(np.empty((), bool), shape)[index].shape
    except IndexError as error:
        raise IndexingError(f"index {index!r} does not fit shape {tuple(shape)}: {error}") from None
    if selected != v.shape:
        raise ShapeError(f"scatter_add: index selects shape {selected} of {tuple(shape)}, but v has shape {v.shape}")
    return ScatterAdd.apply(v, index=index, shape=tuple(shape))


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors one after the other along axis. Raises ShapeError if the other axes differ, or there are none."""
    tensors = list(tensors)
    if not tensors:
        raise ShapeError("concat needs at least one tensor")
    (along,) = axes_of("concat", tensors[0], axis)
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
    return concat([expand_dims(tensor, axis) for tensor in tensors], axis)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with widths[i] = (before, after) elements of `value` around axis i. Raises ShapeError unless all are ≥ 0."""
    widths = tuple((int(before), int(after)) for before, after in widths)
    if len(widths) != x.ndim or any(min(sides) < 0 for sides in widths):
        raise ShapeError(
            f"pad needs (before, after), both ≥ 0, for each of the {x.ndim} axes of shape {x.shape}, got {widths}"
        )
    return Pad.apply(x, widths=widths, value=value)
