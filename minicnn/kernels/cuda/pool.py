"""Pooling, each a launch of pool.cu. Gradients gather, or claim their places in a fixed order: no float atomics."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..window import Window
from .launch import contiguous, empty, kernel, library

STRIP = 3072  # pixels of one block of max_scatter


def max_pool2d(x: Any, window: Window) -> tuple:
    """x (N, C, H, W) -> y and indices (N, C, P, Q) int32, −∞ and −1 where a window sees padding only."""
    return _max_pool(x, window, with_relu=False)


def relu_max_pool2d(x: Any, window: Window) -> tuple:
    """max_pool2d(relu(x), window), with index −1 where the result is not above 0."""
    return _max_pool(x, window, with_relu=True)


def _max_pool(x: Any, window: Window, with_relu: bool) -> tuple:
    size = window.output_size(x.shape[2:])
    y = empty((*x.shape[:2], *size), x.dtype)
    indices = empty(y.shape, np.int32)
    kernel("pool.cu", "max_pool", x.dtype)(
        y.size, (y, indices, contiguous(x), *_windows(x.shape, size, window), with_relu)
    )
    return y, indices


def max_pool2d_scatter(gy: Any, indices: Any, size: tuple[int, ...]) -> Any:
    """gx (N, C, H, W) with (H, W) = size: gy added at its index, −1 ignored."""
    gx = empty((*gy.shape[:2], *size), gy.dtype)
    outputs, pixels = gy.shape[2] * gy.shape[3], size[0] * size[1]
    blocks = gx.shape[0] * gx.shape[1] * -(-pixels // STRIP)
    kernel("pool.cu", "max_scatter", gy.dtype)(
        (blocks,), (gx, contiguous(gy), _places(indices, pixels), outputs, pixels)
    )
    return gx


def max_pool2d_gather(x: Any, indices: Any) -> Any:
    """x (N, C, H, W) at the indices, (N, C, P, Q); 0 at index −1."""
    y = empty(indices.shape, x.dtype)
    outputs, pixels = indices.shape[2] * indices.shape[3], x.shape[2] * x.shape[3]
    kernel("pool.cu", "max_gather", x.dtype)(
        y.size, (y, contiguous(x), _places(indices, pixels), y.size, outputs, pixels)
    )
    return y


def max_unpool2d(x: Any, indices: Any, size: tuple[int, ...]) -> tuple:
    """x (N, C, P, Q) put down at its index in zeros (N, C, H, W), the last where several have one; and the indices
    (int32) with −1 for those that were covered."""
    y, kept = empty((*x.shape[:2], *size), x.dtype), empty(x.shape, np.int32)
    outputs, pixels = x.shape[2] * x.shape[3], size[0] * size[1]
    last, indices = empty(y.shape, np.int32), _places(indices, pixels)
    last.fill(-1)
    launch = {name: kernel("pool.cu", name, x.dtype) for name in ("last_of_each", "unpool", "uncovered")}
    launch["last_of_each"](x.size, (last, indices, x.size, outputs, pixels))
    launch["unpool"](y.size, (y, contiguous(x), last, y.size, outputs, pixels))
    launch["uncovered"](x.size, (kept, indices, last, x.size, outputs, pixels))
    return y, kept


def avg_pool2d(x: Any, window: Window, count_include_pad: bool) -> Any:
    """x (N, C, H, W) -> y (N, C, P, Q): sums over windows divided by window.counts(...)."""
    size = window.output_size(x.shape[2:])
    y = empty((*x.shape[:2], *size), x.dtype)
    ends = window.pad[0][1], window.pad[1][1]
    kernel("pool.cu", "avg_pool", x.dtype)(
        y.size, (y, contiguous(x), *_windows(x.shape, size, window), *ends, count_include_pad)
    )
    return y


def avg_pool2d_transpose(gy: Any, window: Window, count_include_pad: bool, size: tuple[int, ...]) -> Any:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of avg_pool2d."""
    gx = empty((*gy.shape[:2], *size), gy.dtype)
    ends = window.pad[0][1], window.pad[1][1]
    kernel("pool.cu", "avg_pool_transpose", gy.dtype)(
        gx.size, (gx, contiguous(gy), *_windows(gx.shape, gy.shape[2:], window), *ends, count_include_pad)
    )
    return gx


def _windows(x: tuple[int, ...], size: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """WINDOWS of pool.cu, for images of shape x and outputs of `size`."""
    (top, _), (left, _) = window.pad
    return (x[0] * x[1], *x[2:], *size, *window.kernel, *window.stride, top, left, *window.dilation)


def _places(indices: Any, pixels: int) -> Any:
    """Indices in 32 bits, −1 for those that name no pixel."""
    if indices.dtype != np.int32:
        indices = library().where((indices < 0) | (indices >= pixels), -1, indices).astype(np.int32)
    return contiguous(indices)
