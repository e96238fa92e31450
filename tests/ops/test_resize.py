"""Factors of resizing that are hardly right or hardly wrong."""

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.errors import ArgumentError, ShapeError

IMAGE = Tensor(np.arange(12.0).reshape(1, 1, 3, 4))

BAD = {
    "no rows": ((0.1, 2), ArgumentError, r"resize of x \(1, 1, 3, 4\) by .* leaves no pixels"),
    "a number and text": ((2.0, "a"), ArgumentError, r"scale_factor must be .* got \(2.0, 'a'\)"),
    "a number and far too much": ((2.0, 1e9), ArgumentError, "scale_factor must be"),
    "below 0": (-0.00005, ArgumentError, "scale_factor must be"),
    "three": ((1, 2, 3), ArgumentError, r"scale_factor must be .* got \(1, 2, 3\)"),
    "too many pixels": ((1e6, 1e6), ShapeError, r"would make shape \(1, 1, 3000000, 4000000\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_just_outside(name):
    factor, error, words = BAD[name]
    with pytest.raises(error, match=words):
        ops.resize(IMAGE, scale_factor=factor)


@pytest.mark.parametrize("factor", [(2, 0.5), [2, 0.5], np.array([2, 0.5]), (np.float32(2), np.float64(0.5))])
def test_two_factors_however_they_come(factor):
    np.testing.assert_array_equal(ops.resize(IMAGE, scale_factor=factor).numpy(), IMAGE.numpy().repeat(2, 2)[..., ::2])


def test_a_factor_of_one_percent():
    """Its step is 100/101, and no fraction of smaller numbers."""
    line = Tensor(np.arange(200.0).reshape(1, 1, 1, 200))
    places = ops.resize(line, scale_factor=(1, 1.01)).numpy().reshape(-1)
    np.testing.assert_array_equal(places, np.arange(202) * 100 // 101)
