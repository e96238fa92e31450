"""cuda/norm.py: packs and tails, slices, statistics of what is far from 0, one channel's NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cuda import norm

from .. import norms
from ..norms import numbers
from .on_device import BOTH, Kernels, agree

SHAPES = {
    "features": (5, 3),
    "one row": (3, 4, 7),
    "images": (2, 3, 5, 6),
    "packs": (3, 2, 4, 8),
    "more than a chunk for a thread": (2, 2, 96, 97),
    "slices": (4, 2, 1024, 4),
    "no images": (0, 2, 3, 3),
}
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)


@pytest.fixture
def gpu(device):
    return Kernels(device, "norm")


@EACH_DTYPE
@EACH
def test_as_the_readable_kernel(gpu, shape, dtype):
    """The same numbers as double precision throughout, for every combination of what may be left out."""
    x, gy, residual = (numbers(shape, dtype, seed) for seed in range(3))
    w, b = numbers(shape[1], dtype, 3), numbers(shape[1], dtype, 4)
    close = 4e-6 if dtype == np.float32 else 1e-13
    for weights in ((w, b), (None, b), (w, None), (None, None)):
        for r, cap in ((None, None), (residual, None), (None, math.inf), (residual, 1.5)):
            if x.size:
                y, mean, var = gpu.batch_norm(x, None, None, *weights, r, 1e-3, cap)
                wide = [None if a is None else a.astype(np.float64) for a in (x, *weights, r)]
                expected = reference.batch_norm(wide[0], None, None, *wide[1:], 1e-3, cap)
                agree((y.astype(np.float64), mean, var), expected, close, close)
                assert y.dtype == dtype
            else:
                y, mean, var = x, *(numbers(shape[1], np.float64, seed) ** 2 for seed in (5, 6))
            given = gpu.batch_norm(x, mean, var, *weights, r, 1e-3, cap)
            np.testing.assert_array_equal(given[0], y, "given the statistics that it had itself")
            found = gpu.batch_norm_gradient(gy, x, y, weights[0], mean, var, 1e-3, cap)
            if x.size:
                right = reference.batch_norm_gradient(
                    gy.astype(np.float64), wide[0], y.astype(np.float64), wide[1], *expected[1:], 1e-3, cap
                )
                agree(tuple(a.astype(np.float64) for a in found), right, 5 * close, 100 * close)
            assert all(a.dtype == dtype for a in found)


@EACH_DTYPE
def test_strided_arrays_and_arrays_that_begin_anywhere(gpu, dtype):
    """Views are put in order; what does not begin at a multiple of 16 bytes is read number by number."""
    x, gy = numbers((8, 2, 6, 4), dtype), numbers((4, 2, 6, 8), dtype, 1)
    xp = gpu.library
    views = (lambda a, b: (a.transpose(3, 1, 2, 0), b), lambda a, b: (a.reshape(-1)[3:-1].reshape(5, 4, 19), None))
    for view in views:
        host_x, host_gy = view(x, gy)
        host_gy = numbers(host_x.shape, dtype, 2) if host_gy is None else host_gy
        with np.errstate(all="ignore"):
            wanted = reference.batch_norm(host_x, None, None, None, None, None, 1e-3, None)
        given = view(xp.asarray(x), None)[0]
        found = gpu.batch_norm(given, None, None, None, None, None, 1e-3, None)
        close = 1e-5 if dtype == np.float32 else 1e-12
        agree(found, wanted, close, close)
        gradients = gpu.batch_norm_gradient(host_gy, given, None, None, *found[1:], 1e-3, None)
        agree(gradients, reference.batch_norm_gradient(host_gy, host_x, None, None, *wanted[1:], 1e-3, None),
              10 * close, 10 * close)  # fmt: skip


@pytest.mark.parametrize("mean, std", [(1e3, 1.0), (-3e4, 1.0), (1.0, 1e-3), (0.0, 1e-6)])
def test_a_mean_that_is_large_beside_the_deviation(gpu, mean, std):
    x = numbers((8, 3, 20, 50), np.float32, 0, mean, std)
    norms.is_right_where_the_mean_is_large_beside_the_deviation(gpu, x, std)


def test_first_numbers_unlike_the_others(gpu):
    norms.is_right_where_the_first_image_is_unlike_the_others(gpu, numbers((16, 1, 8, 8)))


@EACH_DTYPE
def test_a_channel_that_is_constant(gpu, dtype):
    norms.gives_its_bias_where_a_channel_is_constant(gpu, dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_channel(gpu, value):
    norms.keeps_what_is_not_finite_in_its_channel(gpu, value)


def test_equal_inputs_give_equal_bytes(gpu):
    x, gy = numbers((4, 3, 40, 40)), numbers((4, 3, 40, 40), seed=1)
    results = []
    for _ in range(2):
        y, mean, var = gpu.batch_norm(x, None, None, None, None, gy, 1e-5, math.inf)
        gradients = gpu.batch_norm_gradient(gy, x, y, None, mean, var, 1e-5, math.inf)
        results.append([a.tobytes() for a in (y, mean, var, *gradients)])
    assert results[0] == results[1]


@EACH_DTYPE
def test_running_statistics(gpu, dtype):
    """In place, also where they are views; with the unbiased variance."""
    xp = gpu.library
    mean, var = numbers(5, np.float64), numbers(5, np.float64, 1) ** 2
    for strided in (False, True):
        running = [numbers(10, dtype, seed) for seed in (2, 3)]
        on_device = [xp.asarray(r) for r in running]
        views = [[r[::2] if strided else r[:5] for r in both] for both in (running, on_device)]
        reference.track_statistics(*views[0], mean, var, 7, 0.3)
        gpu.track_statistics(*views[1], mean, var, 7, 0.3)
        for found, wanted in zip(on_device, running, strict=True):
            agree(xp.asnumpy(found), wanted, 1e-6 if dtype == np.float32 else 1e-14, 0)


@EACH_DTYPE
@pytest.mark.parametrize("shape", [(3, 7), (5, 1), (2, 33), (3, 1500), (1, 20000), (0, 4), (4, 0)])
def test_standardize(gpu, shape, dtype):
    x = numbers(shape, dtype, 0, 1e3, 1.0)
    x_hat, inv_std = gpu.standardize(x, 1e-4)
    close = 1e-5 if dtype == np.float32 else 1e-10  # the deviation is a thousandth of x
    agree((x_hat, inv_std), reference.standardize(x, 1e-4), close, close)


def test_slices_depend_on_shapes_only(device):
    """Many small channels are left whole; few large ones are cut until the GPU is busy, and each part is worth it."""
    assert norm._slices(512, 16 * 49) == (1, 784)
    assert norm._slices(64, 32 * 56 * 56 // 4) == (16, 1568)
    assert norm._slices(2, 4096) == (4, 1024)
    assert norm._slices(0, 0) == (1, 0)
