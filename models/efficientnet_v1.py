"""EfficientNet B0 to B7: one network found by search, B0, and its scalings in width, depth and resolution.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML, arXiv:1905.11946:
B0 is table 1. Compound scaling (section 3.3) asks for 1.2^φ in depth, 1.1^φ in width, 1.15^φ in resolution; the
numbers below are those of the release, which are rounded.

efficientnet_b0 .. b7 are torchvision's: padding symmetric, batch norm with eps 1e-5 and momentum 0.1 up to B4,
with 1e-3 and 0.01 from B5 on. tf_efficientnet_b0 .. b7 pad as TensorFlow does, with eps 1e-3 throughout, as the
release was trained; momentum 0.1 as in timm (the release: 0.01).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .blocks import Style, round_channels
from .efficientnet import Row, Table, build, input_shape
from .registry import register_rows

B0 = (  # table 1: expansion, kernel, stride, channels, blocks
    Row(1, 3, 1, 16, 1),
    Row(6, 3, 2, 24, 2),
    Row(6, 5, 2, 40, 2),
    Row(6, 3, 2, 80, 3),
    Row(6, 5, 1, 112, 3),
    Row(6, 5, 2, 192, 4),
    Row(6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280


class Scaling(NamedTuple):
    width: float
    depth: float
    size: int
    dropout: float


SCALINGS = {
    "b0": Scaling(1.0, 1.0, 224, 0.2),
    "b1": Scaling(1.0, 1.1, 240, 0.2),
    "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3),
    "b4": Scaling(1.4, 1.8, 380, 0.4),
    "b5": Scaling(1.6, 2.2, 456, 0.4),
    "b6": Scaling(1.8, 2.6, 528, 0.5),
    "b7": Scaling(2.0, 3.1, 600, 0.5),
}


def scaled(scaling: Scaling, style: Style) -> Table:
    """B0 with all widths times scaling.width, rounded to eight, and all depths times scaling.depth, rounded up."""

    def larger(row: Row) -> Row:
        channels = round_channels(row.channels * scaling.width)
        return row._replace(channels=channels, repeats=math.ceil(row.repeats * scaling.depth))

    stages = tuple((larger(row),) for row in B0)
    stem, head = round_channels(STEM * scaling.width), round_channels(HEAD * scaling.width)
    return Table(stages, stem, head, scaling.size, scaling.dropout, stochastic_depth=0.2, style=style)


def _torchvisions(variant: str) -> Style:
    return Style(eps=1e-3, momentum=0.01) if variant in ("b5", "b6", "b7") else Style()


ROWS = {f"efficientnet_{variant}": scaled(scaling, _torchvisions(variant)) for variant, scaling in SCALINGS.items()}
ROWS |= {
    f"tf_efficientnet_{variant}": scaled(scaling, Style(eps=1e-3, same=True)) for variant, scaling in SCALINGS.items()
}
register_rows(ROWS, build, input_shape, family="efficientnet")
