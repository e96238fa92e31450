"""How the arguments of a compiled kernel are described to the workers: arrays and integers, as 64-bit words."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np


class Fixed:
    """Arguments, arrays and integers, that many calls get: described once, which takes a microsecond for an array.

    The arrays have to stay where they are. `array` is the first.
    """

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.array = arguments[0]
        self.words = [word for a in arguments for word in (describe(a) if isinstance(a, np.ndarray) else (a,))]
        self.brief = [word for a in arguments for word in (brief(a) if isinstance(a, np.ndarray) else (a,))]
        self.kind = tuple(kind(a) if isinstance(a, np.ndarray) else None for a in arguments)


def unpacked(arguments: Iterable[Any]) -> list[Any]:
    """The arguments themselves, with those of each Fixed in its place."""
    plain: list[Any] = []
    for a in arguments:
        plain += a.arguments if isinstance(a, Fixed) else (a,)
    return plain


def describe(array: np.ndarray) -> tuple[int, ...]:
    return (0, 0, array.size, array.itemsize, address_of(array), *array.shape, *array.strides)


def brief(array: np.ndarray) -> tuple[int, ...]:
    """What drivers want to know of it. Where nothing is, nobody looks."""
    return (address_of(array) if array.size else 0, *array.shape)


def address_of(array: np.ndarray) -> int:
    """Where its first element is."""
    try:
        return _address_of(_byte_at(array))
    except (TypeError, ValueError):  # of a read-only array or an empty one; three times slower
        return array.ctypes.data


def kind(array: np.ndarray) -> Any:
    """What of an array decides for which types a kernel is compiled."""
    number = array.dtype.num
    return (number if number != RECORD else array.dtype, array.ndim)


_address_of: Any
_byte_at: Any
_address_of, _byte_at = ctypes.addressof, ctypes.c_char.from_buffer
RECORD = np.dtype(np.void).num
