"""Device memory of the stand-in for CuPy: a pool of blocks that hold NaN until somebody writes to them.

A freed block is the first to be reused, as in CuPy, and its generation goes up: a graph that replays on memory which
has been freed in the meantime is found out. Under the check build each byte of a block also has a flag that says
whether it has been written.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import settings
from .streams import Stream, current_stream, is_capturing

ROUND = 512  # sizes and addresses are multiples, as CuPy's are
GUARD = 256  # bytes on both sides of a block that belong to nobody
POISON = 0xFF  # NaN in every floating-point type, −1 in integers


class OutOfMemoryError(MemoryError):
    """The pool's limit is reached."""

    def __init__(self, size: int, total: int, limit: int = 0):
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")


class Block:
    """Memory at an address that stays; `generation` goes up when it is another's, or may soon be."""

    def __init__(self, size: int):
        raw = np.full(size + ROUND + 2 * GUARD, POISON, np.uint8)
        start = GUARD + -(raw.__array_interface__["data"][0] + GUARD) % ROUND
        self.bytes = raw[start : start + size]
        self.size, self.address = size, self.bytes.__array_interface__["data"][0]
        self.generation = 0
        self.written: np.ndarray | None = None  # flags, under the check build


class Memory:
    """One allocation: a block for as long as anybody holds it."""

    def __init__(self, pool: MemoryPool, block: Block, size: int):
        stream = current_stream()
        self.pool, self.block, self.size, self.stream = pool, block, size, stream.ptr
        self.ptr, self.capture = block.address, stream.recorded
        live[block.address] = self

    def __del__(self) -> None:
        # What a captured step makes and drops again is safe: a graph keeps the order, and its pool is its own.
        if self.capture is None or current_stream().recorded is not self.capture:
            self.block.generation += 1
        self.pool.take_back(self)


live: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()  # by address


class MemoryPointer:
    """A place in an allocation."""

    def __init__(self, mem: Memory, offset: int):
        self.mem, self.ptr = mem, mem.ptr + offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __int__(self) -> int:
        return self.ptr


class MemoryPool:
    """Blocks by stream and size."""

    def __init__(self, allocator: Any = None):
        self._free: dict[tuple[int, int], list[Block]] = {}
        self._total = self._used = self._limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        """At least `size` bytes; raises OutOfMemoryError."""
        stream = current_stream()
        rounded = max(ROUND, -(-int(size) // ROUND) * ROUND)
        free = self._free.get((stream.ptr, rounded))
        if free:
            block = free.pop()
            block.generation += not stream.is_capturing()
        else:
            if self._limit and self._total + rounded > self._limit:
                raise OutOfMemoryError(rounded, self._total, self._limit)
            block = Block(rounded)
            self._total += rounded
        self._used += rounded
        memory = Memory(self, block, size)
        stream.push(lambda: _poison(block), [memory], "allocation")
        return MemoryPointer(memory, 0)

    def take_back(self, memory: Memory) -> None:
        self._used -= memory.block.size
        self._free.setdefault((memory.stream, memory.block.size), []).append(memory.block)

    def used_bytes(self) -> int:
        return self._used

    def total_bytes(self) -> int:
        return self._total

    def free_bytes(self) -> int:
        return self._total - self._used

    def n_free_blocks(self) -> int:
        return sum(map(len, self._free.values()))

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        """Give back what nobody uses."""
        if is_capturing():
            raise RuntimeError("memory cannot be given back while a stream is capturing")
        self._total = self._used
        self._free.clear()

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """No more than `size` bytes, or than a fraction of the device's; 0 lifts the limit."""
        self._limit = size or int((fraction or 0) * DEVICE_BYTES)

    def get_limit(self) -> int:
        return self._limit


DEVICE_BYTES = 1 << 34


def _poison(block: Block) -> None:
    block.bytes.fill(POISON)
    if settings.build() == "check":
        block.written = np.zeros(block.size, np.uint8)
    else:
        block.written = None


_default_pool = MemoryPool()
_process_allocator: Callable[[int], MemoryPointer] = _default_pool.malloc
_of_thread = threading.local()


def get_default_memory_pool() -> MemoryPool:
    return _default_pool


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    """Whence new arrays get their memory; None: from the default pool."""
    global _process_allocator
    if getattr(_of_thread, "allocator", None) is not None:
        raise ValueError("set_allocator() is not possible inside of using_allocator()")
    _process_allocator = allocator or _default_pool.malloc


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """set_allocator() for a block, in this thread."""
    before = getattr(_of_thread, "allocator", None)
    _of_thread.allocator = allocator or _default_pool.malloc
    try:
        yield
    finally:
        _of_thread.allocator = before


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_of_thread, "allocator", None) or _process_allocator


def alloc(size: int) -> MemoryPointer:
    """Memory from the allocator in force."""
    return get_allocator()(size)


class PinnedMemoryPointer(bytearray):
    """Host memory that the device reads and writes without the host's help: np.frombuffer makes an array of it."""

    def size(self) -> int:
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(size)


def is_pinned(array: np.ndarray) -> bool:
    """Whether a NumPy array lies in pinned memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, PinnedMemoryPointer)
