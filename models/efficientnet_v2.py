"""EfficientNetV2 S, M and L: dense convolutions in the early stages, where depthwise ones are slow; smaller expansions.

Tan and Le 2021, "EfficientNetV2: smaller models and faster training", ICML, arXiv:2104.00298. S is table 4; M and L
are of the release (github.com/google/automl, efficientnetv2), which found them by scaling S and adding a stage.
As torchvision's: padding symmetric, batch norm with eps 1e-3 and momentum 0.1; these are small differences to the
release (TensorFlow's padding, momentum 0.01). The images are those of evaluation; training used smaller ones.
"""

from __future__ import annotations

from .blocks import Style
from .efficientnet import Row, Table, build, input_shape
from .registry import register_rows

HEAD, STYLE = 1280, Style(eps=1e-3)


def fused(expand: int, stride: int, channels: int, repeats: int) -> tuple[Row]:
    """A stage of Fused-MBConv blocks, 3 × 3, without squeeze-and-excitation."""
    return (Row(expand, 3, stride, channels, repeats, fused=True),)


def mbconv(expand: int, stride: int, channels: int, repeats: int) -> tuple[Row]:
    """A stage of MBConv blocks, 3 × 3, squeezed to a quarter of their input."""
    return (Row(expand, 3, stride, channels, repeats),)


S = (
    fused(1, 1, 24, 2),
    fused(4, 2, 48, 4),
    fused(4, 2, 64, 4),
    mbconv(4, 2, 128, 6),
    mbconv(6, 1, 160, 9),
    mbconv(6, 2, 256, 15),
)
M = (
    fused(1, 1, 24, 3),
    fused(4, 2, 48, 5),
    fused(4, 2, 80, 5),
    mbconv(4, 2, 160, 7),
    mbconv(6, 1, 176, 14),
    mbconv(6, 2, 304, 18),
    mbconv(6, 1, 512, 5),
)
L = (
    fused(1, 1, 32, 4),
    fused(4, 2, 64, 7),
    fused(4, 2, 96, 7),
    mbconv(4, 2, 192, 10),
    mbconv(6, 1, 224, 19),
    mbconv(6, 2, 384, 25),
    mbconv(6, 1, 640, 7),
)
ROWS = {
    "efficientnet_v2_s": Table(S, 24, HEAD, 384, dropout=0.2, stochastic_depth=0.2, style=STYLE),
    "efficientnet_v2_m": Table(M, 24, HEAD, 480, dropout=0.3, stochastic_depth=0.2, style=STYLE),
    "efficientnet_v2_l": Table(L, 32, HEAD, 480, dropout=0.4, stochastic_depth=0.2, style=STYLE),
}
register_rows(ROWS, build, input_shape, family="efficientnet")
