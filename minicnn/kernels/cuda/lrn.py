"""Local response norm: lrn.cu, a thread for each pixel and each strip of channels."""

from __future__ import annotations

import math
from typing import Any

from .launch import contiguous, empty, kernel
from .reduce import wide

STRIP = 16  # as in lrn.cu


def channel_sum(x: Any, before: int, after: int) -> Any:
    """Σ x[:, j] over the channels c − before ≤ j ≤ c + after that exist."""
    y = empty(x.shape, x.dtype)
    before, after, *strips = _strips(x, before, after)
    kernel("lrn.cu", "channel_sum", x.dtype)(strips[-1], (y, contiguous(x), before, after, *strips))
    return y


def local_response_norm(x: Any, before: int, after: int, alpha: float, beta: float, k: float) -> Any:
    """x·s^−beta with s = k + alpha·channel_sum(x², before, after)."""
    y = empty(x.shape, x.dtype)
    before, after, *strips = _strips(x, before, after)
    values = (y, contiguous(x), before, after, float(alpha), float(beta), float(k), *strips)
    kernel("lrn.cu", "local_response_norm", x.dtype)(strips[-1], values)
    return y


def local_response_norm_gradient(gy: Any, x: Any, before: int, after: int, alpha: float, beta: float, k: float) -> Any:
    """gy·s^−beta − 2·alpha·beta·x·channel_sum(gy·x·s^(−beta−1), after, before)."""
    gx, own, through = (empty(x.shape, dtype) for dtype in (x.dtype, wide(x.dtype), wide(x.dtype)))
    x, gy = contiguous(x), contiguous(gy)
    before, after, *strips = _strips(x, before, after)
    values = (own, through, gy, x, before, after, float(alpha), float(beta), float(k), *strips)
    kernel("lrn.cu", "gradient_terms", x.dtype)(strips[-1], values)
    values = (gx, own, through, x, before, after, 2.0 * alpha * beta, *strips)
    kernel("lrn.cu", "gradient_sums", x.dtype)(strips[-1], values)
    return gx


def _strips(x: Any, before: int, after: int) -> tuple[int, int, int, int, int]:
    """The window, no longer than there are channels; channels, pixels and threads."""
    channels, inner = x.shape[1], math.prod(x.shape[2:])
    return min(before, channels), min(after, channels), channels, inner, x.shape[0] * -(-channels // STRIP) * inner
