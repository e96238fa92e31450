"""cuda/reduce.py: every set of axes, rows and columns, slices, NaN, ties, nothing at all, and how exact sums are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cuda import reduce

from .on_device import BOTH, Kernels, agree, as_reference

SHAPES = [(), (1,), (64,), (3, 5, 7), (2, 3, 4, 5, 3), (2, 3, 2, 3, 2, 3), (5, 1100), (1100, 5), (3, 0), (2, 3, 33, 9)]
EACH = pytest.mark.parametrize("shape", SHAPES, ids=str)
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
CLOSE = {np.float32: {"rtol": 1e-5, "atol": 1e-5}, np.float64: {"rtol": 1e-13, "atol": 1e-13}}


@pytest.fixture
def gpu(device):
    return Kernels(device, "reduce")


def numbers(shape, dtype, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def axes_of(x):
    return itertools.chain.from_iterable(itertools.combinations(range(x.ndim), n) for n in range(x.ndim + 1))


@EACH_DTYPE
@EACH
def test_over_every_set_of_axes(gpu, shape, dtype):
    x = numbers(shape, dtype)
    for axis in axes_of(x):
        keepdims = sum(axis) % 2 == 1
        for name in ("sum", "logsumexp") + ("amax",) * bool(x.size):
            with np.errstate(all="ignore"):
                agree(getattr(gpu, name)(x, axis, keepdims), getattr(reference, name)(x, axis, keepdims),
                      **CLOSE[dtype])  # fmt: skip


@EACH_DTYPE
@EACH
def test_first_of_the_largest(gpu, shape, dtype):
    x = np.round(numbers(shape, dtype))  # many ties
    with_nan = x.copy()
    with_nan.flat[1 : min(x.size, 90) : 7] = np.nan
    for axis in range(x.ndim):
        if x.shape[axis]:
            for name, y in itertools.product(("argmax", "argmin"), (x, with_nan)):
                as_reference(gpu, name, y, axis, rtol=0)


@pytest.mark.parametrize("shape, axis", [((40_000,), (0,)), ((70_000, 3), (0,)), ((3, 70_000), (1,))])
def test_slices(gpu, shape, axis, monkeypatch):
    """Few outputs of many numbers are made in several launches, whose order is fixed."""
    launches = []
    right = reduce.kernel
    monkeypatch.setattr(reduce, "kernel", lambda *args, **options: launches.append(args) or right(*args, **options))
    x = numbers(shape, np.float32)
    as_reference(gpu, "sum", x, axis, False, rtol=1e-4, atol=1e-4)
    assert len(launches) > 2
    as_reference(gpu, "amax", x, axis, True, rtol=0)
    as_reference(gpu, "logsumexp", x, axis, True, rtol=1e-6)


@pytest.mark.parametrize("shape, axes", [((1 << 17,), (0,)), ((1 << 16, 2), (0,)), ((2, 1 << 16), (1,))])
def test_sums_are_nearly_exact(gpu, shape, axes):
    """Numbers of one sign, one after the other in single precision, would lose three digits here."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(np.float32)
    exact = x.astype(np.float64).sum(axes)
    assert np.abs(gpu.sum(x, axes, False) / exact - 1).max() < 5e-7


def test_what_is_no_number(gpu):
    x = numbers((4, 50), np.float32)
    x[0, 3], x[1, 2], x[2, 40], x[3] = np.nan, np.inf, -np.inf, -np.inf
    for axis in ((0,), (1,), (0, 1)):
        for name in ("sum", "amax", "logsumexp"):
            with np.errstate(all="ignore"):
                agree(getattr(gpu, name)(x, axis, False), getattr(reference, name)(x, axis, False), 1e-5, 1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_whole_numbers(gpu, dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype is bool else 200, (3, 5, 7)).astype(dtype)
    for axis in axes_of(x):
        as_reference(gpu, "sum", x, axis, False, rtol=0)
        as_reference(gpu, "amax", x, axis, False, rtol=0)
    for axis in range(3):
        as_reference(gpu, "argmax", x, axis, rtol=0)
        as_reference(gpu, "argmin", x, axis, rtol=0)


def test_nothing_has_no_largest(gpu):
    with pytest.raises(ValueError):
        gpu.amax(np.zeros((3, 0), np.float32), (1,), False)
    with pytest.raises(ValueError):
        gpu.argmin(np.zeros((3, 0), np.float32), 1)
    assert gpu.amax(np.zeros((3, 0), np.float32), (0,), False).shape == (0,)
