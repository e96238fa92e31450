"""cpu/threads.py: shares, workers, errors, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from minicnn.errors import ArgumentError
from minicnn.kernels.cpu import threads

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def restored():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 64, 1001])
@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_shares_cover_the_range_once(count, shares):
    parts = [threads.share(count, i, shares) for i in range(shares)]
    assert [i for first, last in parts for i in range(first, last)] == list(range(count))
    sizes = [last - first for first, last in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_index_once(count, n):
    seen = np.zeros(count, int)

    def body(share, first, last, out):
        assert (first, last) == threads.share(count, share, n)
        assert first < last, "called for nothing"
        out[first:last] += 1

    for _ in range(20):
        threads.parallel_for(count, body, seen, threads=n)
    assert (seen == 20).all()


def test_shares_run_at_the_same_time():
    """Each waits for the others: run one after the other, they would wait for ever."""
    barrier = threading.Barrier(3, timeout=20)
    names = [None] * 3

    def body(share, first, last):
        names[share] = threading.current_thread().name
        barrier.wait()

    threads.parallel_for(3, body, threads=3)
    assert len(set(names)) == 3
    assert names[0] == threading.current_thread().name


def test_workers_are_kept():
    def body(share, first, last):
        pass

    threads.parallel_for(3, body, threads=3)
    before = threading.active_count()
    for _ in range(10):
        threads.parallel_for(3, body, threads=3)
    assert threading.active_count() == before


@pytest.mark.parametrize("guilty", [0, 1, 2])
def test_errors_reach_the_caller_after_all_have_finished(guilty):
    finished = []

    def body(share, first, last):
        if share == guilty:
            raise ZeroDivisionError(f"share {share}")
        time.sleep(0.02)
        finished.append(share)

    for _ in range(2):  # and the workers survive
        with pytest.raises(ZeroDivisionError, match=f"share {guilty}"):
            threads.parallel_for(3, body, threads=3)
    assert sorted(finished) == sorted([i for i in range(3) if i != guilty] * 2)


def test_loops_inside_loops_and_from_other_threads():
    """Both find the workers taken; they must neither wait for each other nor lose a share."""
    total = np.zeros(4, int)

    def inner(share, first, last, out, row):
        out[row] += last - first

    def outer(share, first, last):
        for row in range(first, last):
            threads.parallel_for(10, inner, total, row, threads=2)

    callers = [threading.Thread(target=threads.parallel_for, args=(4, outer), kwargs={"threads": 2}) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
        assert not caller.is_alive()
    assert total.tolist() == [30] * 4


def test_set_num_threads_also_limits_blas(restored):
    np.ones((2, 2)) @ np.ones((2, 2))
    for n in (1, 2):
        threads.set_num_threads(n)
        assert threads.get_num_threads() == n
        limits = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert limits and all(limit <= n for limit in limits)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", None, True])
def test_set_num_threads_refuses(bad):
    with pytest.raises(ArgumentError, match="integer ≥ 1"):
        threads.set_num_threads(bad)


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("", len(os.sched_getaffinity(0)))])
def test_the_default(value, expected, monkeypatch):
    monkeypatch.setenv("MINICNN_NUM_THREADS", value)
    monkeypatch.setattr(threads, "_threads", 0)
    assert threads.get_num_threads() == expected


@pytest.mark.parametrize("value", ["0", "two", "-1", "1.5"])
def test_the_default_refuses(value, monkeypatch):
    monkeypatch.setenv("MINICNN_NUM_THREADS", value)
    monkeypatch.setattr(threads, "_threads", 0)
    with pytest.raises(ArgumentError, match="MINICNN_NUM_THREADS"):
        threads.get_num_threads()


def test_scratch_is_aligned_large_enough_and_private():
    work = threads.scratch(3, 1000, np.float32)
    assert work.shape[0] == 3 and work.shape[1] >= 1000 and work.dtype == np.float32
    assert all(row.ctypes.data % 64 == 0 for row in work)
    assert np.shares_memory(work, threads.scratch(2, 10, np.float64)), "memory is kept between calls"
    other = []
    thread = threading.Thread(target=lambda: other.append(threads.scratch(3, 1000, np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(work, other[0])


FORK = """
import os, threading
from minicnn.kernels.cpu import threads

def together(share, first, last, barrier):
    barrier.wait()

def busy(share, first, last, entered, leave):
    entered.wait()
    leave.wait(20)

threads.parallel_for(3, together, threading.Barrier(3, timeout=20), threads=3)
entered, leave = threading.Barrier(4, timeout=20), threading.Event()
loop = threading.Thread(target=threads.parallel_for, args=(3, busy, entered, leave), kwargs={"threads": 3})
loop.start()
entered.wait()                            # all workers are inside of a loop at the time of the fork
child = os.fork()
if child == 0:
    threads.parallel_for(3, together, threading.Barrier(3, timeout=20), threads=3)
    os._exit(0)
leave.set()
loop.join()
assert os.waitpid(child, 0)[1] == 0, "the child failed"
threads.parallel_for(3, together, threading.Barrier(3, timeout=20), threads=3)
"""


def test_fork_and_exit():
    """A forked child has no workers, so it starts its own; and a process with idle workers ends."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], cwd=ROOT, check=True, timeout=30)
