"""What losses need."""

from __future__ import annotations

import numpy as np

from .functions import log_softmax, softmax


def class_targets(shape, dtype, labels, weight, smoothing, divisor):
    each_class = (shape[1], *[1] * (len(shape) - 2))
    w = np.ones(each_class, dtype) if weight is None else weight.reshape(each_class)
    is_label = labels[:, None] == np.arange(shape[1]).reshape(each_class)
    q = (1 - smoothing) * w * is_label + smoothing / shape[1] * w
    return (q * (labels >= 0)[:, None] / (divisor or 1)).astype(dtype)


def negative_log_likelihood(x, labels, weight, smoothing, divisor):
    q = class_targets(x.shape, x.dtype, labels, weight, smoothing, divisor)
    losses = -np.multiply(q, x, out=np.zeros_like(q), where=q != 0).sum(axis=1)
    return losses if divisor is None else np.asarray(losses.sum())


def softmax_cross_entropy(z, labels, weight, smoothing, divisor):
    return negative_log_likelihood(log_softmax(z, 1), labels, weight, smoothing, divisor)


def softmax_cross_entropy_gradient(g, z, labels, weight, smoothing, divisor):
    q = class_targets(z.shape, z.dtype, labels, weight, smoothing, divisor)
    return (g[:, None] if g.ndim else g) * (softmax(z, 1) * q.sum(axis=1, keepdims=True) - q)


def binary_cross_entropy(x, t, pos_weight):
    yes = t if pos_weight is None else pos_weight * t
    return yes * _softplus(-x) + (1 - t) * _softplus(x)


def sigmoid_focal_loss(x, yes, alpha, gamma):
    z = np.where(yes, x, -x)
    factor = np.where(yes, *map(x.dtype.type, alpha)) * np.exp(-gamma * _softplus(z))
    return factor * _softplus(-z)


def _softplus(x):
    """ln(1 + eˣ), as max(x, 0) + ln(1 + e^−|x|): neither overflows, nor loses what is small."""
    positive = x.real > 0
    return np.where(positive, x, 0) + np.log1p(np.exp(np.where(positive, -x, x)))


def smooth_l1(d, beta):
    bent = np.minimum(np.abs(d), beta)  # |d|, or β where the line begins
    return bent / beta * (np.abs(d) - bent / 2)
