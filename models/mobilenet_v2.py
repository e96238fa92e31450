"""MobileNetV2: inverted residuals, narrow at both ends and wide in the middle, whose last 1 × 1 is linear.

Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", CVPR, arXiv:1801.04381, table 2.
Names as in torchvision.
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import Dropout, Linear, Module, ReLU6, Sequential, init

from .blocks import Style
from .initial import mobile
from .network import Network
from .registry import register


class Row(NamedTuple):
    """t, c, n, s of the paper: expansion, output channels, blocks, and the stride of the first of them."""

    expand: int
    channels: int
    repeats: int
    stride: int


ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
STEM, HEAD = 32, 1280


class InvertedResidual(Module):
    """1 × 1 that expands (unless expand is 1), 3 × 3 depthwise, 1 × 1 that projects and has no activation.

    The input is added where stride and width allow it (paper, section 3.3 and figure 4d).
    """

    def __init__(self, in_channels: int, out_channels: int, expand: int, stride: int):
        super().__init__()
        style, hidden = Style(), in_channels * expand
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.conv = Sequential(
            *([style.conv_norm(in_channels, hidden, 1, activation=ReLU6)] if expand > 1 else []),
            style.conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=ReLU6),
            *style.conv_norm(hidden, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(Network):
    """3 × 3 stem, seventeen inverted residuals, 1 × 1 to 1280 channels, global average pooling, one linear layer."""

    stages = ("features.1", "features.3", "features.6", "features.13", "features.17")  # the last of each size

    def __init__(self, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        style, channels = Style(), STEM
        self.features = Sequential(style.conv_norm(in_channels, channels, 3, stride=2, activation=ReLU6))
        for row in ROWS:
            for block in range(row.repeats):
                stride = row.stride if block == 0 else 1
                self.features.append(InvertedResidual(channels, row.channels, row.expand, stride))
                channels = row.channels
        self.features.append(style.conv_norm(channels, HEAD, 1, activation=ReLU6))
        self.classifier = Sequential(Dropout(dropout), Linear(HEAD, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = ops.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(x.flatten(1))


@register(input_shape=(3, 224, 224), family="mobilenet")
def mobilenet_v2(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> MobileNetV2:
    """MobileNetV2 1.0 for images of 224 × 224: 3,504,872 parameters, 301 million multiply-adds."""
    with init.skip():  # mobile() draws all weights, once
        model = MobileNetV2(num_classes, in_channels, dropout)
    mobile(model)
    return model
