"""Adam, and AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError
from .optimizer import Optimizer, number


class Adam(Optimizer):
    """Steps scaled by running averages of the gradient and of its square, both without their start-up bias:

        g ← g + λ·p     m ← β₁·m + (1 − β₁)·g     s ← β₂·s + (1 − β₂)·g²
        p ← p − lr · m/(1 − β₁ᵗ) / (√(s/(1 − β₂ᵗ)) + ε)

    Source: Kingma and Ba 2014, algorithm 1; weight decay λ as L2, in PyTorch's form.
    Raises ArgumentError for settings out of range.
    """

    slots = ("mean", "square", "count")
    counters = ("count",)
    steady = False  # the count is another one in each step
    decoupled = False  # whether weight decay goes past the averages

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError(f"Adam needs two betas, got {betas!r}")
        for name, value in (("beta1", betas[0]), ("beta2", betas[1]), ("eps", eps), ("weight_decay", weight_decay)):
            number(f"Adam's {name}", value)
        if not all(0 <= beta < 1 for beta in betas) or eps < 0 or weight_decay < 0:
            raise ArgumentError(
                f"Adam needs 0 ≤ betas < 1 and eps, weight_decay ≥ 0, got {betas}, {eps}, {weight_decay}"
            )
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        for p, state in zip(params, states, strict=True):
            if not state:
                mean, square = (kernels.full(p.shape, 0, p.dtype) for _ in range(2))
                state.update(mean=mean, square=square, count=np.array(0, np.int64))
            state["count"] = state["count"] + 1  # of this parameter: one that joins later starts its own averages
        means, squares, counts = ([state[slot] for state in states] for slot in self.slots)
        beta1, beta2 = group["betas"]
        kernels.adam_step(
            params, grads, means, squares, group["lr"], beta1, beta2, group["eps"], group["weight_decay"],
            self.decoupled, [int(count) for count in counts],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay λ that does not go through the averages:  p ← (1 − lr·λ)·p, then Adam's step without λ.

    As L2 in the gradient, λ would be divided by the gradient's size, and decay least what has the largest gradients.
    Source: Loshchilov and Hutter 2017, "Decoupled weight decay regularization", algorithm 2, in PyTorch's form.
    Raises ArgumentError for settings out of range.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
