"""Residual networks for ImageNet: what stands where, as their papers have it."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor
from minicnn.errors import ArgumentError
from minicnn.nn import Conv2d
from models.registry import ENTRIES
from models.resnet import ROWS, BasicBlock, Bottleneck, Row, build_resnet


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def row_of(name):
    return ENTRIES[name].build.args[0]


def small(block=Bottleneck, depths=(1, 2), **options):
    """A network of few blocks."""
    minicnn.manual_seed(3)
    row = {key: options.pop(key) for key in tuple(options) if key in Row._fields}
    return build_resnet(Row(block, depths, **row), num_classes=5, **options).to("float64")


def test_depth_is_the_number_of_layers_with_weights():
    """Table 1: the first convolution, those of the blocks, the linear layer; shortcuts are not counted."""
    for name, row in ROWS.items():
        depth = int(name.removeprefix("resnet").removesuffix("_2015"))
        assert depth == 2 + sum(row.depths) * {BasicBlock: 2, Bottleneck: 3}[row.block], name


@pytest.mark.parametrize(
    ("row", "strides"),
    [({}, (1, 2, 1)), ({"stride_in_1x1": True}, (2, 1, 1))],
    ids=["torchvision's", "the paper's"],
)
def test_stride_of_a_bottleneck(row, strides):
    block = small(**row).layer2[0]
    assert tuple(conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3)) == strides
    assert block.downsample[0].stride == (2, 2)
    assert row_of("resnet50_2015").stride_in_1x1 and not row_of("resnet50").stride_in_1x1


def test_stride_of_a_basic_block_is_in_its_first_convolution():
    block = small(BasicBlock).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))


@pytest.mark.parametrize(("block", "expected"), [(BasicBlock, ["layer2.0"]), (Bottleneck, ["layer1.0", "layer2.0"])])
def test_projections_stand_only_where_sizes_change(block, expected):
    model = small(block)
    found = [name.removesuffix(".downsample") for name, _ in model.named_modules() if name.endswith(".downsample")]
    assert found == expected
    assert all(not name.endswith("conv.bias") for name, _ in model.named_parameters())


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_relu_follows_the_sum_and_nothing_else_stands_on_the_shortcut(block):
    """With a branch of zeros, a block is relu(x)."""
    model = small(block, zero_init_residual=True)
    x = images(2, 64 * block.expansion * 2, 3, 5)
    for mode in (True, False):
        np.testing.assert_array_equal(model.train(mode).layer2[1](Tensor(x)), np.maximum(x, 0))


def test_the_branch_ends_with_a_norm_and_has_relu_between_its_convolutions():
    """By loops of its own: relu(bn(conv3(relu(bn(conv2(relu(bn(conv1(x)))))))) + x), with statistics of the batch."""
    block = small(groups=2, base_width=8).train().layer2[1]
    x = images(3, 512, 2, 2)

    def norm(y):
        centred = y - y.mean(axis=(0, 2, 3), keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)

    w1, w2, w3 = (conv.weight.numpy() for conv in (block.conv1, block.conv2, block.conv3))
    assert w2.shape == (32, 16, 3, 3)
    y = np.maximum(norm(np.einsum("kc,nchw->nkhw", w1[:, :, 0, 0], x)), 0)
    padded, z = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1))), np.zeros_like(y)
    for k in range(32):
        of_group = padded[:, 16 * (k // 16) : 16 * (k // 16) + 16]
        for p in range(2):
            for q in range(2):
                z[:, k, p, q] = (of_group[:, :, p : p + 3, q : q + 3] * w2[k]).sum(axis=(1, 2, 3))
    z = norm(np.einsum("kc,nchw->nkhw", w3[:, :, 0, 0], np.maximum(norm(z), 0)))
    np.testing.assert_allclose(block(Tensor(x)), np.maximum(z + x, 0), atol=1e-9)


def test_stochastic_depth_grows_with_the_depth_and_drops_the_branch_only():
    model = small(BasicBlock, (2, 2), stochastic_depth_prob=0.8)
    blocks = [*model.layer1, *model.layer2]
    assert [block.drop_path.p for block in blocks] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    x = images(2, 128, 3, 3)
    kept = blocks[3].eval()(Tensor(x)).numpy()
    assert np.abs(kept - np.maximum(x, 0)).max() > 0.1
    blocks[3].train().drop_path.p = 1.0
    np.testing.assert_array_equal(blocks[3](Tensor(x)), np.maximum(x, 0))


def test_stems():
    model = models.resnet18(num_classes=5, stem="cifar")
    maps = models.create_model("resnet18", features_only=True, stages=["layer1"])
    x = Tensor(np.zeros((1, 3, 32, 32), np.float32))
    assert maps(x)["layer1"].shape == (1, 64, 8, 8)
    assert model.layer1(model.maxpool(model.conv1(x))).shape == (1, 64, 32, 32)
    with pytest.raises(ArgumentError, match='stem="imagenet" or stem="cifar", not \'cifar10\''):
        models.resnet18(stem="cifar10")


def test_weights_begin_as_he_and_others_say():
    model = small(Bottleneck)
    for module in model.modules():
        if isinstance(module, Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.numpy().std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.1)
    assert all((block.bn3.weight.numpy() == 1).all() for block in model.layer2)


def test_dropout_stands_before_the_linear_layer():
    model = small(dropout=1.0).train()
    np.testing.assert_allclose(model(Tensor(images(2, 3, 40, 40))), np.tile(model.fc.bias.numpy(), (2, 1)))
