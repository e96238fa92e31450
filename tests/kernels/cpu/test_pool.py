"""cpu/pool.py against loops over single windows."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels.cpu import pool, threads
from minicnn.kernels.window import Window

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])

#       N, C, (H, W), window
CASES = {
    "2x2 tiles": (2, 3, (8, 6), Window((2, 2), (2, 2))),
    "2x2, left-over row": (2, 3, (9, 7), Window((2, 2), (2, 2))),
    "2x2, ceil": (2, 3, (9, 7), Window((2, 2), (2, 2), ceil_mode=True)),
    "2x2, padded": (1, 2, (6, 6), Window((2, 2), (2, 2), ((1, 1), (1, 1)))),
    "2x2, shifted by padding": (1, 2, (6, 4), Window((2, 2), (2, 2), ((1, 0), (1, 0)))),
    "2x2, stride 1": (1, 2, (6, 5), Window((2, 2), (1, 1))),
    "2x2, dilated": (1, 2, (6, 7), Window((2, 2), (2, 2), dilation=(2, 3))),
    "2x2, wide": (1, 1, (4, 70), Window((2, 2), (2, 2))),
    "3x3 stride 2": (2, 2, (11, 12), Window((3, 3), (2, 2), ((1, 1), (1, 1)))),
    "3x3 stride 2, ceil": (2, 2, (12, 10), Window((3, 3), (2, 2), ceil_mode=True)),
    "3x3 stride 3": (1, 2, (10, 64), Window((3, 3), (3, 3))),
    "gaps": (1, 2, (10, 9), Window((1, 2), (3, 4))),
    "asymmetric": (2, 1, (5, 7), Window((3, 2), (2, 1), ((0, 2), (1, 0)), (1, 2), True)),
    "padding only": (1, 2, (2, 3), Window((1, 1), (1, 2), ((1, 1), (2, 2)))),
    "global": (3, 4, (7, 5), Window((7, 5), (7, 5))),
    "no images": (0, 3, (4, 4), Window((2, 2), (2, 2))),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def members(case):
    """For each output (p, q): the places (h, w) inside of the input that its window reads, in row-major order; and
    how many places it has that are inside of input and declared padding."""
    _, _, (height, width), win = case
    (top, bottom), (left, right) = win.pad
    p_count, q_count = win.output_size((height, width))
    for p in range(p_count):
        for q in range(q_count):
            inside, declared = [], 0
            for r in range(win.kernel[0]):
                for s in range(win.kernel[1]):
                    h = p * win.stride[0] + r * win.dilation[0] - top
                    w = q * win.stride[1] + s * win.dilation[1] - left
                    declared += -top <= h < height + bottom and -left <= w < width + right
                    if 0 <= h < height and 0 <= w < width:
                        inside.append((h, w))
            yield (p, q), inside, declared


def naive_max(x, case):
    size = case[3].output_size(case[2])
    y, indices = np.full((*x.shape[:2], *size), -np.inf, x.dtype), np.full((*x.shape[:2], *size), -1)
    for n, c in np.ndindex(*x.shape[:2]):
        for (p, q), inside, _ in members(case):
            values = [x[n, c, h, w] for h, w in inside]
            if values:
                nans = [i for i, value in enumerate(values) if np.isnan(value)]
                best = nans[0] if nans else values.index(max(values))
                y[n, c, p, q], indices[n, c, p, q] = values[best], inside[best][0] * case[2][1] + inside[best][1]
    return y, indices


def numbers(case, dtype, seed=0):
    """Small integers, so that there are many ties, and sums are exact."""
    return np.random.default_rng(seed).integers(-4, 4, (*case[:2], *case[2])).astype(dtype)


def gradient(case, dtype):
    return np.random.default_rng(1).integers(-8, 8, (*case[:2], *case[3].output_size(case[2]))).astype(dtype)


def check_max(x, case):
    before = x.copy()
    y, indices = pool.max_pool2d(x, case[3])
    expected_y, expected_indices = naive_max(x, case)
    assert y.dtype == x.dtype and indices.dtype == np.int32
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(x, before, "the input was modified")


@BOTH
@EACH
def test_max(case, dtype):
    check_max(numbers(case, dtype), case)


@EACH
def test_max_of_nan_and_infinity(case):
    rng = np.random.default_rng(2)
    x = numbers(case, np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.4] = -np.inf
    x[rng.random(x.shape) < 0.1] = np.inf
    check_max(x, case)
    check_max(np.full_like(x, -np.inf), case)


@BOTH
@EACH
def test_scatter_and_gather(case, dtype):
    x, gy = numbers(case, dtype), gradient(case, dtype)
    _, indices = pool.max_pool2d(x, case[3])
    gx = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]), dtype)
    y = np.zeros(gy.shape, dtype)
    for n, c, p, q in np.ndindex(*gy.shape):
        if indices[n, c, p, q] >= 0:
            gx[n, c, indices[n, c, p, q]] += gy[n, c, p, q]
            y[n, c, p, q] = x[n, c].flat[indices[n, c, p, q]]
    scattered, gathered = pool.max_pool2d_scatter(gy, indices, case[2]), pool.max_pool2d_gather(x, indices)
    assert scattered.dtype == gathered.dtype == dtype
    np.testing.assert_array_equal(scattered, gx.reshape(x.shape))
    np.testing.assert_array_equal(gathered, y)


@pytest.mark.parametrize("include", [False, True])
@BOTH
@EACH
def test_average(case, dtype, include):
    x, gy = numbers(case, dtype), gradient(case, dtype)
    y, gx = np.zeros(gy.shape), np.zeros(x.shape)
    for (p, q), inside, declared in members(case):
        count = declared if include else len(inside)
        for h, w in inside:
            y[..., p, q] += x[..., h, w] / count
            gx[..., h, w] += gy[..., p, q].astype(np.float64) / count
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    actual = pool.avg_pool2d(x, case[3], include), pool.avg_pool2d_transpose(gy, case[3], include, case[2])
    assert actual[0].dtype == actual[1].dtype == dtype
    np.testing.assert_allclose(actual[0], y, rtol=tolerance, atol=8 * tolerance)
    np.testing.assert_allclose(actual[1], gx, rtol=tolerance, atol=30 * tolerance)


def test_indices_out_of_range_touch_nothing():
    """A wrong index must not become a write somewhere in memory."""
    gy = np.ones((1, 2, 2, 2), np.float32)
    indices = np.array([-2, 9, 10**9, 3, -1, 0, 8, -(2**31)], np.int32).reshape(1, 2, 2, 2)
    gx = pool.max_pool2d_scatter(gy, indices, (3, 3))
    assert gx.sum() == 3 and gx[0, 0, 1, 0] == gx[0, 1, 0, 0] == gx[0, 1, 2, 2] == 1
    assert pool.max_pool2d_gather(np.ones((1, 2, 3, 3), np.float32), indices).sum() == 3


def test_any_layout_of_memory():
    case = CASES["3x3 stride 2"]
    x, gy = numbers(case, np.float32), gradient(case, np.float32)
    y, indices = pool.max_pool2d(x, case[3])
    gx = pool.max_pool2d_scatter(gy, indices, case[2])

    def turned(a):
        view = np.ascontiguousarray(a.T).T
        view.flags.writeable = False
        return view

    np.testing.assert_array_equal(pool.max_pool2d(turned(x), case[3])[0], y)
    np.testing.assert_array_equal(pool.max_pool2d_scatter(turned(gy), turned(indices), case[2]), gx)
    np.testing.assert_array_equal(pool.max_pool2d_gather(turned(x), turned(indices)), y)
    np.testing.assert_array_equal(pool.avg_pool2d(turned(x), case[3], True), pool.avg_pool2d(x, case[3], True))


@pytest.mark.parametrize("name", ["2x2 tiles", "3x3 stride 2", "no images"])
def test_thread_counts_agree(name, monkeypatch):
    """Each plane belongs to one thread, so here even different numbers of threads give the same bytes."""
    monkeypatch.setattr(pool, "SMALL", 0)
    case = CASES[name]
    x, gy = numbers(case, np.float32), gradient(case, np.float32)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        y, indices = pool.max_pool2d(x, case[3])
        rest = (
            pool.max_pool2d_scatter(gy, indices, case[2]),
            pool.avg_pool2d(x, case[3], False),
            pool.avg_pool2d_transpose(gy, case[3], False, case[2]),
        )
        results.append([array.tobytes() for array in (y, indices, *rest)])
    assert results[0] == results[1] == results[2]
