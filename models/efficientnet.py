"""The builder of the EfficientNet family, from rows: EfficientNet, its TensorFlow, Lite and V2 variants, and MixNet.

Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML, arXiv:1905.11946.
The rows stand in efficientnet_v1.py, efficientnet_lite.py, efficientnet_v2.py and mixnet.py. Names are torchvision's
for all of them; weights in timm's names are translated by timm_names.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import Dropout, Linear, Module, Sequential, SiLU, StochasticDepth, init

from .blocks import SqueezeExcitation, Style, last_of_each_size, round_channels
from .initial import mobile
from .lukemelas_names import from_lukemelas, is_lukemelas
from .network import Network
from .timm_names import from_timm

Kernel = int | tuple[int, ...]  # several: the channels are split into that many groups, each with its own kernel


class Row(NamedTuple):
    """Blocks that follow each other in one stage. The first has the stride, the others take its channels.

    expand: how many times wider than its input a block is inside. squeeze: hidden channels of squeeze-and-excitation
    as a part of the block's input (not of its inside), 0 for none. fused: one dense convolution in the place of the
    1 × 1 that expands and the depthwise one, and no squeeze-and-excitation (EfficientNetV2).
    """

    expand: int
    kernel: Kernel
    stride: int
    channels: int
    repeats: int
    squeeze: float = 0.25
    activation: type[Module] = SiLU
    expand_kernel: Kernel = 1
    project_kernel: Kernel = 1
    fused: bool = False


Stages = tuple[tuple[Row, ...], ...]


class Table(NamedTuple):
    """One network: the stages between stem and head, the widths of these two, and how it is trained by default.

    size: height and width of the images it was published for. stochastic_depth: the rate at the last block; block i
    of n is dropped with i/n of it.
    """

    stages: Stages
    stem: int
    head: int
    size: int
    dropout: float
    stochastic_depth: float
    activation: type[Module] = SiLU
    style: Style = Style()


class MixConv2d(Module):
    """Convolutions with different kernels side by side, each on its own channels: "0", "1", ... (MixNet, section 3).

    Channels are split evenly, and the first group takes what remains. depthwise: one kernel a channel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernels: Sequence[int], stride: int, depthwise: bool, style: Style
    ):
        super().__init__()
        self.inputs, outputs = _split(in_channels, len(kernels)), _split(out_channels, len(kernels))
        for group, (kernel, i, o) in enumerate(zip(kernels, self.inputs, outputs, strict=True)):
            self.add_module(str(group), style.conv(i, o, kernel, stride, groups=i if depthwise else 1))

    def forward(self, x: Tensor) -> Tensor:
        groups = ops.split(x, self.inputs, axis=1)
        return ops.concat([conv(group) for conv, group in zip(self.children(), groups, strict=True)], axis=1)


def _split(channels: int, groups: int) -> list[int]:
    size, rest = divmod(channels, groups)
    return [size + rest, *[size] * (groups - 1)]


class MBConv(Module):
    """One block of a row: MBConv, Fused-MBConv, or MixNet's.

        MBConv  x + drop(project(squeeze(depthwise(expand(x)))))        fused  x + drop(project(expand k × k(x)))

    Each step is a convolution and batch norm, with an activation behind all but the projection. What expand = 1 leaves
    without work is not there: the 1 × 1 that expands; where fused, the projection, and its activation stays. x is
    added where stride and width allow it.
    """

    def __init__(self, row: Row, in_channels: int, stride: int, drop: float, style: Style):
        super().__init__()
        width, out_channels, activation = round_channels(in_channels * row.expand), row.channels, row.activation
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.block = Sequential()

        def add(i: int, o: int, kernel: Kernel, stride: int = 1, depthwise: bool = False, active: bool = True) -> None:
            conv: Module
            if isinstance(kernel, int):
                conv = style.conv(i, o, kernel, stride, groups=i if depthwise else 1)
            else:
                conv = MixConv2d(i, o, kernel, stride, depthwise, style)
            self.block.append(Sequential(conv, style.norm(o), *([activation()] if active else [])))

        if row.fused and row.expand == 1:
            add(in_channels, out_channels, row.kernel, stride)
        elif row.fused:
            add(in_channels, width, row.kernel, stride)
            add(width, out_channels, row.project_kernel, active=False)
        else:
            if row.expand > 1:
                add(in_channels, width, row.expand_kernel)
            add(width, width, row.kernel, stride, depthwise=True)
            if row.squeeze:
                self.block.append(SqueezeExcitation(width, int(in_channels * row.squeeze), activation))
            add(width, out_channels, row.project_kernel, active=False)
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.stochastic_depth(self.block(x)) if self.has_shortcut else self.block(x)


class EfficientNet(Network):
    """3 × 3 stem, stages of blocks, 1 × 1 head, global average pooling, one linear layer."""

    def __init__(self, table: Table, num_classes: int, in_channels: int, dropout: float, stochastic_depth_prob: float):
        super().__init__()
        style, channels = table.style, table.stem
        stem = style.conv_norm(in_channels, channels, 3, stride=2, activation=table.activation)
        self.features = Sequential(stem)
        StochasticDepth(stochastic_depth_prob)  # refuses what is no probability, which parts of it might be
        blocks = sum(row.repeats for rows in table.stages for row in rows)
        built = 0
        for rows in table.stages:
            stage = Sequential()
            for row in rows:
                for stride in (row.stride, *[1] * (row.repeats - 1)):
                    stage.append(MBConv(row, channels, stride, stochastic_depth_prob * built / blocks, style))
                    channels = row.channels
                    built += 1
            self.features.append(stage)
        self.features.append(style.conv_norm(channels, table.head, 1, activation=table.activation))
        self.stages = last_of_each_size([2, *(rows[0].stride for rows in table.stages)])
        self.classifier = Sequential(Dropout(dropout), Linear(table.head, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = ops.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(x.flatten(1))

    def own_names(self, names: Sequence[str]) -> dict[str, str]:
        if is_lukemelas(names):
            return from_lukemelas(names, [len(stage) for stage in self.features[1:-1]])
        return from_timm(names)


def build(
    table: Table,
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float | None = None,
    stochastic_depth_prob: float | None = None,
) -> EfficientNet:
    """A network of the EfficientNet family. The rates that are None are those of its table."""
    dropout = table.dropout if dropout is None else dropout
    drop = table.stochastic_depth if stochastic_depth_prob is None else stochastic_depth_prob
    with init.skip():  # mobile() draws all weights, once
        model = EfficientNet(table, num_classes, in_channels, dropout, drop)
    mobile(model)
    return model


def input_shape(table: Table) -> tuple[int, int, int]:
    """(C, H, W) of the images a network was published for."""
    return 3, table.size, table.size
