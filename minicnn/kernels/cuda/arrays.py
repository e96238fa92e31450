"""What arrays do: CuPy itself, in our names, as the readable book is NumPy itself.

Nothing here waits for the GPU, and all of it can be recorded in a CUDA graph. dtypes follow NumPy's rules, which are
CuPy's since version 14: a Python number takes the dtype of the array beside it. In two things CuPy is unlike NumPy:

    broadcast_to    its views are not read-only, so a mistake that NumPy refuses writes into what is shared
    getitem         an index with arrays in it is ours (index.py): CuPy would wrap around what is out of range
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .launch import empty, kernel, library

# --- arithmetic -------------------------------------------------------------------------------------------------------


def add(a, b):
    return library().add(a, b)


def sub(a, b):
    return library().subtract(a, b)


def mul(a, b):
    return library().multiply(a, b)


def div(a, b):
    return library().divide(a, b)


def maximum(a, b):
    return library().maximum(a, b)


def minimum(a, b):
    return library().minimum(a, b)


def power(x, exponent):
    return library().power(x, exponent)


def neg(x):
    return library().negative(x)


def exp(x):
    return library().exp(x)


def log(x):
    return library().log(x)


def sqrt(x):
    return library().sqrt(x)


def absolute(x):
    return library().absolute(x)


def log1p(x):
    return library().log1p(x)


def expm1(x):
    return library().expm1(x)


def sin(x):
    return library().sin(x)


def cos(x):
    return library().cos(x)


def reciprocal(x):
    return library().reciprocal(x)


def floor(x):
    return library().floor(x)


def rint(x):
    return library().rint(x)


def where(condition, a, b):
    return library().where(condition, a, b)


def compare(a: Any, b: Any, how: str) -> Any:
    """a ? b, NumPy's name for it."""
    return getattr(library(), how)(a, b)


# --- shape ------------------------------------------------------------------------------------------------------------


def full(shape, value, dtype):
    return library().full(shape, value, dtype)


def broadcast_to(x, shape):
    return library().broadcast_to(x, shape)


def copy(x: Any) -> Any:
    """The same elements in row-major order."""
    return x.copy()


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """A view where x lies in order, else a copy."""
    return x.reshape(shape)


def transpose(x: Any, axes: tuple[int, ...]) -> Any:
    """A view."""
    return x.transpose(axes)


def cast(x, dtype):
    dtype = np.dtype(dtype)
    if not x.flags.c_contiguous or {x.itemsize, dtype.itemsize} != {2, 4} or not {x.dtype.kind, dtype.kind} <= {*"fV"}:
        return x.astype(dtype)
    y = empty(x.shape, dtype)  # 16 bits and 32: what autocast does all the time, and cast.cu eight numbers at a time
    low, name = (dtype, "narrow") if dtype.itemsize == 2 else (x.dtype, "widen")
    kernel("cast.cu", name, low)(-(-x.size // 8), (y, x, x.size))
    return y


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float) -> Any:
    """x in the middle of a larger array of `value`."""
    if not widths:
        return x.copy()
    shape = tuple(before + size + after for size, (before, after) in zip(x.shape, widths, strict=True))
    y = library().full(shape, value, x.dtype)
    y[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, widths, strict=True))] = x
    return y


def roll(x: Any, shifts: Sequence[int], axes: Sequence[int]) -> Any:
    """x moved along axes, around the end: two copies for each."""
    y = x.copy()
    for shift, axis in zip(shifts, axes, strict=True):
        shift %= max(y.shape[axis], 1)
        if shift:
            x, y = y, empty(y.shape, y.dtype)
            y[_along(axis, slice(shift, None))] = x[_along(axis, slice(None, -shift))]
            y[_along(axis, slice(None, shift))] = x[_along(axis, slice(-shift, None))]
    return y


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)
