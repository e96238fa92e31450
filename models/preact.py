"""ResNet with pre-activation: batch norm and ReLU stand before each convolution, and nothing on the way of x.

He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks", ECCV, arXiv 1603.05027, figures 1 (b) and
4 (e), and the appendix. Names as in timm's resnetv2; the stride of a bottleneck stands in its 3 × 3, as there.

Where sizes change, the shortcut of a bottleneck is a 1 × 1 convolution of relu(norm(x)). Networks of basic blocks, for
CIFAR, keep the shortcut without parameters of 2015, which takes x itself. (In the very first block, the appendix would
let the shortcut begin behind the first ReLU too; here it is x, as in all others.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minicnn import Tensor, nn, ops

from .initial import gaussian, he_normal, zero_biases
from .network import Network
from .registry import register_rows
from .resnet import conv1x1, conv3x3
from .resnet_cifar import PaddedShortcut


class Row(NamedTuple):
    """One network."""

    block: Callable[..., PreActBlock]
    depths: tuple[int, ...]  # blocks in each stage
    widths: tuple[int, ...]  # channels that come out of each stage
    padded: bool = False  # the shortcut without parameters


class NormReLU(nn.BatchNorm2d):
    """relu(batch norm(x)), in one pass."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, activation="relu")


class PreActBlock(nn.Module):
    """What blocks share: the shortcut and the sum."""

    def finish(self, in_channels: int, channels: int, stride: int, padded: bool, drop_path: float) -> None:
        """The last lines of __init__: parameters of the shortcut stand behind those of the main path."""
        self.padded, self.drop_path = padded, nn.StochasticDepth(drop_path)
        self.downsample: nn.Module | None = None
        if padded and in_channels != channels:
            self.downsample = PaddedShortcut(in_channels, channels, stride)
        elif in_channels != channels:
            self.downsample = named(conv=conv1x1(in_channels, channels, stride))

    def add(self, x: Tensor, activated: Tensor, y: Tensor) -> Tensor:
        """y, and x or what the shortcut makes of it or of relu(norm(x))."""
        shortcut = x if self.downsample is None else self.downsample(x if self.padded else activated)
        return self.drop_path(y) + shortcut


class PreActBasic(PreActBlock):
    """Two 3 × 3 convolutions; wide_resnet.py has dropout before the second."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, padded: bool, drop_path: float = 0.0, dropout: float = 0.0
    ):
        super().__init__()
        self.norm1 = NormReLU(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.norm2 = NormReLU(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(channels, channels)
        self.finish(in_channels, channels, stride, padded, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.norm1(x)
        return self.add(x, activated, self.conv2(self.dropout(self.norm2(self.conv1(activated)))))


class PreActBottleneck(PreActBlock):
    """1 × 1 to a quarter of the channels, 3 × 3, 1 × 1."""

    def __init__(self, in_channels: int, channels: int, stride: int, padded: bool, drop_path: float):
        super().__init__()
        self.norm1 = NormReLU(in_channels)
        self.conv1 = conv1x1(in_channels, channels // 4)
        self.norm2 = NormReLU(channels // 4)
        self.conv2 = conv3x3(channels // 4, channels // 4, stride)
        self.norm3 = NormReLU(channels // 4)
        self.conv3 = conv1x1(channels // 4, channels)
        self.finish(in_channels, channels, stride, padded, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.norm1(x)
        y = self.conv2(self.norm2(self.conv1(activated)))
        return self.add(x, activated, self.conv3(self.norm3(y)))


class Head(nn.Module):
    """The mean of each map, dropout, and a linear layer, which timm's networks have as a 1 × 1 convolution."""

    def __init__(self, channels: int, num_classes: int, dropout: float, as_conv: bool):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc: nn.Module = nn.Conv2d(channels, num_classes, 1) if as_conv else nn.Linear(channels, num_classes)
        gaussian(self, 0.01)
        zero_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(ops.global_avg_pool2d(x))
        return self.fc(x).flatten(1) if isinstance(self.fc, nn.Conv2d) else self.fc(x.flatten(1))


class PreActResNet(Network):
    """Stem, stages of blocks, a last norm with ReLU (without which the sum would go into the mean), head.

    Four stages are for ImageNet, and begin with a 7 × 7 convolution of stride 2 and max pooling, without norm; three
    are for CIFAR, and begin with a 3 × 3 convolution. Weights begin as N(0, 2/fan_out), in the head as N(0, 0.01²).
    """

    def __init__(
        self,
        row: Row,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
    ):
        super().__init__()
        for_imagenet = len(row.depths) == 4
        if for_imagenet:
            before = 64
            self.stem = named(conv=nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False), pool=nn.MaxPool2d(3, 2, 1))
        else:
            before = 16
            self.stem = named(conv=conv3x3(in_channels, 16))
        stages, number = nn.Sequential(), 0
        for width, depth in zip(row.widths, row.depths, strict=True):
            blocks = nn.Sequential()
            for position in range(depth):
                number += 1
                stride = 2 if position == 0 and len(stages) > 0 else 1
                drop_path = stochastic_depth_prob * number / sum(row.depths)
                blocks.append(row.block(before, width, stride, row.padded, drop_path))
                before = width
            stages.append(named(blocks=blocks))
        self.stages = tuple(f"stages.{stage}" for stage in range(len(stages)))
        self.add_module("stages", stages)  # which timm calls so; the attribute names its parts, as in all networks
        self.norm = NormReLU(before)
        he_normal(self)
        self.head = Head(before, num_classes, dropout, as_conv=for_imagenet)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules one after the other, with names of their own."""
    found = nn.Sequential()
    for name, module in modules.items():
        found.add_module(name, module)
    return found


def build_preact(
    row: Row,
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.0,
    stochastic_depth_prob: float = 0.0,
) -> PreActResNet:
    """A residual network with pre-activation. dropout: before the linear layer; the paper has none.

    stochastic_depth_prob: how often the last block drops its branch; block l of L does with l/L of it (Huang et al.
    2016, "Deep networks with stochastic depth", section 3).
    """
    return PreActResNet(row, num_classes, in_channels, dropout, stochastic_depth_prob)


WIDTHS = (256, 512, 1024, 2048)
ROWS = {
    "resnet_v2_50": Row(PreActBottleneck, (3, 4, 6, 3), WIDTHS),
    "resnet_v2_101": Row(PreActBottleneck, (3, 4, 23, 3), WIDTHS),
    "resnet_v2_152": Row(PreActBottleneck, (3, 8, 36, 3), WIDTHS),
}
CIFAR_ROWS = {  # depth 6·n + 2 or, of bottlenecks, 9·n + 2
    "preact_resnet20_cifar": Row(PreActBasic, (3, 3, 3), (16, 32, 64), padded=True),
    "preact_resnet110_cifar": Row(PreActBasic, (18, 18, 18), (16, 32, 64), padded=True),
    "preact_resnet164_cifar": Row(PreActBottleneck, (18, 18, 18), (64, 128, 256)),
    "preact_resnet1001_cifar": Row(PreActBottleneck, (111, 111, 111), (64, 128, 256)),
}
register_rows(ROWS, build_preact, input_shape=(3, 224, 224), family="preact_resnet")
register_rows(CIFAR_ROWS, build_preact, input_shape=(3, 32, 32), family="preact_resnet", num_classes=10)
