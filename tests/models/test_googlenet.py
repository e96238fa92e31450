"""GoogLeNet: what table 1 and the text say, and in what torchvision's differs."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from minicnn.device import shapes_only
from minicnn.errors import ShapeError
from models.branches import Branches, Conv, as_in_tensorflow
from models.googlenet import TABLE, conv_relu

# Table 1, last column: millions of multiply-adds of each module. (5a's 54 cannot be had from its own row, which makes
# 51 of them; and it has 1072K parameters there in the place of 1018K.)
OPERATIONS = {"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5a": 51, "5b": 71}


def blank(name, **options):
    """The network without first weights, where these do not matter."""
    with nn.init.skip():
        return models.create_model(name, **options)


def images(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_modules_cost_what_table_1_says():
    """All of it, the reductions and the 5 × 5 too: with 3 × 3 in their place 3a would cost 122."""
    model = blank("googlenet_2014", aux_logits=False)
    assert list(OPERATIONS) == list(TABLE)
    for name, expected in OPERATIONS.items():
        places = {"3": 28, "4": 14, "5": 7}[name[0]] ** 2
        weights = sum(p.size for p in getattr(model, f"i{name}").parameters() if p.ndim == 4)
        assert abs(weights * places / 1e6 - expected) <= 0.65, name


@pytest.mark.parametrize(("name", "kernels"), [("googlenet_2014", (1, 3, 5, 1)), ("googlenet", (1, 3, 3, 1))])
def test_kernels_of_the_branches(name, kernels):
    model = blank(name, aux_logits=False)
    module = model.i4c if name == "googlenet_2014" else model.inception4c
    convs = [[m for m in branch.modules() if isinstance(m, nn.Conv2d)] for branch in module.children()]
    assert tuple(branch[-1].kernel_size[0] for branch in convs) == kernels
    assert [len(branch) for branch in convs] == [1, 2, 2, 1]
    assert all(branch[0].kernel_size == (1, 1) for branch in convs)


@pytest.mark.parametrize(("name", "sizes"), [
    ("googlenet_2014", {"stem.0": 112, "stem.1": 56, "stem.6": 28, "i3b": 28, "maxpool3": 14, "i4e": 14, "i5b": 7}),
    ("googlenet", {"conv1": 112, "maxpool1": 56, "maxpool2": 28, "inception3b": 28, "maxpool3": 14, "inception5b": 7}),
])  # fmt: skip
def test_maps_have_the_sizes_of_table_1(name, sizes):
    """Pools that round down would make 111 → 55 → 27."""
    with shapes_only():
        maps = blank(name, features_only=True, stages=sizes)(Tensor(np.zeros((1, 3, 224, 224), np.float32)))
    assert {stage: y.shape[2] for stage, y in maps.items()} == sizes


def test_branches_are_concatenated_in_the_order_of_the_table():
    model = blank("googlenet_2014", aux_logits=False)
    n1, _, n3, _, n5, projection = TABLE["4b"]
    for parameter in model.i4b.parameters():
        parameter.copy_(np.zeros(parameter.shape))
    for value, branch in enumerate(model.i4b.children(), 1):
        list(branch.parameters())[-1].copy_(np.full(list(branch.parameters())[-1].shape, value))  # the last bias
    y = model.i4b(images(1, 512, 3, 3)).numpy()
    expected = np.repeat([1, 2, 3, 4], [n1, n3, n5, projection])
    np.testing.assert_array_equal(y, np.broadcast_to(expected[:, None, None], y.shape[1:])[None])


def test_reductions_end_in_relu():
    """Negative sums of a reduction do not reach the convolution behind it."""
    module = Branches(2, {"b2": (Conv(3), Conv(4, 3))}, conv_relu)
    for value, parameter in zip((-1.0, 0.0, 1.0, 0.25), module.parameters(), strict=True):
        parameter.copy_(np.full(parameter.shape, value))
    np.testing.assert_array_equal(module(Tensor(np.ones((1, 2, 4, 4), np.float32))), np.full((1, 4, 4, 4), 0.25))


def test_response_norm_adds_up_five_neighbours_undivided():
    """k = 1, α = 1e-4 for each square, β = 3/4: 100 becomes 100/(1 + 5)^0.75 among its like, less at the ends."""
    norms = [m for m in blank("googlenet_2014", aux_logits=False).stem if isinstance(m, nn.LocalResponseNorm)]
    assert len(norms) == 2
    for norm in norms:
        y = norm(Tensor(np.full((1, 7, 1, 1), 100.0))).numpy().ravel()
        np.testing.assert_allclose(y, 100 / (1 + np.array([3, 4, 5, 5, 5, 4, 3])) ** 0.75, rtol=1e-12)


def test_norms_of_torchvisions():
    norms = [m for m in blank("googlenet").modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 59 and {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.1)}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in blank("googlenet_2014").modules())


def test_last_max_pool():
    shapes = [blank(name, aux_logits=False).maxpool4 for name in ("googlenet_2014", "googlenet")]
    assert [(pool.kernel_size, pool.stride) for pool in shapes] == [(3, 2), (2, 2)]


def test_heads_look_at_4a_and_4d_while_training():
    model = blank("googlenet_2014", num_classes=3)
    for parameter in model.parameters():
        parameter.copy_(np.full(parameter.shape, 0.01))
    x = images(1, 3, 224, 224)
    out = model(x)
    assert out._fields == ("logits", "aux1", "aux2") and all(y.shape == (1, 3) for y in out)
    assert isinstance(model.eval()(x), Tensor)
    for head, last, behind in ((out.aux1, "i4a", "i4b"), (out.aux2, "i4d", "i4e")):
        model.zero_grad()
        head.sum().backward(retain_graph=True)
        reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        assert last in reached and behind not in reached
    assert isinstance(blank("googlenet_2014", aux_logits=False).train()(x), Tensor)


def test_dropout_before_the_linear_layers():
    model = blank("googlenet_2014")
    assert (model.dropout.p, model.aux1.dropout.p, model.aux2.dropout.p) == (0.4, 0.7, 0.7)  # table 1, section 5
    assert blank("googlenet", dropout=0.1, dropout_aux=0.2).aux1.dropout.p == 0.2


def test_images_of_another_size():
    small = images(1, 3, 96, 96)
    with shapes_only():
        assert blank("googlenet_2014").eval()(small).shape == (1, 1000)
        assert blank("googlenet").train()(small).aux1.shape == (1, 1000)  # its heads take bins of any size
        with pytest.raises(
            ShapeError, match=r"^aux1 \(AuxiliaryHead\): .*14 × 14, got shape \(1, 512, 6, 6\).*224 × 224"
        ):
            blank("googlenet_2014").train()(small)


def test_transform_input_renormalises():
    """From (x − mean)/deviation of ImageNet to (x − 0.5)/0.5."""
    raw = np.random.default_rng(2).uniform(size=(2, 3, 4, 5))
    mean, std = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    np.testing.assert_allclose(as_in_tensorflow(Tensor((raw - mean) / std)), (raw - 0.5) / 0.5, atol=1e-14)
    with pytest.raises(ShapeError, match="3 channels"):
        as_in_tensorflow(Tensor(raw[:, :1]))
    x = images(1, 3, 64, 64)
    minicnn.manual_seed(2)
    model = models.googlenet(num_classes=4, aux_logits=False, transform_input=True).eval()
    renormalised = model(x).numpy()
    model.transform_input = False
    np.testing.assert_array_equal(model(as_in_tensorflow(x)), renormalised)
    assert np.abs(model(x).numpy() - renormalised).max() > 1e-6
    assert not blank("googlenet").transform_input
