"""Xception: the extreme Inception, in which every channel has a branch of its own.

Chollet 2017, "Xception: deep learning with depthwise separable convolutions", CVPR, arXiv 1610.02357, figure 5.
With the names of timm's legacy_xception, whose weights it takes.

The idea: an Inception module looks across channels with 1 × 1 convolutions, then at places with 3 × 3 in a few separate
groups of them. Let the groups become single channels, and the two questions are taken apart entirely: a depthwise
convolution looks at places, a pointwise one across channels. With residual connections and nothing else, 36 such
layers make a network of Inception-v3's size that is more accurate.

What is particular: no ReLU between the two convolutions of a pair, which made training worse (section 4.7), though
Inception has one there; depthwise first, pointwise second; and ReLU before a pair, not behind it, so that the shortcut
adds what no ReLU has cut. Strides are in a max pool at the end of a block. Batch norm has ε 1e-5 (Keras's has 1e-3).
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn import Tensor
from minicnn.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Module, ReLU, Sequential

from .network import Network
from .registry import register


class Row(NamedTuple):
    """One block: the channels behind each of its pairs, and whether it halves the map."""

    channels: tuple[int, ...]
    stride: int = 1


# Figure 5: three blocks of the entry flow, eight of the middle flow, one of the exit flow.
BLOCKS = (Row((128, 128), 2), Row((256, 256), 2), Row((728, 728), 2), *8 * (Row((728, 728, 728)),), Row((728, 1024), 2))


class SeparableConv2d(Module):
    """Depthwise 3 × 3 (conv1), then pointwise 1 × 1, with nothing between them and no bias."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class Block(Module):
    """y = rep(x) + shortcut(x). rep: ReLU, pair, batch norm, for each pair, and a max pool if the stride is 2.

    The shortcut is x itself or, where sizes change, a 1 × 1 convolution and batch norm. first: no ReLU at the
    beginning, as x comes from one.
    """

    def __init__(self, in_channels: int, row: Row, first: bool):
        super().__init__()
        out_channels = row.channels[-1]
        self.skip = None
        if out_channels != in_channels or row.stride != 1:
            self.skip = Conv2d(in_channels, out_channels, 1, row.stride, bias=False)
            self.skipbn = BatchNorm2d(out_channels)
        rep: list[Module] = []
        for channels in row.channels:
            rep += [ReLU(), SeparableConv2d(in_channels, channels), BatchNorm2d(channels)]
            in_channels = channels
        if row.stride != 1:
            rep.append(MaxPool2d(3, row.stride, padding=1))
        self.rep = Sequential(*rep[1:] if first else rep)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rep(x)
        return y + x if self.skip is None else self.skipbn(self.skip(x), residual=y)


class Xception(Network):
    """Two convolutions, twelve blocks, two pairs, global average, one linear layer."""

    stages = ("bn2", "block1", "block2", "block11", "bn4")

    def __init__(self, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.conv1 = Conv2d(in_channels, 32, 3, stride=2, bias=False)
        self.bn1 = BatchNorm2d(32)
        self.conv2 = Conv2d(32, 64, 3, bias=False)
        self.bn2 = BatchNorm2d(64)
        channels = 64
        for number, row in enumerate(BLOCKS, 1):
            self.add_module(f"block{number}", Block(channels, row, first=number == 1))
            channels = row.channels[-1]
        self.conv3 = SeparableConv2d(channels, 1536)
        self.bn3 = BatchNorm2d(1536)
        self.conv4 = SeparableConv2d(1536, 2048)
        self.bn4 = BatchNorm2d(2048)
        self.global_pool = AdaptiveAvgPool2d(1)
        self.dropout = Dropout(dropout)
        self.fc = Linear(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x), activation="relu")
        x = self.bn2(self.conv2(x), activation="relu")
        for number in range(1, len(BLOCKS) + 1):
            x = getattr(self, f"block{number}")(x)
        x = self.bn3(self.conv3(x), activation="relu")
        x = self.bn4(self.conv4(x), activation="relu")
        return self.fc(self.dropout(self.global_pool(x).flatten(1)))


@register(input_shape=(3, 299, 299), family="xception")
def xception(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> Xception:
    """Xception: 22,855,952 parameters. The paper's dropout, 0.5, is before the linear layer."""
    return Xception(num_classes, in_channels, dropout)
