"""cpu/dense.py against sums in float64: every size of tile, what it leaves to BLAS, threads, relu, and whose memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.kernels.cpu import dense, microkernels, threads, wide

from .test_microkernels import MACHINES, before_a_wall

SIZES = [
    (64, 120, 84),
    (5, 7, 3),
    (4, 16, 1),
    (13, 33, 50),
    (100, 1, 9),
    (9, 300, 17),
    (6, 1100, 5),
    (3, 8, 8),
    (4, 4, 4100),
]
NEEDS = [needs for needs in itertools.product((False, True), repeat=3) if any(needs)]


@pytest.fixture
def eager_threads(monkeypatch):
    """Several threads for any size; and no plan outlives a change of constants."""
    monkeypatch.setattr(dense, "SMALL", 0)
    dense._plan.cache_clear()
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)
    dense._plan.cache_clear()


def layer(n, i, o, dtype):
    rng = np.random.default_rng(0)
    return [before_a_wall(rng.standard_normal(shape).astype(dtype)) for shape in ((n, i), (o, i), (o,), (n, o))]


def close(actual, expected, terms, dtype):
    error = np.abs(actual - expected).max(initial=0)
    assert actual.dtype == dtype and actual.shape == expected.shape
    assert error <= 8 * np.finfo(dtype).eps * np.sqrt(terms) * max(1.0, np.abs(expected).max(initial=0)), error


def check(n, i, o, dtype, relu):
    x, w, b, gy = layer(n, i, o, dtype)
    copies = [a.copy() for a in (x, w, b, gy)]
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + b
    y = dense.linear(x, w, b, relu)
    close(y, np.maximum(exact, 0) if relu else exact, i, dtype)
    g = np.where(exact > 0, gy, 0) if relu else gy.astype(np.float64)
    expected = g @ w, g.T @ x, g.sum(axis=0)
    for needs in NEEDS:
        found = dense.linear_gradient(gy, y if relu else None, x if needs[1] else None, w if needs[0] else None, needs)
        assert [gradient is not None for gradient in found] == list(needs)
        for gradient, right, terms in zip(found, expected, (o, n, n), strict=True):
            if gradient is not None:
                close(gradient, right, terms, dtype)
    for before, after in zip(copies, (x, w, b, gy), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_against_exact_sums(size, dtype, relu, count, eager_threads):
    eager_threads(count)
    check(*size, dtype, relu)


@pytest.mark.parametrize("name", MACHINES)
def test_tiles_of_other_machines(name, eager_threads, monkeypatch):
    monkeypatch.setattr(microkernels, "machine", lambda: MACHINES[name])
    microkernels.address.cache_clear()
    try:
        check(13, 33, 50, np.float32, True)
    finally:
        microkernels.address.cache_clear()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_runs_repeat_to_the_byte(count, eager_threads):
    eager_threads(count)
    x, w, b, gy = layer(33, 70, 21, np.float32)
    runs = [(dense.linear(x, w, b, True), *dense.linear_gradient(gy, gy, x, w, (True, True, True))) for _ in range(5)]
    for run in runs[1:]:
        for a, c in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(a, c)


def test_nan_stays_nan_and_gets_no_gradient():
    x, w, b, gy = layer(5, 16, 7, np.float32)
    x[2, 3] = np.nan
    y = dense.linear(x, w, b, True)
    assert np.isnan(y[2]).all() and np.isfinite(y[[0, 1, 3, 4]]).all()
    gx, _, gb = dense.linear_gradient(gy, y, x, w, (True, True, True))
    np.testing.assert_array_equal(gx[2], 0)
    assert np.isfinite(gb).all()


def test_junk_in_scratch_reaches_no_result(monkeypatch, eager_threads):
    scratch = threads.scratch

    def poisoned(shares, size, dtype):
        work = scratch(shares, size, dtype)
        work[...] = np.nan
        return work

    monkeypatch.setattr(dense, "scratch", poisoned)
    eager_threads(3)
    for size in SIZES:
        check(*size, np.float32, True)


def test_any_layout():
    x, w, b, gy = layer(6, 20, 10, np.float32)
    y = dense.linear(x, w, b, False)
    np.testing.assert_array_equal(
        dense.linear(np.asfortranarray(x), np.asfortranarray(w), b[::-1].copy()[::-1], False), y
    )
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(dense.linear(frozen, w, b, False), y)
    found = dense.linear_gradient(np.asfortranarray(gy), None, np.asfortranarray(x), np.asfortranarray(w), (True,) * 3)
    for a, c in zip(found, dense.linear_gradient(gy, None, x, w, (True,) * 3), strict=True):
        np.testing.assert_array_equal(a, c)


WIDE = [(1, 64, 40), (2, 48, 7), (5, 160, 33), (16, 1040, 50), (9, 16, 3), (4, 2048, 64)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_layers_with_more_weights_than_a_cache_holds(count, dtype, relu, eager_threads, monkeypatch):
    """wide.py, for sizes that leave tiles half empty; and that it is asked."""
    monkeypatch.setattr(wide, "LEAST_WEIGHTS", 0)
    ran = []
    for name in ("linear", "linear_gradient"):
        original = getattr(wide, name)
        monkeypatch.setattr(wide, name, lambda *a, f=original, n=name: (ran.append(n), f(*a))[1])
    monkeypatch.setattr(dense, "MOST_WEIGHTS", 0)
    eager_threads(count)
    for n, i, o in WIDE:
        check(n, i, o, dtype, relu)
    assert set(ran) == {"linear", "linear_gradient"}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_wide_layers_on_every_kind_of_cpu(machine, monkeypatch):
    monkeypatch.setattr(wide, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(dense, "MOST_WEIGHTS", 0)
    monkeypatch.setattr(microkernels, "machine", lambda: machine)
    microkernels.address.cache_clear()
    wide._plan.cache_clear()
    try:
        for n, i, o in WIDE[:4]:
            check(n, i, o, "float32", True)
    finally:
        monkeypatch.undo()
        microkernels.address.cache_clear()
        wide._plan.cache_clear()


def test_what_is_wide():
    lanes = microkernels.machine().lanes("float32")
    assert wide.fits(16, 4096, 64 * lanes, np.dtype(np.float32))
    assert not wide.fits(65, 4096, 64 * lanes, np.dtype(np.float32))  # BLAS is as fast
    assert not wide.fits(16, 4096, 64 * lanes + 1, np.dtype(np.float32))
    assert not wide.fits(16, 10, lanes, np.dtype(np.float32))
