"""ResNet for ImageNet: each block learns what to add to its input.

He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", CVPR, arXiv 1512.03385, figure 5 and
table 1. As torchvision builds them: with its names, and the stride of a bottleneck in the 3 × 3 convolution. The paper
has it in the first 1 × 1 (same parameters, 3.8 instead of 4.1 billion multiply-adds): resnet50_2015.
What later papers made of the block stands in wide_resnet.py, resnext.py and senet.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minicnn import Tensor, nn, ops
from minicnn.errors import ArgumentError

from .initial import he_normal
from .network import Network
from .registry import register_rows

STEMS = {"imagenet": (7, 2), "cifar": (3, 1)}  # size and stride of the first convolution


class Row(NamedTuple):
    """One network: its block, how many of them stand in each stage, and what is particular to the block."""

    block: type[ResidualBlock]
    depths: tuple[int, ...]
    groups: int = 1  # of the 3 × 3 convolution, each of base_width channels in the first stage
    base_width: int = 64
    stride_in_1x1: bool = False  # in the first 1 × 1 of a bottleneck instead of its 3 × 3
    se: Callable[[int], nn.Module] | None = None  # makes what scales the channels of the branch
    width: int = 64  # channels of the first stage; doubled in each that follows


def conv3x3(in_channels: int, channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3 × 3 convolution that keeps the size, up to its stride; a batch norm goes with it, so it has no bias."""
    return nn.Conv2d(in_channels, channels, 3, stride, 1, groups=groups, bias=False)


def conv1x1(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """1 × 1 convolution without bias."""
    return nn.Conv2d(in_channels, channels, 1, stride, bias=False)


class ResidualBlock(nn.Module):
    """What blocks share: the shortcut, and the end  relu(drop_path(se(norm(y))) + shortcut(x)).

    The shortcut is x itself, unless sizes change. se is there in senet.py only; drop_path drops the branch of an image.
    """

    expansion: int  # channels of the result for each of `channels`
    last_norm: str

    def __init__(self, row: Row, in_channels: int, channels: int, stride: int, drop_path: float):
        """drop_path: how often the branch is dropped."""
        super().__init__()

    def finish(self, in_channels: int, channels: int, stride: int, drop_path: float, se: Any = None) -> None:
        """The last lines of __init__: these parameters stand behind those of the main path."""
        self.se = se
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = self.shortcut(in_channels, channels, stride)
        self.drop_path = nn.StochasticDepth(drop_path)

    def shortcut(self, in_channels: int, channels: int, stride: int) -> nn.Module:
        """Where sizes change, a 1 × 1 convolution and batch norm: the paper's option B."""
        return nn.Sequential(conv1x1(in_channels, channels, stride), nn.BatchNorm2d(channels))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The end of the block, in one pass if nothing comes between norm and sum."""
        norm = getattr(self, self.last_norm)
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.se is None and not (self.training and self.drop_path.p > 0):
            return norm(y, shortcut, "relu")
        y = norm(y)
        return ops.relu(self.drop_path(y if self.se is None else self.se(y)) + shortcut)


class BasicBlock(ResidualBlock):
    """Two 3 × 3 convolutions, the first of which has the stride."""

    expansion, last_norm = 1, "bn2"

    def __init__(self, row: Row, in_channels: int, channels: int, stride: int, drop_path: float):
        super().__init__(row, in_channels, channels, stride, drop_path)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.finish(in_channels, channels, stride, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x), activation="relu")
        return self.add(x, self.conv2(y))


class Bottleneck(ResidualBlock):
    """1 × 1 to fewer channels, 3 × 3, 1 × 1 to four times `channels`. The stride stands in the 3 × 3, or as in
    2015 in the first 1 × 1 (stride_in_1x1)."""

    expansion, last_norm = 4, "bn3"

    def __init__(self, row: Row, in_channels: int, channels: int, stride: int, drop_path: float):
        super().__init__(row, in_channels, channels, stride, drop_path)
        width, out_channels = channels * row.base_width // 64 * row.groups, channels * self.expansion
        first, second = (stride, 1) if row.stride_in_1x1 else (1, stride)
        self.conv1 = conv1x1(in_channels, width, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, second, row.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.finish(in_channels, out_channels, stride, drop_path, row.se and row.se(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x), activation="relu")
        y = self.bn2(self.conv2(y), activation="relu")
        return self.add(x, self.conv3(y))


class ResNet(Network):
    """Stem, stages of blocks, global average pooling, one linear layer. The options are those of build_resnet."""

    def __init__(
        self, row: Row, num_classes: int, in_channels: int, stem: str, dropout: float, stochastic_depth_prob: float
    ):
        super().__init__()
        if stem not in tuple(STEMS):
            raise ArgumentError(f'a ResNet has stem="imagenet" or stem="cifar", not {stem!r}')
        size, stride = STEMS[stem]
        self.conv1 = nn.Conv2d(in_channels, row.width, size, stride, size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(row.width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.stages = tuple(f"layer{stage + 1}" for stage in range(len(row.depths)))
        before, width, number = row.width, row.width, 0
        for name, depth in zip(self.stages, row.depths, strict=True):
            blocks = nn.Sequential()
            for position in range(depth):
                number += 1
                drop_path = stochastic_depth_prob * number / sum(row.depths)
                stride = 2 if position == 0 and name != "layer1" else 1
                blocks.append(row.block(row, before, width, stride, drop_path))
                before = width * row.block.expansion
            self.add_module(name, blocks)
            width *= 2
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before, num_classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x), activation="relu"))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))


def build_resnet(
    row: Row,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    dropout: float = 0.0,
    stochastic_depth_prob: float = 0.0,
    zero_init_residual: bool = False,
) -> ResNet:
    """A residual network.

    stem: "imagenet", a 7 × 7 convolution of stride 2 and max pooling, or "cifar", a 3 × 3 convolution only, for images
    of about 32 × 32 (He et al. 2016, section 4.2). dropout: before the linear layer; the paper has none.
    stochastic_depth_prob: how often the last block drops its branch; block l of L does with l/L of it (Huang et al.
    2016, "Deep networks with stochastic depth", section 3). zero_init_residual: the last batch norm of each branch
    begins with weight 0 (Goyal et al. 2017, "Accurate, large minibatch SGD", section 5.1).
    """
    model = ResNet(row, num_classes, in_channels, stem, dropout, stochastic_depth_prob)
    if zero_init_residual:
        for module in model.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(getattr(module, module.last_norm).weight)
    return model


ROWS = {
    "resnet18": Row(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Row(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Row(Bottleneck, (3, 4, 6, 3)),
    "resnet50_2015": Row(Bottleneck, (3, 4, 6, 3), stride_in_1x1=True),
    "resnet101": Row(Bottleneck, (3, 4, 23, 3)),
    "resnet152": Row(Bottleneck, (3, 8, 36, 3)),
}
register_rows(ROWS, build_resnet, input_shape=(3, 224, 224), family="resnet")
