"""EfficientNet-Lite 0 to 4: EfficientNet for phones that compute in eight bits.

Released by Google in 2020 without a paper (github.com/tensorflow/tpu, models/official/efficientnet/lite). Against
EfficientNet: no squeeze-and-excitation, ReLU6 in the place of SiLU, and stem, head, and the depths of the first and
last stage are not scaled. Padding is TensorFlow's, batch norm has eps 1e-3. timm calls them tf_efficientnet_lite0 .. 4.
"""

from __future__ import annotations

import math

from minicnn.nn import ReLU6

from .blocks import Style, round_channels
from .efficientnet import Row, Table, build, input_shape
from .efficientnet_v1 import B0, HEAD, STEM, Scaling
from .registry import register_rows

SCALINGS = {
    "efficientnet_lite0": Scaling(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": Scaling(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": Scaling(1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": Scaling(1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": Scaling(1.4, 1.8, 300, 0.3),
}


def lite(scaling: Scaling) -> Table:
    """B0's rows without squeeze-and-excitation, scaled, but for the depths of the first and the last."""

    def scaled(row: Row) -> Row:
        repeats = row.repeats if row in (B0[0], B0[-1]) else math.ceil(row.repeats * scaling.depth)
        channels = round_channels(row.channels * scaling.width)
        return row._replace(channels=channels, repeats=repeats, squeeze=0, activation=ReLU6)

    stages = tuple((scaled(row),) for row in B0)
    style = Style(eps=1e-3, same=True)
    return Table(stages, STEM, HEAD, scaling.size, scaling.dropout, stochastic_depth=0.2, activation=ReLU6, style=style)


ROWS = {name: lite(scaling) for name, scaling in SCALINGS.items()}
register_rows(ROWS, build, input_shape, family="efficientnet")
