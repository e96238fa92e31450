"""Activations."""

from __future__ import annotations

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def relu_mask(g, y):
    return np.where(y > 0, g, np.zeros((), g.dtype))


tanh = np.tanh


def sigmoid(x):
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half  # the same function; tanh does not overflow


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
