"""Reductions: shapes brought into one of the two forms that reduce.cu knows, and cut into slices where outputs are few.

Floating-point numbers are ours. Integers and bools add up exactly in any order, and are CuPy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .launch import THREADS, contiguous, empty, kernel, library

ENOUGH = 1 << 17  # threads that keep a GPU busy: 132 multiprocessors of an H100 hold 270,000
SHARE = 16  # numbers that a thread should add at least, where slices are cut to have enough threads
MOST_SHARE = 256  # and at most: the error of a sum grows with it
LANES, WARPS = 32, 8  # of a block of columns


def group_size(n: int) -> int:
    """Threads that share a row of n numbers lying side by side."""
    return 1 if n <= 4 else 32 if n <= 1024 else THREADS


def wide(dtype: Any) -> np.dtype:
    """What numbers of a dtype are added up in."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


def sum(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Σ x over the axes; bools and small integers are counted in 64 bits, as NumPy does."""
    if x.dtype.kind in "biuc":
        return library().sum(x, axis=axis, keepdims=keepdims)
    return reduced("sum", x, axis).astype(x.dtype, copy=False).reshape(_shape(x, axis, keepdims))


def amax(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The largest x over the axes. Raises ValueError over no elements, as NumPy does."""
    if x.dtype.kind in "biu":
        return library().max(x, axis=axis, keepdims=keepdims)
    if x.size == 0 and math.prod(_shape(x, axis, False)) > 0:
        raise ValueError("zero-size array to reduction operation maximum which has no identity")
    return reduced("max", x, axis).astype(x.dtype, copy=False).reshape(_shape(x, axis, keepdims))


def logsumexp(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """ln Σ eˣ: three kernels read x twice; −∞ over no elements."""
    largest = reduced("max", x, axis)
    shift = empty(largest.shape, largest.dtype)
    kernel("reduce.cu", "shifts", shift.dtype)(shift.size, (shift, largest, shift.size))
    total = reduced("exponentials", x, axis, shift)
    y = empty(_shape(x, axis, keepdims), x.dtype)
    kernel("reduce.cu", "logarithms", x.dtype)(y.size, (y, total, shift, y.size))
    return y


def argmax(x: Any, axis: int) -> Any:
    """The first of the largest along an axis; NaN is largest."""
    return _arg_largest(x, axis, 1.0) if x.dtype.kind in "fV" else library().argmax(x, axis=axis)


def argmin(x: Any, axis: int) -> Any:
    """The first of the smallest along an axis; NaN is smallest."""
    return _arg_largest(x, axis, -1.0) if x.dtype.kind in "fV" else library().argmin(x, axis=axis)


def _arg_largest(x: Any, axis: int, sign: float) -> Any:
    n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    y = empty((*x.shape[:axis], *x.shape[axis + 1 :]), np.int64)
    if n == 0 and y.size:
        raise ValueError("attempt to get the largest of an empty sequence")
    t = group_size(n) if inner == 1 else 1
    kernel("reduce.cu", "arg_largest", x.dtype)(row_blocks(y.size, t), (y, contiguous(x), sign, y.size, n, inner, t))
    return y


def row_blocks(rows: int, t: int) -> int:
    """What to launch for so many rows of t threads each (group.cuh): whole blocks."""
    return -(-rows // (THREADS // t)) * THREADS


def _shape(x: Any, axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if a in axis else size for a, size in enumerate(x.shape) if keepdims or a not in axis)


def reduced(what: str, x: Any, axis: tuple[int, ...], shift: Any = None) -> Any:
    """One number for each place of the other axes, in a row, in the wide dtype: "sum", "max" or "exponentials"."""
    form, sizes = _form(x.shape, axis)
    if sizes is None:  # more than two stretches of a kind: the reduced ones are brought together at the end
        kept = [a for a in range(x.ndim) if a not in axis]
        x = x.transpose((*kept, *sorted(axis)))
        form, sizes = _form(x.shape, tuple(range(len(kept), x.ndim)))
    assert sizes is not None
    if form == "rows":
        outputs, n = sizes[0] * sizes[2], sizes[1] * sizes[3]
    else:
        outputs, n = sizes[1] * sizes[3], sizes[0] * sizes[2]
    t = group_size(n) if form == "rows" else WARPS
    slices, per_slice = _slices(outputs, n, t)
    y = empty((outputs, slices), wide(x.dtype))
    if form == "rows":
        grid: Any = row_blocks(outputs * slices, t)
    else:
        grid = (-(-outputs // LANES) * slices,)
    x = contiguous(x)
    values = (y, x, y if shift is None else shift, *sizes, slices, per_slice, t)  # without a shift y is not read
    kernel("reduce.cu", f"{what}_{form}", x.dtype)(grid, values)
    if slices == 1:
        return y.reshape(outputs)
    return reduced("max" if what == "max" else "sum", y, (1,))


def _slices(outputs: int, n: int, t: int) -> tuple[int, int]:
    """How many slices to cut n numbers into, and how many are in each."""
    if outputs * t >= ENOUGH:
        per_thread = MOST_SHARE
    else:
        wanted = -(-n * outputs // ENOUGH)
        per_thread = min(max(wanted, SHARE), MOST_SHARE)
    slices = max(-(-n // (per_thread * t)), 1)
    return slices, -(-n // slices)


def _form(shape: Sequence[int], axis: tuple[int, ...]) -> tuple[str, tuple[int, int, int, int] | None]:
    """("rows", (K1, R1, K2, R2)) or ("columns", (R1, K1, R2, K2)); None for the sizes if it takes more than four."""
    stretches: list[tuple[bool, int]] = []  # is it reduced, and how many numbers
    for a, size in enumerate(shape):
        if size != 1:
            kind = a in axis
            if stretches and stretches[-1][0] == kind:
                size *= stretches.pop()[1]
            stretches.append((kind, size))
    last_is_reduced = stretches[-1][0] if stretches else True
    form = "rows" if last_is_reduced else "columns"
    if len(stretches) > 4:
        return form, None
    ones = [1] * (4 - len(stretches))
    a, b, c, d = *ones, *(size for _, size in stretches)
    return form, (a, b, c, d)
