"""cuda/losses.py: what is far from 0, kinks, NaN; packs and tails."""

from __future__ import annotations

import numpy as np
import pytest

from .on_device import BOTH, Kernels, as_reference

EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
CLOSE = {np.float32: {"rtol": 2e-5, "atol": 1e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-14}}
FAR = [0.0, 100.0, -100.0, 1e4, -1e4, np.inf, -np.inf, np.nan]


@pytest.fixture
def gpu(device):
    return Kernels(device, "losses")


def numbers(n, dtype, seed=0):
    x = (4 * np.random.default_rng(seed).standard_normal(n)).astype(dtype)
    x[: len(FAR)] = FAR
    return x


@EACH_DTYPE
@pytest.mark.parametrize("shape", [(3, 7), (1027,)])
def test_binary_cross_entropy(gpu, shape, dtype):
    x = numbers(np.prod(shape), dtype).reshape(shape)
    t = np.random.default_rng(1).uniform(size=shape).astype(dtype)
    t.flat[[3, 9, 12]] = 0, 0, 1
    pos_weight = np.random.default_rng(2).uniform(0.5, 3, shape[-1]).astype(dtype)
    for weight in (None, pos_weight, pos_weight[:1].reshape(())):
        as_reference(gpu, "binary_cross_entropy", x, t, weight, **CLOSE[dtype])


@EACH_DTYPE
@pytest.mark.parametrize("gamma", [0.0, 2.0, 0.5])
def test_sigmoid_focal_loss(gpu, gamma, dtype):
    x = numbers(301, dtype)
    yes = np.random.default_rng(1).integers(0, 2, 301).astype(bool)
    as_reference(gpu, "sigmoid_focal_loss", x, yes, (0.25, 0.75), gamma, **CLOSE[dtype])


@EACH_DTYPE
@pytest.mark.parametrize("beta", [1.0, 0.3, 5.0])
def test_smooth_l1(gpu, beta, dtype):
    d = numbers(301, dtype)
    d[20:22] = beta, -beta
    as_reference(gpu, "smooth_l1", d, beta, **CLOSE[dtype])
