"""SqueezeNet: table 1 of the paper, read from the networks."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from models.squeezenet import Fire

# Table 1: (s1x1, e1x1, e3x3) of fire2 to fire9.
FIRES = (
    (16, 64, 64), (16, 64, 64), (32, 128, 128), (32, 128, 128), (48, 192, 192), (48, 192, 192), (64, 256, 256),
    (64, 256, 256),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "first", "pools", "sizes"),
    [
        ("squeezenet1_0", (96, 7), [0, 3, 7], [55, 27, 13, 13]),  # behind conv1, fire4 and fire8
        ("squeezenet1_1", (64, 3), [0, 2, 4], [56, 28, 14, 14]),  # behind conv1, fire3 and fire5
    ],
)
def test_table_1(name, first, pools, sizes):
    model = models.create_model(name)
    conv = model.features[0]
    assert (conv.out_channels, conv.kernel_size[0], conv.stride, conv.padding) == (*first, (2, 2), 0)
    fires = [module for module in model.features if isinstance(module, Fire)]
    assert [(f.squeeze.out_channels, f.expand1x1.out_channels, f.expand3x3.out_channels) for f in fires] == list(FIRES)
    kinds = [type(module).__name__ for module in model.features]
    assert [kinds[:i].count("Fire") for i, kind in enumerate(kinds) if kind == "MaxPool2d"] == pools
    rows = {row.name: row.output_shape for row in model.summary((3, 227, 227)).rows}
    assert [rows[stage][2] for stage in model.stages] == sizes


def test_a_fire_module_squeezes_then_expands_both_ways():
    minicnn.manual_seed(1)
    fire = Fire(3, 2, 4).to("float64")
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    few = np.maximum(
        np.einsum("kc,nchw->nkhw", fire.squeeze.weight.numpy()[:, :, 0, 0], x)
        + fire.squeeze.bias.numpy()[:, None, None], 0)  # fmt: skip
    y = fire(Tensor(x)).numpy()
    ones = np.einsum("kc,nchw->nkhw", fire.expand1x1.weight.numpy()[:, :, 0, 0], few)
    np.testing.assert_allclose(y[:, :4], np.maximum(ones + fire.expand1x1.bias.numpy()[:, None, None], 0), atol=1e-12)
    padded, threes = np.pad(few, ((0, 0), (0, 0), (1, 1), (1, 1))), np.zeros((2, 4, 5, 6))
    for p in range(5):
        for q in range(6):
            patch = padded[:, None, :, p : p + 3, q : q + 3]
            threes[:, :, p, q] = (patch * fire.expand3x3.weight.numpy()).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(y[:, 4:], np.maximum(threes + fire.expand3x3.bias.numpy()[:, None, None], 0), atol=1e-12)


def test_the_last_convolution_begins_smaller_than_the_others():
    minicnn.manual_seed(1)
    model = models.squeezenet1_1()
    assert model.classifier[1].weight.numpy().std() == pytest.approx(0.01, rel=0.02)
    weight = model.features[0].weight.numpy()
    assert 0.95 * np.sqrt(6 / 27) < np.abs(weight).max() <= np.sqrt(6 / 27)
    assert [type(module) for module in model.classifier] == [nn.Dropout, nn.Conv2d, nn.ReLU, nn.AdaptiveAvgPool2d]
