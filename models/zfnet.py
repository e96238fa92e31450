"""ZFNet: AlexNet with a finer first layer, found by looking at what AlexNet's layers respond to.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", ECCV, arXiv 1311.2901, figure 3: 7 × 7
windows of stride 2 in the place of 11 × 11 of stride 4, stride 2 in the second convolution, and no groups, since one
GPU holds it all.
"""

from __future__ import annotations

from minicnn import Tensor, nn

from .alexnet import classifier, response_norm
from .initial import gaussian, zero_biases
from .network import Network
from .registry import register


def pool() -> nn.MaxPool2d:
    """3 × 3 windows of stride 2. The last may stand over the edge: figure 3 has 110 → 55 → 26 → 13 → 6."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class ZFNet(Network):
    """Five convolutions and three linear layers; 62,357,608 parameters.

    Order: convolution, ReLU, pooling, response norm (caption of figure 3), where AlexNet normalises before it pools.
    The figure gives the first map as 110 × 110, which takes a border of one around 224 × 224. The constants of the
    response norm are AlexNet's; the paper names none.
    Weights N(0, 0.01²), biases 0 (section 3: "initialized to 10⁻²", read as the deviation).
    """

    stages = ("features.2", "features.6", "features.14")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 96, 7, stride=2, padding=1), nn.ReLU(), pool(), response_norm(),
            nn.Conv2d(96, 256, 5, stride=2), nn.ReLU(), pool(), response_norm(),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), pool(),
        )  # fmt: skip
        with nn.init.skip():  # these are most of the weights, and get their numbers below
            self.classifier = classifier(256 * 6 * 6, num_classes, dropout)
        gaussian(self, 0.01)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


@register(input_shape=(3, 224, 224), family="zfnet")
def zfnet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> ZFNet:
    """ZFNet, for images (in_channels, 224, 224). dropout: before the hidden linear layers."""
    return ZFNet(num_classes, in_channels, dropout)
