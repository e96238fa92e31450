"""cpu/blocked_pool.py against the readable book, at shapes where channels and windows do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import microkernels, passes, threads
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain
from minicnn.kernels.window import Window

#       (N, C, H, W), window
CASES = {
    "3x3 stride 2": ((2, 17, 11, 12), Window((3, 3), (2, 2), ((1, 1), (1, 1)))),
    "3x3 stride 2, ceil": ((1, 24, 12, 10), Window((3, 3), (2, 2), ceil_mode=True)),
    "3x3 stride 1": ((1, 40, 5, 6), Window((3, 3), (1, 1), ((1, 1), (1, 1)))),
    "2x2 tiles": ((2, 32, 8, 6), Window((2, 2), (2, 2))),
    "left-over row": ((1, 5, 9, 7), Window((2, 2), (2, 2))),
    "gaps": ((1, 16, 10, 9), Window((1, 2), (3, 4))),
    "asymmetric": ((2, 3, 5, 7), Window((3, 2), (2, 1), ((0, 2), (1, 0)), ceil_mode=True)),
    "padding only": ((1, 18, 2, 3), Window((1, 1), (1, 2), ((1, 1), (2, 2)))),
    "one pixel": ((3, 20, 1, 1), Window((2, 2), (1, 1), ((1, 0), (0, 1)))),
    "global": ((2, 33, 7, 5), Window((7, 5), (7, 5))),
    "no images": ((0, 5, 4, 4), Window((2, 2), (2, 2))),
}
DILATED = {
    "dilated": ((1, 19, 9, 8), Window((2, 3), (2, 1), ((1, 1), (2, 2)), (3, 2))),
    "dilated, ceil": ((2, 16, 7, 10), Window((3, 2), (3, 2), ((2, 0), (0, 3)), (2, 4), True)),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EACH_MAX = pytest.mark.parametrize("case", [*CASES.values(), *DILATED.values()], ids=[*CASES, *DILATED])
BINS = pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 2), (7, 5), (9, 11)], ids=str)
CPUS = pytest.mark.parametrize("name", [None, "haswell", "nehalem"])


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def shares(request, monkeypatch):
    """Shapes here are small: two threads only share them because SMALL is 0."""
    monkeypatch.setattr(threads, "_threads", request.param)
    monkeypatch.setattr(passes, "SMALL", 0)


def integers(shape, seed=0):
    """Small ones, so that there are many ties, and sums are exact."""
    return np.random.default_rng(seed).integers(-4, 4, shape).astype(np.float32)


def outputs(case, seed=1):
    shape, window = case
    return integers((*shape[:2], *window.output_size(shape[2:])), seed)


def check(result, expected, **tolerance):
    """A Blocked with these numbers, exactly unless a tolerance is given, and zeros past the last channel."""
    assert type(result) is Blocked and result.shape == expected.shape and result.dtype == expected.dtype
    np.testing.assert_allclose(plain(result), expected, **{"rtol": 0, **tolerance})
    channels = np.arange(result.blocks().shape[1] * 16).reshape(-1, 16)
    past = result.blocks().transpose(1, 4, 0, 2, 3)[channels >= expected.shape[1]]
    assert (past == 0).all()


def check_max(x, window, name="max_pool2d"):
    given = blocked(x)
    for result, expected in zip(getattr(cpu, name)(given, window), getattr(reference, name)(x, window), strict=True):
        check(result, expected)
    np.testing.assert_array_equal(plain(given), x)


@EACH_MAX
def test_max_and_its_places(case):
    check_max(integers(case[0]), case[1])


@EACH_MAX
def test_max_of_relu(case):
    check_max(integers(case[0]), case[1], "relu_max_pool2d")


@pytest.mark.parametrize("name", ["max_pool2d", "relu_max_pool2d"])
def test_nan_is_the_largest_and_infinities_have_places(name):
    x = integers((1, 17, 9, 9))
    x[:, :, :4] = -np.inf
    x[:, ::2, 2::3, 1::3] = np.nan
    x[:, 1::2, 5, 5] = np.inf
    check_max(x, Window((3, 3), (2, 2), ((1, 1), (1, 1))), name)


@EACH_MAX
def test_scatter(case):
    """Of any mix of arrays; −1 is ignored, and so is what lies outside."""
    (shape, window), gy = case, outputs(case)
    _, indices = reference.relu_max_pool2d(integers(shape), window)
    expected = reference.max_pool2d_scatter(gy, indices, shape[2:])
    for arrays in ((blocked(gy), blocked(indices)), (gy, blocked(indices)), (blocked(gy), indices)):
        check(cpu.max_pool2d_scatter(*arrays, shape[2:]), expected)


def test_scatter_to_places_in_any_order():
    """Backwards, and everything to one: zeros come before what is added."""
    gy = integers((2, 20, 4, 5), seed=3)
    for indices in (np.arange(20)[::-1].reshape(4, 5), np.full((4, 5), 23), np.full((4, 5), -1)):
        indices = np.broadcast_to(indices, gy.shape).astype(np.int32)
        expected = reference.max_pool2d_scatter(gy, indices, (5, 6))
        memory_of_the_last_result = Blocked.empty((2, 20, 5, 6)).blocks()
        memory_of_the_last_result[...] = np.nan
        del memory_of_the_last_result
        check(cpu.max_pool2d_scatter(blocked(gy), blocked(indices), (5, 6)), expected)


def test_gather():
    x = integers((2, 17, 5, 6))
    _, indices = reference.relu_max_pool2d(x, Window((3, 3), (2, 2)))
    expected = reference.max_pool2d_gather(x, indices)
    np.testing.assert_array_equal(plain(cpu.max_pool2d_gather(blocked(x), blocked(indices))), expected)


@pytest.mark.parametrize("include_pad", [True, False])
@EACH
def test_average_and_its_adjoint(case, include_pad):
    (shape, window), gy = case, outputs(case)
    x = integers(shape)
    expected = reference.avg_pool2d(x, window, include_pad)
    check(cpu.avg_pool2d(blocked(x), window, include_pad), expected, rtol=2e-7)
    expected = reference.avg_pool2d_transpose(gy, window, include_pad, shape[2:])
    check(cpu.avg_pool2d_transpose(blocked(gy), window, include_pad, shape[2:]), expected, rtol=1e-6, atol=1e-6)


def test_dilated_average():
    """No layer makes one; kernels must be right all the same."""
    shape, window = DILATED["dilated"]
    x, gy = integers(shape), outputs(DILATED["dilated"])
    expected = reference.avg_pool2d(x, window, True)
    np.testing.assert_allclose(plain(cpu.avg_pool2d(blocked(x), window, True)), expected, rtol=2e-7)
    result = cpu.avg_pool2d_transpose(blocked(gy), window, True, shape[2:])
    expected = reference.avg_pool2d_transpose(gy, window, True, shape[2:])
    np.testing.assert_allclose(plain(result), expected, rtol=1e-6, atol=1e-6)


@BINS
def test_bins(size):
    x, gy = integers((2, 21, 7, 5)), integers((2, 21, *size), seed=1)
    average = cpu.adaptive_avg_pool2d(blocked(x), size)
    np.testing.assert_allclose(plain(average), reference.adaptive_avg_pool2d(x, size), rtol=1e-6, atol=1e-6)
    assert (type(average) is np.ndarray) == (size == (1, 1))
    expected = reference.adaptive_avg_pool2d_transpose(gy, (7, 5))
    check(cpu.adaptive_avg_pool2d_transpose(blocked(gy), (7, 5)), expected, rtol=1e-6, atol=1e-6)
    results = zip(cpu.adaptive_max_pool2d(blocked(x), size), reference.adaptive_max_pool2d(x, size), strict=True)
    for result, expected in results:
        check(result, expected)


@CPUS
def test_each_kind_of_cpu(name, monkeypatch):
    """What LLVM makes of vectors of 16 where registers are shorter."""
    if name and "x86_64" not in microkernels.llvm.get_process_triple():
        pytest.skip("names of x86 CPUs")
    if name:
        monkeypatch.setenv("NUMBA_CPU_NAME", name)
    microkernels.address.cache_clear()
    try:
        case = CASES["3x3 stride 2"]
        test_max_of_relu(case)
        test_scatter(case)
        test_average_and_its_adjoint(case, True)
    finally:
        microkernels.address.cache_clear()
