"""Fused ops: two or three ops in one pass over memory. Each equals the composition that its docstring begins with."""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..errors import ArgumentError
from ..function import Function, is_grad_enabled
from ..tensor import Tensor
from .activation import ClipMask, ReLUMask
from .arguments import flag, one_line
from .conv import conv2d_gradients, conv2d_window
from .pool import MaxScatter, pool_window

CAPS = {"relu": math.inf, "relu6": 6.0}  # activations min(max(z, 0), cap), whose slope can be told from the result


class Conv2dAct(Function):
    """y = min(max(conv2d(x, w, b), 0), cap): convolution and relu (cap = ∞) or relu6 (cap = 6) in one pass.

    x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q). Gradients are those of conv2d, of gy where
    0 < y < cap, and 0 elsewhere.
    """

    name = "conv2d_act"

    def forward(self, x, w, b, window, groups, cap):
        y = kernels.conv2d_act(x, w, b, window, groups, cap)
        self.save(x if self.needs_grad(1) else None, w if self.needs_grad(0) else None, y)
        self.window, self.groups, self.size, self.cap = window, groups, x.shape[2:], cap
        self.macs = y.size * math.prod(w.shape[1:])
        return y

    def backward(self, gy):
        y = self.saved[2].stored
        g = ReLUMask.apply(gy, y=y) if self.cap == math.inf else ClipMask.apply(gy, y=y, low=0.0, high=self.cap)
        return conv2d_gradients(self, g)


class Conv2dReLUMaxPool2d(Function):
    """max_pool2d(relu(conv2d(x, w, b))), the block of which the first CNNs are made.

    x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q), or with `flat` (N, K·P·Q). Nothing of the
    convolution's full size is written or kept: backward needs x, w and who won each window (no one, where relu let
    nothing through).
    """

    name = "conv2d_relu_max_pool2d"

    def forward(self, x, w, b, window, groups, pool, flat):
        self.save(x if self.needs_grad(1) else None, w if self.needs_grad(0) else None)
        self.window, self.groups, self.size = window, groups, x.shape[2:]
        self.pooled_size, self.pool = window.output_size(x.shape[2:]), pool
        y, self.indices = kernels.conv2d_relu_max_pool2d(x, w, b, window, groups, pool)
        self.macs = len(y) * w.size * math.prod(self.pooled_size)
        return kernels.reshape(y, (len(y), math.prod(y.shape[1:]))) if flat else y

    def backward(self, gy):
        if is_grad_enabled() or not self.needs_grad(1):  # by the ops, which can be differentiated again
            gy = gy.reshape(self.indices.shape)
            return conv2d_gradients(self, MaxScatter.apply(gy, indices=self.indices, size=self.pooled_size))
        found = iter(Conv2dReLUMaxPool2dGradient.apply(
            gy, *self.saved, indices=self.indices, window=self.window, groups=self.groups, pool=self.pool,
            needs=tuple(self.active),
        ))  # fmt: skip
        return tuple(next(found) if needed else None for needed in self.active)


class Conv2dReLUMaxPool2dGradient(Function):
    """All gradients of Conv2dReLUMaxPool2d in one pass. Used where nothing is recorded, so it has no backward."""

    name = "conv2d_relu_max_pool2d_gradient"

    def forward(self, gy, x, w, indices, window, groups, pool, needs):
        self.window, self.groups = window, groups
        gy = kernels.reshape(gy, indices.shape)
        found = kernels.conv2d_relu_max_pool2d_gradient(gy, indices, x, w, window, groups, pool, needs)
        return tuple(gradient for gradient in found if gradient is not None)


# --- what users call --------------------------------------------------------------------------------------------------


def conv2d_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str = "relu",
) -> Tensor:
    """activation(conv2d(x, weight, bias, stride, padding, dilation, groups)) in one pass.

    activation: "relu" or "relu6". Other options, shapes and errors as conv2d.
    """
    window, groups = conv2d_window(x, weight, bias, stride, padding, dilation, groups)
    if not isinstance(activation, str) or activation not in CAPS:
        known = " or ".join(f'"{name}"' for name in CAPS)
        raise ArgumentError(f"conv2d_act got activation={one_line(activation)}: choose {known}")
    return Conv2dAct.apply(x, weight, bias, window=window, groups=groups, cap=CAPS[activation])


def conv2d_relu_max_pool2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    pool_size: Any = 2,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_dilation: Any = 1,
    ceil_mode: bool = False,
    flat: bool = False,
) -> Tensor:
    """max_pool2d(relu(conv2d(x, weight, bias, stride, padding, dilation, groups)), pool_size, ...) in one pass.

    flat: flattened from axis 1 on, for a linear layer. Options, shapes and errors as conv2d and max_pool2d.
    """
    window, groups = conv2d_window(x, weight, bias, stride, padding, dilation, groups)
    size = (x.shape[0], weight.shape[0], *window.output_size(x.shape[2:]))
    pool = pool_window("max_pool2d", size, pool_size, pool_stride, pool_padding, pool_dilation, ceil_mode)
    flat = flag("conv2d_relu_max_pool2d", "flat", flat)
    return Conv2dReLUMaxPool2d.apply(x, weight, bias, window=window, groups=groups, pool=pool, flat=flat)
