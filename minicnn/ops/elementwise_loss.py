"""Losses of each number by itself: of differences, and of yes-or-no questions. Those over classes: loss.py.

reduction: "mean" over all numbers (refuses none), "sum", or "none".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import array_of, expect, floating, is_number, largest_of, one_line
from .arithmetic import abs, like, maximum, minimum, operands, where
from .loss import constant, expect_probabilities, number, reduce


class BinaryCrossEntropy(Function):
    """L = π·t·softplus(−x) + (1 − t)·softplus(x), with softplus(x) = ln(1 + eˣ) = −ln(1 − σ(x)).

    Logits x and targets t of one shape, π (pos_weight) an array that broadcasts to it, or None for 1.
    gx = gL·((π·t + 1 − t)·σ(x) − π·t),  gt = gL·(π·softplus(−x) − softplus(x)), and softplus is this loss for t = 0.
    """

    def forward(self, x, t, pos_weight):
        self.save(x, t if self.needs_grad(0) else None)
        self.pos_weight = pos_weight
        return kernels.binary_cross_entropy(x, t, pos_weight)

    def backward(self, gy):
        x, t = self.saved
        weight = 1.0 if self.pos_weight is None else Tensor._made(self.pos_weight, self.device)
        gx = gt = None
        if self.needs_grad(0):
            positive = weight * t
            gx = gy * ((positive + 1.0 - t) * x.sigmoid() - positive)
        if self.needs_grad(1):
            gt = gy * (weight * softplus(-x) - softplus(x))
        return gx, gt


def softplus(x: Tensor) -> Tensor:
    """ln(1 + eˣ): the loss of a logit whose answer is no."""
    no = Tensor._made(kernels.full(x.shape, 0, x.dtype), x.device)
    return BinaryCrossEntropy.apply(x, no, pos_weight=None)


class SigmoidFocal(Function):
    """L = −α·(1 − p)^γ·ln p with p = σ(z), the probability of the right answer: z = x if that is yes, else −x.

    Logits x, `yes` (bool) of their shape, `alpha` = (α where yes, α where no). With softplus, which does not overflow,
    L = α·e^(−γ·softplus(z))·softplus(−z), and gz = −gL·α·e^(−γ·softplus(z))·(1 − p + γ·p·softplus(−z)): the last term
    is the derivative of the factor (1 − p)^γ.
    Source: Lin et al. 2017, "Focal loss for dense object detection", equations 4 and 5.
    """

    def forward(self, x, yes, alpha, gamma):
        self.save(x)
        self.yes, self.alpha, self.gamma = yes, alpha, gamma
        return kernels.sigmoid_focal_loss(x, yes, alpha, gamma)

    def backward(self, gy):
        (x,) = self.saved
        yes = Tensor._made(self.yes, self.device)
        z = where(yes, x, -x)
        p = z.sigmoid()
        slope = (softplus(z) * -self.gamma).exp() * (1.0 - p + self.gamma * p * softplus(-z))
        return where(yes, gy * -self.alpha[0], gy * self.alpha[1]) * slope


class SmoothL1(Function):
    """L = d²/(2β) where |d| < β, else |d| − β/2;  gd = gL·min(max(d/β, −1), 1).

    Source: Girshick 2015, "Fast R-CNN", equation 3 (β = 1).
    """

    name = "smooth_l1"

    def forward(self, d, beta):
        self.save(d)
        self.beta = beta
        return kernels.smooth_l1(d, beta)

    def backward(self, gy):
        return gy * minimum(maximum(self.saved[0] / self.beta, -1.0), 1.0)


# --- what users call --------------------------------------------------------------------------------------------------


def mse_loss(x: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Squared error (x − target)².

    Raises ShapeError unless both have one shape, or if the mean is over no elements.
    """
    x, target = _of_one_shape("mse_loss", x, target)
    difference = x - target
    return reduce("mse_loss", difference * difference, reduction)


def l1_loss(x: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Absolute error |x − target|; its gradient is 0 where both are equal. Errors as mse_loss."""
    x, target = _of_one_shape("l1_loss", x, target)
    return reduce("l1_loss", abs(x - target), reduction)


def smooth_l1_loss(x: Tensor, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = x − target: d²/(2·beta) where |d| < beta, else |d| − beta/2. beta = 0 is l1_loss.

    Errors as mse_loss, and ArgumentError for a beta below 0.
    """
    return _smooth_l1("smooth_l1_loss", x, target, reduction, number("smooth_l1_loss", "beta", beta, 0, math.inf))


def huber_loss(x: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """delta·smooth_l1_loss with beta = delta: d²/2 where |d| < delta. Errors as smooth_l1_loss, also for delta = 0."""
    expect("huber_loss", x)
    floating("huber_loss", x)
    delta = _finite("huber_loss", "delta", delta, x)
    if delta == 0:
        raise ArgumentError("huber_loss takes a number above 0 as delta, got 0")
    return _smooth_l1("huber_loss", x, target, reduction, delta) * delta


def _smooth_l1(op: str, x: Tensor, target: Any, reduction: str, beta: float) -> Tensor:
    x, target = _of_one_shape(op, x, target)
    difference = x - target
    losses = SmoothL1.apply(difference, beta=beta) if x.dtype.type(beta) else abs(difference)
    return reduce(op, losses, reduction)


def binary_cross_entropy_with_logits(
    x: Tensor, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """−weight·(pos_weight·t·ln σ(x) + (1 − t)·ln(1 − σ(x))) for logits x and targets t from 0 to 1 of one shape.

    weight and pos_weight are constants ≥ 0 that broadcast to x: pos_weight (C,) for x (N, C) is one for each class.
    target may require a gradient. "mean" divides by the number of elements, whatever they weigh, as PyTorch does.
    Raises ShapeError for shapes that do not fit or a mean over no elements, ArgumentError for numbers out of range.
    """
    op = "binary_cross_entropy_with_logits"
    x, target = _of_one_shape(op, x, target)
    expect_probabilities(op, target)
    pos_weight = _broadcasting(op, "pos_weight", pos_weight, x)
    weight = _broadcasting(op, "weight", weight, x)
    losses = BinaryCrossEntropy.apply(x, target, pos_weight=pos_weight)
    return reduce(op, losses if weight is None else losses * Tensor(weight, device=x.device), reduction)


def sigmoid_focal_loss(
    inputs: Tensor, targets: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """−αₜ·(1 − pₜ)^gamma·ln pₜ for logits and targets 0 or 1 of one shape; pₜ is the probability of what is right.

    αₜ is alpha for targets 1 and 1 − alpha for targets 0; with alpha = −1 it is 1 for both.
    Names and defaults as in torchvision, so the reduction is "none": detectors divide the sum by how many anchors have
    an object. torchvision extends the formula to targets between 0 and 1; the paper has none, and they are refused.
    Raises ShapeError for shapes that do not fit or a mean over no elements, ArgumentError for numbers out of range.
    """
    op = "sigmoid_focal_loss"
    expect(op, inputs, "inputs")
    floating(op, inputs)
    answers = array_of(op, "targets", targets)
    if answers.shape != inputs.shape:
        raise ShapeError(f"{op} expects inputs and targets of one shape, got {inputs.shape} and {answers.shape}")
    yes = answers == 1
    if not (yes | (answers == 0)).all():
        wrong = answers[~yes & (answers != 0)].tolist()[0]
        raise ArgumentError(f"{op} takes targets that are 0 or 1, got {one_line(wrong)} in shape {answers.shape}")
    gamma, alpha = _finite(op, "gamma", gamma, inputs), number(op, "alpha", alpha, -1, 1)
    if -1 < alpha < 0:
        raise ArgumentError(f"{op} takes a number from 0 to 1 as alpha, or −1 for no weights, got {alpha:g}")
    sides = (1.0, 1.0) if alpha == -1 else (alpha, 1.0 - alpha)
    return reduce(op, SigmoidFocal.apply(inputs, yes=yes, alpha=sides, gamma=gamma), reduction)


def _finite(op: str, name: str, value: Any, x: Tensor) -> float:
    """A number from 0 to the largest that the dtype of x has."""
    checked = number(op, name, value, 0, math.inf)
    if not is_number(checked, largest_of(x.dtype)):
        raise ArgumentError(f"{op} takes {name} as a number that is finite in {x.dtype}, got {one_line(value)}")
    return checked


def _of_one_shape(op: str, x: Tensor, target: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors of one floating-point dtype; integer targets take that of x."""
    expect(op, x)
    if not isinstance(target, Tensor):
        target = like(op, x, target)
    if x.shape != target.shape:
        raise ShapeError(f"{op} expects input and target of one shape, got {x.shape} and {target.shape}")
    floating(op, x)
    x, target = operands(op, x, target)
    floating(op, x, target)
    return x, target


def _broadcasting(op: str, name: str, value: Any, x: Tensor) -> np.ndarray | None:
    """Numbers ≥ 0 that broadcast to the shape of x, but to no larger one."""
    if value is None:
        return None
    array = constant(op, name, value, x)
    sizes = zip(array.shape[::-1], x.shape[::-1], strict=False)
    if array.ndim > x.ndim or any(size not in (1, full) for size, full in sizes):
        raise ShapeError(f"{op} needs a {name} that broadcasts to {x.shape}, got shape {array.shape}")
    return array
