"""The EfficientNet family: what stands where, as the papers and the releases have it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor
from minicnn.errors import ArgumentError
from minicnn.nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Identity,
    Linear,
    ReLU,
    ReLU6,
    Sequential,
    Sigmoid,
    SiLU,
    StochasticDepth,
    init,
)
from models.blocks import SqueezeExcitation, Style
from models.efficientnet import MBConv, MixConv2d, Row
from models.registry import ENTRIES


@functools.cache
def built(name):
    """Weights of chance, for looking at layers only."""
    with init.skip():
        return models.create_model(name)


def table_of(name):
    return ENTRIES[name].build.args[0]


def modules(root, *kinds):
    return [module for module in root.modules() if isinstance(module, kinds)]


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


def activations(module):
    return {type(m) for m in modules(module, ReLU, ReLU6, SiLU)}


# --- EfficientNet ---


def test_b0_is_table_1():
    """Operator, channels and layers of each stage, and the resolution of its input."""
    model = built("efficientnet_b0")
    found, size = [], 112
    for stage in list(model.features)[1:-1]:
        first = next(iter(stage))
        depthwise = next(conv for conv in modules(first, Conv2d) if conv.groups > 1)
        expansion = depthwise.in_channels // modules(first, Conv2d)[0].in_channels
        found.append((expansion, depthwise.kernel_size[0], modules(first, Conv2d)[-1].out_channels, len(stage), size))
        size //= depthwise.stride[0]
    assert found == [
        (1, 3, 16, 1, 112),
        (6, 3, 24, 2, 112),
        (6, 5, 40, 2, 56),
        (6, 3, 80, 3, 28),
        (6, 5, 112, 3, 14),
        (6, 5, 192, 4, 14),
        (6, 3, 320, 1, 7),
    ]
    assert size == 7
    assert activations(model) == {SiLU}


def test_squeeze_is_a_quarter_of_the_blocks_input():
    """Not of the expanded width, six times as much, nor of the block's output."""
    squeezed = [se.fc1.out_channels for se in modules(built("efficientnet_b0"), SqueezeExcitation)]
    assert squeezed == [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]
    assert all(type(se.gate) is Sigmoid for se in modules(built("efficientnet_b0"), SqueezeExcitation))


def test_b7_is_b0_twice_as_wide_and_three_times_as_deep():
    table = table_of("efficientnet_b7")
    assert [(row.channels, row.repeats) for (row,) in table.stages] == [
        (32, 4), (48, 7), (80, 7), (160, 10), (224, 10), (384, 13), (640, 4),
    ]  # fmt: skip
    assert (table.stem, table.head, table.size, table.dropout) == (64, 2560, 600, 0.5)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("efficientnet_b", (224, 240, 260, 300, 380, 456, 528, 600)),
        ("tf_efficientnet_b", (224, 240, 260, 300, 380, 456, 528, 600)),
        ("efficientnet_lite", (224, 240, 260, 280, 300)),
    ],
)
def test_resolutions_and_dropout_grow_with_the_network(family, sizes):
    dropouts = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5) if family.endswith("b") else (0.2, 0.2, 0.3, 0.3, 0.3)
    for number, size in enumerate(sizes):
        assert models.input_shape(f"{family}{number}") == (3, size, size)
        assert table_of(f"{family}{number}").dropout == dropouts[number]


def test_norms_differ_between_the_libraries():
    """torchvision's, up to B4 and from B5 on; the releases' eps; timm's own MixNet."""
    expected = {
        "efficientnet_b4": (1e-5, 0.1),
        "efficientnet_b5": (1e-3, 0.01),
        "efficientnet_b7": (1e-3, 0.01),
        "efficientnet_v2_m": (1e-3, 0.1),
        "efficientnet_lite2": (1e-3, 0.1),
        "tf_efficientnet_b3": (1e-3, 0.1),
        "mixnet_m": (1e-5, 0.1),
        "tf_mixnet_m": (1e-3, 0.1),
    }
    assert {name: tuple(table_of(name).style[:2]) for name in expected} == expected
    assert {(norm.eps, norm.momentum) for norm in modules(built("mixnet_s"), BatchNorm2d)} == {(1e-5, 0.1)}
    assert {(norm.eps, norm.momentum) for norm in modules(built("efficientnet_lite0"), BatchNorm2d)} == {(1e-3, 0.1)}


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "efficientnet_lite0", "tf_mixnet_s"])
def test_tensorflows_networks_pad_below_and_right_where_one_side_must_do(name):
    """Stride 2, 3 × 3: of 8 rows the first window is rows 0..2; of 9 rows it is −1..1, as PyTorch's always is."""
    stem = built(name).features[0][0]
    stem.weight.copy_(np.zeros(stem.weight.shape))
    stem.weight.detach()[0, 0, 0, 0] = 1.0  # reads the upper left corner of each window
    x = np.arange(1.0, 1 + 3 * 9 * 9, dtype=np.float32).reshape(1, 3, 9, 9)
    np.testing.assert_array_equal(stem(Tensor(x[:, :, :8, :8])).numpy()[0, 0], x[0, 0, :8:2, :8:2])
    np.testing.assert_array_equal(stem(Tensor(x)).numpy()[0, 0, 1:, 1:], x[0, 0, 1:9:2, 1:9:2])
    strided = [conv for conv in modules(built(name), Conv2d) if conv.stride != (1, 1)]
    assert strided and all(conv.padding == "same" for conv in strided)
    symmetric = modules(built("mixnet_s"), Conv2d)
    assert all(conv.padding == conv.kernel_size[0] // 2 for conv in symmetric)


# --- blocks ---


@pytest.mark.parametrize("row", [Row(6, 5, 1, 16, 1), Row(4, 3, 1, 16, 1, fused=True), Row(1, (3, 5), 1, 16, 1)])
def test_with_a_branch_of_zeros_a_block_is_its_input(row):
    block = MBConv(row, 16, 1, drop=0.0, style=Style())
    init.zeros_(modules(block, BatchNorm2d)[-1].weight)
    x = images(2, 16, 6, 7).astype(np.float32)
    np.testing.assert_array_equal(block(Tensor(x)), x)


def test_no_shortcut_where_stride_or_width_changes():
    assert not MBConv(Row(6, 3, 2, 16, 1), 16, 2, 0.0, Style()).has_shortcut
    assert not MBConv(Row(6, 3, 1, 24, 1), 16, 1, 0.0, Style()).has_shortcut


def test_projections_are_linear_and_a_block_without_projection_is_not():
    """Fused with expansion 1 is one convolution, which keeps its activation: outputs then are those of SiLU."""
    x = Tensor(images(3, 16, 8, 8).astype(np.float32))
    projected = MBConv(Row(6, 3, 1, 24, 1), 16, 1, 0.0, Style())(x).numpy()
    fused = MBConv(Row(4, 3, 1, 24, 1, fused=True), 16, 1, 0.0, Style())(x).numpy()
    alone = MBConv(Row(1, 3, 1, 24, 1, fused=True), 16, 1, 0.0, Style())(x).numpy()
    assert projected.min() < -1 and fused.min() < -1 and alone.min() > -0.2785  # SiLU's minimum


def test_dropped_branches_grow_linearly_with_depth():
    """Block i of n: i/n of the rate, nothing at the first; no block of MixNet is dropped."""
    rates = [drop.p for drop in modules(models.efficientnet_b0(stochastic_depth_prob=0.4), StochasticDepth)]
    np.testing.assert_allclose(rates, 0.4 * np.arange(16) / 16)
    assert [drop.p for drop in modules(built("efficientnet_v2_s"), StochasticDepth)][-1] == pytest.approx(0.2 * 39 / 40)
    assert {drop.p for drop in modules(built("mixnet_s"), StochasticDepth)} == {0.0}


def test_a_block_that_is_dropped_passes_its_input_on():
    minicnn.manual_seed(1)
    block = MBConv(Row(6, 3, 1, 16, 1), 16, 1, drop=0.5, style=Style())
    x = images(32, 16, 4, 4).astype(np.float32)
    y = block(Tensor(x)).numpy()
    unchanged = [np.array_equal(a, b) for a, b in zip(x, y, strict=True)]
    assert 4 < sum(unchanged) < 28
    assert not np.array_equal(block.eval()(Tensor(x)).numpy()[unchanged], x[unchanged])


# --- Lite ---


def test_lite_keeps_stem_head_first_and_last_stage():
    for name, width in (("efficientnet_lite0", 1.0), ("efficientnet_lite4", 1.4)):
        model = built(name)
        stages = list(model.features)[1:-1]
        assert modules(model, Conv2d)[0].out_channels == 32
        assert (modules(model, Linear)[0].in_features, len(stages[0]), len(stages[-1])) == (1280, 1, 1)
        assert abs(modules(stages[-1], Conv2d)[-1].out_channels - 320 * width) <= 4  # widths are scaled everywhere else
    assert [len(stage) for stage in list(built("efficientnet_lite4").features)[1:-1]] == [1, 4, 4, 6, 6, 8, 1]


def test_lite_has_relu6_and_no_squeeze_and_excitation():
    assert activations(built("efficientnet_lite0")) == {ReLU6}
    assert not modules(built("efficientnet_lite0"), SqueezeExcitation, Sigmoid)


# --- V2 ---


def test_v2_s_is_table_4():
    """Fused-MBConv without squeezing in the first three stages, MBConv squeezed to a quarter in the last three."""
    stages = list(built("efficientnet_v2_s").features)[1:-1]
    assert [len(stage) for stage in stages] == [2, 4, 4, 6, 9, 15]
    for position, stage in enumerate(stages):
        fused = position < 3
        assert {conv.kernel_size for conv in modules(stage, Conv2d)} <= {(3, 3), (1, 1)}  # no 5 × 5
        assert all((conv.groups > 1) == (not fused) for conv in modules(stage, Conv2d) if conv.kernel_size == (3, 3))
        assert len(modules(stage, SqueezeExcitation)) == (0 if fused else len(stage))
    expansions = [modules(stage, Conv2d)[0].out_channels // modules(stage, Conv2d)[0].in_channels for stage in stages]
    assert expansions == [1, 4, 4, 4, 6, 6]
    squeezed = [modules(stage, SqueezeExcitation)[-1].fc1.out_channels for stage in stages[3:]]
    assert squeezed == [32, 40, 64]


# --- MixNet ---


def test_channels_are_split_evenly_and_the_first_group_takes_the_rest():
    conv = MixConv2d(8, 11, (3, 5, 7), 2, depthwise=False, style=Style())
    assert [(part.in_channels, part.out_channels) for part in conv.children()] == [(4, 5), (2, 3), (2, 3)]
    assert conv(Tensor(np.zeros((1, 8, 9, 9), np.float32))).shape == (1, 11, 5, 5)


def test_groups_do_not_see_each_other():
    conv = MixConv2d(9, 9, (3, 5, 7), 1, depthwise=True, style=Style()).to("float64")
    x = images(1, 9, 7, 7)
    for group in range(3):
        changed = x.copy()
        changed[:, 3 * group : 3 * group + 3] += 1
        different = (conv(Tensor(x)).numpy() != conv(Tensor(changed)).numpy()).any(axis=(0, 2, 3))
        assert different.tolist() == [channel // 3 == group for channel in range(9)]


def test_mixnet_s_is_figure_6():
    """Depthwise kernels, expansion and output of each block; the halves of 1 × 1 convolutions as in the release."""
    found = []
    for block in modules(built("mixnet_s"), MBConv):
        steps = [step[0] for step in modules(block.block, Sequential)[1:]]
        kernels = [[conv.kernel_size[0] for conv in modules(step, Conv2d)] for step in steps]
        se = modules(block, SqueezeExcitation)
        found.append((*kernels, se[0].fc1.out_channels if se else 0))
    assert found == [
        ([3], [1], 0),
        ([1, 1], [3], [1, 1], 0),
        ([1, 1], [3], [1, 1], 0),
        ([1], [3, 5, 7], [1], 12),
        *[([1, 1], [3, 5], [1, 1], 20)] * 3,
        ([1], [3, 5, 7], [1, 1], 10),
        *[([1], [3, 5], [1, 1], 20)] * 2,
        ([1, 1], [3, 5, 7], [1, 1], 40),
        *[([1, 1], [3, 5, 7, 9], [1, 1], 60)] * 2,
        ([1], [3, 5, 7, 9, 11], [1], 60),
        *[([1], [3, 5, 7, 9], [1, 1], 100)] * 2,
    ]


def test_mixnet_has_relu_where_maps_are_large_and_in_its_head():
    features = list(built("mixnet_s").features)
    assert [activations(stage) for stage in features] == [{ReLU}, {ReLU}, {ReLU}, *[{SiLU}] * 4, {ReLU}]


def test_mixnet_l_is_m_with_more_channels():
    medium, large = table_of("mixnet_m"), table_of("mixnet_l")
    assert [rows[0].channels for rows in large.stages] == [32, 40, 56, 104, 160, 264]
    assert (large.stem, large.head, medium.head, large.dropout) == (32, 1536, 1536, 0.25)
    same = [row._replace(channels=0) for rows in medium.stages for row in rows]
    assert same == [row._replace(channels=0) for rows in large.stages for row in rows]


# --- options ---


def test_options_reach_their_layers():
    with init.skip():
        model = models.create_model("efficientnet_lite0", num_classes=5, in_channels=1, dropout=0.7)
    assert modules(model, Dropout)[0].p == 0.7 and not modules(model, Identity)
    assert model.features[0][0].in_channels == 1 and modules(model, Linear)[0].out_features == 5
    assert modules(built("efficientnet_lite0"), Dropout)[0].p == 0.2
    zero = models.create_model("efficientnet_lite0", dropout=0.0, stochastic_depth_prob=0.0)
    assert {module.p for module in modules(zero, Dropout, StochasticDepth)} == {0.0}


@pytest.mark.parametrize("rate", [1.02, -0.1, "often", float("nan")])
def test_rates_that_are_no_probabilities_are_refused(rate):
    """1.02 times 15/16, the rate of B0's last block, would be one."""
    for option in ("dropout", "stochastic_depth_prob"):
        with pytest.raises(ArgumentError, match=r"needs a probability p from 0 to 1, got"):
            models.create_model("efficientnet_b0", **{option: rate})


def test_the_kernel_of_a_block_may_be_larger_than_its_map():
    """MixNet's 11 × 11 at 1 × 1, which padding makes possible."""
    model = models.create_model("mixnet_s", num_classes=3)
    assert np.isfinite(model.eval()(Tensor(np.ones((2, 3, 32, 32), np.float32))).numpy()).all()
