"""Clipping of gradients by their norm, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor, nn
from minicnn.errors import ArgumentError
from minicnn.nn.utils import clip_grad_norm_


def parameters(dtype="float64"):
    """Two with gradients of norm √(1 + 4 + 9 + 16) = √30, and one without."""
    a, b, c = (nn.Parameter(np.zeros(shape, dtype)) for shape in (2, (2, 1), 3))
    a.grad, b.grad = Tensor(np.array([1.0, -2.0], dtype)), Tensor(np.array([[3.0], [4.0]], dtype))
    return a, b, c


@pytest.mark.parametrize("max_norm", [0.5, 5.0, 6.0, np.float32(2)])
def test_all_gradients_shrink_by_one_factor(max_norm):
    a, b, c = parameters()
    norm = clip_grad_norm_([a, b, c], max_norm)
    factor = min(1.0, max_norm / np.sqrt(30))
    assert norm.item() == pytest.approx(np.sqrt(30), rel=1e-12)
    np.testing.assert_allclose(a.grad, [factor, -2 * factor], rtol=1e-12)
    np.testing.assert_allclose(b.grad, [[3 * factor], [4 * factor]], rtol=1e-12)
    assert c.grad is None


def test_small_gradients_are_left_as_they_are_to_the_bit():
    a, b, _ = parameters("float32")
    clip_grad_norm_((p for p in (a, b)), 1e3)
    assert a.grad.dtype == np.float32 and a.grad.numpy().tolist() == [1, -2] and b.grad.numpy().tolist() == [[3], [4]]


def test_gradients_of_zero_stay_zero():
    p = nn.Parameter(np.ones(3, np.float32))
    p.grad = Tensor(np.zeros(3, np.float32))
    assert clip_grad_norm_(p, 1.0).item() == 0 and p.grad.numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize("max_norm", [0.0, -1.0, np.nan, "1", True])
def test_norms_that_are_none(max_norm):
    with pytest.raises(ArgumentError, match="max_norm above 0"):
        clip_grad_norm_(parameters(), max_norm)


def test_nothing_to_clip():
    with pytest.raises(ArgumentError, match=r"backward\(\) first"):
        clip_grad_norm_([parameters()[2]], 1.0)
