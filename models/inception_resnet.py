"""Inception-ResNet v1 and v2: modules of Inception that learn what to add to their input.

Szegedy, Ioffe, Vanhoucke and Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual connections on
learning", arXiv 1602.07261, sections 3.2 and 3.3, figures 10 to 20, table 1.

The idea: put each Inception module on a shortcut, and see. Training becomes much faster than that of Inception-v4,
which costs as much as v2 but has no shortcuts; the accuracy in the end is nearly the same (20.0 and 19.9 % error). Each
module ends in a 1 × 1 convolution without batch norm or ReLU, which makes as many channels as the shortcut has. With
more than a thousand of those the networks "died" early in training, until what is added was scaled down by 0.1 to 0.3.

       x ────────────────────────────┐
       ├──────┬──────┐               │
      1×1    1×1    1×1              │
       │     3×3    3×3              │
       │      │     3×3              │
       └──────┼──────┘               │
          concatenate ─ 1×1 ─ ·0.17 ─ + ─ ReLU

v1 costs what Inception-v3 does, v2 what Inception-v4 does. `inception_resnet_v2` is the network as it was released,
with timm's names: scales 0.17, 0.10 and 0.20; the last module unscaled, without ReLU, and followed by a 1 × 1; a stem
and widths of the shortcut (320, 1088, 2080) that are not those of the figures (384, 1154, 2048); and average pools that
do not count their padding. `inception_resnet_v1` was not released: it follows the figures, with v2's names and scales,
every module scaled and with ReLU.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Dropout, Linear, MaxPool2d, Sequential

from .branches import BasicConv2d, Branches, Conv, Rows
from .network import Network
from .registry import register_rows

average = partial(AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)
halve = partial(MaxPool2d, 3, stride=2)


class Row(NamedTuple):
    """One network: the branches of its modules, named by the size of their maps, and how often the blocks come."""

    block35: Rows
    to_17: Rows
    block17: Rows
    to_8: Rows
    block8: Rows
    repeats: tuple[int, int, int]
    stem: Rows = ()  # a module at the end of the stem; where there is none, a convolution with stride 2
    top: int = 0  # channels of a 1 × 1 behind the last block, which then is neither scaled nor cut by ReLU


ROWS = {
    "inception_resnet_v1": Row(  # figures 10, 7 (with k, l, m, n of table 1), 11, 12 and 13
        block35=((Conv(32),), (Conv(32), Conv(32, 3)), (Conv(32), Conv(32, 3), Conv(32, 3))),
        to_17=((halve,), (Conv(384, 3, 2),), (Conv(192), Conv(192, 3), Conv(256, 3, 2))),
        block17=((Conv(128),), (Conv(128), Conv(128, (1, 7)), Conv(128, (7, 1)))),
        to_8=(
            (halve,),
            (Conv(256), Conv(384, 3, 2)),
            (Conv(256), Conv(256, 3, 2)),
            (Conv(256), Conv(256, 3), Conv(256, 3, 2)),
        ),
        block8=((Conv(192),), (Conv(192), Conv(192, (1, 3)), Conv(192, (3, 1)))),
        repeats=(5, 10, 5),
    ),
    "inception_resnet_v2": Row(  # as released; figures 16, 7, 17, 18 and 19 but for the widths of the shortcut
        stem=((Conv(96),), (Conv(48), Conv(64, 5)), (Conv(64), Conv(96, 3), Conv(96, 3)), (average, Conv(64))),
        block35=((Conv(32),), (Conv(32), Conv(32, 3)), (Conv(32), Conv(48, 3), Conv(64, 3))),
        to_17=((Conv(384, 3, 2),), (Conv(256), Conv(256, 3), Conv(384, 3, 2)), (halve,)),
        block17=((Conv(192),), (Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1)))),
        to_8=(
            (Conv(256), Conv(384, 3, 2)),
            (Conv(256), Conv(288, 3, 2)),
            (Conv(256), Conv(288, 3), Conv(320, 3, 2)),
            (halve,),
        ),
        block8=((Conv(192),), (Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1)))),
        repeats=(10, 20, 10),
        top=1536,
    ),
}


class Block(Branches):
    """relu(x + scale · conv2d(concatenation of the branches)); relu=False leaves the sum as it is."""

    def __init__(self, channels: int, rows: Rows, scale: float, relu: bool = True):
        super().__init__(channels, rows)
        self.conv2d = Conv2d(self.out_channels, channels, 1)
        self.scale, self.relu, self.out_channels = scale, relu, channels

    def forward(self, x: Tensor) -> Tensor:
        *branches, conv2d = self.children()
        added = conv2d(ops.concat([branch(x) for branch in branches], axis=1))
        y = x + self.scale * added
        return ops.relu(y) if self.relu else y


class InceptionResNet(Network):
    """Stem, blocks at 35 × 35, 17 × 17 and 8 × 8 with reductions between them, global average, one linear layer."""

    def __init__(self, row: Row, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.conv2d_1a = BasicConv2d(in_channels, 32, 3, stride=2)
        self.conv2d_2a = BasicConv2d(32, 32, 3)
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool_3a = halve()
        self.conv2d_3b = BasicConv2d(64, 80, 1)
        self.conv2d_4a = BasicConv2d(80, 192, 3)
        if row.stem:
            self.maxpool_5a = halve()
            self.mixed_5b = Branches(192, row.stem)
            channels = self.mixed_5b.out_channels
        else:
            self.conv2d_4b = BasicConv2d(192, 256, 3, stride=2)
            channels = 256
        n35, n17, n8 = row.repeats
        self.repeat = Sequential(*(Block(channels, row.block35, 0.17) for _ in range(n35)))
        self.mixed_6a = Branches(channels, row.to_17)
        channels = self.mixed_6a.out_channels
        self.repeat_1 = Sequential(*(Block(channels, row.block17, 0.10) for _ in range(n17)))
        self.mixed_7a = Branches(channels, row.to_8)
        channels = self.mixed_7a.out_channels
        self.repeat_2 = Sequential(*(Block(channels, row.block8, 0.20) for _ in range(n8 - bool(row.top))))
        self.stages = ("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "repeat_2")
        if row.top:
            self.block8 = Block(channels, row.block8, 1.0, relu=False)
            self.conv2d_7b = BasicConv2d(channels, row.top, 1)
            self.stages = (*self.stages[:-1], "conv2d_7b")
            channels = row.top
        self.global_pool = AdaptiveAvgPool2d(1)
        self.head_drop = Dropout(dropout)
        self.classif = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        *body, global_pool, head_drop, classif = self.children()
        for module in body:
            x = module(x)
        return classif(head_drop(global_pool(x).flatten(1)))


def build(row: Row, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> InceptionResNet:
    """Inception-ResNet (Szegedy et al. 2016). The paper keeps 0.8 of what enters the linear layer."""
    return InceptionResNet(row, num_classes, in_channels, dropout)


register_rows(ROWS, build, input_shape=(3, 299, 299), family="inception")
