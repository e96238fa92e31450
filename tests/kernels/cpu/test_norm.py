"""cpu/norm.py: sums that stay accurate, blocks and tiles of every length, threads that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cpu import norm, threads

from .. import norms
from ..norms import largest_error, numbers

#          N, C, pixels: around the blocks and tiles
SHAPES = {
    "features": (5, 3),
    "one row": (3, 4, 7),
    "images": (2, 3, 5, 6),
    "a block less one": (2, 2, norm.BLOCK - 1),
    "a block and one": (2, 2, norm.BLOCK + 1),
    "two blocks and a half": (1, 3, 64, 160),
    "a tile": (2, 5, norm.TILE),
    "a tile and one": (2, 5, norm.TILE + 1),
}
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@BOTH
@EACH
def test_as_the_readable_kernel(shape, dtype):
    """The same numbers as double precision throughout, for every combination of what may be left out."""
    x, gy, residual = (numbers(shape, dtype, seed) for seed in range(3))
    w, b = numbers(shape[1], dtype, 3), numbers(shape[1], dtype, 4)
    close = 2e-6 if dtype == np.float32 else 2e-14
    for weights in ((w, b), (None, b), (w, None), (None, None)):
        for r, cap in ((None, None), (residual, None), (None, math.inf), (residual, 1.5)):
            y, mean, var = norm.batch_norm(x, None, None, *weights, r, 1e-3, cap)
            wide = [None if a is None else a.astype(np.float64) for a in (x, *weights, r)]
            expected = reference.batch_norm(wide[0], None, None, *wide[1:], 1e-3, cap)
            assert y.dtype == dtype and mean.dtype == var.dtype == np.float64
            for actual, right in zip((y, mean, var), expected, strict=True):
                assert largest_error(actual, right) < close
            given = norm.batch_norm(x, mean, var, *weights, r, 1e-3, cap)
            np.testing.assert_array_equal(given[0], y, "given the statistics that it had itself")
            found = norm.batch_norm_gradient(gy, x, y, weights[0], mean, var, 1e-3, cap)
            right = reference.batch_norm_gradient(
                gy.astype(np.float64), wide[0], y.astype(np.float64), wide[1], *expected[1:], 1e-3, cap
            )
            for actual, gradient in zip(found, right, strict=True):
                assert actual.dtype == dtype
                assert largest_error(actual, gradient) < 3 * close


@pytest.mark.parametrize("mean, std", [(1e3, 1.0), (-3e4, 1.0), (1.0, 1e-3), (0.0, 1e-6)])
def test_a_mean_that_is_large_beside_the_deviation(mean, std):
    x = numbers((8, 3, 40, 50), np.float32, 0, mean, std)
    norms.is_right_where_the_mean_is_large_beside_the_deviation(norm, x, std)


def test_a_first_block_unlike_the_others():
    norms.is_right_where_the_first_image_is_unlike_the_others(norm, numbers((64, 1, 50)))


@BOTH
def test_a_channel_that_is_constant(dtype):
    norms.gives_its_bias_where_a_channel_is_constant(norm, dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_channel(value):
    norms.keeps_what_is_not_finite_in_its_channel(norm, value)


BETAS = [0.5, 0.75, 1.0, 0.6, 0.0, 2.0]


@pytest.mark.parametrize("beta", BETAS)
@BOTH
@EACH
def test_local_response_norm(shape, dtype, beta):
    """The quick powers and the others, odd and even windows, at the ends of tiles."""
    x, gy = numbers(shape, dtype), numbers(shape, dtype, 1)
    close = 2e-6 if dtype == np.float32 else 1e-14
    for before, after in ((1, 1), (2, 1), (0, 0), (2, 2)):
        form = (before, after, 1.3, beta, 2.0)
        y, gx = norm.local_response_norm(x, *form), norm.local_response_norm_gradient(gy, x, *form)
        assert y.dtype == gx.dtype == dtype
        wide = x.astype(np.float64), gy.astype(np.float64)
        assert largest_error(y, reference.local_response_norm(wide[0], *form)) < close
        assert largest_error(gx, reference.local_response_norm_gradient(wide[1], wide[0], *form)) < close


@pytest.mark.parametrize("beta", BETAS)
@BOTH
def test_squares_that_overflow(beta, dtype):
    """x/∞ is 0, not NaN; and NaN stays NaN."""
    x, gy = numbers((2, 3, 4, 5), dtype), numbers((2, 3, 4, 5), dtype, 1)
    x[0, 1, 2, 3], x[1, 2, 0, 0] = np.finfo(dtype).max, np.nan
    form = (1, 1, 1.3, beta, 2.0)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.local_response_norm(x, *form), reference.local_response_norm_gradient(gy, x, *form)
        found = norm.local_response_norm(x, *form), norm.local_response_norm_gradient(gy, x, *form)
    for right, given in zip(expected, found, strict=True):
        np.testing.assert_allclose(given, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (2, 7, 900), (4, 1, 3)])
def test_thread_counts_agree(shape, monkeypatch):
    """Each channel, and each tile, belongs to one thread: different numbers of threads give the same bytes."""
    monkeypatch.setattr(norm, "SMALL", 0)
    x, gy = numbers(shape), numbers(shape, seed=1)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        y, mean, var = norm.batch_norm(x, None, None, None, None, gy, 1e-5, math.inf)
        arrays = [y, mean, var, *norm.batch_norm_gradient(gy, x, y, None, mean, var, 1e-5, math.inf)]
        arrays += [norm.local_response_norm(x, 2, 2, 1.0, 0.75, 1.0)]
        arrays += [norm.local_response_norm_gradient(gy, x, 2, 2, 1.0, 0.75, 1.0)]
        results.append([array.tobytes() for array in arrays])
    assert results[0] == results[1] == results[2]
