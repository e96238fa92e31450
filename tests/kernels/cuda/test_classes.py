"""cuda/classes.py: rows for threads, warps and blocks, along any axis, and the losses of classes."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import reference

from .on_device import BOTH, Kernels, agree, as_reference

#                   few classes, a warp with a tail, a block, images
SHAPES = [(64, 3), (9, 33), (2, 1500), (3, 1), (0, 3), (4, 3, 2, 5), (2, 5, 0)]
EACH = pytest.mark.parametrize("shape", SHAPES, ids=str)
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
CLOSE = {np.float32: {"rtol": 2e-5, "atol": 2e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-13}}


@pytest.fixture
def gpu(device):
    return Kernels(device, "classes")


def logits(shape, dtype, seed=3):
    return (5 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@EACH_DTYPE
@EACH
def test_along_every_axis(gpu, shape, dtype):
    x = logits(shape, dtype)
    for axis in range(x.ndim):
        if x.shape[axis] or x.size == 0:
            for name in ("softmax", "log_softmax"):
                as_reference(gpu, name, x, axis, **CLOSE[dtype])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_rows_with_what_is_no_number(gpu, value):
    """Row by row as NumPy: NaN and ∞ spoil their row and no other, −∞ has probability 0."""
    for n in (3, 40, 2000):
        x = logits((4, n), np.float32)
        x[1, n // 2] = value
        x[2] = -np.inf
        for name in ("softmax", "log_softmax"):
            as_reference(gpu, name, x, 1, **CLOSE[np.float32])


def example(shape, dtype, weighted):
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, shape[1], (shape[0], *shape[2:]))
    weight = rng.uniform(0.5, 2, shape[1]).astype(dtype) if weighted else None
    if weighted:
        weight[0] = 0
    return logits(shape, dtype), labels, weight


@EACH_DTYPE
@pytest.mark.parametrize("divisor", [None, 7.5])
@pytest.mark.parametrize("weighted, smoothing", [(False, 0.0), (True, 0.0), (False, 0.1), (True, 0.1)])
@EACH
def test_losses_of_classes(gpu, shape, weighted, smoothing, divisor, dtype):
    z, *rest = example(shape, dtype, weighted)
    rest += [smoothing, divisor]
    y = as_reference(gpu, "softmax_cross_entropy", z, *rest, **CLOSE[dtype])
    as_reference(gpu, "negative_log_likelihood", reference.log_softmax(z, 1), *rest, **CLOSE[dtype])
    as_reference(gpu, "class_targets", z.shape, np.dtype(dtype), *rest, **CLOSE[dtype])
    g = logits(y.shape, dtype, 4)
    found = gpu.softmax_cross_entropy_gradient(g, z, *rest)
    agree(found, reference.softmax_cross_entropy_gradient(g, z, *rest), **CLOSE[dtype])


@pytest.mark.parametrize("weighted", [False, True])
def test_strided_logits(gpu, weighted):
    z, labels, weight = example((6, 7), np.float32, weighted)
    wanted = reference.softmax_cross_entropy(z, labels, weight, 0.1, None)
    view, g = gpu.library.asarray(z.T.copy()).T, np.broadcast_to(np.float32(2), (6,))
    agree(gpu.softmax_cross_entropy(view, labels, weight, 0.1, None), wanted, **CLOSE[np.float32])
    gradient = gpu.softmax_cross_entropy_gradient(
        gpu.library.broadcast_to(gpu.library.asarray(np.float32(2)), (6,)), view, labels, weight, 0.1, None
    )
    agree(gradient, reference.softmax_cross_entropy_gradient(g, z, labels, weight, 0.1, None), **CLOSE[np.float32])


def test_impossible_classes(gpu):
    """A class of probability 0 costs nothing where it is not asked for: 0 · (−∞) is 0; where it is, the loss is ∞."""
    z = logits((3, 4), np.float32)
    z[:, 1] = -np.inf
    labels = np.array([0, 1, -1])
    y = gpu.softmax_cross_entropy(z, labels, None, 0.0, None)
    assert np.isfinite(y[[0, 2]]).all() and y[1] == np.inf and y[2] == 0
    weight = np.array([1, 0, 1, 1], np.float32)
    assert np.isfinite(gpu.softmax_cross_entropy(z, labels, weight, 0.1, None)).all()
