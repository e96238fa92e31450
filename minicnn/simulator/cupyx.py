"""A stand-in for the module `cupyx`: pinned host arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .memory import POISON, alloc_pinned_memory


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """A NumPy array in pinned memory, uninitialised."""
    shape = tuple(shape) if isinstance(shape, tuple | list) else (int(shape),)
    kind = np.dtype(dtype)
    buffer = alloc_pinned_memory(max(1, math.prod(shape) * kind.itemsize))
    np.frombuffer(buffer, np.uint8).fill(POISON)
    return np.ndarray(shape, kind, buffer, order="F" if order == "F" else "C")


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """A NumPy array of zeros in pinned memory."""
    pinned = empty_pinned(shape, dtype, order)
    pinned.fill(0)
    return pinned
