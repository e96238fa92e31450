"""MixNet S, M and L: depthwise convolutions whose channels have kernels of several sizes, from 3 × 3 to 11 × 11.

Tan and Le 2019, "MixConv: mixed depthwise convolutional kernels", BMVC, arXiv:1907.09595. S and M are figure 6, in
the detail of the release (github.com/tensorflow/tpu, models/official/mnasnet/mixnet), L is M with 1.3 times its width.
Found by search in MnasNet's space. ReLU in stem, head and the first two stages, SiLU elsewhere; some 1 × 1
convolutions are split in two halves that do not see each other.

mixnet_s, m, l are timm's: padding symmetric, batch norm with eps 1e-5. tf_mixnet_s, m, l pad as TensorFlow does, with
eps 1e-3, as the release. momentum is 0.1 for both (the release: 0.01). The release drops no blocks.
"""

from __future__ import annotations

from minicnn.nn import ReLU

from .blocks import Style, round_channels
from .efficientnet import Row, Stages, Table, build, input_shape
from .registry import register_rows

HALVES = (1, 1)
HEAD = 1536

S = (
    (Row(1, 3, 1, 16, 1, 0, ReLU),),
    (
        Row(6, 3, 2, 24, 1, 0, ReLU, HALVES, HALVES),
        Row(3, 3, 1, 24, 1, 0, ReLU, HALVES, HALVES),
    ),
    (
        Row(6, (3, 5, 7), 2, 40, 1, squeeze=0.5),
        Row(6, (3, 5), 1, 40, 3, squeeze=0.5, expand_kernel=HALVES, project_kernel=HALVES),
    ),
    (
        Row(6, (3, 5, 7), 2, 80, 1, squeeze=0.25, project_kernel=HALVES),
        Row(6, (3, 5), 1, 80, 2, squeeze=0.25, project_kernel=HALVES),
    ),
    (
        Row(6, (3, 5, 7), 1, 120, 1, squeeze=0.5, expand_kernel=HALVES, project_kernel=HALVES),
        Row(3, (3, 5, 7, 9), 1, 120, 2, squeeze=0.5, expand_kernel=HALVES, project_kernel=HALVES),
    ),
    (
        Row(6, (3, 5, 7, 9, 11), 2, 200, 1, squeeze=0.5),
        Row(6, (3, 5, 7, 9), 1, 200, 2, squeeze=0.5, project_kernel=HALVES),
    ),
)
M = (
    (Row(1, 3, 1, 24, 1, 0, ReLU),),
    (
        Row(6, (3, 5, 7), 2, 32, 1, 0, ReLU, HALVES, HALVES),
        Row(3, 3, 1, 32, 1, 0, ReLU, HALVES, HALVES),
    ),
    (
        Row(6, (3, 5, 7, 9), 2, 40, 1, squeeze=0.5),
        Row(6, (3, 5), 1, 40, 3, squeeze=0.5, expand_kernel=HALVES, project_kernel=HALVES),
    ),
    (
        Row(6, (3, 5, 7), 2, 80, 1, squeeze=0.25),
        Row(6, (3, 5, 7, 9), 1, 80, 3, squeeze=0.25, expand_kernel=HALVES, project_kernel=HALVES),
    ),
    (
        Row(6, 3, 1, 120, 1, squeeze=0.5),
        Row(3, (3, 5, 7, 9), 1, 120, 3, squeeze=0.5, expand_kernel=HALVES, project_kernel=HALVES),
    ),
    (
        Row(6, (3, 5, 7, 9), 2, 200, 1, squeeze=0.5),
        Row(6, (3, 5, 7, 9), 1, 200, 3, squeeze=0.5, project_kernel=HALVES),
    ),
)


def table(stages: Stages, stem: int, dropout: float, style: Style, width: float = 1.0) -> Table:
    """All widths but the head's times width, rounded to eight."""
    wide = tuple(tuple(row._replace(channels=round_channels(row.channels * width)) for row in rows) for rows in stages)
    stem = round_channels(stem * width)
    return Table(wide, stem, HEAD, 224, dropout, stochastic_depth=0.0, activation=ReLU, style=style)


ROWS = {}
for prefix, style in (("", Style()), ("tf_", Style(eps=1e-3, same=True))):
    ROWS[f"{prefix}mixnet_s"] = table(S, 16, 0.2, style)
    ROWS[f"{prefix}mixnet_m"] = table(M, 24, 0.25, style)
    ROWS[f"{prefix}mixnet_l"] = table(M, 24, 0.25, style, width=1.3)
register_rows(ROWS, build, input_shape, family="mixnet")
