"""What losses need."""

from __future__ import annotations

import numpy as np

from .functions import log_softmax, softmax


def class_targets(z, labels, weight, smoothing, divisor):
    classes = z.shape[1]
    weight = np.ones(classes, z.dtype) if weight is None else weight
    q = (1 - smoothing) * weight * (labels[:, None] == np.arange(classes)) + smoothing / classes * weight
    q[labels < 0] = 0
    return (q / (divisor or 1)).astype(z.dtype)


def softmax_cross_entropy(z, labels, weight, smoothing, divisor):
    q = class_targets(z, labels, weight, smoothing, divisor)
    losses = -np.multiply(q, log_softmax(z, 1), out=np.zeros_like(z), where=q != 0).sum(axis=1)  # not 0 · (−∞)
    return losses if divisor is None else np.asarray(losses.sum())


def softmax_cross_entropy_gradient(g, z, labels, weight, smoothing, divisor):
    q = class_targets(z, labels, weight, smoothing, divisor)
    return g.reshape(-1, 1) * (softmax(z, 1) * q.sum(axis=1, keepdims=True) - q)
