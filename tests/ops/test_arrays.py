"""What the op table does not ask of array ops: integers, views, infinities, published answers, NumPy beside them."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, grad, ops
from minicnn.errors import GraphError
from minicnn.explain import TimerHook

COUNT = np.arange(24).reshape(2, 3, 4)

# As NumPy has it, on integers: (method, arguments, NumPy's answer)
AS_NUMPY = {
    "take": (("take", [2, 0, 2], 1), COUNT.take([2, 0, 2], 1)),
    "gather": (("gather", 2, COUNT % 4), np.take_along_axis(COUNT, COUNT % 4, 2)),
    "flip": (("flip", (0, 2)), np.flip(COUNT, (0, 2))),
    "roll": (("roll", (1, -5), (0, 2)), np.roll(COUNT, (1, -5), (0, 2))),
    "repeat": (("repeat", 2, 1), COUNT.repeat(2, 1)),
    "repeat each": (("repeat", [2, 0, 1], 1), COUNT.repeat([2, 0, 1], 1)),
    "tile": (("tile", (2, 1, 1, 3)), np.tile(COUNT, (2, 1, 1, 3))),
    "swapaxes": (("swapaxes", 0, -1), COUNT.swapaxes(0, -1)),
    "moveaxis": (("moveaxis", (0, 2), (-1, 0)), np.moveaxis(COUNT, (0, 2), (-1, 0))),
    "tril": (("tril", 1), np.tril(COUNT, 1)),
    "triu": (("triu", -1), np.triu(COUNT, -1)),
    "prod": (("prod", (0, 2)), COUNT.prod((0, 2))),
    "clip": (("clip", 3, [20, 10, 15, 9]), COUNT.clip(3, [20, 10, 15, 9])),
    "argmin": (("argmin", 0), COUNT.argmin(0)),
    "pad": (("pad", [(0, 0), (2, 1), (3, 3)], "reflect"), np.pad(COUNT, [(0, 0), (2, 1), (3, 3)], "reflect")),
    "square": (("square",), COUNT**2),
}


@pytest.mark.parametrize("name", AS_NUMPY)
def test_integers_as_numpy_has_them(name, device):
    (method, *arguments), expected = AS_NUMPY[name]
    with minicnn.use(device):
        y = getattr(Tensor(COUNT), method)(*arguments)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y.numpy(), expected)


def test_einsum_as_numpy_has_it(device):
    with minicnn.use(device):
        np.testing.assert_array_equal(ops.einsum("ijk,kl->lj", Tensor(COUNT), Tensor(COUNT[0].T)).numpy(),
                                      np.einsum("ijk,kl->lj", COUNT, COUNT[0].T))  # fmt: skip
        assert ops.einsum("i,i", Tensor([1.0, 2.0]), Tensor([3.0, 4.0])).item() == 11


def test_einsum_counts_its_multiply_adds():
    with TimerHook() as timer:
        ops.einsum("bij,bjk->bik", Tensor(np.ones((2, 3, 4))), Tensor(np.ones((2, 4, 5))))
    assert [(row.name, row.macs) for row in timer.rows] == [("einsum", 2 * 3 * 4 * 5)]


def test_parts_are_views_and_a_write_into_the_whole_is_noticed():
    x, w = Tensor(np.arange(6.0)), Tensor(np.ones(4), requires_grad=True)
    _, second = x.split([2, 4])
    assert np.shares_memory(second.numpy(), x.numpy())
    y = (second * w).sum()
    x[3] = 9.0
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_one_part_of_several_used():
    x = Tensor(np.arange(6.0), requires_grad=True)
    (x.chunk(3)[1] * 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 2, 2, 0, 0])


def test_an_index_is_kept_as_it_was():
    x, index = Tensor(np.arange(3.0), requires_grad=True), np.array([0, 2])
    y = x.take(index) + x.gather(0, index)
    index[:] = 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 0, 2])


def test_slices_are_put_back_without_a_loop(device):
    """Which is eight times as fast; tuples and lists inside of an index do repeat."""
    with minicnn.use(device):
        v = Tensor(np.ones((2, 3)))
        np.testing.assert_array_equal(ops.add_at(v, (slice(None), slice(1, None)), (2, 4)).numpy(), [[0, 1, 1, 1]] * 2)
        np.testing.assert_array_equal(ops.add_at(v, ((0, 0),), (2, 3)).numpy(), [[2, 2, 2], [0, 0, 0]])
        np.testing.assert_array_equal(ops.add_at(v, [1, 1], (2, 3)).numpy(), [[0, 0, 0], [2, 2, 2]])


# --- the ends of the number line --------------------------------------------------------------------------------------


def gradient(function, *numbers):
    x = Tensor(np.array(numbers), requires_grad=True)
    y = function(x)
    y.backward()
    return y.item(), x.grad.numpy().tolist()


def test_logsumexp_of_infinities(device):
    inf = np.inf
    with minicnn.use(device):
        assert gradient(ops.logsumexp, -inf, -inf) == (-inf, [0, 0])
        assert gradient(ops.logsumexp, -inf, 3.0) == (3, [0, 1])
        assert ops.logsumexp(Tensor([inf, 1.0])).item() == inf
        assert np.isnan(ops.logsumexp(Tensor([np.nan, 1.0])).item())
        assert ops.logsumexp(Tensor(np.zeros((0, 2))), 0).numpy().tolist() == [-inf, -inf]


def test_std_of_equal_numbers_has_no_slope():
    assert gradient(ops.std, 3.0, 3.0, 3.0) == (0, [0, 0, 0])


def test_prod_with_zeros():
    assert gradient(ops.prod, 2.0, 0.0, 5.0) == (0, [0, 10, 0])
    assert gradient(ops.prod, 0.0, 0.0, 5.0) == (0, [0, 0, 0])


def test_nan_is_not_clipped():
    x = Tensor([np.nan, -2.0, 2.0])
    np.testing.assert_array_equal(x.clip(-1.0, 1.0).numpy(), np.float32([np.nan, -1, 1]))


def test_small_numbers_keep_their_digits():
    x = Tensor(np.array([1e-12, -3e-15]))
    np.testing.assert_allclose(x.log1p().numpy(), x.numpy(), rtol=1e-11)
    np.testing.assert_allclose(x.expm1().numpy(), x.numpy(), rtol=1e-11)


def test_the_variance_of_large_numbers():
    """Deviations are squared, not numbers: 10⁴ and 10⁴ + 1 in float32."""
    x = Tensor(np.float32([10_000, 10_001] * 50))
    assert x.var().item() == pytest.approx(0.25, rel=1e-4)
    assert x.var(correction=1).item() == pytest.approx(0.25 * 100 / 99, rel=1e-4)


# --- resizing: the answers that PyTorch's documentation of Upsample prints --------------------------------------------

SQUARE = np.float64([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)
PUBLISHED = {
    "nearest": ({"mode": "nearest"}, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]),
    "half pixels": ({"mode": "bilinear"}, [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5],
                                           [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]]),
    "corners": ({"mode": "bilinear", "align_corners": True},
                [[1, 4 / 3, 5 / 3, 2], [5 / 3, 2, 7 / 3, 8 / 3], [7 / 3, 8 / 3, 3, 10 / 3], [3, 10 / 3, 11 / 3, 4]]),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_resizing_gives_the_published_answers(name, device):
    options, answer = PUBLISHED[name]
    with minicnn.use(device):
        by_factor = ops.resize(Tensor(SQUARE), scale_factor=2, **options)
        by_size = ops.interpolate(Tensor(SQUARE), 4, **options)
    np.testing.assert_allclose(by_factor.numpy()[0, 0], answer, rtol=1e-15)
    np.testing.assert_allclose(by_size.numpy()[0, 0], answer, rtol=1e-15)


def test_places_are_not_off_by_rounding(device):
    """14 · 23/46 = 7 exactly; in float32 it is a little less, and the pixel before would be read."""
    x = np.arange(14.0).reshape(1, 1, 14, 1)
    with minicnn.use(device):
        y = ops.resize(Tensor(x), (46, 1))
    assert y.numpy()[0, 0, 23, 0] == 7
    np.testing.assert_array_equal(y.numpy().ravel(), [p * 14 // 46 for p in range(46)])


def test_powers_where_the_logarithm_has_no_value(device):
    """xᵉ is no e^(e·ln x) there: whole powers of 0 and of what is below."""
    with minicnn.use(device):
        x = Tensor([-2.0, -3.0, 0.0, 0.0, 0.0, 3.0], dtype="float64", requires_grad=True)
        e = Tensor([2.0, 3.0, 2.0, 1.0, 0.0, 0.0], dtype="float64")
        y = x**e
        np.testing.assert_array_equal(y.numpy(), [4, -27, 0, 0, 1, 1])
        (first,) = grad(y.sum(), x, create_graph=True)
        np.testing.assert_array_equal(first.numpy(), [-4, 27, 0, 1, 0, 0])
        (second,) = grad(first.sum(), x)
        np.testing.assert_array_equal(second.numpy(), [2, -18, 2, 0, 0, 0])
        (of_exponents,) = grad((x[2:].detach() ** e.requires_grad_()[2:]).sum(), e)
        np.testing.assert_array_equal(of_exponents.numpy(), [0, 0, 0, 0, 0, np.log(3)])
