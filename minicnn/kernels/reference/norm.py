"""Normalisation. Statistics are taken in double precision, whatever the precision of x."""

from __future__ import annotations

import numpy as np

# --- batch norm -------------------------------------------------------------------------------------------------------


def batch_norm(x, mean, var, w, b, residual, eps, cap):
    if mean is None:
        mean, var = _moments(_wide(x), _but_channels(x))
    y = _standardised(x, mean, var, eps)
    if w is not None:
        y = y * _by_channel(w, x)
    if b is not None:
        y = y + _by_channel(b, x)
    if residual is not None:
        y = y + residual
    if cap is not None:
        y = np.clip(y, 0, cap)
    return y.astype(x.dtype, copy=False), mean, var


def batch_norm_gradient(gy, x, y, w, mean, var, eps, cap):
    axes, count = _but_channels(x), x.size // max(x.shape[1], 1)
    g = gy if cap is None else np.where((y > 0) & (y < cap), gy, 0)
    x_hat = _standardised(x, mean, var, eps)
    gb, gw = g.sum(axes, dtype=x_hat.dtype), (g * x_hat).sum(axes)
    projected = g - _by_channel(gb / count, x) - x_hat * _by_channel(gw / count, x)
    scale = (1 if w is None else w) / np.sqrt(var + eps)
    of_w = (x if w is None else w).dtype
    gx = (projected * _by_channel(scale, x)).astype(x.dtype, copy=False)
    return gx, gw.astype(of_w, copy=False), gb.astype(of_w, copy=False)


def track_statistics(running_mean, running_var, mean, var, count, momentum):
    running_mean *= 1 - momentum
    running_mean += momentum * mean
    running_var *= 1 - momentum
    running_var += momentum * count / (count - 1) * var


def standardize(x, eps):
    if x.shape[1] == 0:
        return x.copy(), np.ones((len(x), 1), x.dtype)
    wide = _wide(x)
    mean, var = _moments(wide, 1)
    inv_std = 1 / np.sqrt(var[:, None] + eps)
    x_hat = (wide - mean[:, None]) * inv_std
    return x_hat.astype(x.dtype, copy=False), inv_std.astype(x.dtype, copy=False)


def _moments(wide, axes):
    """Mean and biased variance, in two passes: a difference of large squares would lose the digits that matter."""
    mean = wide.mean(axes, keepdims=True)
    var = ((wide - mean) ** 2).mean(axes)
    return mean.reshape(var.shape), var


def _standardised(x, mean, var, eps):
    return (_wide(x) - _by_channel(mean, x)) / _by_channel(np.sqrt(var + eps), x)


def _wide(x):
    return x.astype(np.result_type(x, np.float64), copy=False)


def _but_channels(x):
    return (0, *range(2, x.ndim))


def _by_channel(c, x):
    """(C,) as an array that broadcasts against x (N, C, ...)."""
    return c.reshape(-1, *(1,) * (x.ndim - 2))


# --- local response norm ----------------------------------------------------------------------------------------------


def channel_sum(x, before, after):
    """Shifted copies of x are added up; what is shifted in from beyond the ends is 0."""
    channels = x.shape[1]
    total = np.zeros_like(x)
    for shift in range(-min(before, channels), min(after, channels) + 1):
        here = slice(max(0, -shift), max(0, channels - max(0, shift)))
        there = slice(here.start + shift, here.stop + shift)
        total[:, here] += x[:, there]
    return total


def local_response_norm(x, before, after, alpha, beta, k):
    return x * _power(_sizes(x, before, after, alpha, k), -beta)


def local_response_norm_gradient(gy, x, before, after, alpha, beta, k):
    s = _sizes(x, before, after, alpha, k)
    own = gy * _power(s, -beta)
    others = channel_sum(own * x / s, after, before)  # those whose window has this channel: the window turned around
    return own - x.dtype.type(2 * alpha * beta) * x * others


def _sizes(x, before, after, alpha, k):
    return x.dtype.type(k) + x.dtype.type(alpha) * channel_sum(x * x, before, after)


def _power(s, exponent):
    return np.power(s, s.dtype.type(exponent))
