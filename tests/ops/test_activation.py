"""Activations on the whole real line in float32: to the last digits, far out, close to 0, at the kinks, NaN and ∞."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, ops

from ..oracles import activation as oracles
from ..oracles import naive

# Everything from the smallest normal numbers to 1e4 on both sides, dense where the functions bend, and 1e30.
LINE = np.concatenate([np.geomspace(1e-37, 1e4, 300), np.linspace(0.01, 130, 700), [1e8, 1e19, 1e30]])
LINE = np.concatenate([-LINE[::-1], [0.0], LINE]).astype(np.float32)
FLUSHED = 1e-35  # e⁻ˣ beyond the range of float32 counts as 0 or ∞: what is smaller than this may be 0

CURVES = {  # the function and its oracle; how many digits
    "relu": (ops.relu, naive.relu, 0),
    "relu6": (ops.relu6, oracles.relu6, 0),
    "hard_sigmoid": (ops.hard_sigmoid, oracles.hard_sigmoid, 1e-6),
    "hard_swish": (ops.hard_swish, oracles.hard_swish, 1e-6),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.3), lambda x: oracles.leaky_relu(x, 0.3), 1e-6),
    "elu": (lambda x: ops.elu(x, 1.7), lambda x: oracles.elu(x, 1.7), 1e-6),
    "selu": (ops.selu, oracles.selu, 1e-6),
    "tanh": (ops.tanh, naive.tanh, 1e-6),
    "sigmoid": (ops.sigmoid, naive.sigmoid, 1e-6),
    "softplus": (ops.softplus, lambda x: oracles.softplus(x, 1.0, 20.0), 1e-6),
    "softplus, steep": (lambda x: ops.softplus(x, 4.0), lambda x: oracles.softplus(x, 4.0, 20.0), 1e-6),
    "silu": (ops.silu, oracles.silu, 1e-6),
    "mish": (ops.mish, oracles.mish, 1e-6),
    "gelu": (ops.gelu, lambda x: oracles.gelu(x, "none"), 2e-5),  # e^(−x²/2) has lost digits where it is small
    "gelu (by tanh)": (lambda x: ops.gelu(x, "tanh"), lambda x: oracles.gelu(x, "tanh"), 2e-5),
}  # fmt: skip


def slopes(function, x):
    leaf = Tensor(x, requires_grad=True)
    function(leaf).backward(np.ones(x.shape, x.dtype))
    return leaf.grad.numpy()


@pytest.mark.parametrize("name", CURVES)
def test_every_value_is_right(name, device):
    """Each number by itself, not compared with the largest: also where the function is tiny."""
    function, oracle, digits = CURVES[name]
    with minicnn.use(device):
        y = function(Tensor(LINE)).numpy()
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, oracle(LINE.astype(np.float64)), rtol=digits, atol=FLUSHED)


@pytest.mark.parametrize("name", CURVES)
def test_every_slope_is_right(name, device):
    """The slope in float32 against float64, which gradcheck judges; between 0 and 1, so digits behind the point."""
    function = CURVES[name][0]
    with minicnn.use(device):
        single = slopes(function, LINE)
    with minicnn.use("reference"):
        double = slopes(function, LINE.astype(np.float64))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("name", CURVES)
def test_nan_and_infinity(name, device):
    """NaN stays NaN; +∞ is the limit on the right."""
    function = CURVES[name][0]
    with minicnn.use(device):
        for dtype in (np.float32, np.float64):
            y = function(Tensor(np.array([np.nan, 1.0, np.inf], dtype))).numpy()
            assert np.isnan(y[0]) and not np.isnan(y[1:]).any()
            far = function(Tensor(np.array([1e30], dtype))).item()
            assert y[2] == (far if far < 10 else np.inf)


@pytest.mark.parametrize("name", sorted(CURVES.keys() - {"softplus, steep"}))  # 4·x itself overflows
def test_half_precision_does_not_overflow_inside(name, device):
    """Its largest number is 65504: e²⁰ is ∞. The suite makes an error of NumPy's warnings."""
    function = CURVES[name][0]
    x = np.float16([-60000, -300, -20, -1e-7, 0, 0.5, 20, 300, 60000])
    with minicnn.use(device):
        y, slope = function(Tensor(x)).numpy(), slopes(function, x)
    assert y.dtype == slope.dtype == np.float16
    np.testing.assert_allclose(y, function(Tensor(x.astype(np.float64))).numpy(), rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(slope, slopes(function, x.astype(np.float64)), rtol=2e-3, atol=2e-3)


def test_selus_numbers_are_the_fixed_point():
    from_paper = oracles.selu_numbers()
    assert from_paper == pytest.approx((1.6732632423543772, 1.0507009873554805), rel=1e-15)
    x = np.random.default_rng(0).standard_normal(200_000)
    y = ops.selu(Tensor(x)).numpy()
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1) < 0.02


def test_gelu_by_tanh_is_close_to_gelu():
    x = Tensor(np.linspace(-6, 6, 2001))
    difference = np.abs(ops.gelu(x).numpy() - ops.gelu(x, "tanh").numpy()).max()
    assert 1e-4 < difference < 5e-4


def test_swish_is_silu():
    assert ops.swish is ops.silu


@pytest.mark.parametrize("beta, threshold", [(1.0, 3.0), (2.0, 6.0)])
def test_softplus_is_straight_only_beyond_the_threshold(beta, threshold, device):
    with minicnn.use(device):
        y = ops.softplus(Tensor(np.float64([3.0, np.nextafter(3.0, 4)])), beta, threshold).numpy()
    assert y[0] == pytest.approx(math.log1p(math.exp(threshold)) / beta, rel=1e-14)
    assert y[1] == np.nextafter(3.0, 4)


def test_the_memory_of_a_layer_is_one_array():
    """What the chain of a gate's ops would keep, four or five arrays, is not kept."""
    x = Tensor(np.ones((4, 5), np.float32), requires_grad=True)
    for op in (ops.silu, ops.gelu, ops.hard_swish, ops.mish, ops.relu6, ops.hard_sigmoid, ops.elu, ops.softplus):
        assert sum(array.nbytes for array in op(x).grad_fn.kept_arrays()) == 80
