"""Network in network: what stands where."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("nin", 227, [(96, 55), (256, 27), (384, 13), (1000, 6)]),
        ("nin_cifar", 32, [(96, 32), (192, 16), (10, 8)]),
    ],
)
def test_maps_at_the_end_of_each_mlpconv(name, size, expected):
    model = models.create_model(name)
    shapes = {row.name: row.output_shape[1:3] for row in model.summary((3, size, size)).rows}
    assert [shapes[stage] for stage in model.stages] == expected


@pytest.mark.parametrize("name", ["nin", "nin_cifar"])
def test_an_mlpconv_is_a_convolution_and_two_of_1x1_each_with_relu(name):
    features = list(models.create_model(name).features)
    convolutions = [module for module in features if isinstance(module, nn.Conv2d)]
    assert all(isinstance(after, nn.ReLU) for conv, after in itertools.pairwise(features)
               if isinstance(conv, nn.Conv2d))  # fmt: skip
    for position, conv in enumerate(convolutions):
        assert (conv.kernel_size == (1, 1)) == (position % 3 > 0)
    assert isinstance(features[-1], nn.ReLU), "the last has one too (equation 2)"
    assert not any(isinstance(module, nn.Linear) for module in features)


def test_dropout_stands_behind_poolings():
    for name, poolings in (("nin", [2]), ("nin_cifar", [0, 1])):
        features = list(models.create_model(name, dropout=0.25).features)
        pools = [i for i, module in enumerate(features) if isinstance(module, nn.MaxPool2d)]
        drops = [i for i, module in enumerate(features) if isinstance(module, nn.Dropout)]
        assert drops == [pools[number] + 1 for number in poolings]
        assert all(features[i].p == 0.25 for i in drops)


def test_scores_are_the_means_of_the_last_maps():
    minicnn.manual_seed(2)
    model = models.nin_cifar().eval()
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32))
    maps = model.features(x).numpy()
    assert maps.min() == 0 and maps.max() > 0
    np.testing.assert_allclose(model(x), maps.mean(axis=(2, 3)), rtol=1e-5)
