"""cpu/gates.py and elementwise.py: the exponential and the normal distribution, vectors, and any number of threads."""

from __future__ import annotations

import math
import platform
import re

import numba
import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import elementwise, gates, threads

BODIES = [gates._silu, gates._silu_slope, gates._gelu, gates._gelu_slope, gates._mish, gates._mish_slope]


@numba.njit
def exponentials(x, y):
    for i in range(x.size):
        y[i] = gates.exponential(x[i])


@numba.njit
def normal_tails(a, y):
    for i in range(a.size):
        y[i] = gates.normal_tail(a[i], gates.exponential(-a.dtype.type(0.5) * a[i] * a[i]))


def test_exponential_in_float32():
    x = np.linspace(-87, 88, 400_001).astype(np.float32)
    y = np.empty_like(x)
    exponentials(x, y)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(y - exact).max(initial=0, where=exact < 1) <= 1.5 * 2.0**-24  # as numbers below 1
    assert np.abs(y / exact - 1).max() < 1.5 * 2.0**-23


def test_exponential_beyond_its_range():
    x = np.array([-np.inf, -1e30, -89, -0.0, 0.0, 89, 1e30, np.inf, np.nan], np.float32)
    y = np.empty_like(x)
    exponentials(x, y)
    np.testing.assert_array_equal(y, np.float32([0, 0, 0, 1, 1, np.inf, np.inf, np.inf, np.nan]))


def test_normal_distribution_in_float32():
    """Relative to the tail itself, as far as float32 has one."""
    a = np.linspace(0, 12.5, 20_001).astype(np.float32)
    y = np.empty_like(a)
    normal_tails(a, y)
    exact = np.array([math.erfc(number / math.sqrt(2)) / 2 for number in a.tolist()])
    assert np.abs(y / exact - 1)[a < 4].max() < 2e-6
    assert np.abs(y / exact - 1).max() < 1e-5


def test_float64_is_the_c_librarys():
    x = np.linspace(-700, 700, 5001)
    y = np.empty_like(x)
    exponentials(x, y)
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-15)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_loops_are_vectors(body):
    """A branch, a call or a number of float64 in the loop would cost a factor of five and break no result."""
    vector = numba.float32[::1]
    arrays = body.__code__.co_argcount - 3
    compiled = numba.njit((numba.int64,) * 3 + (vector,) * arrays, nogil=True)(body.py_func)
    (assembly,) = compiled.inspect_asm().values()
    assert re.search(r"\bv?divps\b", assembly)
    assert not re.search(r"\bv?(div|mul|add)pd\b", assembly)


SIZES = [0, 1, 7, 1001, 3 * 5 * 67]
CALLS = {
    "relu": 1, "relu_mask": 2, "relu6": 1, "silu": 1, "silu_slope": 2, "gelu": 1, "gelu_slope": 2, "hard_swish": 1,
    "hard_swish_slope": 2, "mish": 1, "mish_slope": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_thread_counts_agree(name, monkeypatch):
    """To the byte, also where a share begins in the middle of a vector."""
    monkeypatch.setattr(elementwise, "SMALL", 0)
    rng = np.random.default_rng(0)
    for size in SIZES:
        arrays = [4 * rng.standard_normal(size).astype(np.float32) for _ in range(CALLS[name])]
        results = []
        for count in (1, 2, 3):
            monkeypatch.setattr(threads, "_threads", count)
            results.append(getattr(cpu, name)(*arrays).tobytes())
        assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shape, slopes", [((2, 5, 3, 7), 5), ((2, 5, 3, 7), 1), ((4, 3), 3), ((1, 5, 0), 5), ((), 1)])
def test_leak_in_shares(shape, slopes, monkeypatch):
    """Shares begin and end anywhere, also inside of a channel."""
    monkeypatch.setattr(elementwise, "SMALL", 0)
    rng = np.random.default_rng(0)
    g, x = (np.asarray(rng.standard_normal(shape)) for _ in range(2))
    slope = rng.standard_normal(slopes)
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(threads, "_threads", count)
        np.testing.assert_array_equal(cpu.leak(g, x, slope), reference.leak(g, x, slope))
        np.testing.assert_array_equal(cpu.clip_mask(g, x, -0.5, 1.0), reference.clip_mask(g, x, -0.5, 1.0))
