"""Activations."""

from __future__ import annotations

import math

import numpy as np

from .halves import rounded_once


def relu(x):
    return np.maximum(x, 0)


def relu_mask(g, y):
    return np.where(y > 0, g, np.zeros((), g.dtype))


tanh = np.tanh


def sigmoid(x):
    with np.errstate(over="ignore"):  # where e⁻ˣ is ∞, the sigmoid is 0
        return 1 / (1 + np.exp(-x))


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def hard_sigmoid(x):
    return relu6(x + 3) / 6


def clip_mask(g, y, low, high):
    return np.where((low < y) & (y < high), g, np.zeros((), g.dtype))


def leak(g, x, slope):
    slope = slope[0] if slope.size == 1 else slope.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, g, slope * g)


@rounded_once
def elu(x, alpha, scale):
    return scale * np.maximum(x, 0) + scale * alpha * np.expm1(np.minimum(x, 0))  # one of the two is 0


def softplus(x, beta, threshold):
    z = beta * x
    curve = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))  # ln(1 + e^z) = z + ln(1 + e^−z)
    return np.where(z > threshold, x, curve / beta)


# --- gates ------------------------------------------------------------------------------------------------------------

FAR = 100  # from here on a gate is open or shut to the last digit, and its slope is 0


def silu(x):
    return x * sigmoid(x)


def silu_slope(g, x):
    s = sigmoid(x)
    return g * (s + x * (s * (1 - s)))


def gelu(x):
    return x * _normal(x)


def gelu_slope(g, x):
    z = np.clip(x, -FAR, FAR)  # far beyond, z² would overflow, and z·e^(−z²/2) be ∞·0
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return g * (_normal(x) + z * density)


def _normal(x):
    """½·erfc(−x/√2), number by number: NumPy has no erf. Unlike 1 + erf it does not cancel far on the left."""
    phi = [math.erfc(-number / math.sqrt(2)) / 2 for number in x.ravel().tolist()]
    return np.array(phi, x.dtype).reshape(x.shape)


CUBIC = 0.044715  # Hendrycks and Gimpel 2016, section 2


def gelu_tanh(x):
    with np.errstate(over="ignore"):  # x³ = ±∞ is where the gate is 0 or 1
        return x * sigmoid(math.sqrt(8 / math.pi) * (x + CUBIC * x * x * x))  # ½·(1 + tanh u) = sigmoid(2u)


def gelu_tanh_slope(g, x):
    z = np.clip(x, -FAR, FAR)
    with np.errstate(over="ignore"):
        s = sigmoid(math.sqrt(8 / math.pi) * (z + CUBIC * z * z * z))
        return g * (s + z * (s * (1 - s)) * (math.sqrt(8 / math.pi) * (1 + 3 * CUBIC * z * z)))


def hard_swish(x):
    return x * hard_sigmoid(x)


def hard_swish_slope(g, x):
    return g * np.where(x >= 3, 1, np.where(x <= -3, 0, x / 3 + 0.5))


def mish(x):
    return x * _tanh_softplus(x)


def mish_slope(g, x):
    t = _tanh_softplus(x)
    return g * (t + x * ((1 - t * t) * sigmoid(x)))


def _tanh_softplus(x):
    """tanh(ln(1 + e)) = ((1 + e)² − 1) / ((1 + e)² + 1) = 1 / (1 + 2/(e² + 2e)), where e = eˣ may be ∞ or 0."""
    with np.errstate(over="ignore", divide="ignore"):
        e = np.exp(x)
        return 1 / (1 + 2 / (e * (e + 2)))


# --- along an axis ----------------------------------------------------------------------------------------------------


def softmax(x, axis):
    e = np.exp(x - _largest(x, axis))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis):
    if x.shape[axis] == 0:
        return x.copy()
    shifted = x - _largest(x, axis)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _largest(x, axis):
    """max along axis; 0 where the axis has no elements, since there is nothing to shift then."""
    if x.shape[axis] == 0:
        return np.zeros((), x.dtype)
    return x.max(axis=axis, keepdims=True)


sign = np.sign
