"""What is true of every network of the zoo: one loop over the registry for each claim.

Shapes, counts and which parameters a gradient reaches need no arithmetic: they are checked in full size for every
network (device.shapes_only). Numbers are checked on small images, by default of the smallest network that each builder
has; of all of them with -m slow.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn, no_grad
from minicnn.device import shapes_only
from minicnn.function import install, remove
from minicnn.optim import SGD
from models.registry import ENTRIES

from .expected import EXPECTED
from .parity import loss_of

ALL = models.list_models()
SIZES = {
    "alexnet_2012": 227,
    "bn_inception": 64,  # a multiple of 32
    "googlenet_2014": 224,
    "inception_v3": 299,
    "lenet5": 32,
    "lenet5_1998": 32,
    "zfnet": 224,
}  # images of no other size fit into the head
SMALL = {"inception": 139, "xception": 71}  # families that need more than 64 pixels


def smallest_of_each_builder():
    """Names: for each function that builds networks, the one with the fewest multiply-adds."""
    found = {}
    for name in sorted(ALL, key=lambda name: EXPECTED[name].macs if name in EXPECTED else math.inf):
        build = ENTRIES[name].build
        found.setdefault(getattr(build, "func", build), name)
    return set(found.values())


def numeric():
    """Every network; those that are no representatives, or have very many parameters, marked as slow."""
    default = {name for name in smallest_of_each_builder() if models.counts(name)[0] < 40e6}
    default.discard("inception_v3")  # its auxiliary head needs large images
    return [pytest.param(name, marks=() if name in default else pytest.mark.slow) for name in ALL]


@functools.cache
def classes_of(name):
    return ENTRIES[name].options["num_classes"]


def images(name, n=2, full=False):
    """n images that the network takes, small unless full."""
    channels, size, _ = models.input_shape(name)
    if not full and name not in SIZES:
        size = min(size, SMALL.get(ENTRIES[name].family, 64))
    generator = np.random.default_rng(0)
    return Tensor(generator.normal(size=(n, channels, size, size)).astype(np.float32)), generator.integers(
        0, classes_of(name), n
    )


def uninitialised(name):
    with nn.init.skip():
        return models.create_model(name)


def loss(model, x, labels):
    outputs = model(x)
    heads = [] if isinstance(outputs, Tensor) else [head for head in outputs._fields if head != "logits"]
    return loss_of(outputs, labels, dict.fromkeys(heads, 0.3))


# --- without arithmetic -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_parameters_multiply_adds_output_and_who_gets_a_gradient(name):
    model = uninitialised(name)
    params, main, macs, _ = EXPECTED[name]
    summary = model.summary(models.input_shape(name))
    assert sum(p.size for p in model.parameters()) == params == summary.params
    heads = sum(p.size for path, p in model.named_parameters() if path.lower().startswith("aux"))
    assert params - heads == main
    assert summary.macs == macs
    assert models.counts(name) == (params, macs)
    assert summary.rows[0].output_shape == (1, classes_of(name))
    x, labels = images(name, full=True)
    with shapes_only():
        loss(model.train(), x, labels).backward()
    assert {path: p.shape for path, p in model.named_parameters() if p.grad is None} == {}
    assert all(p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize("name", ALL)
def test_stages_are_feature_maps_from_fine_to_coarse(name):
    with nn.init.skip():
        extractor = models.create_model(name, features_only=True)
    x, _ = images(name, full=True)
    with shapes_only(), no_grad():
        maps = extractor(x)
    assert list(maps) == list(extractor.stages) and len(maps) >= 2
    sizes = [y.shape[2] for y in maps.values()]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    assert extractor.channels == {stage: y.shape[1] for stage, y in maps.items()}
    strides = list(extractor.strides.values())
    assert strides == sorted(strides) and all(stride in (1, 2, 4, 8, 16, 32) for stride in strides)


def test_names_that_are_expected_and_no_others():
    assert set(ALL) == set(EXPECTED), "its counts belong into expected.py, with their source"


# --- with numbers -----------------------------------------------------------------------------------------------------


class MultiplyAdds:
    """Watches ops and adds up what they compute."""

    total = 0

    def before(self, function, inputs):
        pass

    def after(self, function, inputs, outputs):
        self.total += function.macs


@pytest.mark.parametrize("name", numeric())
def test_training_lowers_the_loss_and_evaluation_is_deterministic(name):
    minicnn.manual_seed(0)
    model = models.create_model(name)
    x, labels = images(name)
    first = evaluated(model, x)
    np.testing.assert_array_equal(first, evaluated(model, x))
    minicnn.manual_seed(1)
    before = loss(model.train(), x, labels)
    before.backward()
    gradients = {path: p.grad.numpy() for path, p in model.named_parameters()}
    assert [path for path, g in gradients.items() if not (np.isfinite(g).all() and g.any())] == []
    slope = sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values())
    SGD(model.parameters(), lr=0.01 * before.item() / slope).step()  # by as much as lowers a linear loss by 1 %
    minicnn.manual_seed(1)  # the same noise
    assert loss(model, x, labels).item() < before.item()


def evaluated(model, x):
    with no_grad():
        return model.eval()(x).numpy()


@pytest.mark.parametrize("name", numeric())
def test_state_round_trips_and_modes_differ_where_they_should(name):
    minicnn.manual_seed(0)
    model = models.create_model(name)
    x, _ = images(name)
    other = uninitialised(name)
    other.load_state_dict(model.state_dict())
    counted = MultiplyAdds()
    install(counted)
    try:
        y = evaluated(model, x)
    finally:
        remove(counted)
    np.testing.assert_array_equal(evaluated(other, x), y)
    if not any(hasattr(module, "count_macs") for module in model.modules()):  # which do more than is counted
        assert counted.total == model.summary(x.shape).macs
    noisy = any(isinstance(m, nn.BatchNorm2d | nn.Dropout | nn.StochasticDepth) for m in model.modules())
    with no_grad():
        trained = model.train()(x)
    trained = trained if isinstance(trained, Tensor) else trained.logits
    assert np.array_equal(trained.numpy(), y) != noisy
