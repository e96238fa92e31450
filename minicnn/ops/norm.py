"""Normalisation: take away a mean, divide by a deviation, then scale and shift by what is learnt.

    x̂ = (x − μ)/σ,   y = γ·x̂ + β       σ = √(variance + ε); the variance is biased: Σ(x − μ)²/n

Which elements of x (N, C, H, W) share one μ and σ is what tells the ops apart:

    batch_norm    those of a channel                              n = N·H·W
    group_norm    those of C/G neighbouring channels of an image  n = C/G·H·W
    layer_norm    the last axes, for each place before them

Every x of such a group moves its μ and σ. So of a gradient g of x̂, what a common shift and a common factor would
account for is taken away, and the rest divided by σ:

    gx = P(g)/σ,   P(g) = g − mean(g) − x̂·mean(g·x̂)         P is symmetric, and comes back in second derivatives
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, GraphError, ShapeError
from ..function import Function, is_recomputing
from ..kernels.window import one_line
from ..tensor import FLOATING, Tensor
from .activation import ClipMask
from .arguments import expect, flag, floating, groups_of, is_number, sizes_of

# Activations whose slope can be told from the result y = min(max(z, 0), cap): it is 1 where 0 < y < cap.
CAPS: dict[str | None, float | None] = {None: None, "relu": math.inf, "relu6": 6.0}


class BatchNorm(Function):
    """y = f(γ·x̂ + β + r), with the μ and σ that each channel has in this batch

    x (N, C, ...), γ and β (C,) or None, r (shape of x) or None -> y. f is nothing, relu or relu6.
    It equals f(batch_norm(x) + r) in one pass; x, γ and, if there is an f, y are kept. Of gy what comes through f is
    the gradient of r, and goes on to the three of BatchNormGradient.
    `running` (mean, variance, momentum) is updated in place, with the unbiased variance. γ and β may be wider than x.
    Source: Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training", algorithm 1.
    """

    mixed_precision = True

    def forward(self, x, w, b, r, eps, cap, running):
        y, self.mean, self.var = kernels.batch_norm(x, None, None, w, b, r, eps, cap)
        if running is not None:
            mean, var, momentum = running
            kernels.track_statistics(mean, var, self.mean, self.var, math.prod((len(x), *x.shape[2:])), momentum)
        self.save(x, w, None if cap is None else y)
        self.eps, self.cap = eps, cap
        return y

    def backward(self, gy):
        x, w, y = self.saved
        y, cap = (None, None) if y is None else (y.stored, self.cap)
        if self.needs_grad(3):  # then g is needed by itself; else the kernel makes it on its way
            gy, y, cap = _through(gy, y, cap), None, None
        if not any(map(self.needs_grad, range(3))):
            return None, None, None, gy
        gx, gw, gb = BatchNormGradient.apply(gy, x, w, mean=self.mean, var=self.var, eps=self.eps, y=y, cap=cap)
        return gx, gw, gb, gy


class BatchNormGradient(Function):
    """The three gradients of batch_norm at g, what of gy comes through f:

        gx = γ/σ·P(g),   gγ = Σ g·x̂,   gβ = Σ g        sums over all but channels

    gy and x (N, C, ...), γ (C,) or None. Its own backward is plain ops: for cotangents v, vγ, vβ of the three it
    differentiates L = Σ γ/σ·v·P(g) + vγ·g·x̂ + vβ·g, linear in g and in γ. x acts through x̂ and through 1/σ:

        ∂L/∂x̂ = vγ·g − γ/σ·(v·mean(g·x̂) + g·mean(v·x̂)),     ∂x̂/∂x = P/σ,     ∂(1/σ)/∂x = −x̂/(n·σ²)
    """

    mixed_precision = True

    def forward(self, gy, x, w, mean, var, eps, y, cap):
        self.save(gy, x, w)
        self.eps, self.y, self.cap = eps, y, cap
        return kernels.batch_norm_gradient(gy, x, y, w, mean, var, eps, cap)

    def backward(self, v, vw, vb):
        gy, x, w = self.saved

        def mean(t: Tensor) -> Tensor:
            return t.mean((0, *range(2, x.ndim)), keepdims=True)

        def project(t: Tensor) -> Tensor:
            return t - mean(t) - x_hat * mean(t * x_hat)

        centred = x - mean(x)
        inv_std = (mean(centred * centred) + self.eps) ** -0.5
        x_hat = centred * inv_std
        vw, vb, gamma = (1.0 if c is None else _by_channel(c.to(x.dtype), x) for c in (vw, vb, w))  # γ may be None
        g = _through(gy, self.y, self.cap)
        p, scale = project(g), gamma * inv_std
        g_gy = _through(scale * project(v) + vw * x_hat + vb, self.y, self.cap)
        g_x_hat = vw * g - scale * (v * mean(g * x_hat) + g * mean(v * x_hat))
        gx = inv_std * project(g_x_hat) - inv_std * inv_std * x_hat * mean(gamma * v * p)
        gw = (inv_std * v * p).sum((0, *range(2, x.ndim)))
        return g_gy, gx, gw if w is None else gw.to(w.dtype)


class FixedNorm(Function):
    """y = f(γ·(x − μ)/σ + β + r) with given μ and σ² (C,), such as running statistics: affine in x, so gx = γ/σ·g."""

    name = "batch_norm"
    mixed_precision = True

    def forward(self, x, w, b, r, statistics, eps, cap):
        mean, var = statistics
        y, *self.statistics = kernels.batch_norm(x, mean, var, w, b, r, eps, cap)
        self.save(x if self.needs_grad(1) else None, w, None if cap is None else y)
        self.eps, self.cap, self.of_b = eps, cap, None if b is None else b.dtype
        return y

    def backward(self, gy):
        x, w, y = self.saved
        g = gy if y is None else _through(gy, y.stored, self.cap)
        mean, var = (_by_channel(Tensor(s, device=self.device), gy) for s in self.statistics)
        inv_std = ((var + self.eps) ** -0.5).to(gy.dtype)
        gx = gw = gb = None
        if self.needs_grad(0):
            gx = g * (inv_std if w is None else inv_std * _by_channel(w.to(gy.dtype), gy))
        axes = (0, *range(2, gy.ndim))
        if self.needs_grad(1):
            wide = w.dtype
            gw = (g.to(wide) * ((x.to(wide) - mean.to(wide)) * inv_std.to(wide))).sum(axes)
        if self.needs_grad(2):
            gb = g.to(self.of_b).sum(axes)
        return gx, gw, gb, g


def _through(g: Tensor, y: Any, cap: float | None) -> Tensor:
    """g where f has passed on what it got, 0 where it has clipped it."""
    return g if cap is None else ClipMask.apply(g, y=y, low=0.0, high=cap)


def _by_channel(c: Tensor, x: Tensor) -> Tensor:
    """(C,) as a tensor that broadcasts against x (N, C, ...)."""
    return c.reshape(c.size, *(1,) * (x.ndim - 2))


class Standardize(Function):
    """x̂ = (x − μ)/σ along the last axis of x (rows, n), and 1/σ (rows, 1), which the gradient is made of:

    gx = P(g)/σ − x̂·v/(n·σ²), where v is the gradient of 1/σ: 0, unless a derivative is differentiated.
    """

    def forward(self, x, eps):
        x_hat, inv_std = kernels.standardize(x, eps)
        self.save(x_hat, inv_std)
        return x_hat, inv_std

    def backward(self, g, v):
        x_hat, inv_std = self.saved
        share = 1 / max(x_hat.shape[1], 1)
        mean = g.sum(1, keepdims=True) * share
        slope = ((g * x_hat).sum(1, keepdims=True) + inv_std * v) * share
        return inv_std * (g - mean - x_hat * slope)


# --- what users call --------------------------------------------------------------------------------------------------


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight·(x − μ)/√(σ² + eps) + bias for each channel of x (N, C, ...); all others (C,).

    training: μ and σ² are the batch's, and running_mean and running_var, unless None, move towards them in place:
    new = (1 − momentum)·old + momentum·batch, where batch is μ and the unbiased σ²·n/(n − 1). Not while a checkpoint
    runs a second time. Else μ and σ² are running_mean and running_var, and nothing changes.
    Raises ShapeError if shapes do not fit or the batch has fewer than two values a channel, ArgumentError for options
    out of range, DTypeError for mixed precision, GraphError if running statistics require a gradient.
    """
    return _batch_norm("batch_norm", x, running_mean, running_var, weight, bias, None, None, training, momentum, eps)


def batch_norm_act(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str | None = "relu",
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """activation(batch_norm(x, ...) + residual), faster and in less memory: the end of a residual block.

    residual: of x's shape, or None. activation: "relu", "relu6" or None. Errors as batch_norm.
    """
    if activation is not None and (not isinstance(activation, str) or activation not in CAPS):
        known = ", ".join(f'"{name}"' for name in CAPS if name)
        raise ArgumentError(f"batch_norm_act got activation={one_line(activation)}: choose {known} or None")
    cap = CAPS[activation]
    op = "batch_norm" if residual is None and activation is None else "batch_norm_act"
    return _batch_norm(op, x, running_mean, running_var, weight, bias, residual, cap, training, momentum, eps)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """x (N, C, ...) standardised over num_groups groups of neighbouring channels of each image, times weight plus bias.

    weight and bias (C,). One group: all channels; C groups: each channel by itself, known as instance norm.
    Raises ShapeError if num_groups does not divide C or shapes do not fit, ArgumentError for options out of range.
    Source: Wu and He 2018, "Group normalization".
    """
    expect_channels("group_norm", x)
    groups = groups_of("group_norm", num_groups, (x.shape, 1))
    _per_channel("group_norm", x, weight=weight, bias=bias)
    rows = x.shape[0] * groups
    x_hat, _ = Standardize.apply(x.reshape(rows, x.size // rows if rows else 0), eps=expect_eps("group_norm", eps))
    return _affine(x_hat.reshape(x.shape), *(c if c is None else _by_channel(c, x) for c in (weight, bias)))


def layer_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """x standardised over its last axes, whose sizes are normalized_shape, times weight plus bias of that shape.

    Raises ShapeError if x does not end in normalized_shape or shapes do not fit, ArgumentError for eps ≤ 0.
    Source: Ba, Kiros and Hinton 2016, "Layer normalization".
    """
    expect("layer_norm", x)
    floating("layer_norm", x)
    shape = sizes_of("layer_norm", x, normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm over {shape} needs an x that ends in these sizes, got shape {x.shape}")
    for name, c in (("weight", weight), ("bias", bias)):
        _parameter("layer_norm", x, name, c, shape)
    n = math.prod(shape)
    x_hat, _ = Standardize.apply(x.reshape(math.prod(x.shape[: -len(shape)]), n), eps=expect_eps("layer_norm", eps))
    return _affine(x_hat.reshape(x.shape), weight, bias)


# --- their arguments --------------------------------------------------------------------------------------------------


def _batch_norm(
    op: str, x: Any, running_mean: Any, running_var: Any, w: Any, b: Any, r: Any, cap: Any, training: Any,
    momentum: Any, eps: Any,
) -> Tensor:  # fmt: skip
    expect_channels(op, x)
    _per_channel(op, x, weight=w, bias=b, running_mean=running_mean, running_var=running_var)
    if r is not None:
        _parameter(op, x, "residual", r, x.shape)
    eps, training = expect_eps(op, eps), flag(op, "training", training)
    if not is_number(momentum) or not 0 <= momentum <= 1:
        raise ArgumentError(f"{op} takes a momentum from 0 to 1, the weight of the new value, got {one_line(momentum)}")
    running = [s for s in (running_mean, running_var) if s is not None]
    if len(running) == 1 or not (running or training):
        raise ArgumentError(f"{op} of x {x.shape} takes running_mean and running_var, or training=True and neither")
    if not training:
        wide = np.promote_types(x.dtype, np.float64)
        copies = [s.data.astype(wide) for s in running]  # the tensors may change before backward
        return FixedNorm.apply(x, w, b, r, statistics=copies, eps=eps, cap=cap)
    n = math.prod((x.shape[0], *x.shape[2:]))
    if n < 2:
        raise ShapeError(
            f"{op} in training needs at least two values a channel to have a variance, got {n}: x has shape {x.shape}; "
            "use a larger batch, or running statistics with training=False"
        )
    if not all(getattr(s.data.flags, "writeable", True) for s in running):
        raise ArgumentError(f"{op} in training writes into its running statistics, which are read-only arrays here")
    track = None if not running or is_recomputing() else (*(s.data for s in running), float(momentum))
    y = BatchNorm.apply(x, w, b, r, eps=eps, cap=cap, running=track)
    for s in running:
        s.version[0] += track is not None
    return y


def _affine(x_hat: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
    y = x_hat if w is None else x_hat * w
    return y if b is None else y + b


def expect_channels(op: str, x: Any) -> None:
    """Raises DTypeError if x is no floating-point Tensor, ShapeError if it is not (N, C, ...)."""
    expect(op, x)
    if x.dtype.kind not in FLOATING:
        floating(op, x)  # says so
    if x.ndim < 2:
        raise ShapeError(f"{op} expects x of shape (N, C, ...), got shape {x.shape}: the channels are axis 1")


def _per_channel(op: str, x: Tensor, **tensors: Any) -> None:
    shape = x.shape[1:2]
    for name, c in tensors.items():
        _parameter(op, x, name, c, shape)
        if c is not None and c.requires_grad and name.startswith("running"):
            raise GraphError(f"{op}: {name} is changed in place, so it cannot require a gradient: .detach() it")


def _parameter(op: str, x: Tensor, name: str, c: Any, shape: tuple[int, ...]) -> None:
    if c is None or (isinstance(c, Tensor) and c.shape == shape and c.dtype == x.dtype):
        return
    expect(op, c, name)
    if c.shape != shape:
        raise ShapeError(f"{op} of x {x.shape} needs a {name} of shape {shape}, got {c.shape}")
    floating(op, x, c)


def expect_eps(op: str, eps: Any) -> float:
    """Raises ArgumentError unless eps is a number above 0."""
    if not is_number(eps) or eps <= 0:
        raise ArgumentError(f"{op} takes eps above 0, so that a variance of 0 divides nothing, got {one_line(eps)}")
    return float(eps)
