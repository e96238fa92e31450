"""Joining, cutting and repeating: the same numbers beside one another. Each op is linear, and its gradient undoes it.

concat ↔ split, flip ↔ flip, roll ↔ roll back; repeat and tile are broadcasts, whose gradients are sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import (
    as_tuple,
    axes_in_order,
    axes_of,
    axis_of,
    expect,
    is_whole,
    of_one_dtype,
    one_line,
    refuse_huge,
    sizes_of,
)
from .arithmetic import where
from .indexing import take
from .shape import broadcast_to, expand_dims, reshape

MOST_PARTS = 10**6  # of an axis that is empty, which has as many empty parts as anyone likes


class Concat(Function):
    """The inputs one after the other along an axis; each gets its stretch of gy."""

    any_dtype = True

    def forward(self, *arrays, axis):
        self.axis, self.sizes = axis, tuple(array.shape[axis] for array in arrays)
        return kernels.concat(arrays, axis)

    def backward(self, gy):
        return Split.apply(gy, sizes=self.sizes, axis=self.axis)


class Split(Function):
    """Stretches of x along an axis, views of it;  gx is their gradients one after the other."""

    any_dtype = True

    def forward(self, x, sizes, axis):
        self.axis = axis
        stretches = [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]
        return tuple(kernels.getitem(x, (slice(None),) * axis + (stretch,)) for stretch in stretches)

    def backward(self, *gradients):
        return Concat.apply(*gradients, axis=self.axis)


class Flip(Function):
    """y[i] = x[n − 1 − i] along each of the axes;  gx is gy flipped back."""

    any_dtype = True

    def forward(self, x, axes):
        self.axes = axes
        return kernels.getitem(x, tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(x.ndim)))

    def backward(self, gy):
        return Flip.apply(gy, axes=self.axes)


class Roll(Function):
    """y[i] = x[(i − shift) mod n] along each of the axes;  gx is gy rolled back."""

    any_dtype = True

    def forward(self, x, shifts, axes):
        self.shifts, self.axes = shifts, axes
        return kernels.roll(x, shifts, axes)

    def backward(self, gy):
        return Roll.apply(gy, shifts=tuple(-shift for shift in self.shifts), axes=self.axes)


# --- what users call --------------------------------------------------------------------------------------------------


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


def split(x: Tensor, sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along axis: an integer makes so many equal parts, as in NumPy; a list parts of these sizes, as in PyTorch.

    Raises ShapeError if the parts do not make up the axis: chunk() cuts one that does not divide.
    """
    expect("split", x)
    along = axis_of("split", x, axis)
    size = x.shape[along]
    if is_whole(sections) and 0 < sections <= MOST_PARTS and size % sections == 0:
        sizes: tuple[int, ...] = (size // int(sections),) * int(sections)
    else:
        sizes = sizes_of("split", x, sections) if isinstance(sections, tuple | list | np.ndarray) else (-1,)
    if min(sizes, default=0) < 0 or sum(sizes) != size:
        raise ShapeError(
            f"split along axis {axis} of shape {x.shape} needs a number of parts that divides {size}, "
            f"or sizes that add up to it, got {one_line(sections)}"
        )
    return Split.apply(x, sizes=sizes, axis=along) if sizes else ()


def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along axis into parts of ⌈n / chunks⌉, the last one shorter, or fewer parts if n does not suffice.

    Raises ArgumentError unless chunks ≥ 1, ShapeError for an axis that is not there.
    """
    expect("chunk", x)
    along = axis_of("chunk", x, axis)
    if not is_whole(chunks) or chunks < 1:
        raise ArgumentError(f"chunk of shape {x.shape} needs a number of chunks ≥ 1, got {one_line(chunks)}")
    size = x.shape[along]
    length = max(1, -(-size // int(chunks)))
    return split(x, [min(length, size - start) for start in range(0, size, length)] or [0], along)


def flip(x: Tensor, axis: Any = None) -> Tensor:
    """x reversed along axis: one, several, or (None) all. Raises ShapeError for one that is not there."""
    expect("flip", x)
    return Flip.apply(x, axes=axes_of("flip", x, axis))


def roll(x: Tensor, shift: Any, axis: Any = None) -> Tensor:
    """x moved by `shift` places along axis; what leaves at one end comes in at the other. None: of x as one long row.

    Several axes, each with its own shift, are tuples. Raises ShapeError for an axis that is not there, ArgumentError
    unless there is one integer for each axis.
    """
    expect("roll", x)
    if axis is None:
        return roll(x.reshape(-1), shift, 0).reshape(x.shape)
    axes, shifts = axes_in_order("roll", x, axis), as_tuple(shift)
    if len(axes) != len(shifts) or not all(map(is_whole, shifts)):
        raise ArgumentError(
            f"roll of shape {x.shape} needs one integer for each axis, got shift={one_line(shift)}, axis={axis}"
        )
    within = tuple(int(s) % max(1, x.shape[a]) for s, a in zip(shifts, axes, strict=True))
    return Roll.apply(x, shifts=within, axes=axes)


def repeat(x: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element along axis `repeats` times in a row: [a, b] -> [a, a, b, b]. None: of x as one long row.

    A list has a number for each position. As in NumPy; PyTorch calls it repeat_interleave, and its repeat is tile.
    Raises ArgumentError unless repeats are integers ≥ 0, one or as many as the axis is long.
    """
    expect("repeat", x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    along = axis_of("repeat", x, axis)
    before, size, after = x.shape[:along], x.shape[along], x.shape[along + 1 :]
    counts = as_tuple(repeats)
    if not all(map(is_whole, counts)) or min(counts, default=0) < 0 or len(counts) not in (1, size):
        raise ArgumentError(
            f"repeat along axis {along} of shape {x.shape} needs an integer ≥ 0, or {size} of them, "
            f"got {one_line(repeats)}"
        )
    counts = tuple(map(int, counts))
    refuse_huge("repeat", x, (*before, sum(counts) if len(counts) == size else size * counts[0], *after))
    if len(counts) != 1:
        return take(x, np.repeat(np.arange(size), counts), along)
    wide = broadcast_to(expand_dims(x, along + 1), (*before, size, counts[0], *after))
    return reshape(wide, (*before, size * counts[0], *after))


def tile(x: Tensor, reps: Any) -> Tensor:
    """x laid out reps[i] times along axis i: [a, b] -> [a, b, a, b]. PyTorch's x.repeat.

    Too few numbers are those of the last axes; more than x has axes make new ones in front. Raises ArgumentError unless
    they are integers ≥ 0.
    """
    expect("tile", x)
    counts = as_tuple(reps)
    if not all(map(is_whole, counts)) or min(counts, default=0) < 0:
        raise ArgumentError(f"tile of shape {x.shape} needs integers ≥ 0, got {one_line(reps)}")
    counts = (1,) * (x.ndim - len(counts)) + tuple(map(int, counts))
    sizes = (1,) * (len(counts) - x.ndim) + x.shape
    shape = tuple(count * size for count, size in zip(counts, sizes, strict=True))
    refuse_huge("tile", x, shape)
    laid_out = broadcast_to(
        reshape(x, tuple(part for size in sizes for part in (1, size))),
        tuple(part for pair in zip(counts, sizes, strict=True) for part in pair),
    )
    return reshape(laid_out, shape)


def tril(x: Tensor, k: int = 0) -> Tensor:
    """x (..., M, N) on its diagonal and below, 0 above; k moves the diagonal up. Raises ShapeError without two axes."""
    return where(_below("tril", x, k), x, 0)


def triu(x: Tensor, k: int = 0) -> Tensor:
    """x (..., M, N) on its diagonal and above, 0 below; k moves the diagonal up. Errors as tril."""
    return where(_below("triu", x, k, 1), 0, x)


def _below(op: str, x: Tensor, k: Any, without: int = 0) -> np.ndarray:
    """Where column − row ≤ k, or < k `without` the diagonal itself."""
    expect(op, x)
    if x.ndim < 2:
        raise ShapeError(f"{op} needs a matrix or several, (..., M, N), got shape {x.shape}")
    if not is_whole(k):
        raise ArgumentError(f"{op} of shape {x.shape} needs an integer k, got {one_line(k)}")
    rows, columns = x.shape[-2:]
    return np.arange(columns) - np.arange(rows)[:, None] <= max(-rows, min(int(k), columns)) - without


def _tensors(op: str, tensors: Any) -> list[Tensor]:
    """A sequence of Tensors, integers among them in the dtype of the floating ones."""
    if not isinstance(tensors, Iterable) or (isinstance(tensors, np.ndarray) and tensors.ndim == 0):
        expect(op, tensors, "each part of a list")
    tensors = list(tensors)
    for position, tensor in enumerate(tensors):
        expect(op, tensor, f"tensors[{position}]")
    if not tensors:
        raise ShapeError(f"{op} needs at least one tensor")
    return of_one_dtype(op, tensors)
