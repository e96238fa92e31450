"""cuda/arrays.py: CuPy in our names gives what NumPy gives, dtypes included."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import reference

from .on_device import BOTH, Kernels, as_reference

CLOSE = {np.float32: {"rtol": 1e-6, "atol": 1e-7}, np.float64: {"rtol": 1e-14, "atol": 1e-15}}
EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
OF_ONE = [
    "neg",
    "exp",
    "log",
    "sqrt",
    "absolute",
    "log1p",
    "expm1",
    "sin",
    "cos",
    "reciprocal",
    "floor",
    "rint",
    "copy",
]
OF_TWO = ["add", "sub", "mul", "div", "maximum", "minimum", "power"]
HOW = ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]


@pytest.fixture
def gpu(device):
    return Kernels(device, "arrays")


def numbers(shape, dtype, seed=0):
    return np.asarray(np.random.default_rng(seed).uniform(0.3, 4, shape)).astype(dtype)


@EACH_DTYPE
@pytest.mark.parametrize("name", OF_ONE)
def test_of_one_array(gpu, name, dtype):
    for x in (numbers((3, 5), dtype), numbers((), dtype), numbers((0, 2), dtype)):
        as_reference(gpu, name, x, **CLOSE[dtype])


@EACH_DTYPE
@pytest.mark.parametrize("name", OF_TWO)
def test_of_two_arrays(gpu, name, dtype):
    """Broadcast, and beside numbers, Python's and NumPy's, which leave the dtype as it is."""
    x = numbers((3, 1, 5), dtype)
    for other in (numbers((4, 5), dtype, 1), numbers((), dtype, 1), 2, 1.5, dtype(1.5)):
        as_reference(gpu, name, x, other, **CLOSE[dtype])


@EACH_DTYPE
def test_nan_wins(gpu, dtype):
    x, y = np.array([np.nan, 1, np.nan, 2], dtype), np.array([1, np.nan, np.nan, 3], dtype)
    as_reference(gpu, "maximum", x, y, rtol=0)
    as_reference(gpu, "minimum", x, y, rtol=0)


@pytest.mark.parametrize("how", HOW)
def test_compare(gpu, how):
    x = np.array([[1, 2, np.nan, 3]], np.float32)
    as_reference(gpu, "compare", x, x.T, how, rtol=0)
    as_reference(gpu, "compare", x, 2.0, how, rtol=0)
    as_reference(gpu, "compare", np.array([0, 2**31, 2**32 - 1], np.uint32), 2**31, how, rtol=0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, bool])
def test_whole_numbers(gpu, dtype):
    x, y = (np.random.default_rng(seed).integers(0, 2 if dtype is bool else 9, (3, 4)).astype(dtype) for seed in (0, 1))
    for name in ("add", "mul", "maximum", *(["sub"] * (dtype is not bool))):
        as_reference(gpu, name, x, y, rtol=0)
    as_reference(gpu, "where", x > 0, x, y, rtol=0)


@EACH_DTYPE
def test_where_and_cast(gpu, dtype):
    x = numbers((3, 5), dtype)
    as_reference(gpu, "where", x > 1, x, dtype(0), rtol=0)
    as_reference(gpu, "where", x[0] > 1, numbers((1, 5), dtype), x, rtol=0)
    for wanted in ("float32", "float64", "int32", "int64", "uint8", "bool", "float16"):
        as_reference(gpu, "cast", x, np.dtype(wanted), rtol=0)
    as_reference(gpu, "full", (2, 3), 1.5, np.dtype(dtype), rtol=0)
    as_reference(gpu, "full", (), 2, np.dtype(dtype), rtol=0)


def test_shapes(gpu):
    x = numbers((2, 3, 4), np.float32)
    as_reference(gpu, "reshape", x, (4, 6), rtol=0)
    as_reference(gpu, "transpose", x, (2, 0, 1), rtol=0)
    as_reference(gpu, "broadcast_to", x[:, :1], (5, 2, 3, 4), rtol=0)
    view = gpu.library.asarray(x).transpose(2, 0, 1)
    np.testing.assert_array_equal(gpu.reshape(view, (8, 3)), x.transpose(2, 0, 1).reshape(8, 3))


@pytest.mark.parametrize("widths", [(), ((0, 0), (2, 1), (0, 3)), ((1, 1), (0, 0), (0, 0))])
def test_pad(gpu, widths):
    as_reference(gpu, "pad", numbers((2, 3, 4), np.float32), widths, -1.5, rtol=0)


@pytest.mark.parametrize("shifts, axes", [((), ()), ((1,), (0,)), ((5, -1), (2, 1)), ((0, 3), (0, 2)), ((-7,), (1,))])
def test_roll(gpu, shifts, axes):
    as_reference(gpu, "roll", numbers((2, 3, 4), np.float32), shifts, axes, rtol=0)
    assert reference.roll(np.zeros((0, 3)), (1,), (0,)).shape == gpu.roll(np.zeros((0, 3)), (1,), (0,)).shape
