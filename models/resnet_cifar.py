"""ResNet for CIFAR: three stages of 16, 32 and 64 channels, up to 1202 layers deep.

He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", CVPR, arXiv 1512.03385, section 4.2 and
table 6. Depth 6n + 2: a 3 × 3 convolution, n blocks of two in each stage, the linear layer. Shortcuts have no
parameters, in all cases (option A): resnet20_cifar has 269,722 parameters, and not the 272,474 of 1 × 1 projections.
The paper trains depth 110 with a rate of 0.01 until the error is below 80 %, then with 0.1.
"""

from __future__ import annotations

from minicnn import Tensor, nn, ops

from .registry import register_rows
from .resnet import BasicBlock, Row, build_resnet


class PaddedShortcut(nn.Module):
    """Option A: every stride-th row and column of x, and channels of zeros, half of them before and half behind."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        before = (channels - in_channels) // 2
        self.widths = ((0, 0), (before, channels - in_channels - before), (0, 0), (0, 0))

    def forward(self, x: Tensor) -> Tensor:
        return ops.pad(x[:, :, :: self.stride, :: self.stride], self.widths)


class BasicBlockA(BasicBlock):
    """Two 3 × 3 convolutions, with a shortcut that has no parameters."""

    def shortcut(self, in_channels: int, channels: int, stride: int) -> nn.Module:
        return PaddedShortcut(in_channels, channels, stride)


ROWS = {
    f"resnet{depth}_cifar": Row(BasicBlockA, ((depth - 2) // 6,) * 3, width=16) for depth in (20, 32, 44, 56, 110, 1202)
}
register_rows(ROWS, build_resnet, input_shape=(3, 32, 32), family="resnet", num_classes=10, stem="cifar")
