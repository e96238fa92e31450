"""Weights in timm's names for the EfficientNet family, which has torchvision's names here: one rule for all of them.

    blocks.2.0.conv_dw.weight  ->  features.3.0.block.1.0.weight

timm names the parts of a block, torchvision counts them. Which part is which follows from the convolutions that the
block has, and its place from the parts before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from minicnn.errors import CheckpointError

KINDS = (  # the steps of timm's blocks in the order of computation: a convolution and its batch norm, or "se"
    (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("se",), ("conv_pwl", "bn3")),  # inverted residual
    (("conv_dw", "bn1"), ("se",), ("conv_pw", "bn2")),  # depthwise separable: an inverted residual with expansion 1
    (("conv_exp", "bn1"), ("conv_pwl", "bn2")),  # fused
    (("conv", "bn1"),),  # fused, with expansion 1
)
IN_A_BLOCK = re.compile(r"(blocks\.\d+\.\d+)\.(\w+)(.*)")
SQUEEZE = {"conv_reduce": "fc1", "conv_expand": "fc2"}


def from_timm(names: Iterable[str]) -> dict[str, str]:
    """{timm's name: torchvision's} for the names of a whole state; those that are not timm's stay as they are.

    Raises CheckpointError if two of them mean the same.
    """
    names = list(names)
    parts: dict[str, set[str]] = {}  # by block, "blocks.2.0"
    for block, part, _ in map(_split, names):
        if block:
            parts.setdefault(block, set()).add(part)
    head = 1 + len({block.split(".")[1] for block in parts})
    places = {block: _places(found) for block, found in parts.items()}
    places[""] = {
        "conv_stem": "features.0.0",
        "bn1": "features.0.1",
        "conv_head": f"features.{head}.0",
        "bn2": f"features.{head}.1",
        "classifier": "classifier.1",
    }
    new = {name: _translate(name, places) for name in names}
    if len(set(new.values())) < len(new):
        twice = next(name for name in new.values() if list(new.values()).count(name) > 1)
        raise CheckpointError(f"{' and '.join(name for name in new if new[name] == twice)} both mean {twice}")
    return new


def _split(name: str) -> tuple[str, str, str]:
    """blocks.2.0.conv_dw.0.weight as ("blocks.2.0", "conv_dw", ".0.weight"); outside of blocks, the first is ""."""
    found = IN_A_BLOCK.fullmatch(name)
    if found:
        return found[1], found[2], found[3]
    module, dot, rest = name.partition(".")
    return "", module, dot + rest


def _places(parts: set[str]) -> dict[str, str]:
    """Where each part of a block stands: {"conv_dw": "1.0", "bn2": "1.1", "se": "2", ...}; {} for an unknown kind."""
    convolutions = {part for part in parts if part.startswith("conv")}
    kind = next((kind for kind in KINDS if {step[0] for step in kind} - {"se"} == convolutions), ())
    places = {}
    for place, step in enumerate(step for step in kind if step[0] in parts):
        for inner, part in enumerate(step):
            places[part] = f"{place}" if part == "se" else f"{place}.{inner}"
    return places


def _translate(name: str, places: dict[str, dict[str, str]]) -> str:
    block, part, rest = _split(name)
    place = places[block].get(part)
    if place is None:
        return name
    if not block:
        return place + rest if rest.count(".") == 1 else name  # torchvision has a classifier.1.weight
    if part == "se":
        reduced_or_expanded, dot, which = rest[1:].partition(".")
        rest = "." + SQUEEZE.get(reduced_or_expanded, reduced_or_expanded) + dot + which
    _, stage, position = block.split(".")
    return f"features.{int(stage) + 1}.{position}.block.{place}{rest}"
