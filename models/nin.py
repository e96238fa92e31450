"""Network in Network: small multilayer perceptrons slide over the image, and the mean of a map is a class's score.

Lin, Chen and Yan 2014, "Network in network", ICLR, arXiv 1312.4400, sections 3 and 4. An "mlpconv" layer is a
convolution followed by 1 × 1 convolutions (section 3.1); the means of the last maps take the place of linear layers
(section 3.2). The widths, which the paper does not give, are those of the definitions that the authors released.
"""

from __future__ import annotations

from typing import NamedTuple

from minicnn import Tensor, nn

from .initial import he_normal, zero_biases
from .network import Network
from .registry import register_rows


class MLPConv(NamedTuple):
    """A convolution and two 1 × 1 behind it; the last layer of a network has as many channels as there are classes."""

    channels: tuple[int, ...]
    window: int
    stride: int
    padding: int
    dropout: bool = False  # behind the pooling that follows


ROWS = {
    "nin": (
        MLPConv((96, 96, 96), 11, 4, 0),
        MLPConv((256, 256, 256), 5, 1, 2),
        MLPConv((384, 384, 384), 3, 1, 1, dropout=True),
        MLPConv((1024, 1024), 3, 1, 1),
    )
}
CIFAR_ROWS = {
    "nin_cifar": (
        MLPConv((192, 160, 96), 5, 1, 2, dropout=True),
        MLPConv((192, 192, 192), 5, 1, 2, dropout=True),
        MLPConv((192, 192), 3, 1, 1),
    )
}


class NiN(Network):
    """mlpconv layers with max pooling between them, then global average pooling; no linear layer.

    The pooling has windows of 3 × 3 with stride 2, of which the last may stand over the edge: 32 → 16 → 8. Each
    convolution has a ReLU, the last one too (equation 2).
    The second pooling of nin_cifar is of maxima, as section 4 has it; the released definition takes means there.
    Weights begin as He et al. 2015: the paper sets them by hand, and does not say how.
    """

    def __init__(self, row: tuple[MLPConv, ...], num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.features = nn.Sequential()
        for layer in row:
            windows = [(layer.window, layer.stride, layer.padding), (1, 1, 0), (1, 1, 0)]
            widths = layer.channels if layer is not row[-1] else (*layer.channels, num_classes)
            for channels, window in zip(widths, windows, strict=True):
                self.features.append(nn.Conv2d(in_channels, channels, *window)).append(nn.ReLU())
                in_channels = channels
            self.stages += (f"features.{len(self.features) - 1}",)
            if layer is not row[-1]:
                self.features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            if layer.dropout:
                self.features.append(nn.Dropout(dropout))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        he_normal(self, "fan_in")
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.avgpool(self.features(x)).flatten(1)


def build_nin(row: tuple[MLPConv, ...], num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> NiN:
    """Network in network. dropout: behind both poolings of nin_cifar, behind the last of nin."""
    return NiN(row, num_classes, in_channels, dropout)


register_rows(ROWS, build_nin, input_shape=(3, 227, 227), family="nin")
register_rows(CIFAR_ROWS, build_nin, input_shape=(3, 32, 32), family="nin", num_classes=10)
