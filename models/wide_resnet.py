"""Wide residual networks: fewer layers of more channels.

Zagoruyko and Komodakis 2016, "Wide residual networks", BMVC, arXiv 1605.07146, table 1: for CIFAR, "WRN-d-k" has d
layers in three stages of 16·k, 32·k and 64·k channels, with pre-activation and dropout between the two 3 × 3
convolutions of a block. Where channels change, which with k > 1 they do in the first block too, the shortcut is a 1 × 1
convolution of relu(norm(x)). Names as in preact.py. The paper trains with decay 5e-4, and dropout 0.3.

wide_resnet50_2 and wide_resnet101_2 are torchvision's: ResNets, without pre-activation, in whose bottlenecks the 3 × 3
alone is twice as wide. The first is the paper's WRN-50-2-bottleneck (table 8); the second is not in the paper.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from . import preact, resnet
from .registry import register_rows


class Row(NamedTuple):
    """d and k. d counts all convolutions but those of two of the three shortcuts: 6·n + 4 with n blocks in a stage."""

    depth: int
    widening: int


def build_wide_resnet(
    row: Row, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0
) -> preact.PreActResNet:
    """A wide residual network. dropout: between the convolutions of each block."""
    block = functools.partial(preact.PreActBasic, dropout=dropout)
    n, k = (row.depth - 4) // 6, row.widening
    return preact.PreActResNet(preact.Row(block, (n, n, n), (16 * k, 32 * k, 64 * k)), num_classes, in_channels)


CIFAR_ROWS = {"wrn_16_8": Row(16, 8), "wrn_28_10": Row(28, 10), "wrn_40_4": Row(40, 4)}
ROWS = {
    "wide_resnet50_2": resnet.Row(resnet.Bottleneck, (3, 4, 6, 3), base_width=128),
    "wide_resnet101_2": resnet.Row(resnet.Bottleneck, (3, 4, 23, 3), base_width=128),
}
register_rows(CIFAR_ROWS, build_wide_resnet, input_shape=(3, 32, 32), family="wide_resnet")
register_rows(ROWS, resnet.build_resnet, input_shape=(3, 224, 224), family="wide_resnet")
