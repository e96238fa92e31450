"""Xception: what figure 5 and sections 3 and 4 of the paper say."""

from __future__ import annotations

import numpy as np

import models
from minicnn import Tensor, nn, ops
from minicnn.device import shapes_only
from models.xception import BLOCKS, Block, Row, SeparableConv2d


def blank(**options):
    with nn.init.skip():
        return models.create_model("xception", **options)


def test_36_convolutions_in_14_modules():
    """Section 3: a pair counts as one; twelve blocks, and what stands before and behind them; shortcuts are extra."""
    model = blank()
    pairs = [m for m in model.modules() if isinstance(m, SeparableConv2d)]
    skips = [m.skip for m in model.modules() if isinstance(m, Block) and m.skip is not None]
    single = sum(isinstance(m, nn.Conv2d) for m in model.modules()) - 2 * len(pairs) - len(skips)
    assert (len(pairs), single, len(skips)) == (34, 2, 4)
    assert len(BLOCKS) == 12 and [row.stride for row in BLOCKS] == [2, 2, 2, *8 * [1], 2]


def test_maps_of_figure_5():
    with shapes_only():
        maps = blank(features_only=True)(Tensor(np.zeros((1, 3, 299, 299), np.float32)))
    assert [y.shape[1:3] for y in maps.values()] == [(64, 147), (128, 74), (256, 37), (728, 19), (2048, 10)]


def test_nothing_stands_between_the_two_convolutions():
    """Section 4.7: a ReLU there makes it worse. Depthwise first; each channel sees its own 3 × 3 only."""
    pair = SeparableConv2d(3, 4).to("float64")
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    depthwise, pointwise = pair.conv1.weight.numpy(), pair.pointwise.weight.numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    middle = sum(
        padded[:, :, r : r + 5, s : s + 6] * depthwise[:, 0, r, s, None, None] for r in range(3) for s in range(3)
    )
    assert (middle < 0).mean() > 0.3
    np.testing.assert_allclose(pair(Tensor(x)), np.einsum("kc,nchw->nkhw", pointwise[:, :, 0, 0], middle), rtol=1e-10)


def test_relu_stands_before_each_pair_but_the_first_of_all():
    first, second = blank().block1, blank().block2
    assert [type(m).__name__ for m in second.rep] == 2 * ["ReLU", "SeparableConv2d", "BatchNorm2d"] + ["MaxPool2d"]
    assert [type(m).__name__ for m in first.rep] == [type(m).__name__ for m in second.rep][1:]


def test_shortcut_passes_on_what_no_relu_has_cut():
    """In the middle flow y = x + rep(x) with the raw x, and no ReLU behind the sum."""
    block = Block(6, Row((6, 6, 6)), first=False).to("float64").eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(np.zeros(6))
    x = np.random.default_rng(1).normal(size=(2, 6, 4, 4))
    np.testing.assert_array_equal(block(Tensor(x)), x)
    block.rep[-1].bias.copy_(np.full(6, -2.0))
    np.testing.assert_array_equal(block(Tensor(x)), x - 2)


def test_block_that_halves_is_pool_plus_projection():
    """y = maxpool(rep) + norm(1 × 1 with stride 2 of x), the pool 3 × 3, stride 2, padded by 1."""
    block = Block(3, Row((5, 4), 2), first=False).to("float64").eval()
    x = Tensor(np.random.default_rng(2).normal(size=(2, 3, 7, 6)))
    y = ops.relu(x)
    y = ops.relu(block.rep[2](block.rep[1](y)))
    y = ops.max_pool2d(block.rep[5](block.rep[4](y)), 3, stride=2, padding=1)
    projected = np.einsum("kc,nchw->nkhw", block.skip.weight.numpy()[:, :, 0, 0], x.numpy()[:, :, ::2, ::2])
    np.testing.assert_allclose(block(x), y.numpy() + projected / np.sqrt(1 + 1e-5), rtol=1e-10)


def test_channels_grow_at_the_start_of_a_block_but_in_the_exit_flow():
    """Figure 5: 128 → 256 → 256, but 728 → 728 → 1024."""
    model = blank()
    assert model.block2.rep[1].pointwise.weight.shape[:2] == (256, 128)
    assert model.block12.rep[1].pointwise.weight.shape[:2] == (728, 728)
    assert model.block12.rep[4].pointwise.weight.shape[:2] == (1024, 728)


def test_norms_and_dropout():
    model = blank()
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}
    assert not any(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model.dropout.p == 0.5 and blank(dropout=0.1).dropout.p == 0.1
