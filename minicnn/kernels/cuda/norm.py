"""Normalisation: norm.cu, in three launches a batch norm and three its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activation import PACK
from .launch import THREADS, contiguous, empty, kernel, library
from .reduce import group_size, row_blocks, wide

BLOCKS = 1024  # that keep a GPU busy
LEAST = 4  # groups of numbers for a thread, before channels are cut into more slices


def batch_norm(
    x: Any, mean: Any, var: Any, w: Any, b: Any, residual: Any, eps: float, cap: float | None
) -> tuple[Any, Any, Any]:
    """y = w·(x − mean)/√(var + eps) + b + residual, clipped to 0 ≤ y ≤ cap; and the mean and var, which may be None."""
    x, residual = contiguous(x), None if residual is None else contiguous(residual)
    y, channels, inner = empty(x.shape, x.dtype), x.shape[1], math.prod(x.shape[2:])
    packed, groups = _packs(inner, y, x, residual)
    slices, parts = 0, None
    values: tuple[Any, ...]
    if mean is None:
        slices, per_slice = _slices(channels, groups // max(channels, 1))
        parts = empty((channels, slices, 3), np.float64)
        mean, var = (empty((channels,), np.float64) for _ in range(2))
        values = (parts, x, channels, inner, slices, per_slice, groups // max(channels, 1), packed)
        kernel("norm.cu", "moment_parts", x.dtype)((channels * slices,), values)
    else:
        mean, var = (contiguous(s.astype(np.float64, copy=False)) for s in (mean, var))
    lines = empty((channels, 4), wide(x.dtype))
    weights = *_of_channels((w, b), x), (w is not None) + 2 * (b is not None)
    values = (lines, mean, var, mean if parts is None else parts, slices, *weights, float(eps), channels)
    kernel("norm.cu", "lines", x.dtype)(channels, values)
    added = x if residual is None else residual
    clip = (cap is not None, float(cap or 0))
    values = (y, x, added, residual is not None, lines, *clip, channels, inner, groups, packed)
    kernel("norm.cu", "batch_norm", x.dtype)(groups, values)
    return y, mean, var


def batch_norm_gradient(
    gy: Any, x: Any, y: Any, w: Any, mean: Any, var: Any, eps: float, cap: float | None
) -> tuple[Any, Any, Any]:
    """gx, gw, gb; of gy only what lies where 0 < y < cap."""
    gy, x = contiguous(gy), contiguous(x)
    y = gy if cap is None else contiguous(y)
    gx, channels, inner = empty(x.shape, x.dtype), x.shape[1], math.prod(x.shape[2:])
    gw, gb = (empty((channels,), wide(x.dtype)) for _ in range(2))
    packed, groups = _packs(inner, gx, gy, x, y)
    of_channel, count = groups // max(channels, 1), x.size // max(channels, 1)
    slices, per_slice = _slices(channels, of_channel)
    parts, slopes = empty((channels, slices, 2), np.float64), empty((channels, 5), wide(x.dtype))
    mean, var = (contiguous(s.astype(np.float64, copy=False)) for s in (mean, var))
    clip = (cap is not None, float(cap or 0))
    values: tuple[Any, ...] = (parts, gy, x, y, *clip, mean, channels, inner, slices, per_slice, of_channel, packed)
    kernel("norm.cu", "gradient_parts", x.dtype)((channels * slices,), values)
    weights = *_of_channels((w,), x), int(w is not None)
    values = (slopes, gw, gb, parts, slices, mean, var, *weights, float(eps), count, channels)
    kernel("norm.cu", "slopes", x.dtype)(channels, values)
    values = (gx, gy, x, y, *clip, slopes, channels, inner, groups, packed)
    kernel("norm.cu", "batch_norm_gradient", x.dtype)(groups, values)
    of_w = (x if w is None else w).dtype
    return gx, gw.astype(of_w, copy=False), gb.astype(of_w, copy=False)


def _of_channels(present: tuple[Any, ...], x: Any) -> list[Any]:
    """Weights in the dtype that kernels compute in beside x; anything for those that are None."""
    dtype = wide(x.dtype)
    return [empty((1,), dtype) if c is None else contiguous(c.astype(dtype, copy=False)) for c in present]


def _packs(inner: int, *arrays: Any) -> tuple[bool, int]:
    """Whether to read 16 bytes at a time, all of one channel, and how many groups of numbers that makes."""
    present = [a for a in arrays if a is not None]
    x = present[0]
    numbers = PACK // x.itemsize
    packed = inner % numbers == 0 and all(a.data.ptr % PACK == 0 for a in present)
    return packed, x.size // numbers if packed else x.size


def _slices(channels: int, groups: int) -> tuple[int, int]:
    """Into how many slices to cut each channel, and how many groups of numbers are in one."""
    slices = max(min(-(-BLOCKS // max(channels, 1)), groups // (LEAST * THREADS)), 1)
    return slices, -(-groups // slices)


def track_statistics(running_mean: Any, running_var: Any, mean: Any, var: Any, count: int, momentum: float) -> None:
    """running = (1 − momentum)·running + momentum·new, in place."""
    own = [contiguous(running) for running in (running_mean, running_var)]
    numbers = (1.0 - momentum, float(momentum), count / (count - 1))
    values = (*own, *(contiguous(s.astype(np.float64, copy=False)) for s in (mean, var)), *numbers, mean.size)
    kernel("norm.cu", "track_statistics", own[0].dtype)(mean.size, values)
    for running, updated in zip((running_mean, running_var), own, strict=True):
        if updated is not running:  # it was strided
            running[...] = updated


def standardize(x: Any, eps: float) -> tuple[Any, Any]:
    """(x − mean)/√(var + eps) and 1/√(var + eps) along the rows of x (rows, n); of empty rows x and 1."""
    rows, n = x.shape
    if n == 0:
        return x.copy(), library().ones((rows, 1), x.dtype)
    x_hat, inv_std, t = empty(x.shape, x.dtype), empty((rows, 1), x.dtype), group_size(n)
    values = (x_hat, inv_std, contiguous(x), float(eps), rows, n, t)
    kernel("norm.cu", "standardize", x.dtype)(row_blocks(rows, t), values)
    return x_hat, inv_std
