"""AlexNet: as published in 2012, on two GPUs, and as torchvision has it, on one.

Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks", NIPS,
section 3.5 and figure 2. torchvision's is that of Krizhevsky 2014, "One weird trick for parallelizing convolutional
neural networks", arXiv 1404.5997: no response normalisation, no groups, other widths.
"""

from __future__ import annotations

from minicnn import Tensor, nn

from .initial import gaussian, zero_biases
from .network import Network
from .registry import register


def classifier(in_features: int, num_classes: int, dropout: float) -> nn.Sequential:
    """The three linear layers of all networks in this file, and of zfnet.py."""
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(in_features, 4096), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(),
        nn.Linear(4096, num_classes),
    )  # fmt: skip


def response_norm() -> nn.LocalResponseNorm:
    """Section 3.3: x / (2 + 1e-4·Σ x²)^0.75, over five channels. Caffe and torch divide α by five."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, divide_alpha=False)


class AlexNet2012(Network):
    """Five convolutions and three linear layers; 60,965,224 parameters.

    Each GPU had one half of the channels, and convolutions 2, 4 and 5 saw those of their own GPU only: two groups.
    Order: convolution, ReLU, response norm, pooling (sections 3.3 and 3.4); windows of 3 overlap, with stride 2.
    Images are 227 × 227: with the 224 of the paper, the first convolution does not give the 55 × 55 of its figure.
    Weights N(0, 0.01²), biases 1 where the next ReLU should let something through from the start: in convolutions 2, 4,
    5 and in the hidden linear layers; else 0 (section 5).
    """

    stages = ("features.3", "features.7", "features.14")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 96, 11, stride=4), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        with nn.init.skip():  # these are most of the weights, and get their numbers below
            self.classifier = classifier(256 * 6 * 6, num_classes, dropout)
        gaussian(self, 0.01)
        zero_biases(self)
        for layer in (*(self.features[i] for i in (4, 10, 12)), self.classifier[1], self.classifier[4]):
            nn.init.ones_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class AlexNet(Network):
    """torchvision's network; 61,100,840 parameters. Its pooling to 6 × 6 takes images of any size from 63 on."""

    stages = ("features.2", "features.5", "features.12")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = classifier(256 * 6 * 6, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register(input_shape=(3, 227, 227), family="alexnet")
def alexnet_2012(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet2012:
    """AlexNet as published, for images (in_channels, 227, 227). dropout: before the hidden linear layers."""
    return AlexNet2012(num_classes, in_channels, dropout)


@register(input_shape=(3, 224, 224), family="alexnet")
def alexnet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:
    """AlexNet as torchvision has it. dropout: before the hidden linear layers."""
    return AlexNet(num_classes, in_channels, dropout)
