"""What batch norm must be on every device: `book` is what has its kernels, on NumPy's arrays."""

from __future__ import annotations

import math

import numpy as np


def numbers(shape, dtype=np.float32, seed=0, mean=0.0, std=1.0):
    return (mean + std * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def by_channel(c, x):
    return c.reshape(-1, *(1,) * (x.ndim - 2))


def largest_error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def is_right_where_the_mean_is_large_beside_the_deviation(book, x, std):
    """In single precision mean(x²) − mean(x)² would have no correct digit left. x (N, C, H, W)."""
    y, found_mean, found_var = book.batch_norm(x, None, None, None, None, None, 1e-20, None)
    wide = x.astype(np.float64)
    right_mean, right_var = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    np.testing.assert_allclose(found_mean, right_mean, rtol=1e-9, atol=1e-6 * std)
    np.testing.assert_allclose(found_var, right_var, rtol=1e-6)
    right = (wide - by_channel(right_mean, x)) / by_channel(np.sqrt(right_var), x)
    assert np.abs(y - right).max() < 3e-6
    gy = numbers(x.shape, np.float32, 1)
    gx, gw, _ = book.batch_norm_gradient(gy, x, y, None, found_mean, found_var, 1e-20, None)
    right_gw = (gy * right).sum((0, 2, 3))
    assert np.abs(gw - right_gw).max() < 1e-5 * np.abs(gy * right).sum((0, 2, 3)).max()
    pixels = x.size / x.shape[1]
    projected = gy - gy.mean((0, 2, 3), keepdims=True) - right * by_channel(right_gw / pixels, x)
    assert largest_error(gx, projected / by_channel(np.sqrt(right_var), x)) < 3e-6


def is_right_where_the_first_image_is_unlike_the_others(book, x):
    """Sums are of differences from a number found at the beginning, which is not a good one here. x has one channel."""
    x[0] += 1e4
    _, mean, var = book.batch_norm(x, None, None, None, None, None, 1e-5, None)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(), rtol=1e-6)
    np.testing.assert_allclose(var, wide.var(), rtol=1e-5)


def gives_its_bias_where_a_channel_is_constant(book, dtype):
    x = np.full((3, 2, 4, 4), 0.1, dtype)
    y, mean, var = book.batch_norm(x, None, None, None, np.array([2, 3], dtype), None, 1e-5, None)
    assert (var >= 0).all() and (var < 1e-15).all()
    np.testing.assert_allclose(mean, x[0, 0, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(y[:, 0], 2, rtol=1e-5)
    np.testing.assert_allclose(y[:, 1], 3, rtol=1e-5)


def keeps_what_is_not_finite_in_its_channel(book, value):
    x = numbers((2, 3, 4, 5))
    expected, _, _ = book.batch_norm(x, None, None, None, None, None, 1e-5, math.inf)
    for channel in range(3):
        spoilt = x.copy()
        spoilt[0, channel, 0, 0] = value
        y, _, _ = book.batch_norm(spoilt, None, None, None, None, None, 1e-5, math.inf)
        assert np.isnan(y[:, channel]).all(), "an activation must not hide it"
        others = [c for c in range(3) if c != channel]
        np.testing.assert_array_equal(y[:, others], expected[:, others])
