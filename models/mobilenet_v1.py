"""MobileNet (V1): every 3 × 3 convolution but the first is split into a depthwise and a 1 × 1 convolution.

Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision applications",
arXiv:1704.04861, table 1. Names as in timm, torchvision has none. As there, and in the released weights, the
activation is ReLU6; the paper says ReLU. Its table prints stride 2 for the last depthwise convolution, too, but sizes
that need stride 1, which everybody builds.
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import Dropout, Linear, Module, Sequential, init

from .blocks import Style
from .initial import mobile
from .network import Network
from .registry import register


class Row(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    stride: int
    channels: int
    repeats: int


ROWS = (Row(1, 64, 1), Row(2, 128, 2), Row(2, 256, 2), Row(2, 512, 6), Row(2, 1024, 2))


class DepthwiseSeparable(Module):
    """3 × 3 depthwise, 1 × 1 pointwise, batch norm and ReLU6 after each (paper, figure 3). No shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        style = Style()
        self.conv_dw = style.conv(in_channels, in_channels, 3, stride, groups=in_channels)
        self.bn1 = style.norm(in_channels)
        self.conv_pw = style.conv(in_channels, out_channels, 1)
        self.bn2 = style.norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv_dw(x), activation="relu6")
        return self.bn2(self.conv_pw(x), activation="relu6")


class MobileNetV1(Network):
    """3 × 3 stem, thirteen depthwise separable blocks, global average pooling, one linear layer."""

    stages = tuple(f"blocks.{stage}" for stage in range(len(ROWS)))

    def __init__(self, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        channels = 32
        self.conv_stem = Style().conv(in_channels, channels, 3, stride=2)
        self.bn1 = Style().norm(channels)
        self.blocks = Sequential()
        for row in ROWS:
            strides = (row.stride, *[1] * (row.repeats - 1))
            widths = (channels, *[row.channels] * (row.repeats - 1))
            self.blocks.append(Sequential(*map(DepthwiseSeparable, widths, [row.channels] * row.repeats, strides)))
            channels = row.channels
        self.dropout = Dropout(dropout)
        self.classifier = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.bn1(self.conv_stem(x), activation="relu6"))
        x = ops.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.classifier(self.dropout(x))


@register(input_shape=(3, 224, 224), family="mobilenet")
def mobilenetv1_100(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> MobileNetV1:
    """MobileNet 1.0 (the whole width) for images of 224 × 224: 4,231,976 parameters, 569 million multiply-adds.

    The paper trains it with little regularisation and says nothing of dropout.
    """
    with init.skip():  # mobile() draws all weights, once
        model = MobileNetV1(num_classes, in_channels, dropout)
    mobile(model)
    return model
