"""Tensors, lists and arrays as indices; integers that are indexed; positions just outside."""

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.errors import DTypeError, IndexingError, ShapeError

COUNT = np.arange(6).reshape(2, 3)
X = Tensor(COUNT)

INDICES = {
    "a Tensor": Tensor([1, 0]),
    "a Tensor of bools": X > 2,
    "two Tensors": (Tensor([0, 1]), Tensor([2, 0])),
    "a Tensor and a slice": (slice(None), Tensor([2, 0])),
    "a list": [1, 0],
}


def arrays_of(index):
    if isinstance(index, tuple):
        return tuple(map(arrays_of, index))
    return index.numpy() if isinstance(index, Tensor) else index


@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_what_may_be_an_index(index, device):
    x = Tensor(COUNT, device=device)
    expected = COUNT[arrays_of(index)]
    np.testing.assert_array_equal(x[index].numpy(), expected)
    back = np.zeros((2, 3), int)
    np.add.at(back, arrays_of(index), expected)
    np.testing.assert_array_equal(ops.add_at(x[index], index, (2, 3)).numpy(), back)


def test_integers_are_scattered():
    y = X.gather(1, [[2], [0]])
    np.testing.assert_array_equal(y.numpy(), [[2], [3]])
    np.testing.assert_array_equal(ops.scatter_add(X, 1, [[2, 2], [0, 1]], Tensor([[5, 6], [7, 8]])).numpy(),
                                  [[0, 1, 13], [10, 12, 5]])  # fmt: skip
    assert X.take([]).shape == (0,)
    np.testing.assert_array_equal(X.take([-6, 5]).numpy(), [0, 5])
    np.testing.assert_array_equal(X.take(np.array([1, 0], "uint8"), 0).numpy(), COUNT[[1, 0]])


BAD = {
    "a size below 0": (lambda: ops.add_at(X, 0, (-1, 2, 3)), ShapeError, r"add_at of shape \(2, 3\) needs sizes ≥ 0"),
    "all sizes below 0": (lambda: ops.add_at(X, 0, (-1,)), ShapeError, r"needs sizes ≥ 0, got \(-1,\)"),
    "more than there is": (
        lambda: ops.add_at(X, 0, (10**9, 10**9)),
        ShapeError,
        r"add_at of shape .* would make shape",
    ),
    "another shape": (
        lambda: ops.add_at(X, 0, (4, 3)),
        ShapeError,
        r"index selects shape \(3,\) of \(4, 3\), but v has",
    ),
    "before the first": (lambda: X.take([-7, 0]), IndexingError, r"take along axis 0 of shape \(6,\) got index -7"),
    "after the last": (lambda: X.take([-3, 3], 1), IndexingError, "got index 3: positions run from -3 to 2"),
    "too few axes": (lambda: X.gather(1, [0, 1]), ShapeError, "gather along axis 1 needs an index of the shape of x"),
    "other rows": (
        lambda: ops.scatter_add(X, 1, [[0]], Tensor([[1]])),
        ShapeError,
        r"scatter_add along axis 1 needs an index of the shape of x, \(2, 3\), .* got \(1, 1\)",
    ),
    "ragged": (lambda: X.take([[1], [1, 2]]), DTypeError, "take takes an array as index"),
    "no Tensor": (lambda: ops.indexing.iterate([1]), DTypeError, "iterate takes a Tensor as x, got list"),
    "src": (lambda: ops.scatter_add(X, 0, [[0, 0, 0]], [1, 2, 3]), DTypeError, "scatter_add takes a Tensor as src"),
}


@pytest.mark.parametrize("name", BAD)
def test_just_outside(name):
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


def test_two_hundred_parts():
    assert len(Tensor(np.arange(200)).split(200)) == len(Tensor(np.arange(200)).chunk(200)) == 200
