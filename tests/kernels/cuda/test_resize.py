"""cuda/resize.py: both modes and their adjoints, larger and smaller; what nearest copies stays to the bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from minicnn.kernels.sampling import Sampling

from .on_device import BOTH, Kernels, as_reference, watched

SIZES = {
    "larger": ((5, 7), (11, 14)),
    "smaller": ((31, 29), (7, 12)),
    "one pixel": ((6, 5), (1, 1)),
    "from one pixel": ((1, 1), (3, 4)),
    "same": ((7, 5),) * 2,
}
MODES = {"nearest": ("nearest", False), "bilinear": ("bilinear", False), "corners": ("bilinear", True)}


@pytest.fixture
def gpu(device):
    return Kernels(device, "resize")


def samplings(size, target, mode):
    return [Sampling(i, o, Fraction(i, o), *MODES[mode]) for i, o in zip(size, target, strict=True)]


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SIZES)
def test_as_the_reference(gpu, name, mode, dtype):
    size, target = SIZES[name]
    close = {"rtol": 1e-5, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-12}
    for images in (2, 0):
        x, gy = (np.random.default_rng(3).standard_normal((images, 3, *s)).astype(dtype) for s in (size, target))
        as_reference(gpu, "resize2d", x, *samplings(size, target, mode), **close)
        as_reference(gpu, "resize2d_transpose", gy, *samplings(size, target, mode), **close)


def test_nearest_copies_to_the_bit(gpu):
    """Infinities and NaN stay where they are: nothing is multiplied by 0 and added."""
    x = np.array([[np.inf, 1.0, -np.inf], [0.1, np.nan, -0.0]], np.float32).reshape(1, 1, 2, 3)
    y = gpu.resize2d(x, *samplings((2, 3), (4, 6), "nearest"))
    np.testing.assert_array_equal(y, x.repeat(2, axis=2).repeat(2, axis=3))


def test_infinity_reaches_only_what_read_it(gpu):
    """Some pixels were read by two rows or columns, some by three: the bands of the former end in a weight of 0."""
    gy = np.random.default_rng(0).standard_normal((1, 1, 5, 7)).astype(np.float32)
    gy[0, 0, 2, 2], gy[0, 0, 4, 4], gy[0, 0, 0, 0] = np.inf, np.nan, -np.inf
    for target in ((5, 7), (5, 3), (2, 7)):
        size = (2, 3)
        part = gy[:, :, : target[0], : target[1]].copy()
        as_reference(gpu, "resize2d_transpose", part, *samplings(size, target, "nearest"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_under_watch(gpu, device, mode):
    with watched(device, "random:1"):
        test_as_the_reference(gpu, "larger", mode, np.float32)
