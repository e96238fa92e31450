"""Learning-rate schedules: the rate of each epoch in closed form, so that a resumed run needs only the epoch's number.

Each group's rate is made from its initial one; epochs count from 0. A schedule with `every_step` is asked for the rate
within epochs, too: in the middle of the third, for that of epoch 2.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ArgumentError
from .optimizer import Optimizer


class LRScheduler:
    """Base: a subclass writes factor(epoch), or rate(initial, epoch) where it is no factor."""

    every_step = False

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.set_epoch(0)

    def factor(self, epoch: float) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not define factor")

    def set_epoch(self, epoch: float) -> None:
        """Give the optimizer the rate of an epoch."""
        self.epoch = epoch
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["initial_lr"], epoch)

    def rate(self, initial: float, epoch: float) -> float:
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

    def factor(self, epoch: float) -> float:
        return self.gamma**epoch


class MultiStepLR(LRScheduler):
    """lr·gamma^(number of milestones that epoch has reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, epoch: float) -> float:
        return self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class StepLR(LRScheduler):
    """lr·gamma^⌊e / step_size⌋. step_size need not be whole: EfficientNet takes lr·0.97 every 2.4 epochs."""

    def __init__(self, optimizer: Optimizer, step_size: float, gamma: float = 0.1):
        if step_size < 1:
            raise ArgumentError(f"StepLR needs step_size ≥ 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, epoch: float) -> float:
        return self.gamma ** math.floor(epoch / self.step_size)  # 11 // 1.1 is 9, as 1.1 is a little more than it says


class CosineAnnealingLR(LRScheduler):
    """From lr down to eta_min along half a cosine of T_max epochs. Source: Loshchilov and Hutter 2016, equation 5."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR needs T_max ≥ 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, initial: float, epoch: float) -> float:
        cosine = math.cos(math.pi * min(epoch, self.T_max) / self.T_max)
        return self.eta_min + (initial - self.eta_min) * (1 + cosine) / 2


class WarmUp(LRScheduler):
    """From start·lr up to lr in a straight line, step by step, during the first `epochs` epochs; from then on `after`.

    after counts its epochs from the beginning of training, not from the end of the warm-up.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    """

    every_step = True

    def __init__(self, after: LRScheduler, epochs: float, start: float = 0.1):
        if not epochs > 0 or not 0 <= start <= 1:
            raise ArgumentError(f"WarmUp needs epochs > 0 and a start from 0 to 1, got {epochs} and {start}")
        self.after, self.epochs, self.start = after, epochs, start
        super().__init__(after.optimizer)

    def rate(self, initial: float, epoch: float) -> float:
        if epoch < self.epochs:
            return initial * (self.start + (1 - self.start) * epoch / self.epochs)
        return self.after.rate(initial, epoch if self.after.every_step else math.floor(epoch))
