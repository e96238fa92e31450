"""Losses over classes: cross-entropy and negative log-likelihood. Those of each number: elementwise_loss.py.

reduction: "mean" (refuses an empty batch), "sum", or "none". Where labels have weights, the mean is divided by the sum
of their weights, so that it does not depend on how often which class happens to be in the batch.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from .. import device as devices
from .. import kernels
from ..errors import ArgumentError, DTypeError, ShapeError
from ..function import Function
from ..tensor import FLOATING, Tensor
from .arguments import array_of, expect, floating, is_whole, one_line
from .arithmetic import like
from .shape import expand_dims


class CrossEntropy(Function):
    """L = Σ q·(ln Σ e^z − z), the cross-entropy between targets q and softmax(z) over axis 1, in one kernel.

    Logits z (N, C, ...) -> one number, or (N, ...) if there is no divisor. What q is for labels: kernels.class_targets;
    without weights and smoothing it is 1 at the label, and L is the sum of −log softmax(z) there.
    Smoothing: Szegedy et al. 2015, "Rethinking the Inception architecture for computer vision", section 7.
    """

    def forward(self, z, targets):
        self.save(z)
        self.targets = targets
        return kernels.softmax_cross_entropy(z, *targets)

    def backward(self, gy):
        return CrossEntropyGradient.apply(gy, self.saved[0], targets=self.targets)


class CrossEntropyGradient(Function):
    """gz = gL·(p·Σq − q) with p = softmax(z);  gL (N, ...) or one number, z (N, C, ...) -> gz (N, C, ...).

    Of Σ v·gz, the gradient in gL is Σ v·(p·Σq − q), and that in z is gL·Σq·p·(v − Σ v·p).
    """

    def forward(self, gy, z, targets):
        self.save(gy, z)
        self.targets = targets
        return kernels.softmax_cross_entropy_gradient(gy, z, *targets)

    def backward(self, v):
        gy, z = self.saved
        p = z.softmax(axis=1)
        q = Tensor._made(kernels.class_targets(z.shape, z.dtype, *self.targets), self.device)
        total = q.sum(axis=1, keepdims=True)
        ggy = (v * (p * total - q)).sum(axis=1 if gy.ndim else None)
        gy = expand_dims(gy, 1) if gy.ndim else gy
        return ggy, gy * total * p * (v - (v * p).sum(axis=1, keepdims=True))


class SoftCrossEntropy(Function):
    """L = Σ q·(ln Σ e^z − z) over axis 1, for targets q that are given:  z and q (N, C, ...) -> (N, ...).

    gz = gL·(p·Σq − q) with p = softmax(z), and gq = −gL·ln p.
    """

    def forward(self, z, q):
        self.save(z, q if self.needs_grad(0) else None)
        return kernels.neg(kernels.sum(kernels.mul(q, kernels.log_softmax(z, 1)), (1,), False))

    def backward(self, gy):
        z, q = self.saved
        gy = expand_dims(gy, 1)
        gz = gy * (z.softmax(axis=1) * q.sum(axis=1, keepdims=True) - q) if self.needs_grad(0) else None
        return gz, -gy * z.log_softmax(axis=1) if self.needs_grad(1) else None


class NegativeLogLikelihood(Function):
    """L = −Σ q·x, over axis 1 or, with a divisor, over everything;  gx = −gL·q. Linear: x is not needed for it."""

    def forward(self, x, targets):
        self.shape, self.dtype, self.targets = x.shape, x.dtype, targets
        return kernels.negative_log_likelihood(x, *targets)

    def backward(self, gy):
        q = Tensor._made(kernels.class_targets(self.shape, self.dtype, *self.targets), self.device)
        return -(expand_dims(gy, 1) if gy.ndim else gy) * q


class CheckedLabels:
    """Labels that are known to be classes: int64, (N, ...), on the device of the logits.

    Losses check labels on the host, which would have to wait for a GPU. Who has checked them already, as the recorder
    of a CUDA graph has, says so: cross_entropy and nll_loss take these as they are.
    """

    def __init__(self, array: Any):
        self.array, self.shape, self.ndim = array, array.shape, array.ndim


# --- what users call --------------------------------------------------------------------------------------------------


def cross_entropy(
    logits: Tensor,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """How far softmax(logits) is from the target: logits (N, C) or (N, C, H, W), any number of axes after the classes.

    target: class indices 0..C−1, (N,) or (N, H, W); or probabilities, of the shape of logits, which may require a
    gradient. With p = softmax(logits), class weights w (C,) and smoothing ε, the loss for the label t is

        (1 − ε)·w[t]·(−ln p[t]) + ε/C·Σⱼ w[j]·(−ln p[j])

    and that for probabilities q is Σⱼ w[j]·((1 − ε)·q[j] + ε/C)·(−ln p[j]). Labels that equal ignore_index count for
    nothing, also not in the mean. "mean" divides by Σ w[t] for labels, and by their number for probabilities, as
    PyTorch does.
    Raises ShapeError if shapes do not fit or the mean is over an empty batch, DTypeError if target is neither integers
    of one shape nor floating-point numbers of the other, ArgumentError if a label, a probability or an option is out
    of range, or no label is left for the mean.
    """
    expect("cross_entropy", logits, "logits")
    _choice("cross_entropy", reduction)
    smoothing = number("cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    given = (
        target
        if isinstance(target, Tensor | np.ndarray | CheckedLabels)
        else array_of("cross_entropy", "target", target)
    )
    if given.shape == logits.shape and given.ndim > 1:
        return _of_probabilities(logits, target, weight, reduction, smoothing)
    labels, weights, divisor = _labels("cross_entropy", logits, given, weight, ignore_index, reduction)
    return CrossEntropy.apply(logits, targets=(labels, weights, smoothing, divisor))


def nll_loss(
    log_probabilities: Tensor, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """−w[t]·x[n, t] for each label t: the cross-entropy of what has gone through log_softmax already.

    x (N, C) or (N, C, H, W), labels, weights, the mean and errors as in cross_entropy.
    """
    expect("nll_loss", log_probabilities, "log_probabilities")
    _choice("nll_loss", reduction)
    labels, weights, divisor = _labels("nll_loss", log_probabilities, target, weight, ignore_index, reduction)
    return NegativeLogLikelihood.apply(log_probabilities, targets=(labels, weights, 0.0, divisor))


def _of_probabilities(logits: Tensor, target: Any, weight: Any, reduction: str, smoothing: float) -> Tensor:
    """Cross-entropy between softmax(logits) and probabilities, both (N, C, ...)."""
    q = target if isinstance(target, Tensor) else like("cross_entropy", logits, target)
    if q.dtype.kind not in FLOATING:
        raise DTypeError(
            f"cross_entropy got a target of dtype {q.dtype} in the shape {q.shape} of logits: probabilities are "
            "floating-point, and class indices have no axis for the classes"
        )
    floating("cross_entropy", logits, q)
    expect_probabilities("cross_entropy", q)
    classes = logits.shape[1]
    if smoothing:
        q = q * (1 - smoothing) + smoothing / max(classes, 1)
    weights = _weights("cross_entropy", logits, weight)
    if weights is not None:
        q = q * Tensor(weights.reshape(-1, *[1] * (logits.ndim - 2)), device=logits.device)
    return reduce("cross_entropy", SoftCrossEntropy.apply(logits, q), reduction)


# --- labels -----------------------------------------------------------------------------------------------------------


def _labels(
    op: str, x: Tensor, target: Any, weight: Any, ignore_index: Any, reduction: str
) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """The labels as int64 with −1 for those that are ignored, the class weights, and what the sum is divided by."""
    if isinstance(target, CheckedLabels):
        return _checked(op, x, target, weight, reduction)
    labels = array_of(op, "labels", target)  # a copy: backward needs them unchanged
    if x.ndim < 2 or not x.shape[1] or labels.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(
            f"{op} expects classes on axis 1 and labels for the other axes, such as (N, C) and (N,), "
            f"got shapes {x.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{op} expects class indices as integers, got labels of dtype {labels.dtype}")
    if not is_whole(ignore_index):
        raise ArgumentError(f"{op} takes an integer as ignore_index, got {one_line(ignore_index)}")
    labels = labels.astype(np.int64, copy=False)
    classes, kept = x.shape[1], labels.size
    if 0 <= ignore_index < classes or (kept and labels.view(np.uint64).max() >= classes):  # negative ones are large
        ignored = labels == ignore_index
        outside = labels[~ignored & ((labels < 0) | (labels >= classes))]
        if outside.size:
            worst = outside[np.argmax(np.maximum(-outside, outside - classes))]
            raise ArgumentError(
                f"{op} got label {worst}, but {x.shape} has classes 0 to {classes - 1}: "
                f"labels that should not count are marked by ignore_index, here {ignore_index}"
            )
        labels[ignored] = -1
        kept -= int(np.count_nonzero(ignored))
    weights = None if weight is None else _weights(op, x, weight)
    if reduction != "mean":
        return labels, weights, None if reduction == "none" else 1.0
    if not labels.size:
        raise _no_mean(op)
    divisor = float(kept if weights is None else weights[labels[labels >= 0]].real.sum(dtype=np.float64))
    if not divisor:
        what = f"equal ignore_index={ignore_index}" if not kept else "have weight 0"
        raise ArgumentError(
            f"{op}: all labels of shape {labels.shape} {what}, and the mean over none is not defined: "
            'skip such batches, or use reduction="sum"'
        )
    return labels, weights, divisor


def _checked(op: str, x: Tensor, labels: CheckedLabels, weight: Any, reduction: str) -> tuple[Any, Any, float | None]:
    weights = _weights(op, x, weight)
    if weights is not None and reduction == "mean":
        raise ArgumentError(f"{op}: the mean with class weights divides by a number that the labels decide")
    return labels.array, weights, {"none": None, "sum": 1.0, "mean": float(math.prod(labels.shape))}[reduction]


def _weights(op: str, x: Tensor, weight: Any) -> np.ndarray | None:
    """One number ≥ 0 for each class, in the dtype of x."""
    if weight is None:
        return None
    weights = constant(op, "weight", weight, x)
    if weights.shape != x.shape[1:2]:
        raise ShapeError(f"{op} needs one weight for each class of {x.shape}, got weights of shape {weights.shape}")
    return weights


# --- for all losses ---------------------------------------------------------------------------------------------------


def constant(op: str, name: str, value: Any, x: Tensor) -> np.ndarray:
    """Numbers ≥ 0 in the dtype of x, through which no gradient flows."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise ArgumentError(f"{op} takes {name} as a constant, and this one requires a gradient: use {name}.detach()")
    array = array_of(op, name, value)
    if array.dtype.kind not in "fiu":
        raise DTypeError(f"{op} takes numbers as {name}, got {array.dtype} of shape {array.shape}")
    with np.errstate(over="ignore"):  # what overflows is refused
        constants = array.astype(x.dtype, copy=False)
    right = (array >= 0) & np.isfinite(constants)
    if not right.all():
        wrong = array[~right].flat[0]
        raise ArgumentError(f"{op} takes numbers ≥ 0 as {name}, got {wrong}: they must be finite in {x.dtype}")
    return constants


def number(op: str, name: str, value: Any, least: float, most: float) -> float:
    """A number from least to most. Raises ArgumentError for anything else."""
    real = type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool))
    if not real or not least <= value <= most:
        limits = f"from {least:g} to {most:g}" if most < math.inf else f"≥ {least:g}"
        raise ArgumentError(f"{op} takes a number {limits} as {name}, got {one_line(value)}")
    return float(value)


def expect_probabilities(op: str, target: Tensor) -> None:
    """Raises ArgumentError unless all numbers are from 0 to 1."""
    given = devices.to_host(target.data).real
    if given.size and not (given.min() >= 0 and given.max() <= 1):  # NaN is not, either
        worst = given.flat[np.argmax(np.abs(given - 0.5))]
        raise ArgumentError(f"{op} takes probabilities from 0 to 1 as target, got {worst:g} in shape {target.shape}")


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
