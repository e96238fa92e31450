"""AlexNet and ZFNet: what stands where, as the papers have it."""

from __future__ import annotations

import numpy as np
import pytest

import models
from minicnn import Tensor, nn


def outline(model, shape):
    """What the rows of the layer table say: (kind of layer, rows of its output)."""
    rows = model.summary(shape).rows
    names = dict(model.named_modules())
    return [(type(names[row.name]).__name__, row.output_shape[2]) for row in rows if row.name.startswith("features.")]


def features_of(name, layers, seed=0):
    """The first layers of a network in float64; the others hold no numbers."""
    with nn.init.skip():
        found = models.create_model(name).features[:layers]
    generator = np.random.default_rng(seed)
    for parameter in found.parameters():
        parameter.copy_(generator.normal(size=parameter.shape))
    return found.to("float64")


def respond(x):
    """x / (2 + 1e-4·Σ x²)^0.75 over five channels, cut off at the first and the last channel."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        y[:, c] = x[:, c] / (2 + 1e-4 * (x[:, max(c - 2, 0) : c + 3] ** 2).sum(axis=1)) ** 0.75
    return y


def pooled(x):
    """The largest of 3 × 3 with stride 2; windows that begin inside may stand over the edge."""
    places = range(0, x.shape[2] - 1, 2)
    rows = np.stack([x[:, :, p : p + 3].max(axis=2) for p in places], axis=2)
    return np.stack([rows[:, :, :, q : q + 3].max(axis=3) for q in places], axis=3)


def test_sizes_of_2012_are_those_of_the_figure():
    with nn.init.skip():
        model = models.alexnet_2012()
    convolution, rest = ("Conv2d", "ReLU"), ("LocalResponseNorm", "MaxPool2d")
    assert outline(model, (3, 227, 227)) == [
        *((kind, 55) for kind in (*convolution, rest[0])), (rest[1], 27),
        *((kind, 27) for kind in (*convolution, rest[0])), (rest[1], 13),
        *((kind, 13) for kind in convolution * 3), ("MaxPool2d", 6),
    ]  # fmt: skip
    widths = [(m.out_channels, m.groups) for m in model.features if isinstance(m, nn.Conv2d)]
    assert widths == [(96, 1), (256, 2), (384, 1), (384, 2), (256, 2)]


def test_2012_normalises_after_relu_and_before_it_pools():
    """α is large enough here to be seen: the maps are of order 300."""
    first = features_of("alexnet_2012", 4)
    x = 10 * np.random.default_rng(1).normal(size=(1, 3, 35, 35))
    maps = np.maximum(first[0](Tensor(x)).numpy(), 0)
    assert np.abs(respond(pooled(maps)) - pooled(respond(maps))).max() > 0.1, "the order makes no difference here"
    np.testing.assert_allclose(first(Tensor(x)), pooled(respond(maps)), rtol=1e-9)


def test_each_gpu_of_2012_sees_its_own_half_in_the_second_convolution():
    second = features_of("alexnet_2012", 5)[4]
    x = np.random.default_rng(2).normal(size=(1, 96, 5, 5))
    x[:, 48:] = 0
    y = second(Tensor(x)).numpy() - second.bias.numpy()[:, None, None]
    assert (y[:, :128] != 0).all() and (y[:, 128:] == 0).all()


@pytest.mark.parametrize(
    ("name", "biases"), [("alexnet_2012", (0, 1, 0, 1, 1, 1, 1, 0)), ("zfnet", (0,) * 8)], ids=["2012", "zfnet"]
)
def test_weights_begin_as_the_papers_say(name, biases, monkeypatch):
    """N(0, 0.01²), of which no number is drawn here, and ones in the biases behind which section 5 wants them."""
    drawn = {}
    monkeypatch.setattr(nn.init, "normal_", lambda weight, mean, std: drawn.update({id(weight): (mean, std)}))
    model = models.create_model(name)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [drawn[id(layer.weight)] for layer in layers] == [(0.0, 0.01)] * 8
    for layer, bias in zip(layers, biases, strict=True):
        assert (layer.bias.numpy() == bias).all()


def test_torchvisions_alexnet_has_neither_groups_nor_response_norm():
    with nn.init.skip():
        model = models.alexnet()
    kinds = {type(module) for module in model.modules()}
    assert nn.LocalResponseNorm not in kinds
    assert [m.out_channels for m in model.features if isinstance(m, nn.Conv2d)] == [64, 192, 384, 256, 256]
    assert all(m.groups == 1 for m in model.features if isinstance(m, nn.Conv2d))


def test_sizes_of_zfnet_are_those_of_the_figure():
    with nn.init.skip():
        model = models.zfnet()
    assert outline(model, (3, 224, 224)) == [
        ("Conv2d", 110), ("ReLU", 110), ("MaxPool2d", 55), ("LocalResponseNorm", 55),
        ("Conv2d", 26), ("ReLU", 26), ("MaxPool2d", 13), ("LocalResponseNorm", 13),
        *((kind, 13) for kind in ("Conv2d", "ReLU") * 3), ("MaxPool2d", 6),
    ]  # fmt: skip


def test_zfnet_pools_before_it_normalises():
    first = features_of("zfnet", 4)
    x = 10 * np.random.default_rng(3).normal(size=(1, 3, 17, 17))
    maps = np.maximum(first[0](Tensor(x)).numpy(), 0)
    np.testing.assert_allclose(first(Tensor(x)), respond(pooled(maps)), rtol=1e-9)


@pytest.mark.parametrize("name", ["alexnet_2012", "alexnet", "zfnet"])
def test_dropout_stands_before_both_hidden_linear_layers(name):
    with nn.init.skip():
        kinds = [type(module).__name__ for module in models.create_model(name, dropout=0.25).classifier]
    assert kinds == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
