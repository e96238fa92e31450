"""cpu/resize.py where the op table does not reach: larger images, several threads, other layouts of memory."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cpu import resize, threads
from minicnn.kernels.sampling import Sampling

SIZES = {
    "larger": ((9, 14), (23, 28)),
    "smaller": ((31, 29), (7, 12)),
    "one pixel": ((6, 5), (1, 1)),
    "same": ((7, 5),) * 2,
}
MODES = {"nearest": ("nearest", False), "bilinear": ("bilinear", False), "corners": ("bilinear", True)}


def samplings(size, target, mode):
    return [Sampling(i, o, Fraction(i, o), *MODES[mode]) for i, o in zip(size, target, strict=True)]


def numbers(*shape, dtype=np.float32):
    return np.random.default_rng(3).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SIZES)
def test_against_the_reference(name, mode, dtype):
    size, target = SIZES[name]
    rows, columns = samplings(size, target, mode)
    x, gy = numbers(3, 2, *size, dtype=dtype), numbers(3, 2, *target, dtype=dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for kernel, array in (("resize2d", x), ("resize2d_transpose", gy)):
        ours, theirs = (getattr(book, kernel)(array, rows, columns) for book in (resize, reference))
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_thread_counts_agree(mode, monkeypatch):
    """Each plane belongs to one thread, so here even different numbers of threads give the same bytes."""
    monkeypatch.setattr(resize, "SMALL", 0)
    rows, columns = samplings((9, 14), (23, 28), mode)
    x, gy = numbers(2, 3, 9, 14), numbers(2, 3, 23, 28)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        results.append(
            (resize.resize2d(x, rows, columns).tobytes(), resize.resize2d_transpose(gy, rows, columns).tobytes())
        )
    assert results[0] == results[1] == results[2]


def test_nearest_copies_to_the_bit():
    """Infinities and NaN stay where they are: nothing is multiplied by 0 and added."""
    x = np.array([[np.inf, 1.0, -np.inf], [0.1, np.nan, -0.0]], np.float32).reshape(1, 1, 2, 3)
    rows, columns = samplings((2, 3), (4, 6), "nearest")
    for book in (resize, reference):
        np.testing.assert_array_equal(book.resize2d(x, rows, columns), x.repeat(2, axis=2).repeat(2, axis=3))


@pytest.mark.parametrize("mode", MODES)
def test_bands_are_the_taps(mode):
    """Both ways to say which inputs an output is made of are one matrix; and that of the adjoint is its transpose."""
    for inputs in (1, 2, 5, 12):
        for outputs in (1, 2, 3, 7, 30):
            (sampling,) = samplings((inputs,), (outputs,), mode)
            matrix = np.zeros((outputs, inputs))
            for p, (low, high, share) in enumerate(zip(*sampling.taps(), strict=True)):
                matrix[p, low] += 1 - share
                matrix[p, high] += share
            for transposed, wanted in ((False, matrix), (True, matrix.T)):
                start, weights = sampling.bands(transposed)
                assert (start >= 0).all() and (start + weights.shape[1] <= wanted.shape[1]).all(), "reads outside"
                dense = np.zeros(wanted.shape)
                for i, first in enumerate(start):
                    dense[i, first : first + weights.shape[1]] += weights[i]
                np.testing.assert_allclose(dense, wanted, atol=1e-15)
            np.testing.assert_allclose(matrix.sum(axis=1), 1)
