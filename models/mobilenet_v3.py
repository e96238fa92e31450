"""MobileNetV3, large and small: MobileNetV2's blocks with squeeze-and-excitation and hard-swish, found by search.

Howard et al. 2019, "Searching for MobileNetV3", ICCV, arXiv:1905.02244, tables 1 and 2. Names as in torchvision, and
as there: batch norm with eps 1e-3 and momentum 0.01, squeeze to a quarter of the expanded channels rounded to eight,
hard-sigmoid as the gate, and no batch norm behind the layer that follows the pooling.
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import Dropout, Hardsigmoid, Hardswish, Linear, Module, ReLU, Sequential, init

from .blocks import SqueezeExcitation, Style, last_of_each_size, round_channels
from .initial import mobile
from .network import Network
from .registry import register_rows

RE, HS = ReLU, Hardswish
STYLE = Style(eps=1e-3, momentum=0.01)


class Row(NamedTuple):
    """One block, in the order of the paper's columns: kernel, expansion size, output, SE, nonlinearity, stride."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    activation: type[Module]
    stride: int


class Table(NamedTuple):
    """All blocks of one network; hidden: channels between the pooling and the last layer."""

    blocks: tuple[Row, ...]
    hidden: int


ROWS = {
    "mobilenet_v3_large": Table(  # table 1
        (
            Row(3, 16, 16, False, RE, 1),
            Row(3, 64, 24, False, RE, 2),
            Row(3, 72, 24, False, RE, 1),
            Row(5, 72, 40, True, RE, 2),
            Row(5, 120, 40, True, RE, 1),
            Row(5, 120, 40, True, RE, 1),
            Row(3, 240, 80, False, HS, 2),
            Row(3, 200, 80, False, HS, 1),
            Row(3, 184, 80, False, HS, 1),
            Row(3, 184, 80, False, HS, 1),
            Row(3, 480, 112, True, HS, 1),
            Row(3, 672, 112, True, HS, 1),
            Row(5, 672, 160, True, HS, 2),
            Row(5, 960, 160, True, HS, 1),
            Row(5, 960, 160, True, HS, 1),
        ),
        hidden=1280,
    ),
    "mobilenet_v3_small": Table(  # table 2
        (
            Row(3, 16, 16, True, RE, 2),
            Row(3, 72, 24, False, RE, 2),
            Row(3, 88, 24, False, RE, 1),
            Row(5, 96, 40, True, HS, 2),
            Row(5, 240, 40, True, HS, 1),
            Row(5, 240, 40, True, HS, 1),
            Row(5, 120, 48, True, HS, 1),
            Row(5, 144, 48, True, HS, 1),
            Row(5, 288, 96, True, HS, 2),
            Row(5, 576, 96, True, HS, 1),
            Row(5, 576, 96, True, HS, 1),
        ),
        hidden=1024,
    ),
}


class InvertedResidual(Module):
    """1 × 1 that expands, depthwise, squeeze-and-excitation, 1 × 1 that projects and has no activation (figure 4).

    The input is added where stride and width allow it.
    """

    def __init__(self, row: Row, in_channels: int):
        super().__init__()
        self.has_shortcut = row.stride == 1 and in_channels == row.channels
        self.block = Sequential()
        if row.expanded != in_channels:
            self.block.append(STYLE.conv_norm(in_channels, row.expanded, 1, activation=row.activation))
        self.block.append(
            STYLE.conv_norm(row.expanded, row.expanded, row.kernel, row.stride, row.expanded, row.activation)
        )
        if row.squeeze:
            self.block.append(SqueezeExcitation(row.expanded, round_channels(row.expanded // 4), gate=Hardsigmoid))
        self.block.append(STYLE.conv_norm(row.expanded, row.channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.has_shortcut else self.block(x)


class MobileNetV3(Network):
    """3 × 3 stem, the table's blocks, 1 × 1 to six times the width, pooling, hidden layer, classifier."""

    def __init__(self, table: Table, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        channels = 16
        self.features = Sequential(STYLE.conv_norm(in_channels, channels, 3, stride=2, activation=HS))
        for row in table.blocks:
            self.features.append(InvertedResidual(row, channels))
            channels = row.channels
        self.features.append(STYLE.conv_norm(channels, 6 * channels, 1, activation=HS))
        self.stages = last_of_each_size([2, *(row.stride for row in table.blocks)])
        self.classifier = Sequential(
            Linear(6 * channels, table.hidden), HS(), Dropout(dropout), Linear(table.hidden, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = ops.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(x.flatten(1))


def build(table: Table, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> MobileNetV3:
    """MobileNetV3 for images of 224 × 224."""
    with init.skip():  # mobile() draws all weights, once
        model = MobileNetV3(table, num_classes, in_channels, dropout)
    mobile(model)
    return model


register_rows(ROWS, build, input_shape=(3, 224, 224), family="mobilenet")
