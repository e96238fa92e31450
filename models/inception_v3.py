"""Inception-v3: large kernels taken apart into small ones, until a network of 42 layers is cheaper than VGG's 16.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2015, "Rethinking the Inception architecture for computer vision", arXiv
1512.00567, table 1, figures 5 to 8 and 10. As torchvision builds it, which follows TensorFlow's release.

The idea: a convolution of 5 × 5 sees what two of 3 × 3 in a row see, at 25/18 of their cost, and n × n what 1 × n and
n × 1 see; and a map is halved without a bottleneck by a strided convolution and a pool side by side. Whoever spends
computation like this may go deeper and wider at the same cost. Also from this paper: label smoothing, and that an
auxiliary classifier with batch norm regularises rather than helps the gradient on its way.

What differs from the paper's table: the release has one 5 × 5 in the modules at 35 × 35, and behind the first pool of
the stem 1 × 1, 3 × 3 and another pool in the place of three 3 × 3. Average pools count their padding, as torchvision's
do; TensorFlow's did not, so the weights it took over from there answer slightly differently.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from minicnn import Tensor, ops
from minicnn.errors import ShapeError
from minicnn.nn import AdaptiveAvgPool2d, Dropout, Linear, MaxPool2d, Module

from .branches import BasicConv2d, Conv, as_in_tensorflow
from .network import Network
from .registry import register


class Own(NamedTuple):
    """A convolution of a module, under its name there."""

    name: str
    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1


# A branch is a chain of convolutions and pools. Two convolutions in a list look at the same map, side by side.
Branch = tuple[Any, ...]
average = partial(ops.avg_pool2d, kernel_size=3, stride=1, padding=1)
halve = partial(ops.max_pool2d, kernel_size=3, stride=2)


def at_35(projection: int) -> tuple[Branch, ...]:
    """Figure 5, with one 5 × 5 where the paper has two 3 × 3."""
    return (
        (Own("branch1x1", 64),),
        (Own("branch5x5_1", 48), Own("branch5x5_2", 64, 5)),
        (Own("branch3x3dbl_1", 64), Own("branch3x3dbl_2", 96, 3), Own("branch3x3dbl_3", 96, 3)),
        (average, Own("branch_pool", projection)),
    )


def at_17(n: int) -> tuple[Branch, ...]:
    """Figure 6: 7 × 7 as 1 × 7 and 7 × 1."""
    return (
        (Own("branch1x1", 192),),
        (Own("branch7x7_1", n), Own("branch7x7_2", n, (1, 7)), Own("branch7x7_3", 192, (7, 1))),
        (
            Own("branch7x7dbl_1", n), Own("branch7x7dbl_2", n, (7, 1)), Own("branch7x7dbl_3", n, (1, 7)),
            Own("branch7x7dbl_4", n, (7, 1)), Own("branch7x7dbl_5", 192, (1, 7)),
        ),
        (average, Own("branch_pool", 192)),
    )  # fmt: skip


AT_8: tuple[Branch, ...] = (  # figure 7: the widest maps, filled by branches that fork
    (Own("branch1x1", 320),),
    (Own("branch3x3_1", 384), [Own("branch3x3_2a", 384, (1, 3)), Own("branch3x3_2b", 384, (3, 1))]),
    (
        Own("branch3x3dbl_1", 448), Own("branch3x3dbl_2", 384, 3),
        [Own("branch3x3dbl_3a", 384, (1, 3)), Own("branch3x3dbl_3b", 384, (3, 1))],
    ),
    (average, Own("branch_pool", 192)),
)  # fmt: skip
TO_17: tuple[Branch, ...] = (  # figure 10
    (Own("branch3x3", 384, 3, 2),),
    (Own("branch3x3dbl_1", 64), Own("branch3x3dbl_2", 96, 3), Own("branch3x3dbl_3", 96, 3, 2)),
    (halve,),
)
TO_8: tuple[Branch, ...] = (
    (Own("branch3x3_1", 192), Own("branch3x3_2", 320, 3, 2)),
    (
        Own("branch7x7x3_1", 192), Own("branch7x7x3_2", 192, (1, 7)), Own("branch7x7x3_3", 192, (7, 1)),
        Own("branch7x7x3_4", 192, 3, 2),
    ),
    (halve,),
)  # fmt: skip
UP_TO_HEAD = {
    "Mixed_5b": at_35(32), "Mixed_5c": at_35(64), "Mixed_5d": at_35(64),
    "Mixed_6a": TO_17, "Mixed_6b": at_17(128), "Mixed_6c": at_17(160), "Mixed_6d": at_17(160), "Mixed_6e": at_17(192),
}  # fmt: skip
BEHIND_HEAD = {"Mixed_7a": TO_8, "Mixed_7b": AT_8, "Mixed_7c": AT_8}


class Mixed(Module):
    """Branches side by side; all their results are concatenated. out_channels: of the whole."""

    def __init__(self, in_channels: int, branches: tuple[Branch, ...]):
        super().__init__()
        self.branches, self.out_channels = branches, 0
        for branch in branches:
            channels = in_channels
            for step in branch:
                fork = step if isinstance(step, list) else [step] if isinstance(step, Own) else []
                for name, *conv in fork:
                    self.add_module(name, Conv(*conv).make(channels, BasicConv2d))
                channels = sum(own.channels for own in fork) or channels
            self.out_channels += channels

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([y for branch in self.branches for y in self._follow(branch, x)], axis=1)

    def _follow(self, branch: Branch, x: Tensor) -> list[Tensor]:
        for step in branch:
            if isinstance(step, list):  # the last one
                return [getattr(self, own.name)(x) for own in step]
            x = getattr(self, step.name)(x) if isinstance(step, Own) else step(x)
        return [x]


class AuxiliaryHead(Module):
    """At 17 × 17: pool to 5 × 5, convolve to 768 channels at one place, one linear layer."""

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5)
        self.fc = Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 17:
            error = ShapeError(f"the auxiliary head takes a map of at least 17 × 17, got shape {x.shape}")
            error.advice = "train with images of 299 × 299 or more, or build the network with aux_logits=False"
            raise error
        x = self.conv1(self.conv0(ops.avg_pool2d(x, 5, stride=3)))
        return self.fc(ops.global_avg_pool2d(x).flatten(1))


class Inception3Output(NamedTuple):
    """What training sees. The loss of the releases is that of logits + 0.4 · aux's."""

    logits: Tensor
    aux: Tensor


class InceptionV3(Network):
    """Stem, three modules at 35 × 35, five at 17 × 17, three at 8 × 8, counting those that lead there."""

    stages = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool, dropout: float, transform_input: bool):
        super().__init__()
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.maxpool2 = MaxPool2d(3, stride=2)
        channels = self._append(192, UP_TO_HEAD)
        self.AuxLogits: Any = AuxiliaryHead(channels, num_classes) if aux_logits else None
        channels = self._append(channels, BEHIND_HEAD)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.dropout = Dropout(dropout)
        self.fc = Linear(channels, num_classes)

    def _append(self, channels: int, modules: dict[str, tuple[Branch, ...]]) -> int:
        for name, branches in modules.items():
            module = Mixed(channels, branches)
            self.add_module(name, module)
            channels = module.out_channels
        return channels

    def forward(self, x: Tensor) -> Any:
        x = as_in_tensorflow(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in UP_TO_HEAD:
            x = getattr(self, name)(x)
        at_17 = x
        for name in BEHIND_HEAD:
            x = getattr(self, name)(x)
        logits = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if not self.training or self.AuxLogits is None:
            return logits
        return Inception3Output(logits, self.AuxLogits(at_17))


@register(input_shape=(3, 299, 299), family="inception")
def inception_v3(
    num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.5,
    transform_input: bool = False,
) -> InceptionV3:  # fmt: skip
    """Inception-v3: 23,834,568 parameters and 3,326,696 in the auxiliary head. transform_input: renormalise the images
    as torchvision's published weights want them, see as_in_tensorflow."""
    return InceptionV3(num_classes, in_channels, aux_logits, dropout, transform_input)
