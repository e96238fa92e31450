"""What the mobile families share: convolution with batch norm, squeeze-and-excitation, round widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minicnn import Tensor, ops
from minicnn.nn import BatchNorm2d, Conv2d, Module, ReLU, Sequential, Sigmoid


class Style(NamedTuple):
    """What all convolutions of one network have in common: batch norm's eps and momentum, and how they pad.

    same: as TensorFlow's "SAME" does, which depends on the size of the image and may pad below and right only;
    otherwise (kernel − 1)/2 on every side, as PyTorch's versions do.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    same: bool = False

    def conv(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv2d:
        """A convolution without bias: batch norm behind it would take the bias away again."""
        padding = "same" if self.same else kernel // 2
        return Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def norm(self, channels: int) -> BatchNorm2d:
        return BatchNorm2d(channels, self.eps, self.momentum)

    def conv_norm(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: type[Module] | None = None,
    ) -> Sequential:
        """Convolution, batch norm, and an activation if there is one: torchvision's Conv2dNormActivation."""
        conv = self.conv(in_channels, out_channels, kernel, stride, groups)
        return Sequential(conv, self.norm(out_channels), *([activation()] if activation else []))


class SqueezeExcitation(Module):
    """x · gate(fc2(activation(fc1(mean of x over H and W)))): every channel is scaled by what all of them show.

    fc1 and fc2 are linear layers, written as 1 × 1 convolutions. Hu et al. 2018, "Squeeze-and-excitation networks",
    section 3; the gate is the sigmoid there.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: type[Module] = ReLU,
        gate: type[Module] = Sigmoid,
    ):
        super().__init__()
        self.fc1 = Conv2d(channels, squeezed, 1)
        self.fc2 = Conv2d(squeezed, channels, 1)
        self.activation, self.gate = activation(), gate()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.activation(self.fc1(ops.adaptive_avg_pool2d(x, 1)))
        return x * self.gate(self.fc2(scale))


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of divisor nearest to channels (upwards from the middle), but never less than 90 % of them.

    Source: slim's make_divisible, which MobileNetV2's and EfficientNet's releases have in common.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def last_of_each_size(strides: Sequence[int]) -> tuple[str, ...]:
    """Paths in `features` of the last module at each size of the maps, given the strides of them all, stem first."""
    halving = [position for position, stride in enumerate(strides) if stride > 1 and position > 0]
    return tuple(f"features.{position - 1}" for position in [*halving, len(strides)])
