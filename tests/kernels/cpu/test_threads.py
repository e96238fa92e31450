"""cpu/threads.py: shares, workers, errors, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest
import threadpoolctl

from minicnn.errors import ArgumentError
from minicnn.kernels.cpu import threads
from minicnn.kernels.cpu.compile import jit

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


@numba.njit(nogil=True)
def count_and_sign(share, first, last, seen, owners):
    for i in range(first, last):
        seen[i] += 1
        owners[i] = share


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_index_once_and_by_its_share(count, n):
    seen, owners = np.zeros(count, np.int64), np.full(count, -1)
    for _ in range(50):
        threads.parallel_for(count, count_and_sign, seen, owners, threads=n)
    assert (seen == 50).all()
    shares = min(n, count)  # the first ones: whoever adds up what they left knows where it is
    for share in range(shares):
        first, last = threads.share(count, share, shares)
        assert (owners[first:last] == share).all()


@numba.njit(nogil=True)
def note_call(share, first, last, calls):
    calls[share] += 1


def test_empty_shares_are_not_called():
    calls = np.zeros(5, np.int64)
    threads.parallel_for(2, note_call, calls, threads=5)
    assert calls.tolist() == [1, 1, 0, 0, 0]


@numba.njit(nogil=True)
def meet(share, first, last, place, patience):
    """Wait for the other share, but not for ever; place[2 + share] tells whether it came."""
    place[share] = 1
    for _ in range(patience):
        if place[1 - share]:
            place[2 + share] = 1
            return


def test_shares_run_at_the_same_time():
    """Not in every loop, for a caller does what no worker has begun; but a loop of some milliseconds soon has both."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    for _ in range(200):
        place = np.zeros(4, np.int64)
        threads.parallel_for(2, meet, place, 10_000_000, threads=2)
        if place[2:].all():
            return
    pytest.fail("no two shares were seen to run at the same time")


def test_workers_are_kept_and_woken():
    seen, owners = np.zeros(6, np.int64), np.zeros(6, np.int64)
    threads.parallel_for(6, count_and_sign, seen, owners, threads=3)
    before = threading.active_count()
    for _ in range(5):
        time.sleep(0.05)  # long enough for them to fall asleep
        threads.parallel_for(6, count_and_sign, seen, owners, threads=3)
    assert threading.active_count() == before
    assert (seen == 6).all()


@numba.njit(nogil=True)
def combine(share, first, last, a, b, c, scale, shift, flags, out):
    for i in range(first, last):
        out[i] = (a[i, 0] + a[i, 1] + b[i]) * scale + c[0, 0, i] + shift + flags[i]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arguments_of_many_kinds(dtype):
    """Arrays of one to three axes and of several types, and integers, arrive as they are."""
    n = 37
    a, b = np.arange(2 * n, dtype=dtype).reshape(n, 2), np.arange(n, dtype=np.int32)
    c, flags = np.arange(n, dtype=dtype).reshape(1, 1, n), np.arange(n) % 2 == 0
    for count in (1, 2, 3):
        out = np.zeros(n, dtype)
        threads.parallel_for(n, combine, a, b, c, 3, -(2**40), flags, out, threads=count)
        expected = (a.sum(axis=1) + b) * 3 + c[0, 0] - 2**40 + flags
        np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_loops_from_several_python_threads():
    """They find the workers taken; they must neither wait for each other nor lose a share."""
    totals = [(np.zeros(40, np.int64), np.zeros(40, np.int64)) for _ in range(4)]

    def many_loops(seen, owners):
        for _ in range(300):
            threads.parallel_for(40, count_and_sign, seen, owners, threads=2)

    callers = [threading.Thread(target=many_loops, args=arrays, daemon=True) for arrays in totals]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    for seen, owners in totals:
        assert (seen == 300).all()
        assert owners.tolist() == [0] * 20 + [1] * 20


def test_set_num_threads_also_limits_blas(restored):
    np.ones((2, 2)) @ np.ones((2, 2))
    for n in (1, 2):
        threads.set_num_threads(n)
        assert threads.get_num_threads() == n
        limits = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert limits and all(limit <= n for limit in limits)


BUSY = """
import os, sys, threading
import numpy as np
import minicnn
from minicnn import nn, ops

threads = int(sys.argv[1])
if not os.environ.get("MINICNN_NUM_THREADS"):
    minicnn.set_num_threads(threads)

def ticks():                              # CPU time of this thread and of all others, in hundredths of a second
    found = [0, 0]
    for thread in os.listdir("/proc/self/task"):
        stat = open(f"/proc/self/task/{thread}/stat").read().rpartition(")")[2].split()
        found[int(thread) != threading.get_native_id()] += int(stat[11]) + int(stat[12])
    return np.array(found)

def work(size, times):
    images, square = np.ones((4, 16, size, size), np.float32), np.ones((2 * size, 2 * size), np.float32)
    for device in ("cpu", "reference"):
        with minicnn.use(device):
            x, a = minicnn.Tensor(images, requires_grad=True), minicnn.Tensor(square, requires_grad=True)
            conv = nn.Conv2d(16, 16, 3, padding=1)
            for _ in range(times):
                conv(x).sum().backward()
                (a @ a).sum().backward()
                ops.einsum("ij,jk->ik", a, a)
                nn.init.orthogonal_(minicnn.Tensor(np.zeros((size, size), np.float32)))

work(16, 1)                               # compiles, and wakes all threads there are
before = ticks()
work(256, 3)
workers = [thread.name for thread in threading.enumerate() if thread.name.startswith("minicnn")]
print(*(ticks() - before), len(workers))
"""


def others_work(count, environment=""):
    """CPU time of the main thread and of all others, in hundredths of a second, and the number of our workers."""
    variables = {key: value for key, value in os.environ.items() if not key.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", BUSY, str(count)], cwd=ROOT, check=True, timeout=120, capture_output=True, text=True,
        env={**variables, "PYTHONPATH": str(ROOT), "MINICNN_NUM_THREADS": environment, "MINICNN_QUIET": "1"},
    )  # fmt: skip
    return map(int, done.stdout.split())


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="CPU times of threads are read from /proc")
@pytest.mark.parametrize("environment", ["", "1"])
def test_with_one_thread_no_other_works(environment):
    """Neither ours nor BLAS's, in kernels, products and QR, on both devices; whichever way the number was chosen."""
    main, others, workers = others_work(1, environment)
    assert workers == 0
    assert others < main / 10, f"{others} of {main + others} hundredths"  # BLAS's threads wait with open eyes at first


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="CPU times of threads are read from /proc")
def test_with_two_threads_one_more_works():
    main, others, workers = others_work(2)
    assert workers == 1
    assert others > main / 10, "so that the test above can fail"


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
import numba, numpy as np
from minicnn.kernels.cpu import threads
from minicnn.kernels.cpu.compile import jit

@numba.njit(nogil=True)
def add(share, first, last, out):
    for i in range(first, last):
        out[i] += 1

@numba.njit(nogil=True)
def busy(share, first, last, state):
    state[0] = 1
    while state[1] == 0:
        state[2 + share] += 1

out, state = np.zeros(6, np.int64), np.zeros(8, np.int64)
busy.compile((numba.int64,) * 3 + (numba.int64[::1],))
for _ in range(3):
    threads.parallel_for(6, add, out, threads=3)
loop = threading.Thread(target=threads.parallel_for, args=(3, busy, state), kwargs={"threads": 3})
loop.start()
while state[0] == 0:
    pass                                  # a loop is under way at the time of the fork
child = os.fork()
if child == 0:
    before = threading.active_count()
    for _ in range(3):
        threads.parallel_for(6, add, out, threads=3)
    os._exit(0 if (out == 6).all() and threading.active_count() == before + 2 else 1)
state[1] = 1
loop.join()
assert os.waitpid(child, 0)[1] == 0, "the child failed"
threads.parallel_for(6, add, out, threads=3)
assert (out == 4).all()
"""


def test_fork_and_exit():
    """A forked child has no workers, so it starts its own; and a process with idle workers ends."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], cwd=ROOT, check=True, timeout=30)


@jit
def refuses_seven(share, first, last, values):
    for i in range(first, last):
        if values[i] == 7:
            raise ZeroDivisionError
        values[i] += 1


@pytest.mark.parametrize("place", [0, 9])
def test_an_error_in_a_kernel_is_not_lost_with_several_threads(place):
    """In the caller's share and in a worker's; and the next call works."""
    values = np.zeros(10, np.int64)
    values[place] = 7
    with pytest.raises(RuntimeError, match="refuses_seven raised an error"):
        threads.parallel_for(10, refuses_seven, values, threads=2)
    values[...] = 0
    threads.parallel_for(10, refuses_seven, values, threads=2)
    assert values.tolist() == [1] * 10
