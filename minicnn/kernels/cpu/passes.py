"""Passes over memory that are micro-kernels from end to end: their loops, too, are written as LLVM instructions.

A pass is given its share of the items and, for the rest, the address of its words: addresses and counts.

    run(items, micro_kernel, [x, y, rows, ...])        micro_kernel(code, share, first, last, words)

One driver starts all of them; each pass costs what LLVM needs for it, some 20 ms, the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arguments import address_of
from .drivers import driver
from .microkernels import address, call_tile
from .threads import get_num_threads, parallel_for

SMALL = 1 << 16  # bytes that one thread has moved before a second has woken up


def run(items: int, bytes_moved: int, micro_kernel: Callable[..., None], words: Sequence[Any], **shape: Any) -> None:
    """micro_kernel on shares of range(items), at once. words: integers, and arrays for where they begin."""
    numbers = np.array([address_of(w) if isinstance(w, np.ndarray) else w for w in words], np.int64)
    code = address("float32", micro_kernel, **shape)
    threads = 1 if bytes_moved < SMALL else get_num_threads()
    start(items, threads, code, numbers)


def start(items: int, threads: int, micro_kernel: int, words: np.ndarray) -> None:
    """The same for a micro-kernel given by its address, and words that are all numbers."""
    parallel_for(items, _pass, micro_kernel, address_of(words), threads=threads)


@driver
def _pass(share, first, last, micro_kernel, words):
    call_tile(micro_kernel, (share, first, last, words))
