"""Weights of EfficientNet and EfficientNet-Lite in the names of lukemelas/EfficientNet-PyTorch: one rule for all.

    _blocks.4._depthwise_conv.weight  ->  features.3.1.block.1.0.weight

There, blocks are counted through, and the parts of a block have names; here, as in torchvision, they are counted stage
by stage, and so are their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

STEPS = (  # of a block in the order of computation: a convolution and its batch norm, or squeeze-and-excitation
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_se_reduce", "_se_expand"),
    ("_project_conv", "_bn2"),
)


def is_lukemelas(names: Iterable[str]) -> bool:
    """Whether a state has these names: only they begin with an underscore."""
    return all(name.startswith("_") for name in names)


def from_lukemelas(names: Sequence[str], stages: Sequence[int]) -> dict[str, str]:
    """{their name: torchvision's}, for a network with so many blocks in each of its stages; what belongs nowhere in it
    keeps its name."""
    blocks = [f"features.{stage + 1}.{i}.block" for stage, count in enumerate(stages) for i in range(count)]
    places = {
        "_conv_stem": "features.0.0",
        "_bn0": "features.0.1",
        "_conv_head": f"features.{len(stages) + 1}.0",
        "_bn1": f"features.{len(stages) + 1}.1",
        "_fc": "classifier.1",
    }
    for number, block in enumerate(blocks):
        parts = {name.split(".")[2] for name in names if name.startswith(f"_blocks.{number}.")}
        for place, step in enumerate(step for step in STEPS if step[0] in parts):
            inner = ("fc1", "fc2") if step[0] == "_se_reduce" else ("0", "1")
            places |= {f"_blocks.{number}.{part}": f"{block}.{place}.{i}" for part, i in zip(step, inner, strict=True)}
    new = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        new[name] = f"{places[module]}.{tensor}" if module in places else name
    return new
