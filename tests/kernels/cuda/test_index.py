"""cuda/index.py: NumPy's indices, repeated positions, joined rows with and without packs, borders of every width."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.kernels.cuda import index as kernels
from minicnn.kernels.cuda.host import mapped

from .on_device import BOTH, Kernels, as_reference

DTYPES = [np.float32, np.float64, bool, np.uint8, np.int16, np.int64, np.complex128]
EACH = pytest.mark.parametrize("dtype", DTYPES)
SHAPE = (4, 5, 6)
MASK = np.arange(4) % 2 == 1
INDICES = {
    "number": 2,
    "numbers and slices": (slice(None, None, -2), 3, slice(1, 4)),
    "new axes": (None, ..., None, 1),
    "all of it": ...,
    "nothing": slice(3, 3),
    "numbers of NumPy": (np.int64(1), np.int32(-1)),
    "list": [0, 3, 3, -1],
    "array, one dimension": np.array([1, 1, 1, 0]),
    "array, two dimensions": np.array([[1, -4], [0, 0]]),
    "two arrays": (np.array([[0], [2]]), slice(None), np.array([5, 5, 0])),
    "side by side": (slice(None), np.array([1, 1, 4]), np.array([0, 0, 2])),
    "mask": MASK,
    "mask of all": np.arange(120).reshape(SHAPE) % 7 == 0,
    "mask of nothing": np.zeros(4, bool),
    "mask and array": (MASK, slice(None), np.array([1, 1])),
    "True": True,
    "False": False,
    "array of nothing": np.array([], int),
}
WIDTHS = [(), ((0, 0),) * 3, ((1, 2), (0, 0), (3, 1)), ((0, 3), (4, 4), (5, 0)), ((0, 0), (0, 0), (2, 5))]


@pytest.fixture
def gpu(device):
    return Kernels(device, "index")


def numbers(shape, dtype, seed=0):
    x = 10 * np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(x > 0 if dtype is bool else abs(x) if dtype is np.uint8 else x).astype(dtype)


def exactly(gpu, name, *args):
    """Nothing is rounded where nothing is added, or only a few whole numbers."""
    return as_reference(gpu, name, *args, rtol=0)


@EACH
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_getitem_and_its_adjoint(gpu, index, dtype):
    x = numbers(SHAPE, dtype)
    as_numpy_sees_it = gpu.library.asnumpy
    y = x[index]
    on_device = gpu.library.asarray(x)
    with_index_there = mapped(index, np.ndarray, gpu.library.asarray)
    for where in (index, with_index_there):
        np.testing.assert_array_equal(as_numpy_sees_it(gpu_getitem(gpu, on_device, where)), y)
    if np.ndim(y) or dtype is not bool:
        v = numbers(np.shape(y), dtype, 1)
        v = np.round(v) if np.issubdtype(dtype, np.inexact) else v
        exactly(gpu, "add_at", v, index, SHAPE)


def gpu_getitem(gpu, x, index):
    """Without Kernels' way of moving arrays: an index may lie here or there."""
    with devices.computing(gpu.device):
        return kernels.getitem(x, index)


@pytest.mark.parametrize("index", [7, (0, 9), np.array([4]), np.array([0.5]), (0, 0, 0, 0), np.ones(3, bool), "a"])
def test_an_index_that_does_not_fit(gpu, index):
    with pytest.raises((IndexError, ValueError)):
        gpu_getitem(gpu, gpu.library.asarray(numbers(SHAPE, np.float32)), index)


@pytest.mark.parametrize("dtype", BOTH)
def test_many_repetitions(gpu, dtype):
    """Long runs are added up by a warp, in an order that is fixed."""
    positions = np.random.default_rng(0).integers(0, 3, 1000)
    v = numbers(1000, dtype)
    as_reference(gpu, "add_at", v, positions, (4,), rtol=1e-5 if dtype is np.float32 else 1e-12)


@EACH
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_its_adjoint(gpu, axis, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    x = numbers(SHAPE, dtype)
    for count in (1, 3, 9, 0):
        index = rng.integers(0, SHAPE[axis], (*SHAPE[:axis], count, *SHAPE[axis + 1 :]))
        exactly(gpu, "gather", x, index, axis)
        v = numbers(index.shape, dtype, 1)
        v = np.round(v) if np.issubdtype(dtype, np.inexact) else v
        found = exactly(gpu, "scatter_add", v, index, axis, SHAPE[axis])
        monkeypatch.setattr(kernels, "AFFORDABLE", 0)
        by_lines = exactly(gpu, "scatter_add", v, index, axis, SHAPE[axis])
        assert by_lines.tobytes() == found.tobytes()
        monkeypatch.undo()


@EACH
@pytest.mark.parametrize("shapes, axis", [
    ([(2, 3, 4, 4), (2, 5, 4, 4), (2, 1, 4, 4)], 1),  # rows of whole packs
    ([(2, 3, 5), (2, 4, 5)], 1),  # rows of anything
    ([(3, 4), (0, 4), (2, 4)], 0),
    ([(3, 2), (3, 1), (3, 0)], 1),
    ([(4,)], 0),
])  # fmt: skip
def test_concat(gpu, shapes, axis, dtype):
    arrays = [numbers(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    exactly(gpu, "concat", arrays, axis)
    strided = [np.stack([a, a], axis=-1) for a in arrays]
    views = [gpu.library.asarray(a)[..., 0] for a in strided]
    np.testing.assert_array_equal(gpu.concat(views, axis), np.concatenate(arrays, axis))


@EACH
@pytest.mark.parametrize("mode", ["reflect", "edge"])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_borders(gpu, widths, mode, dtype):
    shape = (4, 5, 6)
    y = exactly(gpu, "pad_with_copies", numbers(shape, dtype), widths, mode)
    if dtype is not bool:
        gy = np.random.default_rng(1).integers(0, 4, y.shape).astype(dtype)
        exactly(gpu, "fold_copies", gy, widths, mode)


def test_borders_of_one_line(gpu):
    x = numbers((1, 3), np.float32)
    for widths in (((2, 3), (0, 0)), ((2, 0), (1, 1))):
        y = exactly(gpu, "pad_with_copies", x, widths, "edge")
        exactly(gpu, "fold_copies", np.round(y), widths, "edge")
