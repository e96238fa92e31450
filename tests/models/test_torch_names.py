"""States have the names and shapes of torchvision's or timm's, so that published weights load.

pytest -m torch, with both libraries installed. Their networks are built on the device "meta", which computes nothing.
"""

from __future__ import annotations

import pytest

import models
from minicnn.nn import init

from .expected import EXPECTED

TIMM = {  # our name: timm's, where they differ
    **{f"efficientnet_lite{number}": f"tf_efficientnet_lite{number}" for number in range(5)},
    **{f"resnet_v2_{depth}": f"resnetv2_{depth}" for depth in (50, 101, 152)},
    "xception": "legacy_xception",
}
NAMED = [name for name, row in EXPECTED.items() if row.source in ("torchvision", "timm")]
ALSO_IN_TIMM = [f"efficientnet_b{number}" for number in range(5)]  # torchvision's networks, in timm's names


def shapes_of(library, name):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("torchvision.models" if library == "torchvision" else "timm")
    with torch.device("meta"):
        if library == "timm":
            network = package.create_model(TIMM.get(name, name))
        else:
            network = getattr(package, name)(
                **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
            )
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "library"), [(name, EXPECTED[name].source) for name in NAMED] + [(name, "timm") for name in ALSO_IN_TIMM]
)
def test_names_and_shapes_are_the_librarys(name, library):
    with init.skip():
        network = models.create_model(name)
    theirs = shapes_of(library, name)
    ours = network.own_names(list(theirs))
    assert {ours[key]: shape for key, shape in theirs.items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
