"""Picking, joining and borders: move.cu carries numbers, index.cu adds up what comes back.

NumPy's indices are many, and NumPy knows them all: where there is more than integers and slices, it says on the host
which elements are meant. These positions are copied to the device, which a CUDA graph cannot do: such an index has no
place in a step that is to be recorded. gather and scatter_add take theirs from the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .activation import PACK
from .host import mapped, on_host
from .launch import ACC, REAL, contiguous, empty, kernel, library
from .reduce import row_blocks

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
AFFORDABLE = 1 << 16  # comparisons along a line of scatter_add, before one thread adds up the whole line
LONG = 32  # a run of so many repetitions is worth a warp


def getitem(x: Any, index: Any) -> Any:
    """x[index]: a view where NumPy gives one."""
    if _is_basic(index):
        return x[index]
    positions = library().asarray(_positions(index, x.shape))
    words, y = _words(x), empty(positions.shape, x.dtype)
    if words is None:
        return on_host("getitem")(x, index)
    kernel("move.cu", "take", words.dtype)(y.size, (_words(y), words, positions, y.size))
    return y


def add_at(v: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape`, with v added at `index`, repeated positions accumulating in the order of v."""
    total = library().zeros(shape, v.dtype)
    if _is_basic(index):
        total[index] = v
        return total
    if v.dtype.name not in REAL:
        return on_host("add_at")(v, index, shape)
    positions = _positions(index, shape).reshape(-1)
    order = np.argsort(positions, kind="stable")
    places, starts = np.unique(positions[order], return_index=True)
    t = LONG if len(order) >= LONG * len(places) else 1
    runs = (order, np.append(starts, len(order)), places)
    values = (total, contiguous(v), *(library().asarray(part.astype(np.int32)) for part in runs), len(places), t)
    kernel("index.cu", "add_runs", v.dtype)(row_blocks(len(places), t), values)
    return total


def _is_basic(index: Any) -> bool:
    """Whether the index selects a view: integers, slices, None and ... only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is ... or isinstance(part, slice | np.integer) or type(part) is int for part in parts
    )


def _positions(index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Where in row-major order the elements stand that the index selects, in the shape of the selection.

    Raises what NumPy raises for an index that does not fit.
    """
    index = mapped(index, library().ndarray, library().asnumpy)
    positions: Any = np.zeros(np.broadcast_to(np.zeros((), np.int32), shape)[index].shape, np.int32)
    step = 1
    for axis in reversed(range(len(shape))):
        along = (np.arange(shape[axis], dtype=np.int32) * step).reshape(-1, *[1] * (len(shape) - axis - 1))
        positions += np.broadcast_to(along, shape)[index]
        step *= shape[axis]
    return positions


def _words(x: Any) -> Any:
    """x as contiguous words of its width, None for a width that no word has."""
    return contiguous(x).view(WORDS[x.itemsize]) if x.itemsize in WORDS else None


def gather(x: Any, index: Any, axis: int) -> Any:
    """x at positions index ≥ 0 along axis."""
    words, y = _words(x), empty(index.shape, x.dtype)
    if words is None:
        return on_host("gather")(x, index, axis)
    values = (_words(y), words, contiguous(index), x.shape[axis], index.shape[axis], _inner(x, axis), y.size)
    kernel("move.cu", "gather", words.dtype)(y.size, values)
    return y


def scatter_add(v: Any, index: Any, axis: int, size: int) -> Any:
    """Zeros with v added at positions index along axis, repeated ones in order."""
    if v.dtype.name not in REAL:
        return on_host("scatter_add")(v, index, axis, size)
    shape, count, inner = (*v.shape[:axis], size, *v.shape[axis + 1 :]), v.shape[axis], _inner(v, axis)
    arrays = contiguous(v), contiguous(index)
    stored_narrow = v.dtype.name in ACC and ACC[v.dtype.name] != REAL[v.dtype.name]
    if size * count <= AFFORDABLE or stored_narrow:  # a line that is added up in memory would be rounded each time
        y = empty(shape, v.dtype)
        kernel("index.cu", "scatter_add", v.dtype)(y.size, (y, *arrays, size, count, inner, y.size))
    else:
        y, lines = library().zeros(shape, v.dtype), v.size // count
        kernel("index.cu", "scatter_add_lines", v.dtype)(lines, (y, *arrays, size, count, inner, lines))
    return y


def _inner(x: Any, axis: int) -> int:
    return math.prod(x.shape[axis + 1 :])


def concat(arrays: Sequence[Any], axis: int) -> Any:
    """The arrays one after the other along axis: a launch for each."""
    first, sizes = arrays[0], [a.shape[axis] for a in arrays]
    y = empty((*first.shape[:axis], sum(sizes), *first.shape[axis + 1 :]), first.dtype)
    inner, offset = _inner(y, axis), 0
    if y.itemsize not in WORDS or any(a.dtype != y.dtype for a in arrays):
        return library().concatenate(arrays, axis=axis)
    for array, size in zip(arrays, sizes, strict=True):
        _copy_rows(y, array, size * inner, y.shape[axis] * inner, offset * inner)
        offset += size
    return y


def _copy_rows(y: Any, x: Any, width: int, y_width: int, offset: int) -> None:
    words, target = _words(x), _words(y)
    packed = _fits(PACK // x.itemsize, width, y_width, offset) and not (words.data.ptr | target.data.ptr) % PACK
    share = PACK // x.itemsize if packed else 1
    sizes = [size // share for size in (width, y_width, offset, x.size)]
    kernel("move.cu", "copy_rows", words.dtype)(sizes[-1], (target, words, *sizes, packed))


def _fits(share: int, *sizes: int) -> bool:
    return all(size % share == 0 for size in sizes)


def pad_with_copies(x: Any, widths: Sequence[tuple[int, int]], mode: str) -> Any:
    """x with a border that mirrors what is inside, or repeats the edges: a launch for each axis that has one."""
    if x.itemsize not in WORDS:
        return on_host("pad_with_copies")(x, widths, mode)

    def border(y: Any, x: Any, *sizes: int) -> None:
        words = _words(x)
        kernel("move.cu", "add_border", words.dtype)(y.size, (_words(y), words, *sizes, y.size))

    return _axis_by_axis(x, widths, mode, border, 1)


def fold_copies(gy: Any, widths: Sequence[tuple[int, int]], mode: str) -> Any:
    """What stands in the border added to where pad_with_copies took it from."""
    if gy.dtype.name not in REAL:
        return on_host("fold_copies")(gy, widths, mode)

    def fold(y: Any, x: Any, *sizes: int) -> None:
        kernel("index.cu", "fold_border", x.dtype)(y.size, (y, contiguous(x), *sizes, y.size))

    return _axis_by_axis(gy, widths, mode, fold, -1)


def _axis_by_axis(x: Any, widths: Sequence[tuple[int, int]], mode: str, step: Callable[..., None], grows: int) -> Any:
    """step(y, x, size, before, after, inner, mirrored) for each axis with a border, which makes it longer (grows = 1)
    or shorter (−1)."""
    start = x
    for axis, (before, after) in enumerate(widths):
        if before or after:
            length = x.shape[axis] + grows * (before + after)
            y = empty((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)
            step(y, x, min(length, x.shape[axis]), before, after, _inner(x, axis), mode == "reflect")
            x = y
    return x.copy() if x is start else x
