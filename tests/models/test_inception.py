"""BN-Inception, Inception-v3 and v4, Inception-ResNet v1 and v2: what their papers and their releases have."""

from __future__ import annotations

import numpy as np
import pytest

import models
from minicnn import Tensor, nn, ops
from minicnn.device import shapes_only
from minicnn.errors import ShapeError
from models.bn_inception import TABLE
from models.bn_inception import inception as bn_module
from models.branches import Branches
from models.inception_resnet import ROWS, Block
from models.inception_v3 import AT_8, UP_TO_HEAD, Mixed
from models.inception_v4 import A, InceptionC

WITH_EPS_1E_3 = "bn_inception", "inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2"


def blank(name, **options):
    """The network without first weights, where these do not matter."""
    with nn.init.skip():
        return models.create_model(name, **options)


def filled(make, weight):
    """A module whose convolutions add up weight · their inputs, and whose norms do nothing but for ε."""
    with nn.init.skip():
        module = make().eval()
    for dtype in ("float32", "float64"):  # what no initialiser has set may not even be finite
        for m in module.to(dtype).modules():
            if isinstance(m, nn.Conv2d):
                m.weight.copy_(np.full(m.weight.shape, weight))
                if m.bias is not None:
                    m.bias.copy_(np.zeros(m.bias.shape))
    return module


def shapes(name, size, **options):
    """Sizes of the maps at the network's stages."""
    with shapes_only():
        model = blank(name, features_only=True, **options)
        maps = model(Tensor(np.zeros((1, 3, size, size), np.float32)))
    return [y.shape[1:3] for y in maps.values()]


@pytest.mark.parametrize(("name", "expected"), [
    ("bn_inception", [(64, 112), (192, 56), (320, 28), (576, 14), (1024, 7)]),
    ("inception_v3", [(64, 147), (192, 71), (288, 35), (768, 17), (2048, 8)]),
    ("inception_v4", [(64, 147), (160, 73), (384, 35), (1024, 17), (1536, 8)]),
    ("inception_resnet_v1", [(64, 147), (192, 71), (256, 35), (896, 17), (1792, 8)]),
    ("inception_resnet_v2", [(64, 147), (192, 71), (320, 35), (1088, 17), (1536, 8)]),
])  # fmt: skip
def test_maps_have_the_sizes_of_the_papers(name, expected):
    assert shapes(name, models.input_shape(name)[1]) == expected


@pytest.mark.parametrize("name", WITH_EPS_1E_3)
def test_batch_norm_and_bias(name):
    """ε is 1e-3 in all of them; convolutions have a bias only where no batch norm follows: at the end of a block."""
    model = blank(name)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.1)}
    biased = [path for path, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert all(path.endswith(".conv2d") for path in biased)
    assert len(biased) == {"inception_resnet_v1": 20, "inception_resnet_v2": 40}.get(name, 0)
    assert len(norms) + len(biased) == sum(isinstance(m, nn.Conv2d) for m in model.modules())


POOLED = {  # a module that averages, whether padding counts, and where the channels of the average are
    "BN-Inception": (lambda: bn_module(192, TABLE["i3a"]), True, slice(-32, None)),
    "Inception-v3": (lambda: Mixed(192, UP_TO_HEAD["Mixed_5b"]), True, slice(-32, None)),
    "Inception-v4": (lambda: Branches(192, A), False, slice(-96, None)),
    "Inception-v4, at 8 × 8": (lambda: InceptionC(192), False, slice(-256, None)),
    "Inception-ResNet-v2": (lambda: Branches(192, ROWS["inception_resnet_v2"].stem), False, slice(-64, None)),
}


@pytest.mark.parametrize(("make", "counted", "channels"), POOLED.values(), ids=POOLED)
def test_whether_average_pools_count_padding(make, counted, channels):
    """Of ones, four of nine lie inside at a corner, six at a border: PyTorch's readings of TensorFlow's nets differ."""
    y = filled(make, 1 / 192)(Tensor(np.ones((1, 192, 3, 4)))).numpy()[0, channels]
    expected = np.ones((3, 4))
    if counted:
        expected[[0, -1]], expected[:, [0, -1]] = 6 / 9, 6 / 9
        expected[np.ix_([0, -1], [0, -1])] = 4 / 9
    np.testing.assert_allclose(y, np.broadcast_to(expected / np.sqrt(1 + 1e-3), y.shape), rtol=1e-12)


def test_bn_inception_averages_but_for_its_last_module():
    """Table of the appendix: the pool of 5b takes the maximum, and those of 3c and 4e, which have stride 2."""
    assert [name for name, row in TABLE.items() if row.pool is nn.MaxPool2d] == ["i3c", "i4e", "i5b"]
    y = filled(lambda: bn_module(192, TABLE["i5b"]), 1 / 192)(Tensor(np.ones((1, 192, 3, 4)))).numpy()[0, -128:]
    np.testing.assert_allclose(y, np.full(y.shape, 1 / np.sqrt(1 + 1e-3)), rtol=1e-12)


@pytest.mark.parametrize(("name", "kernels"), [
    ("i4a", [[1], [1, 3], [1, 3, 3], [1]]),
    ("i4e", [[1, 3], [1, 3, 3], []]),
])  # fmt: skip
def test_bn_inception_has_two_3x3_in_the_place_of_5x5(name, kernels):
    module = bn_module(576, TABLE[name])
    convs = [[m for m in branch.modules() if isinstance(m, nn.Conv2d)] for branch in module.children()]
    assert [[conv.kernel_size[0] for conv in branch] for branch in convs] == kernels
    strides = [[conv.stride[0] for conv in branch] for branch in convs]
    last = 2 if name == "i4e" else 1
    assert strides == [[1] * (len(branch) - 1) + [last if len(branch) > 1 else 1] * bool(branch) for branch in kernels]


REDUCTIONS = {  # a module that halves the map, and where the channels are that its pool passes on
    "BN-Inception 3c": (lambda: bn_module(320, TABLE["i3c"]), slice(-320, None), True),
    "Inception-v3": (lambda: Mixed(320, UP_TO_HEAD["Mixed_6a"]), slice(-320, None), False),
    "Inception-ResNet-v1, to 17": (lambda: Branches(320, ROWS["inception_resnet_v1"].to_17), slice(0, 320), False),
    "Inception-ResNet-v1, to 8": (lambda: Branches(320, ROWS["inception_resnet_v1"].to_8), slice(0, 320), False),
    "Inception-ResNet-v2, to 17": (lambda: Branches(320, ROWS["inception_resnet_v2"].to_17), slice(-320, None), False),
    "Inception-ResNet-v2, to 8": (lambda: Branches(320, ROWS["inception_resnet_v2"].to_8), slice(-320, None), False),
}


@pytest.mark.parametrize(("make", "channels", "ceil_mode"), REDUCTIONS.values(), ids=REDUCTIONS)
def test_reductions_pass_the_largest_on(make, channels, ceil_mode):
    x = Tensor(np.random.default_rng(0).normal(size=(1, 320, 6 if ceil_mode else 7, 8 if ceil_mode else 9)))
    expected = ops.max_pool2d(x, 3, stride=2, ceil_mode=ceil_mode).numpy()
    np.testing.assert_array_equal(filled(make, 0.0)(x).numpy()[:, channels], expected)


def test_stem_of_v4_passes_on_in_the_order_of_its_figure():
    features = blank("inception_v4").features
    x = Tensor(np.random.default_rng(1).normal(size=(1, 64, 9, 9)))
    np.testing.assert_array_equal(filled(lambda: features[3], 0.0)(x).numpy()[:, :64], ops.max_pool2d(x, 3, 2).numpy())
    x = Tensor(np.random.default_rng(1).normal(size=(1, 192, 9, 9)))
    np.testing.assert_array_equal(filled(lambda: features[5], 0.0)(x).numpy()[:, 192:], ops.max_pool2d(x, 3, 2).numpy())
    assert [type(m).__name__ for m in features].count("InceptionC") == 3 and len(features) == 22


def forked(make, forks, channels):
    """Which channels each of two convolutions, side by side at the end of a branch, gives: it alone has a shift."""
    found = []
    for name in forks:
        module = filled(make, 0.0)
        getattr(module, name).bn.bias.copy_(np.ones(channels))
        y = module(Tensor(np.zeros((1, 256, 3, 3)))).numpy()[0, :, 0, 0]
        found.append((int(np.flatnonzero(y)[0]), int(np.flatnonzero(y)[-1]) + 1))
    return found


def test_forks_lie_side_by_side():
    """320 + 2·384 + 2·384 + 192 channels in v3, 256 + 2·256 + 2·256 + 256 in v4, 1 × 3 before 3 × 1."""
    names = "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b"
    module = Mixed(256, AT_8)
    assert [getattr(module, name).conv.kernel_size for name in names] == [(1, 3), (3, 1)] * 2
    starts = [320 + 384 * i for i in range(4)]
    assert forked(lambda: Mixed(256, AT_8), names, 384) == [(start, start + 384) for start in starts]
    names = "branch1_1a", "branch1_1b", "branch2_3a", "branch2_3b"
    assert [getattr(InceptionC(256), name).conv.kernel_size for name in names] == [(1, 3), (3, 1)] * 2
    assert forked(lambda: InceptionC(256), names, 256) == [(start, start + 256) for start in range(256, 1280, 256)]


def blocks_of(name):
    model = blank(name)
    blocks = [*model.repeat, *model.repeat_1, *model.repeat_2, *([model.block8] if hasattr(model, "block8") else [])]
    sizes = (
        [35] * len(model.repeat)
        + [17] * len(model.repeat_1)
        + [8] * (len(blocks) - len(model.repeat) - len(model.repeat_1))
    )
    return list(zip(sizes, blocks, strict=True))


@pytest.mark.parametrize(
    ("name", "repeats"), [("inception_resnet_v1", (5, 10, 5)), ("inception_resnet_v2", (10, 20, 10))]
)
def test_what_blocks_add_and_where_relu_is(name, repeats):
    """relu(x + scale · c): 0.17, 0.1 and 0.2 by the size of the map; the last of v2 adds all of c, and has no ReLU."""
    blocks = blocks_of(name)
    assert tuple([size for size, _ in blocks].count(size) for size in (35, 17, 8)) == repeats
    for number, (size, block) in enumerate(blocks, 1):
        bare = name == "inception_resnet_v2" and number == len(blocks)
        scale = 1.0 if bare else {35: 0.17, 17: 0.10, 8: 0.20}[size]
        channels = block.conv2d.out_channels
        block.conv2d.weight.copy_(np.zeros(block.conv2d.weight.shape))
        block.conv2d.bias.copy_(np.full(channels, 3.0))
        for module in block.modules():
            if isinstance(module, nn.Conv2d) and module is not block.conv2d:
                module.weight.copy_(np.zeros(module.weight.shape))
        for x in (-5.0, 2.0):
            y = block.eval()(Tensor(np.full((1, channels, 1, 1), x, np.float32))).numpy()
            expected = x + 3 * scale
            np.testing.assert_allclose(y, np.full(y.shape, expected if bare else max(expected, 0.0)), rtol=1e-6)


def test_branches_of_a_block_are_what_its_last_convolution_mixes():
    """32 + 32 + 64 channels in v2: its 1 × 1 sees all of them, in the order of the branches."""
    block = filled(lambda: Block(8, ROWS["inception_resnet_v2"].block35, 0.5), 0.0)
    for value, branch in enumerate((block.branch0, block.branch1[1], block.branch2[2]), 1):
        branch.bn.bias.copy_(np.full(branch.bn.bias.shape, value))
    weights = np.random.default_rng(3).normal(size=(8, 128))
    block.conv2d.weight.copy_(weights[:, :, None, None])
    y = block(Tensor(np.zeros((1, 8, 2, 2)))).numpy()[0, :, 0, 0]
    np.testing.assert_allclose(y, np.maximum(0.5 * weights @ np.repeat([1, 2, 3], [32, 32, 64]), 0), rtol=1e-12)


def test_head_of_v3_while_training():
    """It looks at the last map of 17 × 17, which no images smaller than 299 × 299 have; in evaluation 75 × 75 do."""
    assert shapes("inception_v3", 299)[3] == (768, 17) and shapes("inception_v3", 298)[3] == (768, 16)
    with shapes_only():
        model = blank("inception_v3", num_classes=7).train()
        out = model(Tensor(np.zeros((2, 3, 299, 299), np.float32)))
        assert out._fields == ("logits", "aux") and out.logits.shape == out.aux.shape == (2, 7)
        with pytest.raises(ShapeError, match=r"^AuxLogits.*17 × 17, got shape \(2, 768, 16, 16\).*aux_logits=False"):
            model(Tensor(np.zeros((2, 3, 298, 298), np.float32)))
        assert model.eval()(Tensor(np.zeros((2, 3, 75, 75), np.float32))).shape == (2, 7)
        without = blank("inception_v3", num_classes=7, aux_logits=False).train()
        assert without(Tensor(np.zeros((2, 3, 128, 128), np.float32))).shape == (2, 7)


def test_bn_inception_takes_multiples_of_32():
    """What 3 × 3 with stride 2 makes of an odd size, a pool that rounds up does not."""
    with shapes_only():
        model = blank("bn_inception")
        for height, width in ((32, 64), (160, 96)):
            assert model(Tensor(np.zeros((2, 3, height, width), np.float32))).shape == (2, 1000)
        with pytest.raises(ShapeError, match=r"multiples of 4, got \(2, 192, 28, 26\): use images .* multiples of 32$"):
            model(Tensor(np.zeros((2, 3, 224, 208), np.float32)))


def test_head_of_v3_looks_at_6e():
    """The last of the five modules at 17 × 17; in the state it stands behind it."""
    model = blank("inception_v3").train()
    tops = list(dict.fromkeys(name.split(".")[0] for name in model.state_dict()))
    assert tops[tops.index("Mixed_6e") :] == ["Mixed_6e", "AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"]
    seen = []
    model.Mixed_6e.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.AuxLogits.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with shapes_only():
        model(Tensor(np.zeros((2, 3, 299, 299), np.float32)))
    assert len(seen) == 2 and seen[0] is seen[1]


def test_dropout_rates():
    rates = {name: [m.p for m in blank(name).modules() if isinstance(m, nn.Dropout)] for name in WITH_EPS_1E_3}
    assert rates == {
        "bn_inception": [0.0],  # section 4.2.1: "remove dropout"
        "inception_v3": [0.5],  # torchvision's
        "inception_v4": [0.2],  # figure 9: keep 0.8
        "inception_resnet_v1": [0.2],
        "inception_resnet_v2": [0.2],
    }
