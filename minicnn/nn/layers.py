"""Layers: modules around single ops, with PyTorch's names and arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..kernels.window import is_whole, pair
from ..ops.arguments import flag, one_line
from ..tensor import Tensor
from . import init
from .module import Module, Parameter
from .pool import MaxPool2d


def _empty(*shape: int) -> Parameter:
    return Parameter(np.empty(shape, np.float32))


def _positive(**sizes: Any) -> None:
    for name, size in sizes.items():
        if not is_whole(size) or size < 1:
            raise ArgumentError(f"{name} must be an integer ≥ 1, got {one_line(size)}")


def _initialise(weight: Parameter, bias: Parameter | None) -> None:
    """U(±1/√fan_in) for both, PyTorch's default: kaiming_uniform_ with a = √5."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(init.fans(weight)[0])
        init.uniform_(bias, -bound, bound)


class Linear(Module):
    """y = x·weightᵀ + bias: (..., in_features) -> (..., out_features). weight is (out_features, in_features)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        _positive(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = _empty(out_features, in_features)
        self.bias = _empty(out_features) if flag("Linear", "bias", bias) else None
        _initialise(self.weight, self.bias)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        return (ops.linear_relu if relu else ops.linear)(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}→{self.out_features}" + ("" if self.bias is not None else ", no bias")


class _Convolution(Module):
    """What Conv2d and ConvTranspose2d share: sizes, weight and bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
    ):
        super().__init__()
        _positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride, self.padding, self.dilation = pair(stride, "stride", 1), padding, pair(dilation, "dilation", 1)
        self.weight = _empty(*self._weight_shape())
        self.bias = _empty(out_channels) if flag(type(self).__name__, "bias", bias) else None
        _initialise(self.weight, self.bias)

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

    def extra_repr(self) -> str:
        text = f"{self.in_channels}→{self.out_channels}, {self.kernel_size[0]}×{self.kernel_size[1]}"
        for name, value, usual in (
            ("stride", self.stride, (1, 1)),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, (1, 1)),
            ("groups", self.groups, 1),
        ):
            if value != usual:
                text += f", {name} {_short(value)}"
        return text + ("" if self.bias is not None else ", no bias")


def _short(value: Any) -> Any:
    """(2, 2) as 2."""
    return value[0] if isinstance(value, tuple) and value == (value[0],) * 2 and isinstance(value[0], int) else value


class Conv2d(_Convolution):
    """Convolution (N, in_channels, H, W) -> (N, out_channels, P, Q): see ops.conv2d for formula and options.

    weight is (out_channels, in_channels/groups, R, S), bias (out_channels,).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)

    def forward(
        self, x: Tensor, activation: str | None = None, relu_and_pool: MaxPool2d | None = None, flat: bool = False
    ) -> Tensor:
        """What follows the convolution may be done in the same pass: see ops.conv2d_act, ops.conv2d_relu_max_pool2d."""
        options = self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        if activation is not None:
            return ops.conv2d_act(x, *options, activation)
        if relu_and_pool is None:
            return ops.conv2d(x, *options)
        pool = relu_and_pool
        return ops.conv2d_relu_max_pool2d(
            x, *options, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, flat
        )


class ConvTranspose2d(_Convolution):
    """Transposed convolution (N, in_channels, P, Q) -> (N, out_channels, H, W): see ops.conv_transpose2d.

    weight is (in_channels, out_channels/groups, R, S), bias (out_channels,).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.output_padding = output_padding

    def _weight_shape(self) -> tuple[int, ...]:
        return self.in_channels, self.out_channels // self.groups, *self.kernel_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class Flatten(Module):
    """All axes from start_dim on as one: (N, C, H, W) -> (N, C·H·W)."""

    def __init__(self, start_dim: int = 1):
        super().__init__()
        self.start_dim = start_dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim)


class Identity(Module):
    """x itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x
