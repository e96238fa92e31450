"""GoogLeNet, also known as Inception-v1: the winner of ILSVRC 2014, with a ninth of AlexNet's parameters.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich 2014, "Going deeper with convolutions",
arXiv 1409.4842, figures 2 and 3, table 1.

The idea: which size of kernel is right? All of them. A module looks at its input through 1 × 1, 3 × 3 and 5 × 5 at
once, and the next layer chooses. What makes that affordable is a 1 × 1 convolution before each large one: 5 × 5 looks
at 16 channels, to which 192 have been reduced. Two auxiliary classifiers in the middle send gradient to the early
layers while the network is trained; afterwards they are idle.

                      x
       ┌──────┬───────┴──────┬─────────┐
      1×1    1×1            1×1     max 3×3
       │     3×3            5×5       1×1
       └──────┴───────┬──────┴─────────┘
                 concatenate

`googlenet_2014` is the paper's. `googlenet` is torchvision's, whose published weights it takes: batch normalisation
(ε 1e-3) in the place of local response normalisation and biases, 3 × 3 in the place of 5 × 5 (a slip that the weights
have made permanent), windows of 2 × 2 in the last max pool, and uneven bins before the auxiliary heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from minicnn import Tensor, nn
from minicnn.errors import ShapeError

from .branches import BasicConv2d, Branches, Conv, as_in_tensorflow
from .initial import he_normal, zero_biases
from .network import Network
from .registry import register

Unit = Callable[..., nn.Module]
Pool = Callable[[], nn.Module]

# Table 1: 1×1, 3×3 after its reduction, 5×5 after its reduction, 1×1 after the pool.
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)  # 112 to 56, 28, 14, 7: the last window hangs over the edge
lrn = partial(nn.LocalResponseNorm, 5, divide_alpha=False)  # constants as in AlexNet, but k = 1; the paper gives none


class GoogLeNetOutput(NamedTuple):
    """What training sees. The paper's loss is that of logits + 0.3 · aux1's + 0.3 · aux2's (section 5)."""

    logits: Tensor
    aux1: Tensor  # of the head on 4a
    aux2: Tensor  # of the head on 4d


class AuxiliaryHead(nn.Module):
    """Pool to 4 × 4, 1 × 1 convolution to 128 channels, two linear layers (section 5)."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float, unit: Unit, pool: Pool):
        super().__init__()
        self.pool = pool()
        self.conv = unit(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if (pooled := self.pool(x)).shape[2:] != (4, 4):
            error = ShapeError(f"an auxiliary head takes a map of 14 × 14, got shape {x.shape}")
            error.advice = "train with images of 224 × 224, or build the network with aux_logits=False"
            raise error
        x = self.fc1(self.conv(pooled).flatten(1), relu=True)
        return self.fc2(self.dropout(x))


class _GoogLeNet(Network):
    """What both have in common: nine modules, and the way from the stem to the logits."""

    prefix: str  # of the modules' names

    def add_modules(self, unit: Unit, branch: str, large: int, maxpool4: Pool) -> None:
        """All of the table, their branches named branch1 to branch4, and the two pools between them."""
        in_channels = 192
        for name, (n1, reduce3, n3, reduce5, n5, projection) in TABLE.items():
            if name in ("4a", "5a"):
                self.add_module(f"maxpool{int(name[0]) - 1}", pool() if name == "4a" else maxpool4())
            rows = (
                (Conv(n1),),
                (Conv(reduce3), Conv(n3, 3)),
                (Conv(reduce5), Conv(n5, large)),
                (partial(nn.MaxPool2d, 3, stride=1, padding=1), Conv(projection)),
            )
            inception = Branches(in_channels, {f"{branch}{i}": steps for i, steps in enumerate(rows, 1)}, unit)
            self.add_module(self.prefix + name, inception)
            in_channels = inception.out_channels

    def add_heads(self, wanted: bool, num_classes: int, dropout: float, unit: Unit, pool: Pool) -> None:
        self.aux1: Any = AuxiliaryHead(512, num_classes, dropout, unit, pool) if wanted else None
        self.aux2: Any = AuxiliaryHead(528, num_classes, dropout, unit, pool) if wanted else None

    def through(self, names: str, x: Tensor) -> Tensor:
        for name in names.split():
            x = getattr(self, self.prefix + name)(x)
        return x

    def behind_stem(self, x: Tensor) -> Any:
        """The stem's output (N, 192, 28, 28) -> logits, in training with those of the auxiliary heads."""
        x = self.maxpool3(self.through("3a 3b", x))
        at_4a = self.through("4a", x)
        at_4d = self.through("4b 4c 4d", at_4a)
        x = self.maxpool4(self.through("4e", at_4d))
        x = self.avgpool(self.through("5a 5b", x)).flatten(1)
        logits = self.fc(self.dropout(x))
        if not self.training or self.aux1 is None:
            return logits
        return GoogLeNetOutput(logits, self.aux1(at_4a), self.aux2(at_4d))


def conv_relu(in_channels: int, out_channels: int, kernel_size: Any, stride: int = 1, padding: Any = 0) -> nn.Module:
    """The paper's unit, older than batch normalisation. Convolutions that reduce have a ReLU, too."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding), nn.ReLU())


class GoogLeNetOf2014(_GoogLeNet):
    """22 layers with parameters. How these start is not said: here as in He et al. 2015, lest 22 let little through."""

    stages = ("stem.0", "stem.4", "i3b", "i4e", "i5b")
    prefix = "i"

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool, dropout: float, dropout_aux: float):
        super().__init__()
        self.stem = nn.Sequential(
            conv_relu(in_channels, 64, 7, stride=2, padding=3), pool(), lrn(),
            conv_relu(64, 64, 1), conv_relu(64, 192, 3, padding=1), lrn(), pool(),
        )  # fmt: skip
        self.add_modules(conv_relu, "b", 5, pool)
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # 7 × 7 of images of 224 × 224
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        self.add_heads(aux_logits, num_classes, dropout_aux, conv_relu, partial(nn.AvgPool2d, 5, stride=3))
        he_normal(self, "fan_in")
        zero_biases(self)

    def forward(self, x: Tensor) -> Any:
        return self.behind_stem(self.stem(x))


class GoogLeNet(_GoogLeNet):
    """torchvision's. transform_input: renormalise the images, as its weights want them: see as_in_tensorflow."""

    stages = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
    prefix = "inception"

    def __init__(
        self, num_classes: int, in_channels: int, aux_logits: bool, dropout: float, dropout_aux: float,
        transform_input: bool,
    ):  # fmt: skip
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = pool()
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = pool()
        self.add_modules(BasicConv2d, "branch", 3, partial(nn.MaxPool2d, 2, ceil_mode=True))
        self.add_heads(aux_logits, num_classes, dropout_aux, BasicConv2d, partial(nn.AdaptiveAvgPool2d, 4))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Any:
        x = as_in_tensorflow(x) if self.transform_input else x
        x = self.maxpool1(self.conv1(x))
        return self.behind_stem(self.maxpool2(self.conv3(self.conv2(x))))


@register(input_shape=(3, 224, 224), family="inception")
def googlenet_2014(
    num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.4,
    dropout_aux: float = 0.7,
) -> GoogLeNetOf2014:  # fmt: skip
    """GoogLeNet as published: 6,998,552 parameters and 6,379,728 in the auxiliary heads."""
    return GoogLeNetOf2014(num_classes, in_channels, aux_logits, dropout, dropout_aux)


@register(input_shape=(3, 224, 224), family="inception")
def googlenet(
    num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.2,
    dropout_aux: float = 0.7, transform_input: bool = False,
) -> GoogLeNet:  # fmt: skip
    """torchvision's GoogLeNet: 6,624,904 parameters and 6,379,984 in the auxiliary heads."""
    return GoogLeNet(num_classes, in_channels, aux_logits, dropout, dropout_aux, transform_input)
