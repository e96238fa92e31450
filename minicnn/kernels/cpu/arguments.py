"""How the arguments of a compiled kernel are described to the workers: arrays and integers, as 64-bit words."""

from __future__ import annotations

from typing import Any

import numpy as np


class Fixed:
    """An array that is given to many calls and stays where it is: it is described once, which takes a microsecond."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.words = describe(array)
        self.kind = kind(array)


def describe(array: np.ndarray) -> tuple[int, ...]:
    return (0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides)


def kind(array: np.ndarray) -> Any:
    """What of an array decides for which types a kernel is compiled."""
    number = array.dtype.num
    return (number if number != _RECORD else array.dtype, array.ndim)


_RECORD = np.dtype(np.void).num
