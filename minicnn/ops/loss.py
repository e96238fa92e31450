"""Losses. reduction: "mean" over the batch (refuses an empty one), "sum", or "none"."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, DTypeError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import array_of, expect, floating, one_line
from .arithmetic import like, operands


class CrossEntropy(Function):
    """L = Σₙ Σⱼ qₙⱼ·(ln Σᵢ e^zₙᵢ − zₙⱼ), the cross-entropy between targets q and softmax(z) in one kernel.

    Logits z (N, C) -> one number, or (N,) if there is no divisor. What q is for labels: see kernels.class_targets;
    without weights and smoothing it is 1 at the label, and L = −Σ log softmax(z)[n, labelₙ].
    """

    def forward(self, z, targets):
        self.save(z)
        self.targets = targets
        return kernels.softmax_cross_entropy(z, *targets)

    def backward(self, gy):
        return CrossEntropyGradient.apply(gy, self.saved[0], targets=self.targets)


class CrossEntropyGradient(Function):
    """gz = gL·(p·Σⱼqⱼ − q) with p = softmax(z), row by row;  gL (N,) or one number, z (N, C) -> gz (N, C).

    Of v·gz, the gradient in gL is Σⱼ vⱼ·(pⱼ·Σq − qⱼ), and that in z is gL·Σq·p·(v − Σⱼ vⱼ·pⱼ).
    """

    def forward(self, gy, z, targets):
        self.save(gy, z)
        self.targets = targets
        return kernels.softmax_cross_entropy_gradient(gy, z, *targets)

    def backward(self, v):
        gy, z = self.saved
        p = z.softmax(axis=1)
        q = Tensor._made(kernels.class_targets(z.data, *self.targets), self.device)
        total = q.sum(axis=1, keepdims=True)
        ggy = (v * (p * total - q)).sum(axis=1 if gy.ndim else None)
        return ggy, gy.reshape(-1, 1) * total * p * (v - (v * p).sum(axis=1, keepdims=True))


def cross_entropy(logits: Tensor, labels: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy between softmax(logits) and class indices: logits (N, C), labels (N,) integers in 0..C−1.

    Raises ShapeError if the shapes do not fit or the mean is over an empty batch, DTypeError if labels are not
    integers, ArgumentError if one is out of range.
    """
    expect("cross_entropy", logits, "logits")
    _choice("cross_entropy", reduction)
    labels = array_of("cross_entropy", "labels", labels)  # a copy: backward needs them unchanged
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy expects logits (N, C) and labels (N,), got shapes {logits.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy expects class indices as integers, got labels of dtype {labels.dtype}")
    labels = labels.astype(np.int64, copy=False)
    count, classes = logits.shape
    if count and labels.view(np.uint64).max() >= classes:  # negative ones are large there
        worst = labels[(labels < 0) | (labels >= classes)][0]
        raise ArgumentError(
            f"cross_entropy got label {worst}, but logits of shape {logits.shape} have classes 0 to {classes - 1}"
        )
    if reduction == "mean" and not count:
        raise _no_mean("cross_entropy")
    divisor = {"none": None, "sum": 1.0, "mean": float(count)}[reduction]
    return CrossEntropy.apply(logits, targets=(labels, None, 0.0, divisor))


def mse_loss(x: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Mean squared error (x − target)², reduced over all elements.

    Raises ShapeError unless both have one shape, or if the mean is over no elements.
    """
    expect("mse_loss", x)
    if not isinstance(target, Tensor):
        target = like("mse_loss", x, target)
    if x.shape != target.shape:
        raise ShapeError(f"mse_loss expects input and target of one shape, got {x.shape} and {target.shape}")
    x, target = operands("mse_loss", x, target)
    floating("mse_loss", x, target)
    difference = x - target
    return reduce("mse_loss", difference * difference, reduction)


def reduce(name: str, losses: Tensor, reduction: str) -> Tensor:
    """The losses as they are, their sum, or their mean."""
    _choice(name, reduction)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if losses.size == 0:
        raise _no_mean(name)
    return losses.mean()


def _choice(name: str, reduction: Any) -> None:
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{name} got reduction={one_line(reduction)}: choose "mean", "sum" or "none"')


def _no_mean(name: str) -> ShapeError:
    return ShapeError(f"{name}: the mean over an empty batch is not defined: skip empty batches")
