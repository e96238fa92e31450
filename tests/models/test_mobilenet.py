"""The MobileNets: what stands where, as their papers have it."""

from __future__ import annotations

import numpy as np
import pytest

import models
from minicnn import Tensor
from minicnn.nn import BatchNorm2d, Conv2d, Hardsigmoid, Hardswish, Linear, ReLU, ReLU6, Sigmoid, SiLU, init
from models.blocks import SqueezeExcitation, last_of_each_size, round_channels
from models.registry import ENTRIES

V3_LARGE, V3_SMALL = "mobilenet_v3_large", "mobilenet_v3_small"


@pytest.fixture(scope="module", params=["mobilenetv1_100", "mobilenet_v2", V3_LARGE, V3_SMALL])
def network(request):
    with init.skip():
        return request.param, models.create_model(request.param)


def built(name):
    with init.skip():
        return models.create_model(name)


def modules(root, *kinds):
    return [module for module in root.modules() if isinstance(module, kinds)]


def images(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_widths_are_rounded_to_eight_and_lose_no_more_than_a_tenth():
    """11 → 8 would lose a quarter; 35.2 → 32 loses less than a tenth; the middle goes up."""
    cases = {11: 16, 12: 16, 18: 24, 30: 32, 35.2: 32, 36: 40, 41.6: 40, 52: 56, 1: 8, 88: 88}
    assert {channels: round_channels(channels) for channels in cases} == cases
    for channels in np.arange(1, 300, 0.7):
        allowed = [multiple for multiple in range(8, 400, 8) if multiple >= 0.9 * channels]
        assert round_channels(channels) == min(allowed, key=lambda multiple: (abs(multiple - channels), -multiple))


def test_squeeze_and_excitation_scales_channels_by_what_all_show():
    layer = SqueezeExcitation(6, 4, SiLU, Sigmoid).to("float64")
    x = images(2, 6, 3, 5)
    w1, b1, w2, b2 = (p.numpy().reshape(len(p), -1) for p in layer.parameters())
    hidden = x.mean(axis=(2, 3)) @ w1.T + b1[:, 0]
    scale = (hidden / (1 + np.exp(-hidden))) @ w2.T + b2[:, 0]
    np.testing.assert_allclose(layer(Tensor(x)), x / (1 + np.exp(-scale))[:, :, None, None], rtol=1e-12)


def test_stages_are_the_last_of_each_size():
    assert last_of_each_size([2, 1, 2, 1, 1, 2]) == ("features.1", "features.4", "features.5")
    assert last_of_each_size([2, 2, 1]) == ("features.0", "features.2")


def test_feature_maps_halve_from_stage_to_stage(network):
    name, _ = network
    model = models.create_model(name, features_only=True)
    found = [feature.shape[2:] for feature in model.eval()(Tensor(np.zeros((1, 3, 64, 96), np.float32))).values()]
    assert found == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


def test_norms_are_the_librarys_and_no_bias_stands_before_one(network):
    _, model = network
    norms = {"eps": {norm.eps for norm in modules(model, BatchNorm2d)}}
    norms["momentum"] = {norm.momentum for norm in modules(model, BatchNorm2d)}
    third = network[0].startswith("mobilenet_v3")
    assert norms == ({"eps": {1e-3}, "momentum": {0.01}} if third else {"eps": {1e-5}, "momentum": {0.1}})
    squeezing = {id(conv) for se in modules(model, SqueezeExcitation) for conv in modules(se, Conv2d)}
    assert all((conv.bias is not None) == (id(conv) in squeezing) for conv in modules(model, Conv2d))


def test_v1_is_table_1():
    """Thirteen pairs: depthwise 3 × 3, whose stride halves the map five times with the stem's, and 1 × 1."""
    convolutions = modules(built("mobilenetv1_100"), Conv2d)
    assert len(convolutions) == 1 + 2 * 13
    depthwise, pointwise = convolutions[1::2], convolutions[2::2]
    assert all(c.groups == c.in_channels == c.out_channels and c.kernel_size == (3, 3) for c in depthwise)
    assert all(c.groups == 1 and c.kernel_size == (1, 1) and c.stride == (1, 1) for c in pointwise)
    assert [c.out_channels for c in pointwise] == [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    assert [c.stride[0] for c in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


def test_v1_clips_at_six_after_both_convolutions():
    model = models.create_model("mobilenetv1_100")
    block = model.blocks[1][0]
    seen = []
    block.conv_pw.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].numpy()))
    for norm in (block.bn1, block.bn2):
        norm.weight.copy_(np.full(norm.weight.shape, 20.0))
    y = block(Tensor(images(2, 64, 9, 9).astype(np.float32))).numpy()
    for z in (seen[0], y):
        assert z.min() == 0 and z.max() == 6 and y.shape == (2, 128, 5, 5)


def test_v2_is_table_2():
    model = built("mobilenet_v2")
    blocks = list(model.features)[1:-1]
    projections = [modules(block, Conv2d)[-1] for block in blocks]
    widths = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
    assert [conv.out_channels for conv in projections] == widths
    assert [conv.in_channels for conv in projections] == [32, *[6 * width for width in widths[:-1]]]
    halving = [position for position, block in enumerate(blocks) if modules(block, Conv2d)[-2].stride == (2, 2)]
    assert halving == [1, 3, 6, 13]
    added = [position for position, block in enumerate(blocks) if block.has_shortcut]
    assert added == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]


def test_v2s_bottlenecks_are_linear():
    """No activation behind the projection, nor behind the sum: ReLU6 stands twice in a block that expands."""
    block = models.create_model("mobilenet_v2").features[2]
    assert [type(module) for module in modules(block, ReLU6)] == [ReLU6, ReLU6]
    y = block(Tensor(images(2, 16, 8, 8).astype(np.float32))).numpy()
    assert (y < 0).mean() > 0.3


@pytest.mark.parametrize(("name", "position"), [("mobilenet_v2", 3), (V3_LARGE, 5), (V3_SMALL, 5)])
def test_with_a_branch_of_zeros_a_block_is_its_input(name, position):
    block = models.create_model(name).features[position]
    assert block.has_shortcut
    init.zeros_(modules(block, BatchNorm2d)[-1].weight)
    x = images(2, modules(block, Conv2d)[0].in_channels, 5, 5).astype(np.float32)
    np.testing.assert_array_equal(block(Tensor(x)), x)


@pytest.mark.parametrize(("name", "relu_until"), [(V3_LARGE, 6), (V3_SMALL, 3)])
def test_v3_begins_with_relu_and_ends_with_hard_swish(name, relu_until):
    """Tables 1 and 2, column NL; inside of squeeze-and-excitation it is ReLU throughout."""
    model = built(name)
    for position, block in enumerate(list(model.features)[1:-1]):
        squeezing = [id(module) for se in modules(block, SqueezeExcitation) for module in se.modules()]
        kinds = {type(m) for m in modules(block, ReLU, Hardswish) if id(m) not in squeezing}
        assert kinds == {ReLU if position < relu_until else Hardswish}, position
        assert {type(se.activation) for se in modules(block, SqueezeExcitation)} <= {ReLU}
    assert type(model.features[0][2]) is type(model.features[-1][2]) is Hardswish


@pytest.mark.parametrize(
    ("name", "squeezed"),
    [
        (V3_LARGE, {3: 24, 4: 32, 5: 32, 10: 120, 11: 168, 12: 168, 13: 240, 14: 240}),
        (V3_SMALL, {0: 8, 3: 24, 4: 64, 5: 64, 6: 32, 7: 40, 8: 72, 9: 144, 10: 144}),
    ],
)
def test_v3_squeezes_to_a_quarter_of_the_expanded_width(name, squeezed):
    """Rounded to eight; EfficientNet's rule, a quarter of the block's input, would give other numbers."""
    blocks = list(built(name).features)[1:-1]
    found = {i: se.fc1.out_channels for i, block in enumerate(blocks) for se in modules(block, SqueezeExcitation)}
    assert found == squeezed
    assert all(type(se.gate) is Hardsigmoid for block in blocks for se in modules(block, SqueezeExcitation))


@pytest.mark.parametrize(("name", "widths"), [(V3_LARGE, (960, 1280)), (V3_SMALL, (576, 1024))])
def test_v3s_last_layers_stand_behind_the_pooling(name, widths):
    """Section 5.1: 1 × 1 at the size 7 × 7, pooling, then hard-swish between two linear layers, without a norm."""
    model = built(name)
    hidden, last = modules(model.classifier, Linear)
    assert (hidden.in_features, hidden.out_features, last.in_features) == (*widths, widths[1])
    assert len(modules(model.classifier, Hardswish)) == 1 and not modules(model.classifier, BatchNorm2d)


def test_depthwise_weights_begin_by_the_fan_of_their_own_group():
    """std √(2/k²): counting the outputs of all groups would make it √channels smaller."""
    model = models.create_model("mobilenet_v2")
    for block in list(model.features)[7:14]:
        depthwise, projection = modules(block, Conv2d)[-2:]
        assert depthwise.weight.numpy().std() == pytest.approx(np.sqrt(2 / 9), rel=0.1)
        assert projection.weight.numpy().std() == pytest.approx(np.sqrt(2 / projection.out_channels), rel=0.1)


def test_options_reach_their_layers():
    for name, dropout in (("mobilenetv1_100", 0.0), ("mobilenet_v2", 0.2), (V3_SMALL, 0.2)):
        assert ENTRIES[name].options == {"num_classes": 1000, "in_channels": 3, "dropout": dropout}
    model = models.create_model("mobilenet_v2", num_classes=7, in_channels=1, dropout=0.6)
    assert model.classifier[0].p == 0.6
    assert model.eval()(Tensor(np.zeros((2, 1, 32, 32), np.float32))).shape == (2, 7)


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_logits_begin_near_zero_however_many_classes_there_are(num_classes):
    """U(±1/√inputs): with the releases' ±1/√outputs, the weights for ten classes would be ten times as large."""
    weight = models.create_model("mobilenet_v2", num_classes=num_classes).classifier[1].weight.numpy()
    assert np.abs(weight).max() == pytest.approx(1 / np.sqrt(1280), rel=0.01)
