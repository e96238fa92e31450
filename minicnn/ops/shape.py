"""Shape: the same numbers elsewhere. Each op here is linear, and its gradient puts the numbers back.

reshape ↔ reshape, transpose ↔ inverse transpose, broadcast_to ↔ sum_to. What puts numbers beside one another stands in
joining.py, what picks them by position in indexing.py, padding in pad.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import as_tuple, axes_in_order, axes_of, axis_of, expect, is_whole, one_line, refuse_huge, sizes_of


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
    """All axes from start_axis on as one: (N, C, H, W) with start_axis=1 -> (N, C·H·W).

    Raises ShapeError for an axis that is not there.
    """
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


def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """The axes `source`, one or several, at the positions `destination`; the others keep their order, as in NumPy.

    Raises ShapeError for axes that are not there, or unless there are as many of both.
    """
    expect("moveaxis", x)
    moved, to = axes_in_order("moveaxis", x, source), axes_in_order("moveaxis", x, destination)
    if len(moved) != len(to):
        raise ShapeError(f"moveaxis of shape {x.shape} needs as many sources as destinations, got {moved} and {to}")
    order = [axis for axis in range(x.ndim) if axis not in moved]
    for position, axis in sorted(zip(to, moved, strict=True)):
        order.insert(position, axis)
    return Transpose.apply(x, axes=tuple(order))


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged: PyTorch's x.transpose(axis1, axis2).

    Raises ShapeError for an axis that is not there.
    """
    expect("swapaxes", x)
    a, b = axis_of("swapaxes", x, axis1), axis_of("swapaxes", x, axis2)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return Transpose.apply(x, axes=tuple(order))


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


def broadcast_arrays(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each repeated to the shape that they have together. Raises ShapeError if they do not broadcast."""
    for position, tensor in enumerate(tensors):
        expect("broadcast_arrays", tensor, f"tensors[{position}]")
    try:
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = " and ".join(str(tensor.shape) for tensor in tensors)
        raise ShapeError(
            f"broadcast_arrays got shapes {shapes}, which do not broadcast: "
            "counted from the last axis, sizes must be equal or 1"
        ) from None
    return tuple(broadcast_to(tensor, shape) for tensor in tensors)


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
