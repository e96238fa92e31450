"""Convolution: three ops that are one another's gradients.

All come from one trilinear form, with geometry (kernels/window.py) deciding which input a tap reads:

    ⟨gy, conv2d(x, w)⟩ = Σ  gy[n, k, p, q] · w[k, c, r, s] · x[n, c, h, w]
                            with h = p·stride + r·dilation − top,  w = q·stride + s·dilation − left

    conv2d(x, w)              is its gradient in gy
    conv_transpose2d(gy, w)   is its gradient in x
    conv2d_weight(x, gy)      is its gradient in w

So the backward of each is the other two, and every higher derivative is again one of the three. A bias is the weight of
an input that is 1 everywhere: conv2d_weight gives its gradient too, in the same pass.
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..kernels.window import MOST_ELEMENTS, Window, pair
from ..tensor import Tensor
from .arguments import expect, expect_images, groups_of, window_of


class Conv2d(Function):
    """Cross-correlation of x with w, the "convolution" of every CNN paper.

        y[n, k, p, q] = b[k] + Σ_{c,r,s} w[k, c, r, s] · x[n, c, p·stride + r·dilation − top,
                                                                 q·stride + s·dilation − left]

    x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q).
    Linear in x and in w, so each gradient is a convolution again:
    ∂L/∂x = conv_transpose2d(∂L/∂y, w),  ∂L/∂w = conv2d_weight(x, ∂L/∂y),  ∂L/∂b = Σ_{n,p,q} ∂L/∂y.
    Source: LeCun et al. 1998, section II.
    """

    name = "conv2d"

    def forward(self, x, w, b, window, groups):
        self.save(x if self.needs_grad(1) else None, w if self.needs_grad(0) else None)
        self.window, self.groups, self.size = window, groups, x.shape[2:]
        y = kernels.conv2d(x, w, b, window, groups)
        self.macs = y.size * math.prod(w.shape[1:])
        return y

    def backward(self, gy):
        return conv2d_gradients(self, gy)


def conv2d_gradients(node, gy):
    """The gradients in x, w and b of a node that saved x and w first, and knows window, groups and the size of x."""
    x, w = node.saved[:2]
    gx = gw = gb = None
    if node.needs_grad(0):
        gx = ConvTranspose2d.apply(gy, w, None, window=node.window, groups=node.groups, output_size=node.size)
    if node.needs_grad(1) and node.needs_grad(2):
        gw, gb = Conv2dWeight.apply(x, gy, window=node.window, groups=node.groups, bias=True)
    elif node.needs_grad(1):
        gw = Conv2dWeight.apply(x, gy, window=node.window, groups=node.groups)
    elif node.needs_grad(2):
        gb = gy.sum(axis=(0, 2, 3))
    return gx, gw, gb


class ConvTranspose2d(Function):
    """The adjoint of conv2d in x: every number of gy, times the kernel, is added back to the inputs its window read.

        gx[n, c, h, w] = b[c] + Σ gy[n, k, p, q] · w[k, c, r, s]   over all k and (p, r), (q, s) that read (h, w)

    gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W).
    Linear in gy and in w:  ∂L/∂gy = conv2d(∂L/∂gx, w),  ∂L/∂w = conv2d_weight(∂L/∂gx, gy).
    Source: Zeiler et al. 2010, "Deconvolutional networks"; Dumoulin and Visin 2016, section 4.
    """

    name = "conv_transpose2d"

    def forward(self, gy, w, b, window, groups, output_size):
        self.save(gy if self.needs_grad(1) else None, w if self.needs_grad(0) else None)
        self.window, self.groups = window, groups
        self.macs = gy.size * math.prod(w.shape[1:])
        return kernels.conv_transpose2d(gy, w, b, window, groups, output_size)

    def backward(self, v):
        gy, w = self.saved
        g_gy = gw = gb = None
        if self.needs_grad(0):
            g_gy = Conv2d.apply(v, w, None, window=self.window, groups=self.groups)
        if self.needs_grad(1):
            gw = Conv2dWeight.apply(v, gy, window=self.window, groups=self.groups)
        if self.needs_grad(2):
            gb = v.sum(axis=(0, 2, 3))
        return g_gy, gw, gb


class Conv2dWeight(Function):
    """The gradient of conv2d in w, and with `bias` in b: how each tap's inputs correlate with gy.

        gw[k, c, r, s] = Σ_{n,p,q} gy[n, k, p, q] · x[n, c, p·stride + r·dilation − top, q·stride + s·dilation − left]
        gb[k]          = Σ_{n,p,q} gy[n, k, p, q]

    x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S), gb (K,).
    Linear in x and in gy:  ∂L/∂x = conv_transpose2d(gy, ∂L/∂gw),  ∂L/∂gy = conv2d(x, ∂L/∂gw, ∂L/∂gb).
    """

    name = "conv2d_weight"

    def forward(self, x, gy, window, groups, bias=False):
        self.save(x if self.needs_grad(1) else None, gy if self.needs_grad(0) else None)
        self.window, self.groups, self.size = window, groups, x.shape[2:]
        gw, gb = kernels.conv2d_weight(x, gy, window, groups, bias)
        self.macs = gy.size * math.prod(gw.shape[1:])
        return (gw, gb) if bias else gw

    def backward(self, v, vb=None):
        x, gy = self.saved
        gx = g_gy = None
        if self.needs_grad(0):
            gx = ConvTranspose2d.apply(gy, v, None, window=self.window, groups=self.groups, output_size=self.size)
        if self.needs_grad(1):
            g_gy = Conv2d.apply(x, v, vb, window=self.window, groups=self.groups)
        return gx, g_gy


# --- what users call --------------------------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve x (N, C, H, W) with weight (K, C/groups, R, S) and add bias (K,): see Conv2d for the formula.

    stride, dilation: an int or (rows, columns). padding: an int, (rows, columns), ((top, bottom), (left, right)),
    "valid", or "same" as TensorFlow has it. groups: output group g reads input group g only; groups = C is depthwise.
    y is (N, K, P, Q) with P = ⌊(H + top + bottom − dilation·(R − 1) − 1) / stride⌋ + 1, and Q likewise.
    Raises ShapeError if channels, groups, bias or window do not fit, ArgumentError for options out of range.
    """
    window, groups = conv2d_window(x, weight, bias, stride, padding, dilation, groups)
    return Conv2d.apply(x, weight, bias, window=window, groups=groups)


def conv2d_window(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Window, int]:
    """The window and the groups of a conv2d, if all of it fits together."""
    expect_images("conv2d", x)
    groups = _kernel("conv2d", weight, groups)
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"conv2d expects {weight.shape[1] * groups} input channels, got {x.shape[1]}: input has shape {x.shape}, "
            f"weight (K, C/groups, R, S) {weight.shape} with groups={groups}"
        )
    _bias("conv2d", bias, weight.shape[0], weight)
    return window_of("conv2d", x, weight.shape[2:], stride, padding, dilation), groups


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution: x (N, K, P, Q), weight (K, C/groups, R, S), bias (C,) -> (N, C, H, W).

    H = (P − 1)·stride − 2·padding + dilation·(R − 1) + 1 + output_padding: the input size of the conv2d with these
    options whose output is P. Several sizes give the same P; output_padding < stride chooses among them.
    Raises ShapeError and ArgumentError as conv2d.
    """
    expect_images("conv_transpose2d", x)
    groups = _kernel("conv_transpose2d", weight, groups)
    if x.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"conv_transpose2d expects {weight.shape[0]} input channels, got {x.shape[1]}: input has shape {x.shape}, "
            f"weight (K, C/groups, R, S) {weight.shape}"
        )
    _bias("conv_transpose2d", bias, weight.shape[1] * groups, weight)
    if isinstance(padding, str):
        raise ArgumentError(f'conv_transpose2d of x {x.shape} takes padding in numbers, got "{padding}"')
    window = window_of("conv_transpose2d", x, weight.shape[2:], stride, padding, dilation, fits=False)
    extra = pair(output_padding, f"conv_transpose2d of x {x.shape}: output_padding", 0)
    size = window.transposed_size(x.shape[2:], extra)
    if any(e >= s for e, s in zip(extra, window.stride, strict=True)):
        raise ArgumentError(
            f"conv_transpose2d of x {x.shape}: output_padding {extra} must be smaller than stride {window.stride}"
        )
    if min(size) < 1 or math.prod(size) > MOST_ELEMENTS:
        remedy = "pad less" if min(size) < 1 else "use a smaller stride"
        raise ShapeError(f"conv_transpose2d of x {x.shape} with {_options(window)} would have size {size}: {remedy}")
    return ConvTranspose2d.apply(x, weight, bias, window=window, groups=groups, output_size=size)


def conv2d_weight(
    x: Tensor, gy: Tensor, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """The gradient of conv2d in its weight: x (N, C, H, W), gy (N, K, P, Q) -> (K, C/groups, R, S).

    The options are those of the conv2d. Raises ShapeError if gy is not an output of that conv2d.
    """
    expect_images("conv2d_weight", x)
    expect_images("conv2d_weight", gy, "gy")
    window = window_of("conv2d_weight", x, kernel_size, stride, padding, dilation)
    groups = groups_of("conv2d_weight", groups, (x.shape, 1), (gy.shape, 1))
    expected = (x.shape[0], *window.output_size(x.shape[2:]))
    if (gy.shape[0], *gy.shape[2:]) != expected:
        raise ShapeError(
            f"conv2d_weight: x {x.shape} with {_options(window)} gives (N, P, Q) {expected}, gy is {gy.shape}"
        )
    return Conv2dWeight.apply(x, gy, window=window, groups=groups)


def _options(window: Window) -> str:
    return f"kernel {window.kernel}, stride {window.stride}, padding {window.pad}, dilation {window.dilation}"


def _kernel(op: str, weight: Tensor, groups: Any) -> int:
    expect(op, weight, "weight")
    if weight.ndim != 4:
        raise ShapeError(f"{op} expects a weight of shape (K, C/groups, R, S), got shape {weight.shape}")
    return groups_of(op, groups, (weight.shape, 0))


def _bias(op: str, bias: Tensor | None, channels: int, weight: Tensor) -> None:
    if bias is None:
        return
    expect(op, bias, "bias")
    if bias.shape != (channels,):
        raise ShapeError(f"{op} needs a bias of shape ({channels},) for weight {weight.shape}, got {bias.shape}")
