"""Pooling layers: by hand, against one another, and as PyTorch's documentation has them."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, ops
from minicnn.errors import ShapeError


def image(*rows):
    return Tensor(np.array(rows, np.float32)[None, None])


def random(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32))


# --- max, and back ----------------------------------------------------------------------------------------------------


def test_max_pool_and_its_indices_by_hand():
    x = image([1, 9, 2, 3], [4, 5, 8, 6], [7, 0, 1, 2], [3, 3, 2, 2])
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    assert y.numpy().tolist() == [[[[9, 8], [7, 2]]]]
    assert indices.numpy().tolist() == [[[[1, 6], [8, 11]]]]  # of the two equal ones the first
    assert indices.dtype == np.int64 and not indices.requires_grad
    back = nn.MaxUnpool2d(2)(y, indices)
    assert back.numpy().tolist() == [[[[0, 9, 0, 0], [0, 0, 8, 0], [7, 0, 0, 2], [0, 0, 0, 0]]]]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("options", [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2}, {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "padding": ((0, 1), (1, 0))}, {"kernel_size": 3, "stride": 2, "padding": "same"},
    {"kernel_size": 2, "stride": 3, "padding": 1}, {"kernel_size": 5, "stride": 1, "padding": 2},
])  # fmt: skip
def test_unpooling_is_a_partial_inverse(options, ceil_mode, device):
    """Every maximum comes back to where it was, once, however many windows it won; all else is 0."""
    with minicnn.use(device):
        x = random(2, 3, 7, 8) + 1.0
        y, indices = nn.MaxPool2d(**options, ceil_mode=ceil_mode, return_indices=True)(x)
        back = nn.MaxUnpool2d(**options)(y, indices, output_size=x.shape)
    won = np.isin(x.numpy(), y.numpy())
    assert 0 < won.sum() < won.size or options["kernel_size"] == 5
    np.testing.assert_array_equal(back.numpy(), np.where(won, x.numpy(), 0))


def test_unpooling_needs_no_size_where_windows_tile():
    for shape, options in (((1, 2, 6, 8), {"kernel_size": 2}), ((1, 1, 7, 9), {"kernel_size": 3, "stride": 2}),
                           ((1, 1, 6, 4), {"kernel_size": 3, "stride": 2, "padding": "same"})):  # fmt: skip
        y, indices = ops.max_pool2d(random(*shape), **options, return_indices=True)
        assert ops.max_unpool2d(y, indices, **options).shape == shape


def test_of_repeated_places_the_last_stays_and_gets_the_gradient(device):
    with minicnn.use(device):
        x = Tensor(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), requires_grad=True)
        y = ops.max_unpool2d(x, np.array([[[[5, 0], [5, -1]]]]), 2)
        y.backward(np.arange(16.0).reshape(1, 1, 4, 4) + 1)
    assert y.numpy().reshape(-1).tolist() == [2, 0, 0, 0, 0, 3] + [0] * 10
    assert x.grad.numpy().tolist() == [[[[0, 1], [6, 0]]]]


def test_indices_that_are_changed_later_change_no_gradient():
    x = Tensor(np.arange(16.0).reshape(1, 1, 4, 4), requires_grad=True)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    places = indices.numpy().copy()
    z = ops.max_unpool2d(y, places, 2)
    indices.numpy()[...] = 0
    places[...] = 0
    z.sum().backward()
    assert x.grad.numpy().sum() == 4 and x.grad.numpy()[0, 0, 1::2, 1::2].sum() == 4


def test_relu_before_a_pool_with_indices_is_not_lost():
    x = image([-1, -2], [-3, -4])
    y, indices = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True))(x)
    assert y.numpy().item() == 0 and indices.numpy().item() == 0


# --- average: what counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ceil_mode, include, expected",
    [  # 5 wide, kernel 3, stride 2, padding 1 + 0: windows at −1, 1 and, with ceil_mode, 3, which hangs over by one
        (False, True, [(0 + 1 + 2) / 3, (2 + 3 + 4) / 3]),
        (False, False, [(1 + 2) / 2, (2 + 3 + 4) / 3]),
        (True, True, [(0 + 1 + 2) / 3, (2 + 3 + 4) / 3, (4 + 5) / 2]),
        (True, False, [(1 + 2) / 2, (2 + 3 + 4) / 3, (4 + 5) / 2]),
    ],
)
def test_average_by_hand(ceil_mode, include, expected, device):
    with minicnn.use(device):
        pool = nn.AvgPool2d((1, 3), (1, 2), ((0, 0), (1, 0)), ceil_mode, include)
        y = pool(image([1, 2, 3, 4, 5]))
    np.testing.assert_allclose(y.numpy()[0, 0, 0], expected, rtol=1e-6)


def test_what_hangs_over_padding_is_padding_only_as_far_as_it_was_declared():
    """4 wide, stride 3, padding 1 + 1: windows begin at −1 and 2; place 4 is declared, place 5 hangs over."""
    x = image([1, 2, 3, 4])
    pool = nn.AvgPool2d((1, 3), (1, 3), (0, 1), ceil_mode=True)
    np.testing.assert_allclose(pool(x).numpy()[0, 0, 0], [(0 + 1 + 2) / 3, (3 + 4 + 0) / 3])
    pool = nn.AvgPool2d((1, 4), (1, 3), (0, 1), ceil_mode=True)
    np.testing.assert_allclose(pool(x).numpy()[0, 0, 0], [(0 + 1 + 2 + 3) / 4, (3 + 4 + 0) / 3])


def test_tensorflow_s_same_average_leaves_padding_out():
    """tf.nn.avg_pool2d of ones is ones; the odd column of padding is on the right."""
    ones = Tensor(np.ones((1, 1, 4, 4), np.float32))
    same = nn.AvgPool2d(3, 2, "same", count_include_pad=False)
    np.testing.assert_array_equal(same(ones).numpy(), np.ones((1, 1, 2, 2)))
    counted = nn.AvgPool2d(3, 2, "same")
    np.testing.assert_allclose(counted(ones).numpy()[0, 0], [[1, 2 / 3], [2 / 3, 4 / 9]])


def test_an_only_window_may_hang_over_by_less_than_a_stride(device):
    """As in PyTorch: GoogLeNet's 3×3 pool with ceil_mode takes a 2×2 map. Huge windows cost no more than small ones."""
    x = image([1, 2], [3, 4])
    with minicnn.use(device):
        assert nn.MaxPool2d(3, 2, ceil_mode=True)(x).numpy().tolist() == [[[[4]]]]
        assert nn.AvgPool2d(3, 2, ceil_mode=True)(x).numpy().tolist() == [[[[2.5]]]]
        assert nn.AvgPool2d(3, 2**31 - 1, ceil_mode=True)(x).numpy().tolist() == [[[[2.5]]]]
        assert nn.AvgPool2d((1, 3), (5, 7), ceil_mode=True)(x).numpy().tolist() == [[[[1.5]]]]
    for pool in (nn.MaxPool2d(3, 2), nn.MaxPool2d(4, 2, ceil_mode=True)):
        with pytest.raises(
            ShapeError, match=r"max_pool2d of x \(1, 1, 2, 2\): a window of . rows .* does not fit into 2"
        ):
            pool(x)
    with pytest.raises(ShapeError, match="pad less"):
        nn.MaxPool2d(10**5, 10**5, ceil_mode=True)(x)


# --- bins -------------------------------------------------------------------------------------------------------------


def test_adaptive_by_hand():
    x = image([1, 2, 3, 4, 5])  # three bins of five: 0 1, 1 2 3, 3 4
    np.testing.assert_allclose(nn.AdaptiveAvgPool2d((1, 3))(x).numpy()[0, 0, 0], [1.5, 3, 4.5])
    y, indices = nn.AdaptiveMaxPool2d((1, 3), return_indices=True)(x)
    assert y.numpy().tolist() == [[[[2, 4, 5]]]] and indices.numpy().tolist() == [[[[1, 3, 4]]]]
    wider = nn.AdaptiveAvgPool2d((1, 7))(image([1, 2, 3]))  # seven of three: 0, 0, 0 1, 1, 1 2, 2, 2
    np.testing.assert_allclose(wider.numpy()[0, 0, 0], [1, 1, 1.5, 2, 2.5, 3, 3])


@pytest.mark.parametrize("shape, bins", [((2, 3, 6, 8), (3, 2)), ((1, 2, 7, 7), (7, 1)), ((1, 2, 4, 6), (None, 3))])
def test_bins_that_divide_the_input_are_windows(shape, bins, device):
    with minicnn.use(device):
        x = random(*shape)
        window = tuple(n // (p or n) for n, p in zip(shape[2:], bins, strict=True))
        np.testing.assert_allclose(
            ops.adaptive_avg_pool2d(x, bins).numpy(), ops.avg_pool2d(x, window).numpy(), rtol=1e-6
        )
        np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, bins).numpy(), ops.max_pool2d(x, window).numpy())


def test_one_bin_is_global_and_all_bins_are_the_input(device):
    with minicnn.use(device):
        x = random(2, 3, 5, 4)
        np.testing.assert_array_equal(nn.AdaptiveAvgPool2d(1)(x).numpy(), ops.global_avg_pool2d(x).numpy())
        np.testing.assert_array_equal(nn.AdaptiveMaxPool2d(1)(x).numpy(), ops.global_max_pool2d(x).numpy())
        np.testing.assert_array_equal(nn.AdaptiveAvgPool2d((None, None))(x).numpy(), x.numpy())
        np.testing.assert_array_equal(nn.AdaptiveMaxPool2d((5, 4))(x).numpy(), x.numpy())


def test_nan_and_infinity_in_bins(device):
    """NaN is the largest, and the first of several is taken; −∞ alone is the largest too."""
    x = image([1, np.nan, np.nan], [-np.inf, -np.inf, np.inf], [-np.inf, -np.inf, 0])
    with minicnn.use(device):
        for bins in ((1, 1), (2, 2), (3, 3)):
            y, indices = ops.adaptive_max_pool2d(x, bins, return_indices=True)
            window = {1: 3, 2: 2, 3: 1}[bins[0]]
            expected = ops.max_pool2d(x, window, 1, return_indices=True)
            np.testing.assert_array_equal(y.numpy(), expected[0].numpy())
            np.testing.assert_array_equal(indices.numpy(), expected[1].numpy())


def test_large_planes_are_averaged_without_losing_digits(device):
    """A million ones and a little more: in a sum one by one float32 would stop at 2²⁴ parts of 1."""
    x = Tensor(np.full((1, 1, 1024, 1024), 1.1, np.float32))
    with minicnn.use(device):
        for bins in (1, 3):
            np.testing.assert_allclose(ops.adaptive_avg_pool2d(x, bins).numpy(), 1.1, rtol=3e-5)


# --- modules ----------------------------------------------------------------------------------------------------------


def test_modules_say_what_they_are():
    assert str(nn.MaxPool2d(3, 2, 1)) == "MaxPool2d(3, stride 2, padding 1)"
    assert str(nn.MaxPool2d(3, 2, ceil_mode=True)) == "MaxPool2d(3, stride 2, padding 0, ceil_mode)"
    assert str(nn.MaxUnpool2d(2)) == "MaxUnpool2d(2, stride 2, padding 0)"
    assert str(nn.AdaptiveAvgPool2d((7, None))) == "AdaptiveAvgPool2d((7, None))"


def test_arguments_stand_where_pytorch_has_them():
    pool = nn.MaxPool2d(3, 2, 1, 1, True, True)
    assert pool.return_indices and pool.ceil_mode
    pool = nn.MaxPool2d(3, 2, 1, 1, False, True)
    assert pool.ceil_mode and not pool.return_indices
    y = ops.max_pool2d(random(1, 1, 6, 6), 3, 2, 0, 1, True)
    assert y.shape == (1, 1, 3, 3)
