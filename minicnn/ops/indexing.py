"""Indexing: numbers picked by their positions. Each op here is linear, and its gradient adds the numbers back.

    getitem ↔ add_at         NumPy's x[index], with every kind of index        take is getitem along one axis
    gather ↔ scatter_add     one position for each result, along one axis

Positions that repeat are the point: what was read twice gets two gradients, and they add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..errors import DTypeError, IndexingError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import array_of, axis_of, expect, of_one_dtype, one_line, refuse_huge, sizes_of


class GetItem(Function):
    """y = x[index], all of NumPy's indices;  gx is zero but for gy added at index."""

    name = "getitem"
    any_dtype = True

    def forward(self, x, index):
        self.index, self.shape = index, x.shape
        return kernels.getitem(x, index)

    def backward(self, gy):
        return add_at(gy, self.index, self.shape)


class AddAt(Function):
    """y = zeros of `shape`, with v added at index (repeated positions add up);  gv = gy[index]."""

    any_dtype = True

    def forward(self, v, index, shape):
        self.index = index
        return kernels.add_at(v, index, shape)

    def backward(self, gy):
        return gy[self.index]


class Gather(Function):
    """y[i, j, k] = x[i, index[i, j, k], k] along the middle axis, and so along any;  gx is gy scattered back."""

    any_dtype = True

    def forward(self, x, index, axis):
        self.index, self.axis, self.size = index, axis, x.shape[axis]
        return kernels.gather(x, index, axis)

    def backward(self, gy):
        return Scatter.apply(gy, index=self.index, axis=self.axis, size=self.size)


class Scatter(Function):
    """y[i, index[i, j, k], k] = Σ v[i, j, k] along the middle axis, of length `size`;  gv is gy gathered again."""

    any_dtype = True

    def forward(self, v, index, axis, size):
        self.index, self.axis = index, axis
        return kernels.scatter_add(v, index, axis, size)

    def backward(self, gy):
        return Gather.apply(gy, index=self.index, axis=self.axis)


# --- what users call --------------------------------------------------------------------------------------------------


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices, None, ..., and arrays of integers or bools, as in NumPy.

    Raises IndexingError if the index does not fit the shape.
    """
    expect("getitem", x)
    index = tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index)
    try:
        return GetItem.apply(x, index=index)
    except (IndexError, ValueError, TypeError, OverflowError) as error:
        raise IndexingError(
            f"getitem: index {one_line(index)} does not fit a tensor of shape {x.shape}: {error}"
        ) from None


def _plain(index: Any) -> Any:
    return index.data if isinstance(index, Tensor) else index


def iterate(x: Tensor) -> Iterator[Tensor]:
    """x[0], x[1], ..."""
    expect("iterate", x)
    return (getitem(x, position) for position in range(len(x)))


def add_at(v: Tensor, index: Any, shape: Sequence[int]) -> Tensor:
    """Zeros of `shape`, with v added at index, positions that repeat adding up: the adjoint of getitem.

    Raises IndexingError if index does not fit shape, ShapeError if v does not have the shape of what index selects.
    """
    expect("add_at", v, "v")
    shape = sizes_of("add_at", v, shape)
    if min(shape, default=0) < 0:
        raise ShapeError(f"add_at of shape {v.shape} needs sizes ≥ 0, got {shape}")
    refuse_huge("add_at", v, shape)
    index = tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index)
    try:
        selected = np.broadcast_to(np.empty((), bool), shape)[index].shape
    except (IndexError, ValueError, TypeError, OverflowError) as error:
        raise IndexingError(f"add_at: index {one_line(index)} does not fit shape {shape}: {error}") from None
    if selected != v.shape:
        raise ShapeError(f"add_at: index selects shape {selected} of {shape}, but v has shape {v.shape}")
    return AddAt.apply(v, index=index, shape=shape)


def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """x at the indices along axis, as in NumPy: the axis becomes those of `indices`. None: of x as one long row.

    PyTorch calls it index_select (and, of one long row, take). Indices from −n to n − 1, of an axis of length n.
    Raises IndexingError for one out of range, DTypeError if they are not integers, ShapeError for a missing axis.
    """
    expect("take", x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    along = axis_of("take", x, axis)
    return getitem(x, (slice(None),) * along + (_positions("take", x.shape, along, indices),))


def gather(x: Tensor, axis: int, index: Any) -> Tensor:
    """y[i, j, k] = x[i, index[i, j, k], k] for axis=1, and so for any axis: PyTorch's gather, NumPy's take_along_axis.

    x.gather(1, labels) with labels (N, 1) is each row's entry at its label. index has the shape of x but along axis,
    where it may be of any length. Raises ShapeError if it has not, IndexingError for a position out of range,
    DTypeError if positions are not integers.
    """
    expect("gather", x)
    along = axis_of("gather", x, axis)
    positions = _positions("gather", x.shape, along, index)
    _beside("gather", "x", x.shape, along, positions)
    return Gather.apply(x, index=positions, axis=along)


def scatter_add(x: Tensor, axis: int, index: Any, src: Tensor) -> Tensor:
    """x with src added to it at the positions of gather: y[i, index[i, j, k], k] += src[i, j, k] for axis=1.

    Positions that repeat add up. On zeros it is the adjoint of gather. index and src have one shape, that of x but
    along axis. Errors as gather; DTypeError for two precisions.
    """
    expect("scatter_add", x)
    expect("scatter_add", src, "src")
    x, src = of_one_dtype("scatter_add", [x, src])
    along = axis_of("scatter_add", x, axis)
    positions = _positions("scatter_add", x.shape, along, index)
    _beside("scatter_add", "x", x.shape, along, positions)
    if src.shape != positions.shape:
        raise ShapeError(f"scatter_add needs src of the shape of index, {positions.shape}, got {src.shape}")
    return x + Scatter.apply(src, index=positions, axis=along, size=x.shape[along])


def _positions(op: str, shape: tuple[int, ...], axis: int, index: Any) -> np.ndarray:
    """A copy of index, which backward needs unchanged, counted from the beginning of the axis."""
    given = array_of(op, "index", index)
    if given.dtype.kind not in "iu" and given.size:
        raise DTypeError(f"{op} needs integers as index, got {given.dtype} of shape {given.shape}: use .astype(int)")
    size = shape[axis]
    if given.size and not -size <= given.min() <= given.max() < size:
        wrong = given[(given < -size) | (given >= size)][0]
        raise IndexingError(
            f"{op} along axis {axis} of shape {shape} got index {wrong}: positions run from {-size} to {size - 1}"
        )
    positions = given.astype(np.int64)
    return np.where(positions < 0, positions + size, positions)


def _beside(op: str, name: str, shape: tuple[int, ...], axis: int, index: np.ndarray) -> None:
    if (*index.shape[:axis], *index.shape[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]) or (
        index.ndim != len(shape)
    ):
        raise ShapeError(
            f"{op} along axis {axis} needs an index of the shape of {name}, {shape}, but for that axis, "
            f"got {index.shape}"
        )
