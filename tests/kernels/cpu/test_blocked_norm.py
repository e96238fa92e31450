"""cpu/blocked_norm.py against the readable book, at channels that fill no block and planes of one piece and more."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import blocked_norm, microkernels, stages, threads
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain

SHAPES = {
    "one image": (1, 5, 3, 7),
    "one channel past": (3, 17, 4, 5),
    "one pixel": (5, 24, 1, 1),
    "three blocks": (2, 40, 9, 13),
    "a piece": (2, 16, 16, 32),
    "a piece and one": (3, 20, 27, 19),
    "three pieces": (1, 33, 40, 30),
}
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
CLOSE = 2e-6


@pytest.fixture(params=["AVX512", "AVX2", "SSE"])
def machine(request, monkeypatch):
    """Vectors of 16, 8 and 4 lanes: a pixel is one, two or four of them."""
    caches = (microkernels.address, blocked_norm._forward_plan, blocked_norm._backward_plan, blocked_norm._places)

    def clear():
        for cache in (*caches, blocked_norm._bits_of_a_pixel):
            cache.cache_clear()

    clear()
    lanes = getattr(microkernels, request.param)
    for module in (microkernels, blocked_norm):
        monkeypatch.setattr(module, "machine", lambda: lanes)
    yield
    clear()


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(stages, "SMALL", 0)
    monkeypatch.setattr(threads, "_threads", 2)


def numbers(shape, seed=0, mean=0.0, std=1.0):
    return (mean + std * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def by_channel(c):
    return c.reshape(-1, 1, 1)


def assert_close(actual, expected, close=CLOSE):
    largest = np.abs(expected).max()
    assert np.abs(plain(actual) - expected).max() < close * largest


def assert_nothing_past_the_channels(x):
    assert type(x) is Blocked
    assert (x.blocks()[:, -1, :, :, (x.shape[1] - 1) % 16 + 1 :] == 0).all()


@EACH
def test_as_the_readable_kernel(shape, two_threads):
    """Each way to leave something out, and each mix of arrays and blocks."""
    assert_all_ways(shape, ((None, None), ("residual", None), (None, math.inf), ("residual", 1.5)))


def test_vectors_of_any_width(machine, two_threads):
    assert_all_ways((3, 20, 27, 19), (("residual", 1.5), (None, None)))


def assert_all_ways(shape, ways):
    x, gy, residual = numbers(shape, 0, 0.5), numbers(shape, 1), numbers(shape, 2)
    w, b = numbers(shape[1], 3), numbers(shape[1], 4)
    for (w_, b_), (added, cap) in zip(((w, b), (None, b), (w, None), (None, None)), ways, strict=False):
        r = None if added is None else residual
        wide = [None if a is None else a.astype(np.float64) for a in (x, w_, b_, r)]
        right = reference.batch_norm(wide[0], None, None, *wide[1:], 1e-3, cap)
        y, mean, var = cpu.batch_norm(blocked(x), None, None, w_, b_, r, 1e-3, cap)
        assert mean.dtype == var.dtype == np.float64 and mean.shape == var.shape == (shape[1],)
        for actual, expected in zip((y, mean, var), right, strict=True):
            assert_close(actual, expected)
        given, same, _ = cpu.batch_norm(blocked(x), mean, var, w_, b_, r if r is None else blocked(r), 1e-3, cap)
        assert np.array_equal(plain(given), plain(y)) and same is mean
        of_y = plain(y).astype(np.float64)
        right = reference.batch_norm_gradient(gy.astype(np.float64), wide[0], of_y, wide[1], *right[1:], 1e-3, cap)
        for mix in range(1, 8):
            arrays = [blocked(a) if mix >> i & 1 else plain(a) for i, a in enumerate((gy, x, y))]
            if cap is None:
                arrays[2] = None
            found = cpu.batch_norm_gradient(*arrays, w_, mean, var, 1e-3, cap)
            for actual, expected in zip(found, right, strict=True):
                assert actual.dtype == np.float32
                assert_close(actual, expected, 3 * CLOSE)
            if cap is not None or mix < 4:
                assert_nothing_past_the_channels(found[0])
        assert_nothing_past_the_channels(y)


@pytest.mark.parametrize("channels", [5, 16, 17])
def test_results_do_not_stand_in_memory_that_the_next_call_uses(channels):
    x, w = numbers((2, channels, 3, 4)), np.ones(channels)  # float64, as gradients are inside
    y, mean, var = cpu.batch_norm(blocked(x), None, None, w, w, None, 1e-5, None)
    gx, gw, gb = cpu.batch_norm_gradient(x, blocked(x), None, w, mean, var, 1e-5, None)
    results = [plain(y), mean, var, plain(gx), gw, gb]
    before = [result.copy() for result in results]
    other, _, _ = cpu.batch_norm(blocked(3 * x + 1), None, None, None, None, None, 1e-5, None)
    cpu.batch_norm_gradient(other, blocked(x), None, None, mean + 1, var + 1, 1e-5, None)
    for result, then in zip(results, before, strict=True):
        np.testing.assert_array_equal(result, then)


def cut(x):
    """x as the channels of a larger image: its images lie apart, and nothing is copied."""
    larger = blocked(np.concatenate([x, x[:, :16]], 1))
    part = cpu.getitem(larger, (slice(None), slice(0, x.shape[1])))
    assert np.shares_memory(part.images(), larger.blocks())
    return part


@pytest.mark.parametrize("channels", [32, 48])
def test_slices_are_read_where_they_are(channels, two_threads):
    """Shared out by blocks (2 for 2) and by pieces (3 for 2): the same bytes as of images side by side."""
    x, gy, residual = (numbers((3, channels, 5, 7), seed) for seed in range(3))
    y, mean, var = cpu.batch_norm(blocked(x), None, None, None, None, residual, 1e-5, 1.5)
    whole = [y, mean, var, *cpu.batch_norm_gradient(gy, blocked(x), y, None, mean, var, 1e-5, 1.5)]
    parts = [*cpu.batch_norm(cut(x), None, None, None, None, cut(residual), 1e-5, 1.5)]
    given = [cut(gy), cut(x), cut(plain(y))]
    parts += cpu.batch_norm_gradient(*given, None, mean, var, 1e-5, 1.5)
    assert not any(part.images().flags.c_contiguous for part in given), "nor copied on the way"
    for part, expected in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(plain(part), plain(expected))


def test_only_the_residual_is_in_blocks():
    x, residual = numbers((2, 5, 3, 4)), numbers((2, 5, 3, 4), 1)
    y, _, _ = cpu.batch_norm(x, None, None, None, None, blocked(residual), 1e-5, None)
    assert_close(y, reference.batch_norm(x, None, None, None, None, residual, 1e-5, None)[0])


def test_no_images():
    x, mean, var = blocked(numbers((0, 5, 3, 4))), np.zeros(5), np.ones(5)
    y, _, _ = cpu.batch_norm(x, mean, var, None, None, None, 1e-5, None)
    gx, gw, gb = cpu.batch_norm_gradient(x, x, None, None, mean, var, 1e-5, None)
    assert y.shape == gx.shape == x.shape
    np.testing.assert_array_equal([gw, gb], np.zeros((2, 5)))


def test_gradients_of_a_wide_weight_are_wide():
    x, w = numbers((2, 5, 3, 4)), numbers(5, 1).astype(np.float64)
    y, mean, var = cpu.batch_norm(blocked(x), None, None, w, w, None, 1e-5, None)
    gx, gw, gb = cpu.batch_norm_gradient(blocked(x), blocked(x), None, w, mean, var, 1e-5, None)
    assert y.dtype == gx.dtype == np.float32 and gw.dtype == gb.dtype == np.float64
    assert_close(gw, reference.batch_norm_gradient(x, x, None, w, mean, var, 1e-5, None)[1])


@pytest.mark.parametrize("mean, std", [(1e3, 1.0), (-3e4, 1.0), (1.0, 1e-3), (0.0, 1e-6)])
def test_a_mean_that_is_large_beside_the_deviation(mean, std):
    """In single precision mean(x²) − mean(x)² would have no correct digit left."""
    x, gy = numbers((4, 3, 40, 50), 0, mean, std), numbers((4, 3, 40, 50), 1)
    y, found_mean, found_var = cpu.batch_norm(blocked(x), None, None, None, None, None, 1e-20, None)
    wide = x.astype(np.float64)
    right_mean, right_var = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    np.testing.assert_allclose(found_mean, right_mean, rtol=1e-9, atol=1e-6 * std)
    np.testing.assert_allclose(found_var, right_var, rtol=1e-6)
    right = (wide - by_channel(right_mean)) / by_channel(np.sqrt(right_var))
    assert np.abs(plain(y) - right).max() < 3e-6
    gy = (gy + 3 * right).astype(np.float32)  # so that the part along x, which is taken away, is large
    gx, gw, _ = cpu.batch_norm_gradient(gy, blocked(x), y, None, found_mean, found_var, 1e-20, None)
    right_gw = (gy * right).sum((0, 2, 3))
    assert np.abs(gw - right_gw).max() < 1e-5 * np.abs(gy * right).sum((0, 2, 3)).max()
    projected = gy - gy.mean((0, 2, 3), keepdims=True) - right * by_channel(right_gw / (x.size / 3))
    assert_close(gx, projected / by_channel(np.sqrt(right_var)), 5e-6)


def test_first_pixels_unlike_the_others():
    """Squares are taken from their mean, and 33 times as large as they need be: so is their rounding, and no larger."""
    x = numbers((2, 1, 16, 32))
    x[:, :, 0, :16] += 1e4
    _, mean, var = cpu.batch_norm(blocked(x), None, None, None, None, None, 1e-5, None)
    wide = x.astype(np.float64)
    assert abs(mean - wide.mean()) < 2.0**-20 * wide.std()
    np.testing.assert_allclose(var, wide.var(), rtol=33 * 4e-7)


def test_images_unlike_each_other():
    """Then most of the variance is between pieces."""
    x = numbers((5, 2, 6, 7)) + np.float32([0, 1e3, -1e3, 50, 7]).reshape(-1, 1, 1, 1)
    _, mean, var = cpu.batch_norm(blocked(x), None, None, None, None, None, 1e-5, None)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(var, wide.var((0, 2, 3)), rtol=1e-9)


def test_a_channel_that_is_constant():
    x = np.full((3, 2, 4, 4), 0.1, np.float32)
    y, mean, var = cpu.batch_norm(blocked(x), None, None, None, np.float32([2, 3]), None, 1e-5, None)
    assert (var >= 0).all() and (var < 1e-15).all()
    np.testing.assert_allclose(mean, x[0, 0, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(plain(y), np.broadcast_to(by_channel(np.float32([2, 3])), x.shape), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_channel(value):
    x = numbers((2, 18, 4, 5))
    expected = plain(cpu.batch_norm(blocked(x), None, None, None, None, None, 1e-5, math.inf)[0])
    for channel in (0, 15, 17):
        spoilt = x.copy()
        spoilt[0, channel, 0, 0] = value
        y, mean, var = cpu.batch_norm(blocked(spoilt), None, None, None, None, None, 1e-5, 6.0)
        assert np.isnan(plain(y)[:, channel]).all(), "an activation must not hide it"
        assert np.isnan(var[channel])
        others = [c for c in range(18) if c != channel]
        np.testing.assert_array_equal(plain(y)[:, others], expected[:, others])
        assert_nothing_past_the_channels(y)
        gx, _, _ = cpu.batch_norm_gradient(x, blocked(x), y, None, mean, var, 1e-5, math.inf)
        assert not np.isfinite(plain(gx)[:, channel]).any() and np.isfinite(plain(gx)[:, others]).all()


@pytest.mark.parametrize("shape", [(3, 17, 20, 30), (4, 40, 5, 7), (2, 64, 3, 3)])
def test_thread_counts_agree(shape, monkeypatch):
    """To the byte, whether threads take blocks (2 for 2) or pieces (2 for 3)."""
    monkeypatch.setattr(stages, "SMALL", 0)
    x, gy = blocked(numbers(shape)), blocked(numbers(shape, 1))
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        y, mean, var = cpu.batch_norm(x, None, None, None, None, gy, 1e-5, math.inf)
        gx, gw, gb = cpu.batch_norm_gradient(gy, x, y, None, mean, var, 1e-5, math.inf)
        results.append([array.tobytes() for array in (y.blocks(), mean, var, gx.blocks(), gw, gb)])
    assert results[0] == results[1] == results[2]


def test_few_channels_are_shared_out_as_well(monkeypatch):
    """One block, two threads: each of them gets half of the pieces."""
    geometry = stages.Geometry(images=4, blocks=1, pixels=600, threads=2)
    for plan in (blocked_norm._forward_plan(geometry, False, False, None), blocked_norm._backward_plan(geometry, 6.0)):
        assert [(items, count) for _, _, items, count in plan.regions] == [(8, 2), (1, 1), (8, 2)]
