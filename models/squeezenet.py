"""SqueezeNet: AlexNet's accuracy with fifty times fewer parameters.

Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and < 0.5MB model size", arXiv 1602.07360, table 1. squeezenet1_1 is the authors' later release: a smaller first
convolution and pooling two modules earlier, 2.3 times fewer multiply-adds. Names as torchvision's.
"""

from __future__ import annotations

from minicnn import Tensor, nn, ops

from .initial import he_uniform, zero_biases
from .network import Network
from .registry import register_rows

# The first convolution's (channels, window); then the squeeze width of each fire module, and P for pooling. A module's
# expand layers have four times as many channels each.
ROWS: dict[str, tuple] = {
    "squeezenet1_0": ((96, 7), ("P", 16, 16, 32, "P", 32, 48, 48, 64, "P", 64)),
    "squeezenet1_1": ((64, 3), ("P", 16, 16, "P", 32, 32, "P", 48, 48, 64, 64)),
}


class Fire(nn.Module):
    """1 × 1 convolution to few channels ("squeeze"), then 1 × 1 and 3 × 3 side by side ("expand"), all with ReLU."""

    def __init__(self, in_channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x, activation="relu")
        return ops.concat([self.expand1x1(x, activation="relu"), self.expand3x3(x, activation="relu")], axis=1)


class SqueezeNet(Network):
    """A convolution, eight fire modules with poolings between them, a 1 × 1 convolution to the classes, and its means.

    Poolings are 3 × 3 with stride 2, and the last window may stand over the edge. nn.Dropout stands behind fire9.
    Weights as torchvision: He's uniform, N(0, 0.01²) in the last convolution; biases 0.
    """

    def __init__(self, row: tuple, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        (channels, size), plan = row
        self.features = nn.Sequential(nn.Conv2d(in_channels, channels, size, stride=2), nn.ReLU())
        for squeeze in plan:
            if squeeze == "P":
                self.features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
                self.stages += (f"features.{len(self.features) - 1}",)
            else:
                self.features.append(Fire(channels, squeeze, 4 * squeeze))
                channels = 8 * squeeze
        self.stages += (f"features.{len(self.features) - 1}",)
        last = nn.Conv2d(channels, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        he_uniform(self)
        zero_biases(self)
        nn.init.normal_(last.weight, 0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


def build_squeezenet(row: tuple, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> SqueezeNet:
    """SqueezeNet. dropout: behind the last fire module."""
    return SqueezeNet(row, num_classes, in_channels, dropout)


register_rows(ROWS, build_squeezenet, input_shape=(3, 224, 224), family="squeezenet")
