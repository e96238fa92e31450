"""cuda/pool.py and cuda/adaptive.py: windows of all kinds, ties, NaN, strips of a plane, indices from anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels.cuda import adaptive, pool
from minicnn.kernels.window import Window

from .on_device import BOTH, Kernels, as_reference, watched

EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)

#       N, C, (H, W), window
CASES = {
    "2x2 tiles": (2, 3, (8, 6), Window((2, 2), (2, 2))),
    "2x2, left-over row": (2, 3, (9, 7), Window((2, 2), (2, 2))),
    "2x2, ceil": (2, 3, (9, 7), Window((2, 2), (2, 2), ceil_mode=True)),
    "2x2, shifted by padding": (1, 2, (6, 4), Window((2, 2), (2, 2), ((1, 0), (1, 0)))),
    "2x2, stride 1": (1, 2, (6, 5), Window((2, 2), (1, 1))),
    "2x2, dilated": (1, 2, (6, 7), Window((2, 2), (2, 2), dilation=(2, 3))),
    "3x3 stride 2": (2, 2, (11, 12), Window((3, 3), (2, 2), ((1, 1), (1, 1)))),
    "3x3 stride 2, ceil": (2, 2, (12, 10), Window((3, 3), (2, 2), ceil_mode=True)),
    "gaps": (1, 2, (10, 9), Window((1, 2), (3, 4))),
    "asymmetric": (2, 1, (5, 7), Window((3, 2), (2, 1), ((0, 2), (1, 0)), (1, 2), True)),
    "padding only": (1, 2, (2, 3), Window((1, 1), (1, 2), ((1, 1), (2, 2)))),
    "global": (3, 4, (7, 5), Window((7, 5), (7, 5))),
    "no images": (0, 3, (4, 4), Window((2, 2), (2, 2))),
    "one pixel": (1, 1, (1, 1), Window((1, 1))),
    "two strips": (1, 2, (58, 57), Window((3, 3), (1, 1), ((1, 1), (1, 1)))),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def gpu(device):
    return Kernels(device, "pool")


def numbers(*shape, dtype=np.float32, seed=0):
    """Small whole numbers: many ties, and exact sums."""
    return np.random.default_rng(seed).integers(-4, 4, shape).astype(dtype)


def inputs(case, dtype):
    n, c, size, window = case
    return numbers(n, c, *size, dtype=dtype), numbers(n, c, *window.output_size(size), dtype=dtype, seed=1)


@EACH_DTYPE
@EACH
def test_max(gpu, case, dtype):
    x, gy = inputs(case, dtype)
    for name in ("max_pool2d", "relu_max_pool2d"):
        _, indices = as_reference(gpu, name, x, case[3], rtol=0)
        as_reference(gpu, "max_pool2d_scatter", gy, indices, case[2], rtol=0)
        as_reference(gpu, "max_pool2d_gather", x, indices, rtol=0)


@EACH
def test_max_of_nan_and_infinity(gpu, case):
    x, rng = inputs(case, np.float32)[0], np.random.default_rng(2)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.4] = -np.inf
    x[rng.random(x.shape) < 0.1] = np.inf
    for values in (x, np.full_like(x, -np.inf)):
        as_reference(gpu, "max_pool2d", values, case[3], rtol=0)
        as_reference(gpu, "relu_max_pool2d", values, case[3], rtol=0)


@pytest.mark.parametrize("include", [False, True])
@EACH_DTYPE
@EACH
def test_average(gpu, case, dtype, include):
    x, gy = inputs(case, dtype)
    close = 1e-6 if dtype == np.float32 else 1e-14
    as_reference(gpu, "avg_pool2d", x, case[3], include, rtol=close, atol=8 * close)
    as_reference(gpu, "avg_pool2d_transpose", gy, case[3], include, case[2], rtol=close, atol=30 * close)


@EACH_DTYPE
def test_many_gradients_for_one_pixel(gpu, dtype):
    """All outputs of a plane, 1,089 of them, won by few pixels: each adds up in the outputs' order, to the bit."""
    rng = np.random.default_rng(0)
    gy, indices = rng.standard_normal((2, 1, 33, 33)).astype(dtype), rng.integers(-1, 3, (2, 1, 33, 33), np.int32)
    expected = np.zeros((2, 1, 9), dtype)
    for n, p, q in np.ndindex(2, 33, 33):
        if indices[n, 0, p, q] >= 0:
            expected[n, 0, indices[n, 0, p, q]] += gy[n, 0, p, q]
    np.testing.assert_array_equal(gpu.max_pool2d_scatter(gy, indices, (3, 3)).reshape(2, 1, 9), expected)


def test_strips_of_any_size(gpu, monkeypatch):
    """The last strip of a plane is shorter than the others. (Planes grow, since the strip is the kernel's constant.)"""
    for pixels in (pool.STRIP - 1, pool.STRIP, pool.STRIP + 1, 2 * pool.STRIP + 5):
        indices = np.random.default_rng(pixels).permutation(pixels)[: pixels // 3].astype(np.int32)
        indices = indices.reshape(1, 1, 1, -1)
        gy = numbers(*indices.shape, seed=3)
        as_reference(gpu, "max_pool2d_scatter", gy, indices, (1, pixels), rtol=0)


def test_indices_out_of_range_touch_nothing(gpu):
    gy, places = np.ones((1, 2, 2, 2), np.float32), [-2, 9, 10**9, 3, -1, 0, 8, -(2**31)]
    for dtype in (np.int32, np.int64):
        indices = np.array(places, dtype).reshape(1, 2, 2, 2)
        gx = gpu.max_pool2d_scatter(gy, indices, (3, 3))
        assert gx.sum() == 3 and gx[0, 0, 1, 0] == gx[0, 1, 0, 0] == gx[0, 1, 2, 2] == 1
        assert gpu.max_pool2d_gather(np.ones((1, 2, 3, 3), np.float32), indices).sum() == 3
        y, kept = gpu.max_unpool2d(gy, indices, (3, 3))
        np.testing.assert_array_equal(y, gx)
        assert kept.dtype == np.int32 and kept.reshape(-1).tolist() == [-1, -1, -1, 3, -1, 0, 8, -1]
    far = np.array([2**32, 2**32 + 1, -(2**40), 0, 1, 2, 3, 4]).reshape(1, 2, 2, 2)  # in 32 bits they would be 0 and 1
    assert gpu.max_pool2d_scatter(gy, far, (3, 3)).sum() == 5


@EACH_DTYPE
def test_unpool(gpu, dtype):
    """Of several that name one place the last stays."""
    x = numbers(3, 2, 5, 4, dtype=dtype)
    for most in (4, 30, 42):
        indices = np.random.default_rng(most).integers(-1, most, x.shape)
        as_reference(gpu, "max_unpool2d", x, indices, (6, 7), rtol=0)


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1"])
@pytest.mark.parametrize("name", ["3x3 stride 2, ceil", "asymmetric", "padding only", "one pixel"])
def test_under_watch(gpu, device, name, order):
    x, gy = inputs(CASES[name], np.float32)
    size, window = CASES[name][2:]
    with watched(device, order):
        y, indices = as_reference(gpu, "relu_max_pool2d", x, window, rtol=0)
        as_reference(gpu, "max_pool2d_scatter", gy, indices, size, rtol=0)
        as_reference(gpu, "max_pool2d_gather", x, indices, rtol=0)
        as_reference(gpu, "max_unpool2d", y, indices, size, rtol=0)
        as_reference(gpu, "avg_pool2d", x, window, True, rtol=1e-6)
        as_reference(gpu, "avg_pool2d_transpose", gy, window, False, size, rtol=1e-6, atol=1e-5)


# --- adaptive ---------------------------------------------------------------------------------------------------------

#         x                  outputs
BINS = {
    "uneven": ((2, 3, 7, 5), (3, 2)),
    "tiles": ((2, 2, 6, 8), (3, 4)),
    "more bins than elements": ((1, 2, 3, 4), (7, 9)),
    "more rows, fewer columns": ((1, 2, 3, 9), (5, 2)),
    "all": ((1, 2, 4, 5), (4, 5)),
    "global": ((3, 2, 7, 7), (1, 1)),
    "one row": ((1, 3, 1, 70), (1, 1)),
    "large bins": ((2, 3, 21, 17), (2, 3)),
    "large bins, no whole warps": ((1, 3, 64, 5), (3, 1)),
    "no images": ((0, 3, 4, 4), (2, 2)),
    "no channels": ((2, 0, 4, 4), (3, 3)),
    "no rows": ((2, 2, 0, 4), (0, 2)),
}


@EACH_DTYPE
@pytest.mark.parametrize("case", BINS.values(), ids=BINS)
def test_adaptive(device, case, dtype):
    gpu, (shape, outputs) = Kernels(device, "adaptive"), case
    x, gy = numbers(*shape, dtype=dtype), numbers(*shape[:2], *outputs, dtype=dtype, seed=1)
    close = 1e-6 if dtype == np.float32 else 1e-14
    as_reference(gpu, "adaptive_avg_pool2d", x, outputs, rtol=close, atol=close)
    as_reference(gpu, "adaptive_avg_pool2d_transpose", gy, shape[2:], rtol=close, atol=close)
    as_reference(gpu, "adaptive_max_pool2d", x, outputs, rtol=0)
    x[x == 3] = np.nan
    x[x == -4] = -np.inf
    as_reference(gpu, "adaptive_max_pool2d", x, outputs, rtol=0)


def test_one_thread_or_a_warp_for_a_bin(device, monkeypatch):
    gpu, x = Kernels(device, "adaptive"), numbers(2, 3, 11, 13)
    expected = gpu.adaptive_avg_pool2d(x, (2, 2))
    monkeypatch.setattr(adaptive, "LARGE", 1000)
    np.testing.assert_array_equal(gpu.adaptive_avg_pool2d(x, (2, 2)), expected)


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1"])
@pytest.mark.parametrize("name", ["uneven", "large bins, no whole warps"])
def test_adaptive_under_watch(device, name, order):
    with watched(device, order):
        test_adaptive(device, BINS[name], np.float32)
