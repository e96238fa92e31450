"""One loop on several cores: a fixed share for each thread, the same on every run.

    parallel_for(10, body, x, y)            3 threads

        count      0 1 2 3 | 4 5 6 | 7 8 9
        share         0        1       2
                   caller   worker  worker       each calls body(share, first, last, x, y)

The bodies are compiled kernels, which need no interpreter, so plain Python threads can run them side by side; handing
out the shares costs about 10 µs (workers.py), so loops that take less are better run with threads=1. Shares are fixed
by (count, threads) alone: partial sums kept per share and added in the order of the shares make results reproducible
to the byte for a given number of threads. Not OpenMP: two of its runtimes in one process spin against each other, and
Numba's parallel=True compiles several times longer.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .arguments import unpacked

_region = threading.Lock()  # the workers serve one loop at a time
_workers: Any = None  # a workers.Team
_local = threading.local()
_threads = 0  # 0: not chosen yet


def get_num_threads() -> int:
    """How many threads a kernel uses: set_num_threads, else MINICNN_NUM_THREADS, else the cores we may run on."""
    global _threads
    if _threads == 0:
        _threads = _default_threads()
    return _threads


def set_num_threads(n: int) -> None:
    """Use n threads in these kernels and in NumPy's BLAS."""
    global _threads
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ArgumentError(f"the number of threads must be an integer ≥ 1, got {n!r}")
    _threads = int(n)
    import threadpoolctl  # here, since it searches through all loaded libraries: not worth it at import

    threadpoolctl.threadpool_limits(limits=_threads, user_api="blas")


def _default_threads() -> int:
    wish = os.environ.get("MINICNN_NUM_THREADS", "")
    if wish:
        if not wish.isdecimal() or int(wish) < 1:
            raise ArgumentError(f"MINICNN_NUM_THREADS must be an integer ≥ 1, got {wish!r}")
        return int(wish)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _heed_environment() -> None:
    """MINICNN_NUM_THREADS holds for BLAS, too, and from the start: not every product asks these kernels first."""
    wish = os.environ.get("MINICNN_NUM_THREADS", "")
    if wish.isdecimal() and int(wish) > 0:  # anything else is refused when the number is first needed
        set_num_threads(int(wish))


def share(count: int, index: int, shares: int) -> tuple[int, int]:
    """The part first ≤ i < last of range(count) that belongs to one of `shares` shares; sizes differ by at most 1."""
    return count * index // shares, count * (index + 1) // shares


def parallel_for(count: int, body: Callable[..., None], *args: Any, threads: int | None = None) -> None:
    """body(share, first, last, *args) for each share of range(count), at once; returns when all are done.

    There are min(count, threads) shares, none of them empty. Called from several Python threads at once, one
    loop gets the workers and the others run their shares one after the other: same shares, same result.
    """
    shares = min(threads or get_num_threads(), count)
    if shares < 2:
        if count:
            _alone(body, [(0, 0, count)], args)
        return
    parts = [(index, count * index // shares, count * (index + 1) // shares) for index in range(shares)]
    if not _region.acquire(blocking=False):
        _alone(body, parts, args)
        return
    try:
        (_workers or _team()).run(body, parts, args)
    finally:
        _region.release()


def _alone(body: Any, parts: list[tuple[int, int, int]], args: tuple[Any, ...]) -> None:
    if hasattr(body, "run"):  # a driver
        body.run(parts, args)
    else:
        plain = unpacked(args)
        for part in parts:
            body(*part, *plain)


def _team() -> Any:
    global _workers
    if _workers is None:
        _workers = importlib.import_module(".workers", __package__).Team()  # brings LLVM: not before it is needed
    return _workers


def _after_fork() -> None:
    """A forked child has only the thread that forked: forget the workers and a lock that may be held."""
    global _region, _workers
    _workers = None
    _region = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def scratch(shares: int, size: int, dtype: Any) -> np.ndarray:
    """Working memory (shares, size or more) with any content, aligned to 64 bytes, valid until the caller's next call.

    Kept between calls, per calling thread: memory fresh from the system costs a page fault for every 4 KB of it,
    which for small networks is as much time as the arithmetic.
    """
    dtype = np.dtype(dtype)
    row = -(-size * dtype.itemsize // 64) * 64
    have = getattr(_local, "memory", None)
    if have is None or have.size < shares * row:
        have = _local.memory = None  # before the larger one is made, not after
        memory = np.empty(shares * row + 64, np.uint8)
        start = -memory.ctypes.data % 64
        have = _local.memory = memory[start : start + shares * row]
    return have[: shares * row].view(dtype).reshape(shares, row // dtype.itemsize)


_heed_environment()
