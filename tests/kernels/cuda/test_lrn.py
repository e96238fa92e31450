"""cuda/lrn.py: strips, windows at their ends and longer than there are channels, quick powers, overflow."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import reference

from .on_device import BOTH, Kernels, agree, as_reference

SHAPES = {"few channels": (2, 3, 5, 6), "a strip and one": (2, 17, 7), "features": (5, 40), "none": (0, 3, 4, 4)}
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
WINDOWS = [(1, 1), (2, 1), (0, 0), (0, 3), (50, 60)]


@pytest.fixture
def gpu(device):
    return Kernels(device, "lrn")


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("before, after", WINDOWS)
@EACH_DTYPE
@EACH
def test_channel_sum(gpu, shape, dtype, before, after):
    close = 1e-5 if dtype == np.float32 else 1e-13
    as_reference(gpu, "channel_sum", numbers(shape, dtype), before, after, rtol=close, atol=close)


@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.0, 0.6])
@EACH_DTYPE
@EACH
def test_both_ways(gpu, shape, dtype, beta):
    x, gy = numbers(shape, dtype), numbers(shape, dtype, 1)
    close = 1e-5 if dtype == np.float32 else 1e-12
    for window in WINDOWS:
        form = (*window, 1.3, beta, 2.0)
        as_reference(gpu, "local_response_norm", x, *form, rtol=close, atol=close)
        as_reference(gpu, "local_response_norm_gradient", gy, x, *form, rtol=close, atol=10 * close)


@pytest.mark.parametrize("beta", [0.75, 0.6])
@EACH_DTYPE
def test_squares_that_overflow(gpu, beta, dtype):
    """x/∞ is 0, not NaN; and NaN stays NaN."""
    x, gy = numbers((2, 3, 4, 5), dtype), numbers((2, 3, 4, 5), dtype, 1)
    x[0, 1, 2, 3], x[1, 2, 0, 0] = np.finfo(dtype).max, np.nan
    form = (1, 1, 1.3, beta, 2.0)
    with np.errstate(all="ignore"):
        wanted = reference.local_response_norm(x, *form), reference.local_response_norm_gradient(gy, x, *form)
    found = gpu.local_response_norm(x, *form), gpu.local_response_norm_gradient(gy, x, *form)
    agree(found, wanted, 1e-5, 1e-6)
