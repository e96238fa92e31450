"""RMSprop, in PyTorch's form and in TensorFlow's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import kernels
from ..errors import ArgumentError
from ..ops.arguments import flag
from .optimizer import Optimizer, number


class RMSprop(Optimizer):
    """Steps scaled by a running average of the gradient's square, with momentum μ and L2 weight decay λ:

        g ← g + λ·p     s ← α·s + (1 − α)·g²     v ← μ·v + g/(√s + ε)     p ← p − lr·v        s is 0 at first

    tensorflow=True is the form in which Inception-v3 and v4, MobileNets, EfficientNets and MixNets were trained. ε is
    inside the root, where their 1.0 or 0.001 means something else; s is 1 at first, so that no step is huge before
    the average knows anything; and v is made of steps, so that a new rate changes only those to come:

        s ← α·s + (1 − α)·g²     v ← μ·v + lr·g/√(s + ε)     p ← p − v                        s is 1 at first

    Source: Tieleman and Hinton 2012, "Neural networks for machine learning", lecture 6.5; the forms are those of
    torch.optim.RMSprop and of tf.train.RMSPropOptimizer.
    Raises ArgumentError for settings out of range.
    """

    slots = ("square", "velocity")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        tensorflow: bool = False,
    ):
        settings = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        for name, value in settings.items():
            number(f"RMSprop's {name}", value)
        if not 0 <= alpha < 1 or min(settings.values()) < 0:
            raise ArgumentError(f"RMSprop needs 0 ≤ alpha < 1 and all else ≥ 0, got {settings}")
        super().__init__(params, lr=lr, **settings, tensorflow=flag("RMSprop", "tensorflow", tensorflow))

    def update(self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        momentum, tensorflow = group["momentum"], group["tensorflow"]
        for p, state in zip(params, states, strict=True):
            if "square" not in state:
                state["square"] = kernels.full(p.shape, int(tensorflow), p.dtype)
            if momentum and "velocity" not in state:
                state["velocity"] = kernels.full(p.shape, 0, p.dtype)
        velocities = [state["velocity"] for state in states] if momentum else []
        kernels.rmsprop_step(
            params, grads, [state["square"] for state in states], velocities, group["lr"], group["alpha"],
            group["eps"], momentum, group["weight_decay"], tensorflow,
        )  # fmt: skip
