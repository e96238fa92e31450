"""DenseNet: within a block, each layer sees what all layers before it have found.

Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks", CVPR, arXiv 1608.06993,
section 3 and table 1. Those for ImageNet are as torchvision has them, with its names. Those for CIFAR, named after
depth L and growth rate k, have three blocks of equal depth ("Implementation details" in section 3), and the same names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from minicnn import Tensor, nn, ops

from .initial import he_normal, zero_biases
from .network import Network
from .registry import register_rows


class Row(NamedTuple):
    """One network. growth_rate: the channels that each layer adds, k in the paper."""

    growth_rate: int
    depths: tuple[int, ...]  # layers in each block
    init_channels: int  # of the first convolution
    bottleneck: bool = True  # "B": each 3 × 3 convolution gets 4·k channels from a 1 × 1
    compression: float = 0.5  # "C": the share of the channels that a transition keeps


def cifar_row(depth: int, growth_rate: int, bc: bool) -> Row:
    """L and k; L counts the first convolution, both transitions and the linear layer besides those of the blocks."""
    layers = (depth - 4) // (6 if bc else 3)
    return Row(growth_rate, (layers,) * 3, 2 * growth_rate if bc else 16, bc, 0.5 if bc else 1.0)


ROWS = {
    "densenet121": Row(32, (6, 12, 24, 16), 64),
    "densenet161": Row(48, (6, 12, 36, 24), 96),
    "densenet169": Row(32, (6, 12, 32, 32), 64),
    "densenet201": Row(32, (6, 12, 48, 32), 64),
}
CIFAR_ROWS = {
    "densenet_40_12": cifar_row(40, 12, bc=False),
    "densenet_100_12": cifar_row(100, 12, bc=False),
    "densenet_bc_100_12": cifar_row(100, 12, bc=True),
    "densenet_bc_250_24": cifar_row(250, 24, bc=True),
    "densenet_bc_190_40": cifar_row(190, 40, bc=True),
}


class DenseLayer(nn.Module):
    """x -> k new channels: batch norm, ReLU, 3 × 3 convolution; before it, in a bottleneck, the same with 1 × 1."""

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: bool, dropout: float):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.norm2: nn.BatchNorm2d | None = None
        if bottleneck:
            self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(4 * growth_rate)
            self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, growth_rate, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.conv1(self.norm1(x, activation="relu")))
        if self.norm2 is None:
            return y
        return self.dropout(self.conv2(self.norm2(y, activation="relu")))


class DenseBlock(nn.Module):
    """Layers that each add their channels to those there are: `depth`·k more come out."""

    def __init__(self, depth: int, in_channels: int, row: Row, dropout: float):
        super().__init__()
        for number in range(depth):
            channels = in_channels + number * row.growth_rate
            layer = DenseLayer(channels, row.growth_rate, row.bottleneck, dropout)
            self.add_module(f"denselayer{number + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = ops.concat([x, layer(x)], axis=1)
        return x


class Transition(nn.Module):
    """Between blocks: batch norm, ReLU, 1 × 1 convolution to fewer channels, means of 2 × 2."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.dropout(self.conv(self.norm(x, activation="relu"))))


class DenseNet(Network):
    """Stem, dense blocks with transitions between them, batch norm, ReLU, global average pooling, one linear layer.

    The stem of the networks for CIFAR, which have three blocks, is one 3 × 3 convolution; that of the others a 7 × 7
    with stride 2, batch norm, ReLU and max pooling. Convolutions begin as N(0, 2/fan_in), the last bias as 0.
    """

    def __init__(self, row: Row, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        channels, for_cifar = row.init_channels, len(row.depths) == 3
        self.features = nn.Sequential()
        if for_cifar:
            self.features.add_module("conv0", nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
        else:
            self.features.add_module("conv0", nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False))
            self.features.add_module("norm0", nn.BatchNorm2d(channels))
            self.features.add_module("relu0", nn.ReLU())
            self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        for number, depth in enumerate(row.depths, start=1):
            self.features.add_module(f"denseblock{number}", DenseBlock(depth, channels, row, dropout))
            channels += depth * row.growth_rate
            if number < len(row.depths):
                kept = int(channels * row.compression)
                self.features.add_module(f"transition{number}", Transition(channels, kept, dropout))
                channels = kept
        self.stages = tuple(f"features.denseblock{number + 1}" for number in range(len(row.depths)))
        self.features.add_module(f"norm{len(row.depths) + 1}", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        he_normal(self, "fan_in")
        zero_biases(self)

    def own_names(self, names: Sequence[str]) -> dict[str, str]:
        """torchvision's files are older than its names: denselayer1.norm.1.weight is denselayer1.norm1.weight."""
        return {name: re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name) for name in names}

    def forward(self, x: Tensor) -> Tensor:
        maps = ops.relu(self.features(x))
        return self.classifier(ops.global_avg_pool2d(maps).flatten(1))


def build_densenet(row: Row, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> DenseNet:
    """A densely connected network.

    dropout: behind each convolution but the first; the paper has 0.2 where images are not augmented (section 4.2).
    """
    return DenseNet(row, num_classes, in_channels, dropout)


register_rows(ROWS, build_densenet, input_shape=(3, 224, 224), family="densenet")
register_rows(CIFAR_ROWS, build_densenet, input_shape=(3, 32, 32), family="densenet", num_classes=10)
