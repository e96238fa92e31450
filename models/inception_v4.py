"""Inception-v4: the Inception of v3 made uniform, wider and deeper, once nothing forced it to be cut into machines.

Szegedy, Ioffe, Vanhoucke and Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual connections on
learning", arXiv 1602.07261, figures 3 to 9. With the names of timm, whose published weights it takes.

The idea: earlier Inceptions carried the marks of a distributed trainer that could not hold them whole. Without it,
each size of the map gets one kind of module, repeated: A at 35 × 35, B at 17 × 17, C at 8 × 8, and between them
reductions that lose nothing, because a strided convolution and a pool halve the map side by side. The stem, too, is
made of such branches. The same paper asks whether residual connections make this better: see inception_resnet.py.

Pools average what is there and do not count padding, as TensorFlow did when the weights were trained.
"""

from __future__ import annotations

from functools import partial

from minicnn import Tensor, ops
from minicnn.nn import AdaptiveAvgPool2d, AvgPool2d, Dropout, Linear, MaxPool2d, Module, Sequential

from .branches import BasicConv2d, Branches, Conv, Rows, Steps
from .network import Network
from .registry import register

average = partial(AvgPool2d, 3, stride=1, padding=1, count_include_pad=False)
halve = partial(MaxPool2d, 3, stride=2)

# Behind three plain convolutions, figure 3: branches by their names.
STEM: tuple[dict[str, Steps], ...] = (
    {"maxpool": (halve,), "conv": (Conv(96, 3, 2),)},
    {
        "branch0": (Conv(64), Conv(96, 3, padding=0)),
        "branch1": (Conv(64), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, padding=0)),
    },
    {"conv": (Conv(192, 3, 2),), "maxpool": (halve,)},
)
# Figures 4, 7 (with k, l, m, n of table 1), 5 and 8: branches from left to right, 1 × 7 and 7 × 1 in the order of the
# released network.
A: Rows = (
    (Conv(96),),
    (Conv(64), Conv(96, 3)),
    (Conv(64), Conv(96, 3), Conv(96, 3)),
    (average, Conv(96)),
)
REDUCTION_A: Rows = (
    (Conv(384, 3, 2),),
    (Conv(192), Conv(224, 3), Conv(256, 3, 2)),
    (halve,),
)
B: Rows = (
    (Conv(384),),
    (Conv(192), Conv(224, (1, 7)), Conv(256, (7, 1))),
    (Conv(192), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))),
    (average, Conv(128)),
)
REDUCTION_B: Rows = (
    (Conv(192), Conv(192, 3, 2)),
    (Conv(256), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, 2)),
    (halve,),
)
MODULES: tuple[dict[str, Steps] | Rows, ...] = (*STEM, *4 * (A,), REDUCTION_A, *7 * (B,), REDUCTION_B)


class InceptionC(Module):
    """Figure 6, at 8 × 8: two of its branches fork at the end, into 1 × 3 and 3 × 1 side by side."""

    out_channels = 1536

    def __init__(self, in_channels: int):
        super().__init__()

        def conv(channels: int, out_channels: int, r: int = 1, s: int = 1) -> BasicConv2d:
            return BasicConv2d(channels, out_channels, (r, s), padding=(r // 2, s // 2))

        self.branch0 = conv(in_channels, 256)
        self.branch1_0 = conv(in_channels, 384)
        self.branch1_1a = conv(384, 256, 1, 3)
        self.branch1_1b = conv(384, 256, 3, 1)
        self.branch2_0 = conv(in_channels, 384)
        self.branch2_1 = conv(384, 448, 3, 1)
        self.branch2_2 = conv(448, 512, 1, 3)
        self.branch2_3a = conv(512, 256, 1, 3)
        self.branch2_3b = conv(512, 256, 3, 1)
        self.branch3 = Sequential(average(), conv(in_channels, 256))

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1_0(x)
        two = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        forks = [self.branch1_1a(one), self.branch1_1b(one), self.branch2_3a(two), self.branch2_3b(two)]
        return ops.concat([self.branch0(x), *forks, self.branch3(x)], axis=1)


class InceptionV4(Network):
    """Stem, 4 A, reduction, 7 B, reduction, 3 C, global average, dropout, one linear layer (figure 9)."""

    stages = ("features.2", "features.3", "features.9", "features.17", "features.21")

    def __init__(self, num_classes: int, in_channels: int, dropout: float):
        super().__init__()
        self.features = Sequential(
            BasicConv2d(in_channels, 32, 3, stride=2), BasicConv2d(32, 32, 3), BasicConv2d(32, 64, 3, padding=1)
        )
        channels = 64
        for rows in MODULES:
            module = Branches(channels, rows)
            self.features.append(module)
            channels = module.out_channels
        for _ in range(3):
            self.features.append(InceptionC(channels))
            channels = InceptionC.out_channels
        self.global_pool = AdaptiveAvgPool2d(1)
        self.head_drop = Dropout(dropout)
        self.last_linear = Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.global_pool(self.features(x)).flatten(1)
        return self.last_linear(self.head_drop(x))


@register(input_shape=(3, 299, 299), family="inception")
def inception_v4(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> InceptionV4:
    """Inception-v4: 42,679,816 parameters. The paper keeps 0.8 of what enters the linear layer."""
    return InceptionV4(num_classes, in_channels, dropout)
