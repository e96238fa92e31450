"""ResNeXt, wide bottlenecks, and squeeze-and-excitation: what they change in a bottleneck."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from models.resnet import Bottleneck, Row
from models.senet import squeeze


def build(name):
    with nn.init.skip():
        return models.create_model(name)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize(
    ("name", "groups", "widths", "outputs"),
    [
        ("resnext50_32x4d", 32, (128, 256, 512, 1024), (256, 512, 1024, 2048)),
        ("resnext101_32x8d", 32, (256, 512, 1024, 2048), (256, 512, 1024, 2048)),
        ("resnext101_64x4d", 64, (256, 512, 1024, 2048), (256, 512, 1024, 2048)),
        ("resnext29_8x64d", 8, (512, 1024, 2048), (256, 512, 1024)),
        ("resnext29_16x64d", 16, (1024, 2048, 4096), (256, 512, 1024)),
        ("seresnext50_32x4d", 32, (128, 256, 512, 1024), (256, 512, 1024, 2048)),
        ("wide_resnet50_2", 1, (128, 256, 512, 1024), (256, 512, 1024, 2048)),
        ("wide_resnet101_2", 1, (128, 256, 512, 1024), (256, 512, 1024, 2048)),
    ],
)
def test_width_of_the_3x3_its_groups_and_its_stride(name, groups, widths, outputs):
    model = build(name)
    blocks = [getattr(model, stage)[0] for stage in model.stages]
    assert tuple(block.conv2.out_channels for block in blocks) == widths
    assert tuple(block.conv3.out_channels for block in blocks) == outputs
    assert all((block.conv1.groups, block.conv2.groups, block.conv3.groups) == (1, groups, 1) for block in blocks)
    assert [block.conv2.stride[0] for block in blocks] == [1, *[2] * (len(blocks) - 1)]
    assert all(block.conv1.stride == (1, 1) for block in blocks)


@pytest.mark.parametrize(
    ("name", "depth"), [("resnext29_8x64d", 29), ("resnext29_16x64d", 29), ("resnext101_64x4d", 101)]
)
def test_the_number_counts_layers(name, depth):
    paths = [path for path, m in build(name).named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([path for path in paths if "downsample" not in path]) == depth


def test_resnext29_begins_without_pooling():
    rows = {row.name: row.output_shape for row in build("resnext29_8x64d").summary((3, 32, 32)).rows}
    assert rows["conv1"] == (1, 64, 32, 32) and rows["layer1"] == (1, 256, 32, 32) and rows["layer3"][2] == 8


def test_the_scale_stands_behind_the_last_norm_and_before_the_sum():
    """relu(x + scale·norm(conv3(...))), scale = sigmoid(fc2(relu(fc1(mean)))), which x itself does not get."""
    minicnn.manual_seed(1)
    block = Bottleneck(Row(Bottleneck, (1,), se=squeeze), 256, 64, 1, 0.0).to("float64").eval()
    generator = np.random.default_rng(1)
    for parameter in block.se.parameters():
        parameter.copy_(generator.normal(size=parameter.shape))
    x = images(2, 256, 3, 4)
    seen = []
    handle = block.bn3.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    y = block(Tensor(x)).numpy()
    handle.remove()
    fc1, fc2 = block.se.fc1, block.se.fc2
    assert fc1.out_channels == 16
    hidden = np.maximum(seen[0].mean(axis=(2, 3)) @ fc1.weight.numpy()[:, :, 0, 0].T + fc1.bias.numpy(), 0)
    scale = 1 / (1 + np.exp(-hidden @ fc2.weight.numpy()[:, :, 0, 0].T - fc2.bias.numpy()))
    np.testing.assert_allclose(y, np.maximum(x + seen[0] * scale[:, :, None, None], 0), atol=1e-9)


def test_every_bottleneck_of_a_squeezing_network_scales():
    model = build("seresnet50")
    blocks = [module for module in model.modules() if isinstance(module, Bottleneck)]
    assert len(blocks) == 16
    assert all(block.se.fc1.out_channels * 16 == block.conv3.out_channels for block in blocks)
    assert all(block.se is None for block in build("resnet50").modules() if isinstance(block, Bottleneck))
