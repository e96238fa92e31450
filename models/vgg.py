"""VGG: nothing but 3 × 3 convolutions, in stages between which the image is halved and the channels are doubled.

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", ICLR, arXiv
1409.1556, table 1. A number counts the layers that have weights: convolutions and linear layers. As torchvision has
them: with its names, pooling to 7 × 7 before the linear layers (so images of any size from 32 on are taken), and
variants with batch norm, which the paper has not.
"""

from __future__ import annotations

from minicnn import Tensor, nn

from .initial import gaussian, he_normal, zero_biases
from .network import Network
from .registry import register_rows

WIDTHS = (64, 128, 256, 512, 512)
ROWS = {  # convolutions in each of the five stages
    "vgg11": (1, 1, 2, 2, 2),  # column A
    "vgg13": (2, 2, 2, 2, 2),  # B
    "vgg16": (2, 2, 3, 3, 3),  # D; C has 1 × 1 windows in the third convolution of a stage, and no name here
    "vgg19": (2, 2, 4, 4, 4),  # E
}


class VGG(Network):
    """Stages of convolutions, each with a ReLU, then max pooling; three linear layers.

    batch_norm: between convolution and ReLU; the convolution keeps its bias.
    Weights as torchvision: convolutions N(0, 2/fan_out), linear layers N(0, 0.01²), biases 0. The paper has N(0, 0.01²)
    everywhere, from which only column A could be trained; the others began with layers of A (section 3.1).
    """

    def __init__(self, depths: tuple[int, ...], batch_norm: bool, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.features = nn.Sequential()
        with nn.init.skip():  # all weights get their numbers once, below
            for depth, width in zip(depths, WIDTHS, strict=True):
                for _ in range(depth):
                    self.features.append(nn.Conv2d(in_channels, width, 3, padding=1))
                    if batch_norm:
                        self.features.append(nn.BatchNorm2d(width))
                    self.features.append(nn.ReLU())
                    in_channels = width
                self.features.append(nn.MaxPool2d(2))
                self.stages += (f"features.{len(self.features) - 1}",)
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(dropout),
                nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(dropout),
                nn.Linear(4096, num_classes),
            )  # fmt: skip
        he_normal(self.features)
        gaussian(self.classifier, 0.01)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def build_vgg(depths: tuple[int, ...], num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG as published. dropout: behind the hidden linear layers."""
    return VGG(depths, False, num_classes, in_channels, dropout)


def build_vgg_bn(depths: tuple[int, ...], num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG with batch norm behind each convolution. dropout: behind the hidden linear layers."""
    return VGG(depths, True, num_classes, in_channels, dropout)


register_rows(ROWS, build_vgg, input_shape=(3, 224, 224), family="vgg")
BN_ROWS = {f"{name}_bn": depths for name, depths in ROWS.items()}
register_rows(BN_ROWS, build_vgg_bn, input_shape=(3, 224, 224), family="vgg")
