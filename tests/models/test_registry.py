"""create_model(), the functions of the networks, feature maps, and what is said where names or images do not fit."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import Conv2d, CrossEntropyLoss, Flatten, Linear, ReLU, Sequential, init
from minicnn.optim import SGD
from models import registry
from models.network import Network
from models.recorded import COUNTS


def images(*shape):
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


class Tiny(Network):
    stages = ("body.1", "body.3")

    def __init__(self, width, num_classes, in_channels):
        super().__init__()
        self.body = Sequential(Conv2d(in_channels, width, 3), ReLU(), Conv2d(width, width, 3, stride=2), ReLU())
        self.head = Sequential(Flatten(), Linear(width * 4, num_classes))

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture
def tiny():
    """Two networks from a table of two rows, for as long as the test takes."""

    def build(row, num_classes=1000, in_channels=3):
        """Tiny networks."""
        return Tiny(row, num_classes, in_channels)

    tables = registry.ENTRIES, registry.FUNCTIONS, COUNTS
    before = [dict(table) for table in tables]
    registry.register_rows({"tiny4": 4, "tiny6": 6}, build, lambda row: (3, 7, 5 + row // 2), "tiny", num_classes=5)
    yield registry.FUNCTIONS
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def test_each_row_is_a_function_with_its_own_defaults(tiny):
    assert models.list_models("tiny") == ["tiny4", "tiny6"]
    assert models.input_shape("tiny6") == (3, 7, 8)
    assert tiny["tiny6"].__name__ == "tiny6" and "Tiny networks" in tiny["tiny6"].__doc__
    assert str(inspect.signature(tiny["tiny6"])) == "(num_classes=5, in_channels=3)"
    assert tiny["tiny6"]().body[0].out_channels == 6
    assert models.create_model("tiny4").body[0].out_channels == 4
    assert tiny["tiny4"](2, 1)(images(1, 1, 7, 7)).shape == (1, 2)
    assert tiny["tiny4"]()(images(1, 3, 7, 7)).shape == (1, 5)


def test_every_network_is_also_a_function_of_the_package():
    for name in models.list_models():
        assert getattr(models, name).__name__ == name and name in dir(models)


def test_unknown_names_and_options_are_answered_with_what_there_is(tiny):
    with pytest.raises(ArgumentError, match="no model 'tiny5': did you mean tiny"):
        models.create_model("tiny5")
    with pytest.raises(ArgumentError, match="list_models"):
        models.create_model("???")
    with pytest.raises(ArgumentError, match=r"tiny4 has no option 'dropout': it takes num_classes=5, in_channels=3"):
        models.create_model("tiny4", dropout=0.5)
    with pytest.raises(ArgumentError, match="takes 2 options, got 3"):
        tiny["tiny4"](1, 2, 3)
    with pytest.raises(ArgumentError, match=r"no family 'tinny'.*tiny"):
        models.list_models("tinny")


def test_builders_that_are_no_use_are_refused_when_they_register(tiny):
    with pytest.raises(ArgumentError, match="registered twice"):
        registry.register_rows({"tiny4": 4}, lambda row, num_classes=1: None, (3, 7, 7), "tiny")
    with pytest.raises(ArgumentError, match="without a default"):
        registry.register_rows({"other": 4}, lambda row, num_classes: None, (3, 7, 7), "tiny")


def test_feature_maps_are_what_the_network_computes_on_its_way_and_nothing_behind_runs(tiny):
    network = tiny["tiny4"]()
    x = images(2, 3, 7, 7)
    extractor = models.create_model("tiny4", features_only=True)
    extractor.network.load_state_dict(network.state_dict(), strict=False)  # it has no head
    extractor.network.head.register_forward_hook(lambda *_: pytest.fail("the head runs"))
    maps = extractor(x)
    assert list(maps) == ["body.1", "body.3"]
    np.testing.assert_allclose(maps["body.1"], network.body[:2](x), rtol=1e-6)
    np.testing.assert_allclose(maps["body.3"], network.body(x), rtol=1e-6)
    assert not any(module.has_hooks for module in network.body.modules())
    only = models.create_model("tiny4", features_only=True, stages=["body.0"])
    assert list(only(x)) == ["body.0"]
    assert not any(module.has_hooks for module in only.network.body.modules())


def test_what_runs_only_behind_the_last_stage_is_taken_out(tiny):
    extractor = models.create_model("tiny4", features_only=True, stages=["body.0"])
    assert [path for path, _ in extractor.named_parameters()] == ["network.body.0.weight", "network.body.0.bias"]
    extractor = models.create_model("tiny4", features_only=True, stages=["body.3", "body.0"])
    assert extractor.stages == ("body.0", "body.3")
    assert extractor.channels == {"body.0": 4, "body.3": 4} and extractor.strides == {"body.0": 1, "body.3": 2}
    assert len(list(extractor.parameters())) == 4


def test_gradients_come_back_from_feature_maps(tiny):
    extractor = models.create_model("tiny4", features_only=True)
    sum(y.sum() for y in extractor(images(2, 3, 7, 7)).values()).backward()
    assert np.abs(extractor.network.body[0].weight.grad.numpy()).max() > 0


def test_stages_that_do_not_exist(tiny):
    with pytest.raises(ArgumentError, match=r"no module 'body.9': its stages are body.1, body.3"):
        models.create_model("tiny4", features_only=True, stages=["body.9"])
    with pytest.raises(ArgumentError, match=r"head.0 gives no feature map"):
        models.create_model("tiny4", features_only=True, stages=["head.0"])
    with pytest.raises(ArgumentError, match="features_only=True"):
        models.create_model("tiny4", stages=["body.1"])


def test_images_that_do_not_fit_are_told_what_would(tiny):
    with pytest.raises(ShapeError, match=r"^body\.0 .*: Tiny was built for 3 channels: build it with in_channels=1$"):
        tiny["tiny4"]()(images(2, 1, 7, 7))
    with pytest.raises(ShapeError, match=r"channels first: use x.transpose\(0, 3, 1, 2\)"):
        tiny["tiny4"]()(images(2, 7, 7, 3))
    with pytest.raises(ShapeError, match=r"LeNet5Of1998 takes images of 1 channels, and no others$"):
        models.create_model("lenet5_1998")(images(1, 3, 32, 32))
    with pytest.raises(ShapeError, match=r"takes images of shape \(N, 3, H, W\), got \(3, 7, 7\)"):
        tiny["tiny4"]()(images(3, 7, 7))


def test_images_that_are_too_small_are_told_the_least_size_and_the_layer(tiny):
    with init.skip():
        network = models.create_model("vgg11").eval()
    calls = []
    network.features[0].register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ShapeError, match=r"^features\.20 .*VGG needs images of 32 × 32 or larger, got 31 × 99$"):
        network(images(1, 3, 31, 99))
    assert len(calls) == 1, "a hook is called while sizes are tried"


def test_a_head_that_counts_pixels_takes_one_size(tiny):
    with pytest.raises(ShapeError, match=r"^fc1 .*: LeNet5 takes images of 32 × 32, got 20 × 20$"):
        models.create_model("lenet5")(images(1, 1, 20, 20))
    with pytest.raises(ShapeError, match=r"LeNet5 takes images of 32 × 32, got 64 × 64$"):
        models.create_model("lenet5")(images(1, 1, 64, 64))


def test_lists_are_filtered_by_family_and_counts(tiny):
    assert models.list_models("lenet", max_params=60_000) == ["lenet5_1998"]
    assert models.list_models("lenet", min_macs=400_000) == ["lenet5"]
    assert set(models.list_models(max_macs=1e6)) >= {"lenet5", "lenet5_1998", "tiny4", "tiny6"}
    assert models.counts("tiny4") == (4 * 28 + 4 * 37 + 5 * 17, 25 * 4 * 27 + 4 * 4 * 36 + 5 * 16)


def test_parameters_by_stage_are_all_parameters_once_in_order(tiny):
    with init.skip():
        network = models.create_model("resnet18")
        vgg = models.create_model("vgg11_bn", features_only=True).network  # its stages are poolings, which have none
    stages = network.parameters_by_stage()
    assert list(stages) == ["layer1", "layer2", "layer3", "layer4", "head"]
    assert [id(p) for stage in stages.values() for p in stage] == [id(p) for p in network.parameters()]
    assert stages["layer1"][0] is network.conv1.weight and stages["head"] == [network.fc.weight, network.fc.bias]
    assert stages["layer2"][0] is network.layer2[0].conv1.weight
    assert [len(stage) for stage in vgg.parameters_by_stage().values()][:3] == [4, 4, 8]


def test_what_is_frozen_neither_learns_nor_tracks(tiny):
    minicnn.manual_seed(0)
    network = models.create_model("resnet20_cifar").freeze("layer2").train()
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    optimizer = SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    CrossEntropyLoss()(network(images(4, 3, 32, 32)), np.arange(4)).backward()
    optimizer.step()
    after = network.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if (value.numpy() != before[name]).any()}
    assert changed == {"layer3", "fc"}
    network.freeze(None)
    assert all(p.requires_grad for p in network.parameters()) and not network.bn1.frozen
    with pytest.raises(ArgumentError, match="no stage 'layer9' to freeze up to: its stages are layer1, layer2, layer3"):
        network.freeze("layer9")
