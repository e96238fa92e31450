"""DenseNet: what stands where, as the paper has it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from models.densenet import CIFAR_ROWS, ROWS, DenseBlock, DenseLayer, Row, Transition


def build(name, **options):
    with nn.init.skip():
        return models.create_model(name, **options)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


def norm_relu(x):
    """Batch norm with the statistics of the batch, then relu."""
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    return np.maximum(centred / np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5), 0)


def conv3x3(x, w):
    padded, y = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), np.zeros((len(x), len(w), *x.shape[2:]))
    for p in range(x.shape[2]):
        for q in range(x.shape[3]):
            y[:, :, p, q] = (padded[:, None, :, p : p + 3, q : q + 3] * w).sum(axis=(2, 3, 4))
    return y


def conv1x1(x, w):
    return np.einsum("kc,nchw->nkhw", w[:, :, 0, 0], x)


@pytest.mark.parametrize("name", [*ROWS, *CIFAR_ROWS])
def test_the_number_counts_layers_with_weights(name):
    """Convolutions, and the linear layer; those of the transitions too."""
    layers = [module for module in build(name).modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(re.search(r"\d+", name.removeprefix("densenet"))[0])


@pytest.mark.parametrize(
    ("name", "growth", "first", "widths"),
    [
        ("densenet121", 32, 64, (256, 512, 1024, 1024)),
        ("densenet161", 48, 96, (384, 768, 2112, 2208)),
        ("densenet_40_12", 12, 16, (160, 304, 448)),
        ("densenet_bc_100_12", 12, 24, (216, 300, 342)),
    ],
)
def test_growth(name, growth, first, widths):
    """Each layer adds k channels, a transition keeps half of them, or all in a network that is not compressed."""
    model = build(name)
    assert model.features.conv0.out_channels == first
    rows = {row.name: row.output_shape for row in model.summary(models.input_shape(name)).rows}
    assert tuple(rows[stage][1] for stage in model.stages) == widths
    for number, width in enumerate(widths[:-1], start=1):
        kept = width if name == "densenet_40_12" else width // 2
        assert rows[f"features.transition{number}"][1] == kept
        assert rows[f"features.transition{number}"][2] == rows[f"features.denseblock{number}"][2] // 2
    for layer in (module for module in model.modules() if isinstance(module, DenseLayer)):
        last = layer.conv1 if layer.norm2 is None else layer.conv2
        assert (last.out_channels, last.kernel_size) == (growth, (3, 3))
        assert layer.norm2 is None or (layer.conv1.out_channels, layer.conv1.kernel_size) == (4 * growth, (1, 1))
    assert (layer.norm2 is None) == (name == "densenet_40_12")


@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_block_by_loops(bottleneck):
    """Norm and relu come before each convolution, and new channels behind all that there are."""
    minicnn.manual_seed(0)
    block = DenseBlock(2, 5, Row(3, (2,), 5, bottleneck), dropout=0.0).to("float64").train()
    x = images(2, 5, 4, 3)
    expected = x
    for layer in block.children():
        w = layer.conv1.weight.numpy()
        if bottleneck:
            y = conv3x3(norm_relu(conv1x1(norm_relu(expected), w)), layer.conv2.weight.numpy())
        else:
            y = conv3x3(norm_relu(expected), w)
        expected = np.concatenate([expected, y], axis=1)
    assert expected.shape[1] == 11
    np.testing.assert_allclose(block(Tensor(x)), expected, atol=1e-9)


def test_a_transition_by_loops():
    minicnn.manual_seed(0)
    transition = Transition(6, 3, dropout=0.0).to("float64").train()
    x = images(2, 6, 4, 6)
    y = conv1x1(norm_relu(x), transition.conv.weight.numpy())
    np.testing.assert_allclose(transition(Tensor(x)), y.reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5)), atol=1e-9)


def test_the_end_is_norm_relu_and_means():
    minicnn.manual_seed(0)
    model = models.densenet_40_12(num_classes=4).to("float64").train()
    x = images(2, 3, 8, 8)
    seen = []
    block = dict(model.named_modules())["features.denseblock3"]
    block.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    y = model(Tensor(x))
    maps = norm_relu(seen[0])
    expected = maps.mean(axis=(2, 3)) @ model.classifier.weight.numpy().T
    np.testing.assert_allclose(y, expected, atol=1e-9)
    assert (model.classifier.bias.numpy() == 0).all()


def test_dropout_stands_behind_each_convolution_but_the_first():
    model = build("densenet_bc_100_12", dropout=0.2)
    holders = [module for module in model.modules() if isinstance(module, DenseLayer | Transition)]
    assert all(module.dropout.p == 0.2 for module in holders) and len(holders) == 48 + 2
    minicnn.manual_seed(0)
    x = Tensor(images(1, 4, 2, 2).astype(np.float32))
    assert (Transition(4, 2, dropout=1.0)(x).numpy() == 0).all()
    layer = DenseLayer(4, 3, True, dropout=1.0)
    seen = []
    layer.norm2.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].numpy()))
    assert (layer(x).numpy() == 0).all() and (seen[0] == 0).all()


def test_weights_begin_with_the_fan_in():
    minicnn.manual_seed(0)
    layer = models.densenet_40_12().features.denseblock3.denselayer12.conv1
    assert layer.weight.numpy().std() == pytest.approx(np.sqrt(2 / (layer.in_channels * 9)), rel=0.02)
