"""timm's names and ours: each of one network means exactly one of the other."""

from __future__ import annotations

import functools

import pytest

import models
from minicnn.errors import CheckpointError
from minicnn.nn import BatchNorm2d, Conv2d, init
from models.blocks import SqueezeExcitation
from models.efficientnet import MBConv
from models.timm_names import from_timm

NETWORKS = ["tf_efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_s", "mixnet_s", "mixnet_m"]


@functools.cache
def state(name):
    with init.skip():
        return models.create_model(name)


def named_by_timm(model):
    """{timm's name: ours}, the other way round than the rule: from what each block does to how timm calls it."""
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "classifier"}
    last = len(model.features) - 1
    names |= {f"features.{last}.0": "conv_head", f"features.{last}.1": "bn2"}
    for path, block in model.named_modules():
        if isinstance(block, MBConv):
            names |= {f"{path}.block.{step}": name for step, name in _steps(path, block)}
    found = {}
    for own, _ in model._state():
        prefix = max((known for known in names if own.startswith(known + ".")), key=len)
        found[names[prefix] + own[len(prefix) :]] = own
    return found


def _steps(path, block):
    _, stage, position = path.split(".")
    timm = f"blocks.{int(stage) - 1}.{position}"
    count = sum(1 for module in block.block if not isinstance(module, SqueezeExcitation))
    depthwise = any(conv.groups > 1 for conv in block.modules() if isinstance(conv, Conv2d))
    convolutions = {
        (3, True): ["conv_pw", "conv_dw", "conv_pwl"],
        (2, True): ["conv_dw", "conv_pw"],
        (2, False): ["conv_exp", "conv_pwl"],
        (1, False): ["conv"],
    }[count, depthwise]
    done = 0
    for step, module in enumerate(block.block):
        if isinstance(module, SqueezeExcitation):
            yield f"{step}.fc1", f"{timm}.se.conv_reduce"
            yield f"{step}.fc2", f"{timm}.se.conv_expand"
            continue
        yield f"{step}.0", f"{timm}.{convolutions[done]}"
        done += 1
        assert isinstance(module[1], BatchNorm2d)
        yield f"{step}.1", f"{timm}.bn{done}"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_name_is_translated_to_the_one_that_does_the_same(name):
    expected = named_by_timm(state(name))
    assert from_timm(expected) == expected
    assert set(expected.values()) == set(dict(state(name)._state()))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_names_does_not_matter(name):
    expected = named_by_timm(state(name))
    assert from_timm(sorted(expected)) == expected


def test_examples_by_hand():
    """As timm's tf_efficientnet_b0 and tf_mixnet_s name them."""
    names = from_timm(named_by_timm(state("tf_efficientnet_b0")))
    assert names["blocks.0.0.conv_pw.weight"] == "features.1.0.block.2.0.weight"  # no expansion: the projection
    assert names["blocks.1.0.conv_pw.weight"] == "features.2.0.block.0.0.weight"
    assert names["blocks.3.2.se.conv_reduce.bias"] == "features.4.2.block.2.fc1.bias"
    assert names["blocks.6.0.bn3.running_var"] == "features.7.0.block.3.1.running_var"
    assert names["conv_head.weight"] == "features.8.0.weight"
    names = from_timm(named_by_timm(state("mixnet_s")))
    assert names["blocks.5.0.conv_dw.4.weight"] == "features.6.0.block.1.0.4.weight"
    assert names["blocks.1.0.conv_pwl.1.weight"] == "features.2.0.block.2.0.1.weight"  # no squeezing in this block
    assert names["bn2.bias"] == "features.7.1.bias"


def test_what_is_not_timms_stays_as_it_is():
    """So that loading reports it by its own name."""
    own = [name for name, _ in state("efficientnet_lite0")._state()]
    assert from_timm(own) == {name: name for name in own}
    strange = ["blocks.0.0.conv_xy.weight", "blocks.0", "blocks.0.0.bn9.weight", "layer1.weight", "blocks"]
    assert from_timm(strange) == {name: name for name in strange}


def test_two_names_of_one_tensor_are_refused():
    names = [*named_by_timm(state("efficientnet_lite0")), "features.0.0.weight"]
    with pytest.raises(CheckpointError, match=r"conv_stem\.weight and features\.0\.0\.weight both mean features\.0\.0"):
        from_timm(names)
