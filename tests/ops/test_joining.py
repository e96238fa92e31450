"""Joining, cutting and turning at the edge of what is possible."""

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.errors import ArgumentError, ShapeError

COUNT = np.arange(24).reshape(2, 3, 4)
X = Tensor(COUNT)

BAD = {
    "other sizes": (lambda: ops.concat([X, X[:, :2]], 0), ShapeError, r"concat .* \(2, 3, 4\) .*\(2, 2, 4\)"),
    "other axes": (lambda: ops.concat([X, X[0]], 0), ShapeError, r"concat .* \(2, 3, 4\) .*\(3, 4\)"),
    "stack before the first": (lambda: ops.stack([X, X], -5), ShapeError, r"stack along a new axis -5 .* \(2, 3, 4\)"),
    "no parts": (lambda: X.split(0), ShapeError, "split along axis 0 .* got 0"),
    "no parts of nothing": (lambda: X[:0].split(0), ShapeError, "split along axis 0 .* got 0"),
    "parts of text": (lambda: X[:1].split("a"), ShapeError, "split along axis 0 .* got 'a'"),
    "a part below 0": (lambda: X.split([-1, 4], 1), ShapeError, r"split along axis 1 .* got \[-1, 4\]"),
    "half a place": (lambda: X.roll((1, 0.5), (0, 1)), ArgumentError, "roll .* needs one integer for each axis"),
    "half a time": (lambda: X.repeat([1, 0.5, 2], 1), ArgumentError, "repeat along axis 1 .* needs an integer ≥ 0"),
    "less than once": (lambda: X.repeat([1, -1, 2], 1), ArgumentError, "repeat along axis 1 .* needs an integer ≥ 0"),
    "two for three": (lambda: X.repeat([1, 2], 1), ArgumentError, "or 3 of them"),
    "half a tile": (lambda: X.tile((1, 0.5)), ArgumentError, r"tile of shape .* got \(1, 0.5\)"),
    "less than a tile": (lambda: X.tile((1, -1)), ArgumentError, r"tile of shape .* got \(1, -1\)"),
    "half a diagonal": (lambda: X.tril(0.5), ArgumentError, "tril of shape .* needs an integer k, got 0.5"),
    "10¹² times": (lambda: X.repeat(10**12, 1), ShapeError, r"repeat of shape .* make shape \(2, 3000000000000, 4\)"),
    "10¹² and once": (lambda: X.repeat([10**12, 1, 0], 1), ShapeError, r"would make shape \(2, 1000000000001, 4\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_just_outside(name):
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


def test_integers_are_cut_and_joined():
    parts = X.split([1, 2], 1)
    np.testing.assert_array_equal(parts[1].numpy(), COUNT[:, 1:])
    np.testing.assert_array_equal(ops.concat(parts, 1).numpy(), COUNT)
    np.testing.assert_array_equal(ops.stack([X, X], -4).numpy(), [COUNT, COUNT])


def test_few_parts():
    assert [part.shape for part in X.chunk(1)] == [(2, 3, 4)]
    assert X[:0].split([]) == ()
    assert [part.shape for part in X[:0].chunk(3)] == [(0, 3, 4)]


@pytest.mark.parametrize("k", [-3, -2, -1, 0, 1, 3, 4, 10**6, -(10**6)])
def test_diagonals_far_away(k):
    np.testing.assert_array_equal(X.tril(k).numpy(), np.tril(COUNT, k))
    np.testing.assert_array_equal(X.triu(k).numpy(), np.triu(COUNT, k))
    np.testing.assert_array_equal(X.swapaxes(1, 2).tril(k).numpy(), np.tril(COUNT.swapaxes(1, 2), k))
    np.testing.assert_array_equal(X.swapaxes(1, 2).triu(k).numpy(), np.triu(COUNT.swapaxes(1, 2), k))


@pytest.mark.parametrize("counts", [0, 1, [2], [0, 2, 1], np.array([1, 1, 0])])
def test_repeating(counts):
    np.testing.assert_array_equal(X.repeat(counts, 1).numpy(), COUNT.repeat(counts, 1))
    assert X.repeat(2).shape == (48,)
    assert X[:, :0].repeat([], 1).shape == (2, 0, 4)


@pytest.mark.parametrize("reps", [(), 2, (2, 1), (0, 1, 1), (2, 1, 1, 3)])
def test_tiling(reps):
    np.testing.assert_array_equal(X.tile(reps).numpy(), np.tile(COUNT, reps))
