"""Arrays of 16 bits: float16, and bfloat16 of ml_dtypes."""

from __future__ import annotations

import functools

import numpy as np


def rounded_once(kernel):
    """The kernel, computing with float32 where it is given numbers of 16 bits, and rounding what it gives to those.

    NumPy has no products of bfloat16, and adds up those of float16 in float16.
    """

    @functools.wraps(kernel)
    def rounded(*args):
        half = next((a.dtype for a in args if _is_half(a)), None)
        if half is None:
            return kernel(*args)
        y = kernel(*(_each(a, lambda part: part.astype(np.float32) if _is_half(part) else part) for a in args))
        return _each(y, lambda part: None if part is None else part.astype(half))

    return rounded


def _is_half(x):
    return isinstance(x, np.ndarray) and x.dtype.itemsize == 2 and x.dtype.kind in "fV"


def _each(value, function):
    """The function of a value, or of each part of a tuple."""
    return tuple(map(function, value)) if type(value) is tuple else function(value)
