"""cuda/launch.py: a grid smaller than its array, what is passed as what, and what a launch refuses."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.errors import ShapeError
from minicnn.kernels.cuda import launch
from minicnn.kernels.window import Window

from .on_device import Kernels, as_reference, watched


@pytest.fixture
def small_grid(monkeypatch):
    """Grids of at most two blocks: each thread takes several turns, as with 17 million elements otherwise."""
    monkeypatch.setattr(launch, "MOST_BLOCKS", 2)


def numbers(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def test_a_grid_that_is_smaller_than_its_array(device, small_grid):
    x = numbers(3, 5, 31, 17)
    as_reference(Kernels(device, "activation"), "tanh", x, rtol=1e-5, atol=1e-6)
    as_reference(Kernels(device, "pool"), "avg_pool2d", x, Window((3, 3), (1, 1)), True, rtol=1e-5, atol=1e-6)
    as_reference(Kernels(device, "lrn"), "channel_sum", x, 2, 2, rtol=1e-5, atol=1e-5)


def test_under_watch(device, small_grid):
    with watched(device, "random:2"):
        as_reference(Kernels(device, "activation"), "tanh", numbers(2111), rtol=1e-5, atol=1e-6)


def test_what_an_int_cannot_hold(device):
    with devices.computing(device):
        y = launch.empty(4, np.float32)
        with pytest.raises(ShapeError, match="too large for one launch"):
            launch.kernel("activation.cu", "gelu_tanh", np.float32)(4, (y, y, 2**31))
