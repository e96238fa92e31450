"""What every Inception network is made of: branches that look at the same x, and a concatenation of what they see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minicnn import Tensor, ops
from minicnn.errors import ShapeError
from minicnn.nn import BatchNorm2d, Conv2d, Module, Sequential


class Conv(NamedTuple):
    """A convolution in a table. padding None: with stride 1 the size is kept, with stride 2 no padding at all."""

    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | None = None

    def make(self, in_channels: int, unit: Callable[..., Module]) -> Module:
        """The unit (a convolution, and what follows each) that computes it."""
        r, s = self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)
        padding: Any = self.padding
        if padding is None:
            padding = (r // 2, s // 2) if self.stride == 1 else 0
        return unit(in_channels, self.channels, self.kernel, self.stride, padding)


Step = Conv | Callable[[], Module]  # a convolution, or what makes a module without channels, such as a pool
Steps = tuple[Step, ...]  # of one branch, one after the other
Rows = tuple[Steps, ...]  # branches from left to right


class BasicConv2d(Module):
    """Convolution without bias, batch normalisation with ε = 1e-3, ReLU: the unit of all Inceptions from 2015 on."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0):
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x), activation="relu")


class Branches(Module):
    """y = the concatenation, along the channels, of what each branch makes of x.

    rows: the steps of each branch, by its name; without names they are timm's, branch0, branch1, ... A branch of one
    step is that module, a longer one a Sequential. out_channels: those of y.
    """

    def __init__(self, in_channels: int, rows: Mapping[str, Steps] | Rows, unit: Callable[..., Module] = BasicConv2d):
        super().__init__()
        self.out_channels = 0
        if not isinstance(rows, Mapping):
            rows = {f"branch{number}": steps for number, steps in enumerate(rows)}
        for name, steps in rows.items():
            channels, modules = in_channels, []
            for step in steps:
                modules.append(step.make(channels, unit) if isinstance(step, Conv) else step())
                channels = step.channels if isinstance(step, Conv) else channels
            self.add_module(name, modules[0] if len(modules) == 1 else Sequential(*modules))
            self.out_channels += channels

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([branch(x) for branch in self.children()], axis=1)


IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])  # mean and standard deviation of R, G, B


def as_in_tensorflow(x: Tensor) -> Tensor:
    """Images normalised with ImageNet's mean and deviation -> the same normalised with 0.5 and 0.5, from −1 to 1.

    The weights of googlenet and inception_v3 that torchvision publishes were trained in TensorFlow on images like
    these. So it has such a step in both, `transform_input`, off unless those weights are loaded.
    """
    if x.shape[1:2] != (3,):
        raise ShapeError(f"transform_input is for images of 3 channels (N, 3, H, W), got shape {x.shape}: leave it out")
    mean, std = IMAGENET.astype(x.dtype).reshape(2, 1, 3, 1, 1)
    return x * Tensor(std / 0.5, device=x.device) + Tensor((mean - 0.5) / 0.5, device=x.device)
