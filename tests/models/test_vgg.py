"""VGG: table 1 of the paper, read from the networks."""

from __future__ import annotations

import pytest

import models
from minicnn import nn
from models.vgg import ROWS

# Columns A, B, D and E of table 1, as it is printed; M is a pooling.
TABLE_1 = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def build(name, **options):
    with nn.init.skip():
        return models.create_model(name, **options)


@pytest.mark.parametrize("name", ROWS)
def test_columns_of_table_1(name):
    model = build(name)
    found = []
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), 1)
            found.append(str(module.out_channels))
        elif isinstance(module, nn.MaxPool2d):
            assert (module.kernel_size, module.stride) == (2, 2)
            found.append("M")
    assert " ".join(found) == TABLE_1[name]
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("vgg")), "the number counts layers with weights"


def test_batch_norm_stands_between_convolution_and_relu_and_the_bias_stays():
    model = build("vgg11_bn")
    kinds = [type(module).__name__ for module in model.features]
    assert kinds[:4] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds.count("BatchNorm2d") == kinds.count("Conv2d") == 8
    assert all(module.bias is not None for module in model.features if isinstance(module, nn.Conv2d))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in build("vgg11").modules())


def test_dropout_stands_behind_the_hidden_linear_layers():
    kinds = [type(module).__name__ for module in build("vgg16", dropout=0.25).classifier]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]


def test_each_stage_halves_the_image():
    model = build("vgg16")
    sizes = {row.name: row.output_shape[1:] for row in model.summary((3, 64, 96)).rows}
    assert [sizes[stage] for stage in model.stages] == [
        (64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3),
    ]  # fmt: skip
    assert sizes["avgpool"] == (512, 7, 7), "smaller images than 224 × 224 are pooled up"
