"""Adaptive pooling: adaptive.cu, which finds the bins itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import contiguous, empty, kernel

LARGE = 32  # elements of a bin, from which a warp adds it up


def adaptive_avg_pool2d(x: Any, size: tuple[int, ...]) -> Any:
    """x (N, C, H, W) -> y (N, C, P, Q) with (P, Q) = size: means over the bins of window.bins."""
    y = empty((*x.shape[:2], *size), x.dtype)
    lanes = 32 if y.size and x.size >= LARGE * y.size else 1
    kernel("adaptive.cu", "adaptive_avg", x.dtype)(
        y.size * lanes, (y, contiguous(x), x.shape[0] * x.shape[1], *x.shape[2:], *size, lanes)
    )
    return y


def adaptive_avg_pool2d_transpose(gy: Any, size: tuple[int, ...]) -> Any:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of adaptive_avg_pool2d."""
    gx = empty((*gy.shape[:2], *size), gy.dtype)
    kernel("adaptive.cu", "adaptive_avg_transpose", gy.dtype)(
        gx.size, (gx, contiguous(gy), gy.shape[0] * gy.shape[1], *size, *gy.shape[2:])
    )
    return gx


def adaptive_max_pool2d(x: Any, size: tuple[int, ...]) -> tuple:
    """x (N, C, H, W) -> y and indices (N, C, P, Q) int32 with (P, Q) = size: the first maximum of each bin."""
    y = empty((*x.shape[:2], *size), x.dtype)
    indices = empty(y.shape, np.int32)
    kernel("adaptive.cu", "adaptive_max", x.dtype)(
        y.size, (y, indices, contiguous(x), x.shape[0] * x.shape[1], *x.shape[2:], *size)
    )
    return y, indices
