"""Layers of activations and of noise: PyTorch's names and arguments, what they own, and when they are at rest."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, ops
from minicnn.errors import ArgumentError
from minicnn.kernels.cpu import threads

X = Tensor(np.linspace(-7, 7, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5))

LAYERS = {  # made by, is the function, shown as
    "ReLU": (nn.ReLU(), ops.relu, "ReLU()"),
    "ReLU6": (nn.ReLU6(), ops.relu6, "ReLU6()"),
    "LeakyReLU": (nn.LeakyReLU(0.2), lambda x: ops.leaky_relu(x, 0.2), "LeakyReLU(negative_slope=0.2)"),
    "ELU": (nn.ELU(0.7), lambda x: ops.elu(x, 0.7), "ELU(alpha=0.7)"),
    "SELU": (nn.SELU(), ops.selu, "SELU()"),
    "GELU": (nn.GELU("tanh"), lambda x: ops.gelu(x, "tanh"), "GELU(approximate=tanh)"),
    "SiLU": (nn.SiLU(), ops.silu, "SiLU()"),
    "Mish": (nn.Mish(), ops.mish, "Mish()"),
    "Hardswish": (nn.Hardswish(), ops.hard_swish, "Hardswish()"),
    "Hardsigmoid": (nn.Hardsigmoid(), ops.hard_sigmoid, "Hardsigmoid()"),
    "Softplus": (nn.Softplus(2.0, 9.0), lambda x: ops.softplus(x, 2.0, 9.0), "Softplus(beta=2.0, threshold=9.0)"),
    "PReLU": (nn.PReLU(3, 0.1), lambda x: ops.prelu(x, Tensor(np.full(3, 0.1, "float32"))), "PReLU(num_parameters=3)"),
    "Sigmoid": (nn.Sigmoid(), ops.sigmoid, "Sigmoid()"),
    "Tanh": (nn.Tanh(), ops.tanh, "Tanh()"),
    "Softmax": (nn.Softmax(1), lambda x: ops.softmax(x, 1), "Softmax()"),
    "LogSoftmax": (nn.LogSoftmax(1), lambda x: ops.log_softmax(x, 1), "LogSoftmax()"),
}  # fmt: skip

ARGUMENTS = {  # PyTorch's and torchvision's names and defaults, those without an effect on the result left out
    nn.LeakyReLU: {"negative_slope": 0.01},
    nn.PReLU: {"num_parameters": 1, "init": 0.25},
    nn.ELU: {"alpha": 1.0},
    nn.GELU: {"approximate": "none"},
    nn.Softplus: {"beta": 1.0, "threshold": 20.0},
    nn.Dropout: {"p": 0.5},
    nn.Dropout2d: {"p": 0.5},
    nn.StochasticDepth: {"p": inspect.Parameter.empty, "mode": "row"},
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function(name):
    layer, function, shown = LAYERS[name]
    assert type(layer).__name__ == name and repr(layer) == shown
    np.testing.assert_array_equal(layer(X), function(X))


@pytest.mark.parametrize("layer", ARGUMENTS, ids=lambda layer: layer.__name__)
def test_names_and_defaults_are_pytorchs(layer):
    assert {p.name: p.default for p in inspect.signature(layer).parameters.values()} == ARGUMENTS[layer]


def test_only_prelu_has_parameters():
    for name, (layer, _, _) in LAYERS.items():
        assert list(layer.state_dict()) == (["weight"] if name == "PReLU" else [])
    layer = nn.PReLU(3)
    assert layer.weight.shape == (3,) and layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight, [0.25, 0.25, 0.25])


def test_options_are_read_at_each_call():
    layer = nn.LeakyReLU()
    layer.negative_slope = 0.5
    np.testing.assert_array_equal(layer(X), ops.leaky_relu(X, 0.5))
    layer.negative_slope = None
    with pytest.raises(ArgumentError, match=r"^LeakyReLU negative_slope=None: leaky_relu takes a finite number"):
        layer(X)


def test_relu6_after_max_pool_is_not_taken_for_relu():
    """Sequential computes ReLU and MaxPool2d in one op; no other activation."""
    x = X * 3.0
    np.testing.assert_array_equal(nn.Sequential(nn.ReLU6(), nn.MaxPool2d(2))(x), ops.max_pool2d(ops.relu6(x), 2))


# --- noise ------------------------------------------------------------------------------------------------------------

NOISY = {
    "Dropout": nn.Dropout,
    "Dropout2d": nn.Dropout2d,
    "StochasticDepth, row": nn.StochasticDepth,
    "StochasticDepth, batch": lambda p: nn.StochasticDepth(p, "batch"),
}


@pytest.mark.parametrize("name", NOISY)
def test_noise_rests_in_evaluation_and_at_rate_0(name):
    layer = NOISY[name](0.5)
    calls = minicnn.generator.calls
    assert layer.eval()(X) is X
    layer.train().p = 0.0
    assert layer(X) is X
    assert minicnn.generator.calls == calls, "a layer at rest must not draw: the others would get other numbers"


@pytest.mark.parametrize("name", NOISY)
def test_the_rate_is_an_attribute(name):
    layer = NOISY[name](0.25)
    assert type(layer.p) is float and "p=0.25" in repr(layer)
    layer.p = 1.0
    assert not layer(X).numpy().any()
    layer.p = -0.5
    with pytest.raises(ArgumentError, match=r"needs a probability p from 0 to 1, got -0\.5"):
        layer(X)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, "a", None, True])
@pytest.mark.parametrize("name", NOISY)
def test_impossible_rates_are_refused_when_the_layer_is_made(name, p):
    with pytest.raises(ArgumentError, match="needs a probability p from 0 to 1"):
        NOISY[name](p)


def test_what_goes_together_and_how_often():
    """Shares of zeros near p, one number 1/(1 − p) elsewhere; whole channels, images and batches."""
    minicnn.manual_seed(0)
    ones, p = Tensor(np.ones((200, 20, 2, 3), np.float32)), 0.3
    kept = np.float32(1 / (1 - p))
    for layer, together in ((nn.Dropout(p), ()), (nn.Dropout2d(p), (2, 3)), (nn.StochasticDepth(p), (1, 2, 3))):
        y = layer(ones).numpy()
        assert set(np.unique(y)) == {np.float32(0), kept}
        assert not np.ptp(y, axis=together).any() if together else np.ptp(y, axis=(2, 3)).any()
        assert abs((y == 0).mean() - p) < 0.1
    depth = nn.StochasticDepth(p, "batch")
    whole = [depth(ones).numpy() for _ in range(60)]
    assert all(np.ptp(y) == 0 for y in whole)
    assert 6 <= sum(not y.any() for y in whole) <= 30


@pytest.mark.parametrize("name", NOISY)
def test_one_stream_on_every_device_and_thread_count(name, monkeypatch):
    x = Tensor(np.random.default_rng(0).standard_normal((8, 40, 16, 16)).astype(np.float32))  # more than one thread's
    results = []
    for device, count in (("reference", 1), ("cpu", 1), ("cpu", 2), ("cpu", 3)):
        monkeypatch.setattr(threads, "_threads", count)
        minicnn.manual_seed(5)
        with minicnn.use(device):
            layer = NOISY[name](0.4)
            results.append([layer(x).numpy().tobytes() for _ in range(2)])
    assert results[0][0] != results[0][1] or "batch" in name
    assert all(result == results[0] for result in results)


def test_a_residual_branch_that_is_off_gets_no_gradient():
    minicnn.manual_seed(1)
    branch, depth = nn.Linear(3, 3), nn.StochasticDepth(0.5)
    x = Tensor(np.ones((6, 3), np.float32), requires_grad=True)
    y = x + depth(branch(x))
    off = (y.numpy() == 1).all(axis=1)
    assert 0 < off.sum() < 6
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy()[off], np.ones((off.sum(), 3)))
    assert (x.grad.numpy()[~off] != 1).all()
    np.testing.assert_allclose(branch.bias.grad, np.full(3, 2.0 * (~off).sum()))
