"""Learning-rate schedules: the rate of each epoch in closed form, so that a resumed run needs only the epoch's number.

Each group's rate is made from its initial one; epochs count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ArgumentError
from .optimizer import Optimizer


class LRScheduler:
    """Base: a subclass writes factor(epoch), or rate(initial, epoch) where it is no factor."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.set_epoch(0)

    def factor(self, epoch: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not define factor")

    def set_epoch(self, epoch: int) -> None:
        """Give the optimizer the rate of an epoch."""
        self.epoch = epoch
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["initial_lr"], epoch)

    def rate(self, initial: float, epoch: int) -> float:
        """The rate of an epoch for a group that began with `initial`."""
        return initial * self.factor(epoch)

    def step(self) -> None:
        """On to the next epoch."""
        self.set_epoch(self.epoch + 1)


class ExponentialLR(LRScheduler):
    """lr·gammaᵉ."""

    def __init__(self, optimizer: Optimizer, gamma: float):
        if gamma <= 0:
            raise ArgumentError(f"ExponentialLR needs gamma > 0, got {gamma}")
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.gamma**epoch


class MultiStepLR(LRScheduler):
    """lr·gamma^(number of milestones that epoch has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class StepLR(LRScheduler):
    """lr·gamma^⌊e / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        if step_size < 1:
            raise ArgumentError(f"StepLR needs step_size ≥ 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """From lr down to eta_min along half a cosine of T_max epochs. Source: Loshchilov and Hutter 2016, equation 5."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR needs T_max ≥ 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, initial: float, epoch: int) -> float:
        cosine = math.cos(math.pi * min(epoch, self.T_max) / self.T_max)
        return self.eta_min + (initial - self.eta_min) * (1 + cosine) / 2
