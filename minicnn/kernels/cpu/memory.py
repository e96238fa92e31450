"""Memory for large results, taken back when nobody holds them any more, and given out again.

    empty(shape)  ──→  array ──→ views, tensors ... ──→ the last of them dies ──→ free ──→ empty(shape)

    segment   │ in use │ free    │ in use │ free          │      the shortest free piece that fits is cut;
              └────────┴─────────┴────────┴───────────────┘      neighbours that are free become one again

Memory fresh from the system costs a page fault for every 4 KB, a fifth of a microsecond each: for a step of ResNet-50,
which writes 1.3 GB of activations and gradients, 60 to 80 ms. Training asks for the same sizes in the same order each
step, so from the second one on nothing is fresh, and no more memory is touched than was in use at once, but for gaps.
Memory that is never touched costs nothing, so segments may be generous. They go back to the system when all of one is
free and another size is needed, or by release().
"""

from __future__ import annotations

import bisect
import math
import os
import threading
from collections import deque
from typing import Any

import numpy as np

from .arguments import address_of

LARGE = 1 << 18  # bytes; smaller arrays are malloc's business, which keeps them as well
ALIGNMENT = 64  # a cache line, and the widest vector
SEGMENT = 1 << 26


class _Pool:
    """Segments, and which pieces of them are free: by address, neighbours joined."""

    def __init__(self) -> None:
        self.segments: dict[int, np.ndarray] = {}  # address of the first piece -> memory
        self.starts: list[int] = []  # of free pieces, in order
        self.sizes: dict[int, int] = {}  # of free pieces, by where they start
        self.given_back: deque[tuple[int, int]] = deque()  # by destructors, which may run in the middle of anything
        self.lock = threading.Lock()
        self._used = 0

    @property
    def used_bytes(self) -> int:
        """What arrays stand on."""
        with self.lock:
            self._take_back()
            return self._used

    @property
    def free_bytes(self) -> int:
        """What lies idle."""
        with self.lock:
            self._take_back()
            return sum(self.sizes.values())

    def take(self, size: int) -> int:
        """The address of `size` bytes, a multiple of ALIGNMENT."""
        with self.lock:
            self._take_back()
            least, best = 0, -1
            for start, length in self.sizes.items():
                if length >= size and (best < 0 or (length, start) < (least, best)):
                    least, best = length, start
            start = self._cut(best if best >= 0 else self._new_segment(size), size)
            self._used += size  # not before: there may have been no memory
            return start

    def _cut(self, start: int, size: int) -> int:
        rest = self.sizes.pop(start) - size
        place = bisect.bisect_left(self.starts, start)
        if rest:
            self.starts[place] = start + size
            self.sizes[start + size] = rest
        else:
            del self.starts[place]
        return start

    def _new_segment(self, size: int) -> int:
        self._drop_segments()
        total = sum(memory.size for memory in self.segments.values())
        length = max(size, SEGMENT, total // 4 // ALIGNMENT * ALIGNMENT)
        try:
            memory = np.empty(length + 2 * ALIGNMENT, np.uint8)  # a gap behind each, so that two are never joined
        except MemoryError:  # then no more than what is asked for
            length = size
            memory = np.empty(length + 2 * ALIGNMENT, np.uint8)
        start = memory.ctypes.data + -memory.ctypes.data % ALIGNMENT
        self.segments[start] = memory
        bisect.insort(self.starts, start)
        self.sizes[start] = length
        return start

    def _take_back(self) -> None:
        """Enter what was given back among the free pieces."""
        while self.given_back:
            start, size = self.given_back.popleft()
            self._used -= size
            place = bisect.bisect_left(self.starts, start)
            if place < len(self.starts) and self.starts[place] == start + size:
                size += self.sizes.pop(self.starts.pop(place))
            if place and self.starts[place - 1] + self.sizes[self.starts[place - 1]] == start:
                self.sizes[self.starts[place - 1]] += size
            else:
                self.starts.insert(place, start)
                self.sizes[start] = size

    def _drop_segments(self) -> None:
        """Give the system back what is free as a whole."""
        for start, memory in list(self.segments.items()):
            if self.sizes.get(start, 0) >= memory.size - 2 * ALIGNMENT:
                del self.segments[start], self.sizes[start]
                self.starts.remove(start)

    def release(self) -> None:
        """Give the system back all segments that are not in use."""
        with self.lock:
            self._take_back()
            self._drop_segments()


_pool = _Pool()
release = _pool.release


def _after_fork() -> None:
    """A forked child has only the thread that forked: another one may have held the lock."""
    _pool.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Memory:
    """What an array stands on: given back when the last array on it is gone. No array itself, so nothing is a view."""

    __slots__ = ("__array_interface__", "own", "piece")

    def __init__(self, size: int, shape: tuple[int, ...], typestr: str):
        self.piece: tuple[int, int] | None = None
        self.own: np.ndarray | None = None
        if size >= LARGE:
            self.piece = _pool.take(-(-size // ALIGNMENT) * ALIGNMENT), -(-size // ALIGNMENT) * ALIGNMENT
            start = self.piece[0]
        else:
            self.own = np.empty(size + ALIGNMENT, np.uint8)
            start = address_of(self.own)
            start += -start % ALIGNMENT
        self.__array_interface__ = {"shape": shape, "typestr": typestr, "data": (start, False), "version": 3}

    def __del__(self) -> None:
        if self.piece is not None:
            _pool.given_back.append(self.piece)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An array with any content, in C order, beginning on a cache line."""
    dtype = np.dtype(dtype)
    return np.asarray(_Memory(math.prod(shape) * dtype.itemsize, tuple(shape), dtype.str))
