"""Losses of each number by itself: losses.cu. Those of classes stand in classes.py."""

from __future__ import annotations

from typing import Any

from .activation import elementwise
from .launch import contiguous, empty, kernel, library


def binary_cross_entropy(x: Any, t: Any, pos_weight: Any) -> Any:
    """pos_weight·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ)."""
    if pos_weight is None:
        return elementwise("losses.cu", "binary_cross_entropy", x, t)
    y = empty(x.shape, x.dtype)
    arrays = y, x, t, library().broadcast_to(pos_weight, x.shape)
    kernel("losses.cu", "weighted_binary_cross_entropy", x.dtype)(x.size, (*map(contiguous, arrays), x.size))
    return y


def sigmoid_focal_loss(x: Any, yes: Any, alpha: tuple[float, float], gamma: float) -> Any:
    """α·(1 + e^z)^−gamma·ln(1 + e^−z), z = ±x."""
    y = empty(x.shape, x.dtype)
    values = (y, contiguous(x), contiguous(yes), float(alpha[0]), float(alpha[1]), float(gamma), x.size)
    kernel("losses.cu", "sigmoid_focal_loss", x.dtype)(x.size, values)
    return y


def smooth_l1(d: Any, beta: float) -> Any:
    """d²/(2·beta) where |d| < beta, else |d| − beta/2."""
    return elementwise("losses.cu", "smooth_l1", d, numbers=(beta,))
