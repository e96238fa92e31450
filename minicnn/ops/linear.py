"""Matrix products. A product is linear in each factor, so each gradient is a product with the other one.

y = a·b:   ga = gy·bᵀ,   gb = aᵀ·gy
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..function import Function, is_grad_enabled
from ..tensor import Tensor
from .activation import ReLUMask
from .arguments import expect
from .arithmetic import wrapped


class MatMul(Function):
    """y[..., m, n] = Σ_k a[..., m, k] · b[..., k, n], leading axes broadcast.

    ∂L/∂a = gy·bᵀ and ∂L/∂b = aᵀ·gy, summed over broadcast axes.
    """

    name = "matmul"

    def forward(self, a, b):
        self.save(a if self.needs_grad(1) else None, b if self.needs_grad(0) else None)
        self.shapes = a.shape, b.shape
        y = kernels.matmul(a, b)
        self.macs = y.size * a.shape[-1]
        return y

    def backward(self, gy):
        a, b = self.saved
        ga = matmul(gy, swap_last(b)).sum_to(self.shapes[0]) if self.needs_grad(0) else None
        gb = matmul(swap_last(a), gy).sum_to(self.shapes[1]) if self.needs_grad(1) else None
        return ga, gb


def swap_last(x: Tensor) -> Tensor:
    """Transpose of each matrix in a stack."""
    return x.transpose(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)


def matmul(a: Any, b: Any) -> Tensor:
    """a·b: (..., M, K) and (..., K, N) -> (..., M, N); a vector counts as a row (a) or a column (b), and goes again.

    Raises ShapeError if the inner sizes differ or the leading axes do not broadcast.
    """
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a, b = wrapped("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul needs vectors or matrices, got shapes {a.shape} and {b.shape}: use * for numbers")
    if a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ShapeError(
            f"matmul of shapes {a.shape} and {b.shape}: the last size of the first, {a.shape[-1]}, must equal the "
            f"{'only' if b.ndim == 1 else 'second last'} size of the second, {b.shape[max(b.ndim - 2, 0)]}"
        )
    if a.ndim == 1:
        return matmul(a.reshape(1, -1), b).squeeze(-2 if b.ndim > 1 else 0)
    if b.ndim == 1:
        return matmul(a, b.reshape(-1, 1)).squeeze(-1)
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul of shapes {a.shape} and {b.shape}: the axes before the last two must broadcast"
        ) from None
    return MatMul.apply(a, b)


class Linear(Function):
    """y = x·wᵀ + b, or with `relu` y = max(x·wᵀ + b, 0).

    x (N, I), w (O, I), b (O,) or None -> y (N, O);  gx = g·w,  gw = linear_weight(x, g),  gb = Σ_n g,
    with g = gy, or with `relu` gy where y > 0, else 0. Where nothing is recorded, all three come from one kernel.
    """

    def forward(self, x, w, b, relu=False):
        y = kernels.linear(x, w, b, relu)
        self.save(x if self.needs_grad(1) else None, w if self.needs_grad(0) else None, y if relu else None)
        self.macs = y.size * w.shape[1]
        return y

    def backward(self, gy):
        if not is_grad_enabled():
            needs = tuple(self.active)
            found = iter(LinearGradient.apply(gy, *self.saved, needs=needs))
            return tuple(next(found) if needed else None for needed in needs)
        x, w, y = self.saved
        g = gy if y is None else ReLUMask.apply(gy, y=y.stored)
        gx = MatMul.apply(g, w) if self.needs_grad(0) else None
        gw = LinearWeight.apply(x, g) if self.needs_grad(1) else None
        gb = g.sum(axis=0) if self.needs_grad(2) else None
        return gx, gw, gb


class LinearGradient(Function):
    """All gradients of Linear in one pass. Used where nothing is recorded, so it has no backward."""

    name = "linear_gradient"

    def forward(self, gy, x, w, y, needs):
        self.macs = gy.size * sum(factor.shape[1] for factor, needed in zip((w, x), needs, strict=False) if needed)
        return tuple(g for g in kernels.linear_gradient(gy, y, x, w, needs) if g is not None)


class LinearWeight(Function):
    """The gradient of linear in w: gw = gyᵀ·x.

    x (N, I), gy (N, O) -> gw (O, I).  Linear in both:  ∂L/∂x = gy·∂L/∂gw,  ∂L/∂gy = x·(∂L/∂gw)ᵀ.
    """

    def forward(self, x, gy):
        self.save(x if self.needs_grad(1) else None, gy if self.needs_grad(0) else None)
        gw = kernels.matmul(kernels.transpose(gy, (1, 0)), x)
        self.macs = gw.size * len(x)
        return gw

    def backward(self, v):
        x, gy = self.saved
        gx = MatMul.apply(gy, v) if self.needs_grad(0) else None
        g_gy = Linear.apply(x, v, None) if self.needs_grad(1) else None
        return gx, g_gy


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·weightᵀ + bias: x (..., I), weight (O, I), bias (O,) -> (..., O).

    Raises ShapeError if the sizes do not fit.
    """
    return _linear(x, weight, bias, relu=False)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """relu(linear(x, weight, bias)) in one pass. Shapes and errors as linear."""
    return _linear(x, weight, bias, relu=True)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    expect("linear", x)
    expect("linear", weight, "weight")
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        wanted = f"(..., {weight.shape[1]})" if weight.ndim == 2 else "(..., inputs)"
        raise ShapeError(
            f"linear expects input of shape {wanted} for a weight (outputs, inputs) of shape {weight.shape}, "
            f"got {x.shape}" + (": flatten it first" if x.ndim > 2 else "")
        )
    if bias is not None:
        expect("linear", bias, "bias")
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                f"linear needs a bias of shape {weight.shape[:1]} for weight {weight.shape}, got {bias.shape}"
            )
    if x.ndim == 2:
        return Linear.apply(x, weight, bias, relu=relu)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return Linear.apply(rows, weight, bias, relu=relu).reshape(*x.shape[:-1], weight.shape[0])
