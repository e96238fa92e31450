"""cpu/drivers.py: compiled, a driver gives the numbers that Python gives for the same function."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minicnn.errors import ArgumentError
from minicnn.kernels.cpu import drivers, microkernels
from minicnn.kernels.cpu.arguments import Fixed
from minicnn.kernels.cpu.drivers import driver
from minicnn.kernels.cpu.microkernels import call_tile, move_rows, place
from minicnn.kernels.cpu.threads import parallel_for

ROOT = Path(__file__).resolve().parents[3]
RECORD = np.dtype([("rows", np.int64), ("step", np.int32), ("factor", np.float32)])
SEVEN, HALF = 7, np.float32(0.5)
index = np.uintp


def arithmetic(share, first, last, x, y):
    k = 0
    for i in range(first, last):
        for j in range(first, last):
            a, b = x[i], x[j]
            y[k] = a + b - 3 * a * b
            y[k + 1] = -a
            y[k + 2] = (a & b) | (a ^ 5)
            y[k + 3] = (a << 3) + (b >> 2)
            y[k + 4] = SEVEN
            if b != 0:
                y[k + 5] = a // b
                y[k + 6] = a % b
            k += 8


def comparisons(share, first, last, x, y):
    k = 0
    for i in range(first, last):
        for j in range(first, last):
            a, b = x[i], x[j]
            y[k] = (a < b) + 2 * (a <= b) + 4 * (a > b) + 8 * (a >= b) + 16 * (a == b) + 32 * (a != b)
            y[k + 1] = 0 <= a < b
            y[k + 2] = (a > 0 and b > 0) or not a
            y[k + 3] = min(a, b, 2) - max(a, b)
            y[k + 4] = 1 if a else b
            y[k + 5] = (a, 3) == (b, 3)
            flag = a > 1
            y[k + 6] = flag + 3
            k += 7


def what_follows_is_not_looked_at(share, first, last, x, y):
    """Else x would be read, where nothing is."""
    far = 1 << 46
    for i in range(first, last):
        y[i] = x[far] if i > 100 else 1
        if i > 100 and x[far] > 0:
            y[i] = 2
        if i >= 0 or x[far] > 0:
            y[i] += 5


def loops(share, first, last, x, y):
    total = 0
    for i in range(last):
        if i == 2:
            continue
        for j in range(1, 20, 3):
            if j > 12:
                break
            total = total * 3 + i * j
        y[i] = total
    while total > 10:
        total //= 2
        if total % 7 == 0:
            break
        else:
            y[0] += total
    for i in range(5, 2):
        y[i] = 9
    y[last] = i


@driver
def collatz(n, most):
    steps = 0
    while True:
        if n == 1:
            return steps, n
        if steps == most:
            return steps, n
        n = 3 * n + 1 if n % 2 else n // 2
        steps += 1


def calls(share, first, last, x, y):
    n = 100
    for i in range(first, last):
        steps, rest = collatz(i + 1, 9)
        y[2 * i], y[2 * i + 1] = steps, rest
    y[2 * last] = n


def pieces(share, first, last, x, y):
    both = x[first:last]
    part, rest = both[:3], both[3:]
    y[0] = len(part) * 10 + len(rest)
    y[1:4] = part
    y[4:6] = 7
    y[6:8] = 0
    y[8:8] = 5
    y[9:8] = 5
    y[9:8] = 0
    y[9 : 9 + len(rest)] = rest
    part, rest = rest, part
    y[1] = part[0] - rest[0]
    y[2:7] = y[1:6]


def tables(share, first, last, table, cube, y):
    row = table[first]
    for j in range(table.shape[1]):
        y[j] = row[j] + table[last, j]
    page = cube[1]
    y[20] = page[1, 2] + cube[0, 1, index(1)] * cube.size + len(cube) * cube.itemsize
    a, b, c = cube[1, 1]
    y[21] = a * 100 + b * 10 + c


def records(share, first, last, plan, y):
    p = plan[last - 1]
    for i in range(p.rows):
        y[i] = p.step * i + p.factor


def floats(share, first, last, x, y):
    total = x[0] * 0
    largest = x[0]
    for i in range(first, last):
        value = x[i]
        total += value * value
        largest = value if value > largest else largest
        y[i] = 0 if value <= HALF else value / 3 - 1
    y[last] = total
    y[last + 1] = largest
    y[last + 2] = np.exp(largest) + np.log(total) * 2
    y[last + 3] = last // 2 - largest
    y[last + 4] = (largest > 0) & (total < 0)
    nan = total - total + x[last]
    y[0] = (nan != nan) + 2 * (nan == nan) + 4 * (nan < 1) + 8 * (nan >= 1)
    y[1] = 5 if nan > 1 or nan <= 1 else nan


def memory(share, first, last, x, y):
    zeros, some = np.zeros(5, x.dtype), np.empty(2 * last, np.int64)
    for i in range(2 * last):
        some[i] = i * i
    for i in range(5):
        y[i] = zeros[i] + some[2 * last - 1]
        zeros[i] = 9


RNG = np.random.default_rng(0)
INTEGERS = np.array([-17, -3, -1, 0, 1, 2, 5, 16, 1 << 40])
CASES = {
    "arithmetic": (arithmetic, (0, 9), (INTEGERS, np.zeros(9 * 9 * 8, np.int64))),
    "of 32 bits": (arithmetic, (0, 8), (INTEGERS[:8].astype(np.int32), np.zeros(8 * 8 * 8, np.int64))),
    "comparisons": (comparisons, (0, 9), (INTEGERS, np.zeros(9 * 9 * 7, np.int64))),
    "loops": (loops, (0, 9), (INTEGERS, np.zeros(10, np.int64))),
    "calls": (calls, (0, 9), (INTEGERS, np.zeros(20, np.int64))),
    "pieces": (pieces, (1, 8), (RNG.standard_normal(9), np.ones(20))),
    "pieces of integers": (pieces, (1, 8), (INTEGERS, np.ones(20, np.int64))),
    "pieces of bytes": (pieces, (1, 8), (np.arange(9, dtype=np.uint8), np.full(20, 250, np.uint8))),
    "tables": (tables, (1, 2), (RNG.standard_normal((3, 4)), np.arange(18.0).reshape(2, 3, 3), np.zeros(22))),
    "records": (records, (0, 2), (np.array([(1, 2, 3), (4, -5, 6.5)], RECORD), np.zeros(6))),
    "float32": (
        floats,
        (0, 9),
        (np.append(RNG.standard_normal(9), np.nan).astype(np.float32), np.zeros(14, np.float32)),
    ),
    "float64": (floats, (0, 9), (np.append(RNG.standard_normal(9), np.nan), np.zeros(14))),
    "memory": (memory, (0, 9), (RNG.standard_normal(9), np.zeros(9))),
}


def as_python(function, bounds, args):
    """The function itself; drivers that it calls are Python as well."""
    names = function.__globals__
    plain = type(function)(function.__code__, {**names, "collatz": collatz.__wrapped__}, function.__name__)
    records = [a.view(np.recarray) if a.dtype.names else a for a in args]
    with np.errstate(all="ignore"):
        plain(0, *bounds, *records)


@pytest.mark.parametrize("name", CASES)
def test_a_driver_does_what_python_does(name):
    function, bounds, args = CASES[name]
    expected, got = ([a.copy() for a in args] for _ in range(2))
    as_python(function, bounds, expected)
    driver(function)(0, *bounds, *got)
    assert not np.array_equal(args[-1], expected[-1])
    for a, b in zip(got, expected, strict=True):
        if a.dtype.names:
            assert (a == b).all()
        else:
            np.testing.assert_allclose(a, b, rtol=1e-6 if a.dtype.kind == "f" else 0, atol=0)


def test_what_would_be_wrong_to_read_is_not_read():
    y = np.zeros(4, np.int64)
    driver(what_follows_is_not_looked_at)(0, 0, 4, np.zeros(1, np.int64), y)
    assert (y == 6).all()


def move(share, first, last, mover, x, y, addend):
    call_tile(mover, (1, place(x, first), 0, place(y, first), 0, last - first, addend))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_micro_kernels_on_several_threads(threads):
    """And every part of the loop once, whoever runs it; what is fixed is an argument like the others."""
    mover, body = microkernels.address("float32", move_rows), driver(move)
    x, y, one = RNG.standard_normal(100).astype(np.float32), np.zeros(100, np.float32), np.ones(1, np.float32)
    for args in ((mover, x, y, one), (Fixed(mover, x), y, Fixed(one))):
        y[:] = 0
        parallel_for(100, body, *args, threads=threads)
        np.testing.assert_array_equal(y, x + 1)


def test_other_kinds_of_arguments_are_compiled_for():
    body = driver(floats)
    for dtype in (np.float32, np.float64, np.float32):
        y = np.zeros(14, dtype)
        body(0, 0, 9, np.ones(10, dtype), y)
        assert y[9] == 9
    assert len(body.entries) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_fixed_has_a_kind_too(dtype):
    y = np.zeros(14, dtype)
    FLOATS(0, 0, 9, Fixed(np.full(10, 2, dtype), y))
    assert y[9] == 36


FLOATS = driver(floats)


@driver
def sum_of_many(n, x):
    many = np.zeros(n, np.int64)
    for i in range(n):
        many[i] = i + x[0]
    total = 0
    for i in range(n):
        total += many[i]
    return total


def asks_for_memory(share, first, last, x, y):
    for i in range(first, last):
        y[i] = sum_of_many(x[1], x)


def test_memory_of_a_part_is_given_back_when_it_returns():
    """Else 1000 times 80 KB would be more than a stack has."""
    y = np.zeros(1000, np.int64)
    driver(asks_for_memory)(0, 0, 1000, np.array([0, 10_000]), y)
    assert (y == 10_000 * 9_999 // 2).all()


def by_size(share, first, last, x):
    if x.itemsize == 8:
        x[0] = 8
    else:
        x.something()


def test_a_condition_that_is_known_compiles_one_branch():
    x = np.zeros(3)
    driver(by_size)(0, 0, 1, x)
    assert x[0] == 8
    with pytest.raises(ArgumentError, match="something"):
        driver(by_size)(0, 0, 1, x.astype(np.float32))


def generator(share, first, last, x):
    for _ in x:
        pass


def method(share, first, last, x):
    x[0] = x.sum()


def keyword(share, first, last, x):
    x[0] = max(1, 2, key=3)


def other_type(share, first, last, x):
    number = 1
    number = x[0]
    x[0] = number


def unknown(share, first, last, x):
    x[0] = nobody_knows  # noqa: F821


def endless(share, first, last, x):
    for _ in range(last):
        more = np.empty(last, x.dtype)
        x[0] = more[0]


def two_kinds(share, first, last, x):
    x[0:1] = np.zeros(1, np.float32)


def from_the_end(share, first, last, x):
    x[-1] = 0


def power(share, first, last, x):
    x[0] = x[0] ** 2


@pytest.mark.parametrize(
    "function", [generator, method, keyword, other_type, unknown, endless, two_kinds, power, from_the_end]
)
def test_what_is_not_in_the_language_is_refused(function):
    with pytest.raises(
        ArgumentError,
        match={endless: "np.empty", two_kinds: "another type", from_the_end: "-1"}.get(function, function.__name__),
    ):
        driver(function)(0, 0, 2, np.zeros(3))


def test_compiled_once_and_found_on_disk_by_the_next_process(tmp_path):
    """Numba has no part in it, and the second process none of LLVM's optimisation."""
    program = (
        "import numpy as np\n"
        "from minicnn.kernels.cpu import interleave, microkernels\n"
        "import llvmlite.binding as llvm, sys\n"
        "if sys.argv[1] == 'second': llvm.create_pass_builder = None\n"
        "x = np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3)\n"
        "blocks, y = np.empty((1, 1, 2, 3, 16), np.float32), np.empty_like(x)\n"
        "interleave.interleave(x, blocks); interleave.separate(blocks, y)\n"
        "assert (x == y).all()"
    )
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for which in ("first", "second"):
        subprocess.run([sys.executable, "-c", program, which], cwd=ROOT, env=env, check=True)


def test_words_that_a_driver_is_given(monkeypatch):
    """An array is its address and its sizes."""
    x, two = np.zeros((3, 5)), np.zeros(2)
    body = driver(arithmetic)
    monkeypatch.setattr(drivers, "compiled", lambda *args, **options: 1)
    assert body.entry((x, 7, Fixed(two, 9)))[1] == [x.ctypes.data, 3, 5, 7, two.ctypes.data, 2, 9]
