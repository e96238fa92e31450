"""Losses as modules, with PyTorch's names and arguments: what they compute is told in ops. Weights are buffers."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module


class _Loss(Module):
    """Options that are shown, and weights that are saved and moved along, where there are any."""

    options: tuple[str, ...] = ("reduction",)

    def __init__(self, **weights: Any):
        super().__init__()
        for name, weight in weights.items():
            if weight is None:
                setattr(self, name, None)
            else:
                self.register_buffer(name, weight)

    def extra_repr(self) -> str:
        weights = [f"{name}: {buffer.size} numbers" for name, buffer in self.named_buffers()]
        return ", ".join([f"{name}={getattr(self, name)!r}" for name in self.options] + weights)


class CrossEntropyLoss(_Loss):
    """Cross-entropy between softmax(logits) and class indices or probabilities: see ops.cross_entropy."""

    options = "ignore_index", "reduction", "label_smoothing"

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(weight=weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return ops.cross_entropy(logits, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class AuxiliaryLoss(Module):
    """loss(logits) + weight · the sum of loss(head) over the auxiliary heads: for networks that give a tuple (logits,
    heads ...) in training. Of a Tensor, which they give in evaluation, it is loss(logits).

    loss: cross-entropy by default. Source: Szegedy et al. 2014, "Going deeper with convolutions", section 5, with the
    weight 0.3; Inception-v3 was trained with 0.4.
    """

    def __init__(self, loss: Module | None = None, weight: float = 0.3):
        super().__init__()
        self.loss = CrossEntropyLoss() if loss is None else loss
        self.weight = weight

    def forward(self, outputs: Any, target: Any) -> Tensor:
        if isinstance(outputs, Tensor):
            return self.loss(outputs, target)
        logits, *heads = outputs
        total = self.loss(logits, target)
        for head in heads:
            total = total + self.weight * self.loss(head, target)
        return total

    def extra_repr(self) -> str:
        return f"weight={self.weight}"


class NLLLoss(_Loss):
    """Negative log-likelihood, for networks that end in log_softmax: see ops.nll_loss."""

    options = "ignore_index", "reduction"

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(weight=weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, log_probabilities: Tensor, target: Any) -> Tensor:
        return ops.nll_loss(log_probabilities, target, self.weight, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits, for questions that do not exclude each other: see ops."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(weight=weight, pos_weight=pos_weight)
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(logits, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(_Loss):
    """Squared error: see ops.mse_loss."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.mse_loss(x, target, self.reduction)


class L1Loss(_Loss):
    """Absolute error: see ops.l1_loss."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.l1_loss(x, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Squared error where it is small, absolute where it is large: see ops.smooth_l1_loss."""

    options = "reduction", "beta"

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__()
        self.reduction, self.beta = reduction, beta

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.smooth_l1_loss(x, target, self.reduction, self.beta)
