"""What arrays do: CuPy itself, in our names, as the readable book is NumPy itself.

Nothing here waits for the GPU, and all of it can be recorded in a CUDA graph. dtypes follow NumPy's rules, which are
CuPy's since version 14: a Python number takes the dtype of the array beside it. In two things CuPy is unlike NumPy:

    broadcast_to    its views are not read-only, so a mistake that NumPy refuses writes into what is shared
    getitem         an index with arrays in it is ours (index.py): CuPy would wrap around what is out of range
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .launch import empty, library


def _cupys(name: str) -> Callable[..., Any]:
    """CuPy's function of that name, on the device that is computing."""

    def function(*args: Any) -> Any:
        return getattr(library(), name)(*args)

    function.__name__ = function.__qualname__ = name
    return function


# --- arithmetic -------------------------------------------------------------------------------------------------------

add = _cupys("add")
sub = _cupys("subtract")
mul = _cupys("multiply")
div = _cupys("divide")
neg = _cupys("negative")
power = _cupys("power")
exp = _cupys("exp")
log = _cupys("log")
sqrt = _cupys("sqrt")
absolute = _cupys("absolute")
maximum = _cupys("maximum")
minimum = _cupys("minimum")
log1p = _cupys("log1p")
expm1 = _cupys("expm1")
sin = _cupys("sin")
cos = _cupys("cos")
reciprocal = _cupys("reciprocal")
floor = _cupys("floor")
rint = _cupys("rint")
where = _cupys("where")


def compare(a: Any, b: Any, how: str) -> Any:
    """a ? b, NumPy's name for it."""
    return getattr(library(), how)(a, b)


# --- shape ------------------------------------------------------------------------------------------------------------

full = _cupys("full")
broadcast_to = _cupys("broadcast_to")


def copy(x: Any) -> Any:
    """The same elements in row-major order."""
    return x.copy()


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """A view where x lies in order, else a copy."""
    return x.reshape(shape)


def transpose(x: Any, axes: tuple[int, ...]) -> Any:
    """A view."""
    return x.transpose(axes)


def cast(x: Any, dtype: Any) -> Any:
    """A copy, also in the same dtype."""
    return x.astype(dtype)


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
