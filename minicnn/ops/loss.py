"""Losses. reduction: "mean" over the batch (refuses an empty one), "sum", or "none"."""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..errors import ArgumentError, DTypeError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import array_of, expect, floating, one_line
from .arithmetic import like, operands


class CrossEntropy(Function):
    """Lₙ = −log softmax(z)ₙ,ₜ₍ₙ₎ = ln Σⱼ e^zₙⱼ − zₙ,ₜ₍ₙ₎;  gz = gL·(softmax(z) − onehot(t)).

    Logits z (N, C), labels t (N,) -> losses (N,). Equals the composition -log_softmax(z)[arange(N), t].
    """

    def forward(self, logits, labels):
        self.save(logits)
        self.labels = labels
        return kernels.neg(kernels.pick(kernels.log_softmax(logits, 1), labels))

    def backward(self, gy):
        (logits,) = self.saved
        target = Tensor._made(kernels.one_hot(self.labels, logits.shape[1], logits.dtype), self.device)
        return (logits.softmax(axis=1) - target) * gy.reshape(-1, 1)


def cross_entropy(logits: Tensor, labels: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy between softmax(logits) and class indices: logits (N, C), labels (N,) integers in 0..C−1.

    Raises ShapeError if the shapes do not fit or the mean is over an empty batch, DTypeError if labels are not
    integers, ArgumentError if one is out of range.
    """
    expect("cross_entropy", logits, "logits")
    labels = array_of("cross_entropy", "labels", labels)  # a copy: backward needs them unchanged
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy expects logits (N, C) and labels (N,), got shapes {logits.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy expects class indices as integers, got labels of dtype {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        worst = labels[(labels < 0) | (labels >= logits.shape[1])][0]
        raise ArgumentError(f"cross_entropy got label {worst}, but logits of shape {logits.shape} have classes 0 to "
                            f"{logits.shape[1] - 1}")  # fmt: skip
    return reduce("cross_entropy", CrossEntropy.apply(logits, labels=labels), reduction)


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
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{name} got reduction={one_line(reduction)}: choose "mean", "sum" or "none"')
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if losses.size == 0:
        raise ShapeError(f"{name}: the mean over an empty batch is not defined: skip empty batches")
    return losses.mean()
