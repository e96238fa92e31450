"""cuda/random.py: the same words as everywhere, masks, calls that a graph moves on."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.kernels import reference
from minicnn.kernels.cuda import random
from minicnn.kernels.cuda.recording import Recording

from .on_device import BOTH, Kernels


@pytest.fixture
def gpu(device):
    return Kernels(device, "random")


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1000, 4097])
@pytest.mark.parametrize("seed, call", [(0, 0), (7, 3), (2**64 - 1, 2**64 - 1), (2**40 + 5, 2**33 + 1)])
def test_random_bits(gpu, seed, call, n):
    words = gpu.random_bits(seed, call, n)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words, reference.random_bits(seed, call, n))


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1 - 2.0**-33, 1.0])
def test_dropout_mask(gpu, p, dtype):
    mask = gpu.dropout_mask(5, 6, p, (3, 5, 67), np.dtype(dtype))
    words = reference.random_bits(5, 6, mask.size).reshape(mask.shape)
    assert mask.dtype == dtype
    np.testing.assert_array_equal(mask, np.where(words >= p * 2**32, dtype(1 / (1 - p) if p < 1 else 0), dtype(0)))


def test_a_recorded_call_is_moved_on(device):
    """Each replay draws what the next call would have drawn."""
    xp = devices.array_library(device)
    with devices.computing(device):
        random.random_bits(1, 2, 9)  # compiled
        recording, stream = Recording(device), xp.cuda.Stream()
        with stream:
            stream.begin_capture()
            with recording.recorded():
                words = random.random_bits(1, 2**32 - 2, 9)
            graph = stream.end_capture()
        for calls in (0, 1, 5):
            with recording.renewed(calls):
                pass
            recording.write(stream)
            graph.launch(stream)
            stream.synchronize()
            np.testing.assert_array_equal(xp.asnumpy(words), reference.random_bits(1, 2**32 - 2 + calls, 9))
