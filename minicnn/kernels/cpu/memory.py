"""Memory for large results, taken back when nobody holds them any more, and given out again.

    empty(shape)  ──→  array ──→ views, tensors ... ──→ the last of them dies ──→ back into the pool ──→ empty(shape)

Memory fresh from the system costs a page fault for every 4 KB, a fifth of a microsecond each: for a training step that
writes 500 MB of activations and gradients 25 ms and more, every step. A step asks for the same sizes each time, so
after the first one nothing is fresh. The pool holds no more than was in use at once: before it asks the system for
more, it gives back as much of what lies idle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LARGE = 1 << 18  # bytes; smaller arrays are malloc's business, which keeps them as well
ALIGNMENT = 64  # a cache line, and the widest vector


class _Pool:
    """Idle memory, by size."""

    def __init__(self) -> None:
        self.idle: dict[int, list[np.ndarray]] = {}
        self.idle_bytes = 0

    def take(self, size: int) -> np.ndarray:
        stack = self.idle.get(size)
        if stack:
            self.idle_bytes -= size
            return stack.pop()
        self.release(size)
        return np.empty(size + ALIGNMENT, np.uint8)

    def give(self, memory: np.ndarray) -> None:
        size = memory.size - ALIGNMENT
        self.idle.setdefault(size, []).append(memory)
        self.idle_bytes += size

    def release(self, size: int | None = None) -> None:
        """Give the system `size` bytes back, if so many lie idle; None: all."""
        for stack in list(self.idle.values()):
            while stack and (size is None or size > 0):
                freed = stack.pop(0).size - ALIGNMENT
                self.idle_bytes -= freed
                size = None if size is None else size - freed


_pool = _Pool()
release = _pool.release


class _Memory:
    """What an array stands on: given back when the last array on it is gone."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, size: int, shape: tuple[int, ...], typestr: str):
        self.memory = _pool.take(size) if size >= LARGE else np.empty(size + ALIGNMENT, np.uint8)
        start = self.memory.ctypes.data
        address = start + -start % ALIGNMENT
        self.__array_interface__ = {"shape": shape, "typestr": typestr, "data": (address, False), "version": 3}

    def __del__(self) -> None:
        if self.memory.size >= LARGE + ALIGNMENT:
            _pool.give(self.memory)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An array with any content, in C order, beginning on a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size >= LARGE:
        step = 1 << (size.bit_length() - 4)  # sizes that differ by less than an eighth share their memory
        size = -(-size // step) * step
    return np.asarray(_Memory(size, tuple(shape), dtype.str))
