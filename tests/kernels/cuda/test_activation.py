"""cuda/activation.py: every function, with packs and tails, and at NaN, ±∞ and its kinks."""

from __future__ import annotations

import numpy as np
import pytest

from .on_device import BOTH, Kernels, as_reference

OF_ONE = {
    "relu": (), "tanh": (), "sigmoid": (), "relu6": (), "hard_sigmoid": (), "elu": (1.3, 1.1), "softplus": (2.0, 20.0),
    "sign": (), "silu": (), "gelu": (), "gelu_tanh": (), "hard_swish": (), "mish": (),
}  # fmt: skip
OF_TWO = {
    "relu_mask": (), "clip_mask": (0.0, 6.0), "silu_slope": (), "gelu_slope": (), "gelu_tanh_slope": (),
    "hard_swish_slope": (), "mish_slope": (),
}  # fmt: skip
SHAPES = [(), (1,), (0, 3), (3, 5, 7), (64,), (2, 1031)]
SPECIAL = [0.0, -0.0, 3.0, -3.0, 6.0, 10.0, -10.0, 1e4, -1e4, 1e30, -1e30, np.inf, -np.inf, np.nan]
CLOSE = {np.float32: {"rtol": 1e-5, "atol": 1e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-14}}
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)


@pytest.fixture
def gpu(device):
    return Kernels(device, "activation")


def numbers(shape, dtype, seed=0):
    return np.asarray(4 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@EACH_DTYPE
@pytest.mark.parametrize("name", OF_ONE)
def test_of_one_array(gpu, name, dtype):
    for x in (*(numbers(shape, dtype) for shape in SHAPES), np.array(SPECIAL, dtype)):
        as_reference(gpu, name, x, *OF_ONE[name], **CLOSE[dtype])


@EACH_DTYPE
@pytest.mark.parametrize("name", OF_TWO)
def test_of_two_arrays(gpu, name, dtype):
    for x in (*(numbers(shape, dtype) for shape in SHAPES), np.array(SPECIAL, dtype)):
        as_reference(gpu, name, numbers(x.shape, dtype, 1), x, *OF_TWO[name], **CLOSE[dtype])


@EACH_DTYPE
def test_views(gpu, dtype):
    """Strided arrays; and such as begin between two packs, which are read number by number."""
    x, g = (gpu.library.asarray(numbers((9, 23), dtype, seed)) for seed in range(2))
    for view in (lambda a: a.T, lambda a: a[::2, 1::3], lambda a: a.reshape(-1)[1:], lambda a: a[::-1]):
        for name in ("relu", "gelu"):
            found = getattr(gpu, name)(view(x))
            np.testing.assert_array_equal(found, getattr(gpu, name)(gpu.library.asnumpy(view(x)).copy()))
        found = gpu.silu_slope(view(g), view(x))
        np.testing.assert_array_equal(found, gpu.silu_slope(*(gpu.library.asnumpy(view(a)).copy() for a in (g, x))))


@EACH_DTYPE
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 4, 3, 5), (0, 4, 2)])
def test_leak(gpu, shape, dtype):
    x, g = numbers(shape, dtype), numbers(shape, dtype, 1)
    slopes = [np.array([0.1], dtype)] + [np.array([0.1, -0.2, 0.3, 1.0], dtype)] * (len(shape) > 1)
    for slope in slopes:
        as_reference(gpu, "leak", g, x, slope, **CLOSE[dtype])
