"""Residual networks for CIFAR: those of 2015, with pre-activation, and wide ones."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from models.preact import PreActBasic, PreActBlock, PreActBottleneck
from models.resnet import ResidualBlock
from models.resnet_cifar import PaddedShortcut


def build(name, **options):
    with nn.init.skip():
        return models.create_model(name, **options)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


def norm_relu(x):
    """Batch norm with the statistics of the batch, then relu."""
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    return np.maximum(centred / np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5), 0)


def conv(x, layer):
    """By loops: a convolution whose windows stand over the edge by (size − 1)/2."""
    w, stride = layer.weight.numpy(), layer.stride[0]
    edge = w.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    places = [(p, q) for p in range(0, x.shape[2], stride) for q in range(0, x.shape[3], stride)]
    patches = [padded[:, None, :, p : p + w.shape[2], q : q + w.shape[2]] for p, q in places]
    y = np.stack([(patch * w).sum(axis=(2, 3, 4)) for patch in patches], axis=2)
    return y.reshape(len(x), len(w), -(-x.shape[2] // stride), -(-x.shape[3] // stride))


CIFAR = [name for name in models.list_models() if re.fullmatch(r"(preact_)?resnet\d+_cifar|wrn_\d+_\d+", name)]


@pytest.mark.parametrize("name", CIFAR)
def test_the_number_is_the_depth(name):
    """All convolutions but those of shortcuts, and the linear layer; wide networks count a shortcut's and not it."""
    model = build(name)
    main = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in path
    ]
    assert len(main) == int(re.search(r"\d+", name)[0]) - (2 if name.startswith("wrn") else 0)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet20_cifar", (16, 32, 64)),
        ("preact_resnet20_cifar", (16, 32, 64)),
        ("preact_resnet164_cifar", (64, 128, 256)),
        ("wrn_28_10", (160, 320, 640)),
        ("wrn_40_4", (64, 128, 256)),
    ],
)
def test_three_stages_on_maps_of_32_16_and_8(name, widths):
    model = build(name)
    rows = {row.name: row.output_shape for row in model.summary((3, 32, 32)).rows}
    assert [rows[stage][1:] for stage in model.stages] == [
        (width, size, size) for width, size in zip(widths, (32, 16, 8), strict=True)
    ]


def test_option_a_takes_every_second_place_and_pads_channels_on_both_sides():
    x = images(2, 4, 5, 6)
    y = PaddedShortcut(4, 8, 2)(Tensor(x)).numpy()
    assert y.shape == (2, 8, 3, 3)
    assert (y[:, :2] == 0).all() and (y[:, 6:] == 0).all()
    np.testing.assert_array_equal(y[:, 2:6], x[:, :, [0, 2, 4]][:, :, :, [0, 2, 4]])


@pytest.mark.parametrize("name", ["resnet20_cifar", "preact_resnet20_cifar"])
def test_shortcuts_of_basic_blocks_have_no_parameters(name):
    blocks = [m for m in build(name).modules() if isinstance(m, ResidualBlock | PreActBlock)]
    assert [block.downsample is not None for block in blocks] == [False] * 3 + [True, False, False] * 2
    assert not [path for path, _ in build(name).named_parameters() if "downsample" in path]


@pytest.mark.parametrize("name", ["preact_resnet164_cifar", "resnet_v2_50", "wrn_16_8"])
def test_shortcuts_of_others_are_projections_in_the_first_block_of_each_stage(name):
    found = {path.split(".blocks.")[1] for path, _ in build(name).named_parameters() if "downsample" in path}
    assert found == {"0.downsample.conv.weight"}
    assert len([path for path, _ in build(name).named_parameters() if "downsample" in path]) == len(build(name).stages)


@pytest.mark.parametrize("padded", [True, False])
def test_a_basic_block_with_pre_activation_by_loops(padded):
    """The branch, and x padded or a projection of relu(norm(x)); no ReLU behind the sum."""
    minicnn.manual_seed(1)
    block = PreActBasic(4, 6, 2, padded).to("float64").train()
    x = images(3, 4, 4, 4)
    first = norm_relu(x)
    expected = conv(norm_relu(conv(first, block.conv1)), block.conv2)
    if padded:
        expected[:, 1:5] += x[:, :, ::2, ::2]
    else:
        expected += conv(first, block.downsample.conv)
    np.testing.assert_allclose(block(Tensor(x)), expected, atol=1e-9)


def test_a_bottleneck_with_pre_activation_by_loops():
    minicnn.manual_seed(1)
    block = PreActBottleneck(8, 8, 1, False, 0.0).to("float64").train()
    x = images(2, 8, 3, 4)
    y = conv(norm_relu(conv(norm_relu(x), block.conv1)), block.conv2)
    np.testing.assert_allclose(block(Tensor(x)), x + conv(norm_relu(y), block.conv3), atol=1e-9)
    strided = PreActBottleneck(8, 16, 2, False, 0.0)
    assert [c.stride[0] for c in (strided.conv1, strided.conv2, strided.conv3)] == [1, 2, 1]


def test_a_last_norm_and_relu_stand_before_the_mean():
    minicnn.manual_seed(1)
    model = models.preact_resnet20_cifar(num_classes=4).to("float64").train()
    model.head.fc.weight.copy_(images(*model.head.fc.weight.shape))
    seen = []
    handle = dict(model.named_modules())["stages"].register_forward_hook(lambda m, i, output: seen.append(output))
    y = model(Tensor(images(2, 3, 8, 8)))
    handle.remove()
    expected = norm_relu(seen[0].numpy()).mean(axis=(2, 3)) @ model.head.fc.weight.numpy().T
    np.testing.assert_allclose(y, expected, atol=1e-9)


def test_dropout_of_wide_networks_stands_before_the_second_convolution():
    minicnn.manual_seed(1)
    block = PreActBasic(4, 4, 1, False, dropout=1.0).train()
    seen = []
    block.conv2.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].numpy()))
    x = images(2, 4, 3, 3).astype(np.float32)
    np.testing.assert_array_equal(block(Tensor(x)), x)
    assert (seen[0] == 0).all()
    model = build("wrn_16_8", dropout=0.3)
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.0, 0.3} and model.head.dropout.p == 0.0


def test_stochastic_depth_grows_from_block_to_block():
    for name in ("resnet20_cifar", "preact_resnet20_cifar"):
        model = build(name, stochastic_depth_prob=0.9)
        rates = [module.p for module in model.modules() if isinstance(module, nn.StochasticDepth)]
        assert rates == pytest.approx(np.arange(1, 10) / 10)
    block = PreActBasic(4, 4, 1, False, drop_path=1.0).train()
    x = images(2, 4, 3, 3).astype(np.float32)
    np.testing.assert_array_equal(block(Tensor(x)), x)


def test_imagenet_networks_with_pre_activation_begin_without_norm():
    """conv1 and pooling; the first norm is that of the first block (as timm's resnetv2)."""
    model = build("resnet_v2_50")
    assert [name for name, _ in model.stem.named_children()] == ["conv", "pool"]
    rows = {row.name: row.output_shape for row in model.summary((3, 224, 224)).rows}
    assert [rows[stage][1:3] for stage in model.stages] == [(256, 56), (512, 28), (1024, 14), (2048, 7)]
    assert model.head.fc.weight.shape == (1000, 2048, 1, 1)
