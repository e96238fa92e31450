"""Formulas of einsum that are hardly right or hardly wrong, beside NumPy; and padding likewise."""

import string

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.errors import ArgumentError, ShapeError

X = Tensor(np.arange(6.0).reshape(2, 3))
BAD = {
    "two dots": ("...i...->i", r"'...i...' has more than letters and one '...'"),
    "a digit": ("i1->i", "'i1' has more than letters"),
    "dots from nowhere": ("ij->...i", r"'...' of the result is in no operand"),
}


@pytest.mark.parametrize("name", BAD)
def test_formulas_that_say_nothing(name):
    formula, words = BAD[name]
    with pytest.raises(ArgumentError, match=words):
        ops.einsum(formula, X)


RIGHT = {
    "letters that the dots may not take": ("...a,...b->...ab", (2, 3), (2, 4)),
    "axes that only one has": ("...i,...i->...i", (2, 3, 4, 5), (4, 5)),
    "axes that only one has, the other way round": ("...i,...i->...", (5,), (2, 3, 4, 5)),
    "spaces": (" i j , j k -> i k ", (2, 3), (3, 4)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_formulas_of_numpy(name):
    formula, *shapes = RIGHT[name]
    arrays = [np.random.default_rng(0).standard_normal(shape) for shape in shapes]
    np.testing.assert_allclose(
        ops.einsum(formula, *map(Tensor, arrays)).numpy(), np.einsum(formula, *arrays), atol=1e-12
    )


def test_as_many_axes_as_there_are_letters():
    names = string.ascii_letters[:-1]
    assert ops.einsum(f"...{names}->...", Tensor(np.full((2,) + (1,) * 51, 3.0))).shape == (2,)
    with pytest.raises(ArgumentError, match="there are not enough letters for 2 more axes"):
        ops.einsum(f"...{names}->...", Tensor(np.ones((1,) * 53)))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_integers_are_padded(mode):
    x = np.arange(6).reshape(2, 3)
    for widths in ([(0, 1), (1, 0)], np.array([[0, 1], [1, 0]]), [[0, 1], [1, 0]]):
        np.testing.assert_array_equal(ops.pad(Tensor(x), widths, mode).numpy(), np.pad(x, widths, mode))


WIDTHS = [[0, 1], [(0, 0.5), (0, 0)], [(0, 0), (-1, 0)], [(0, 0)], [(0, 1, 1), (0, 0)], [(0.5, 0.5)] * 2]


@pytest.mark.parametrize("widths", WIDTHS)
def test_widths_that_are_none(widths):
    with pytest.raises(ShapeError, match=r"pad needs \(before, after\)"):
        ops.pad(X, widths)


def test_padding_without_end():
    with pytest.raises(ShapeError, match=r"pad of shape \(2, 3\) would make shape \(2, 1000000000005\)"):
        ops.pad(X, [(0, 0), (10**12, 2)])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_a_number_that_is_padded_is_another(mode):
    x = Tensor(2.0)
    y = ops.pad(x, (), mode)
    assert y.item() == 2 and not np.shares_memory(y.numpy(), x.numpy())


def test_axes_of_a_formula_without_a_result_are_in_alphabetical_order():
    """Eight of them, lest another order be that one by chance."""
    x = np.arange(2.0 * 3 * 4 * 5).reshape(1, 2, 3, 1, 4, 1, 5, 1)
    np.testing.assert_array_equal(ops.einsum("gbhdface", Tensor(x)).data, np.einsum("gbhdface", x))
