"""cpu/losses.py: rows and blocks of them, threads, the exponential that is written out."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels.cpu import losses, threads
from minicnn.kernels.reference import losses as reference

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CLOSE = {np.float32: {"rtol": 1e-5, "atol": 2e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-13}}

# More and fewer classes than LANES and than BLOCK, more rows than one block has, one class, images, none of them.
SHAPES = [(64, 10), (300, 10), (5, 1), (3, 1000), (2, 3000), (7, 33), (0, 3), (4, 3, 2, 5), (3, 70, 8, 9), (2, 5, 0)]


@pytest.fixture(params=["few", "many"], autouse=True)
def both_ways(request, monkeypatch):
    """Every test of the ways for few logits and for many, whatever their number."""
    monkeypatch.setattr(losses, "FEW", 1 << 40 if request.param == "few" else -1)


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def example(shape, dtype, weighted):
    rng = np.random.default_rng(3)
    z = (5 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(-1, shape[1], (shape[0], *shape[2:]))
    return z, labels, rng.uniform(0.5, 2, shape[1]).astype(dtype) if weighted else None


@BOTH
@pytest.mark.parametrize("divisor", [None, 7.5])
@pytest.mark.parametrize("weighted, smoothing", [(False, 0.0), (True, 0.0), (False, 0.1), (True, 0.1)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_number_of_rows_and_classes(shape, weighted, smoothing, divisor, dtype):
    z, labels, weight = example(shape, dtype, weighted)
    y = losses.softmax_cross_entropy(z, labels, weight, smoothing, divisor)
    expected = reference.softmax_cross_entropy(z, labels, weight, smoothing, divisor)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, **CLOSE[dtype])
    g = np.random.default_rng(4).standard_normal(y.shape).astype(dtype)
    gz = losses.softmax_cross_entropy_gradient(g, z, labels, weight, smoothing, divisor)
    assert gz.dtype == dtype
    np.testing.assert_allclose(
        gz, reference.softmax_cross_entropy_gradient(g, z, labels, weight, smoothing, divisor), **CLOSE[dtype]
    )


def test_threads_do_not_change_the_bytes(monkeypatch):
    monkeypatch.setattr(losses, "SMALL", 0)
    z, labels, weight = example((301, 40), np.float32, True)
    results = []
    for count in (1, 2, 3, 7):
        threads.set_num_threads(count)
        y = losses.softmax_cross_entropy(z, labels, weight, 0.1, 301.0)
        gz = losses.softmax_cross_entropy_gradient(np.float32([2]).reshape(()), z, labels, weight, 0.1, 301.0)
        results.append(y.tobytes() + gz.tobytes())
    assert len(set(results)) == 1


def test_the_exponential_to_the_last_digits():
    """Through the gradient: of two classes, the second's probability is e^x / (1 + e^x)."""
    x = np.linspace(-86, 0, 100_001).astype(np.float32)
    z = np.stack([np.zeros_like(x), x], axis=1)
    gz = losses.softmax_cross_entropy_gradient(np.float32(1).reshape(1), z, np.zeros(len(x), int), None, 0.0, 1.0)
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(gz[:, 1], e / (1 + e), rtol=4e-7)


@pytest.mark.parametrize("far", [-87.5, -104.0, -1e4, -3e38, -np.inf])
def test_what_is_too_small_is_zero(far, monkeypatch):
    monkeypatch.setattr(losses, "FEW", -1)  # the exponential that is written out has no denormal numbers
    z = np.float32([[0, far] * 20])
    gz = losses.softmax_cross_entropy_gradient(np.ones((), np.float32), z, np.zeros(1, int), None, 0.0, 1.0)
    assert not gz[0, 1::2].any()
    np.testing.assert_allclose(gz[0, ::2], np.float32([-0.95] + [0.05] * 19), rtol=1e-6)


@BOTH
@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [np.nan, np.inf], [np.inf, np.inf]])
def test_not_a_number_shows(bad, classes, dtype):
    z = np.zeros((2, classes), dtype)
    z[0, : len(bad)] = bad
    labels = np.array([1, 1])
    y = losses.softmax_cross_entropy(z, labels, None, 0.0, None)
    gz = losses.softmax_cross_entropy_gradient(np.ones(2, dtype), z, labels, None, 0.0, None)
    assert np.isnan(y[0]) and np.isnan(gz[0]).any()
    assert np.isfinite(y[1]) and np.isfinite(gz[1]).all()


@BOTH
def test_rows_of_minus_infinity_show(dtype):
    z = np.full((1, 20), -np.inf, dtype)
    assert np.isnan(losses.softmax_cross_entropy(z, np.array([1]), None, 0.0, None)).all()
