"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import kernels
from ..errors import ArgumentError
from .optimizer import Optimizer, number


class SGD(Optimizer):
    """Gradient descent with momentum μ and L2 weight decay λ:

        g ← g + λ·p        v ← μ·v + (1 − dampening)·g   (v = g at the first step)        p ← p − lr·v

    With Nesterov's momentum p ← p − lr·(g + μ·v).
    Source: Sutskever et al. 2013, "On the importance of initialization and momentum", in PyTorch's form.
    Raises ArgumentError for settings out of range.
    """

    slots = ("velocity",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        for name, value in (("momentum", momentum), ("dampening", dampening), ("weight_decay", weight_decay)):
            number(f"SGD's {name}", value)
        if momentum < 0 or weight_decay < 0:
            raise ArgumentError(f"SGD needs momentum and weight_decay ≥ 0, got {momentum} and {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("Nesterov's momentum needs momentum > 0 and dampening 0")
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def update(self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        fresh, velocities = [], []
        if group["momentum"]:
            fresh = ["velocity" not in state for state in states]
            for p, state, new in zip(params, states, fresh, strict=True):
                if new:
                    state["velocity"] = kernels.full(p.shape, 0, p.dtype)
            velocities = [state["velocity"] for state in states]
        kernels.sgd_step(
            params, grads, velocities, fresh, group["lr"], group["momentum"], group["dampening"],
            group["weight_decay"], group["nesterov"],
        )  # fmt: skip
