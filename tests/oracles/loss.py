"""Naive oracles for losses: one number at a time, by the formulas of the papers and of PyTorch's documentation."""

from __future__ import annotations

import math

import numpy as np

from .naive import elementwise, flat


def minus_log_softmax(logits):
    largest = max(logits)
    log_sum = largest + math.log(math.fsum(math.exp(z - largest) for z in logits))
    return [log_sum - z for z in logits]


def positions(array):
    """(n, rest) of each position, and what stands there in all classes."""
    for n, *rest in np.ndindex(array.shape[0], *array.shape[2:]):
        yield (n, *rest), [float(array[(n, c, *rest)]) for c in range(array.shape[1])]


def weighted(losses, weights, how):
    """losses and weights: {position: number}. What counts for nothing has weight None."""
    total = math.fsum(losses.values())
    return total if how == "sum" else total / math.fsum(w for w in weights.values() if w is not None)


def cross_entropy(logits, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Two losses, each reduced by itself, as PyTorch's documentation has them: for the label, and for all classes."""
    classes = logits.shape[1]
    w = [1.0] * classes if weight is None else [float(x) for x in weight]
    hard, soft, weights = {}, {}, {}
    for place, row in positions(logits):
        label = int(target[place])
        if label == ignore_index:
            hard[place], soft[place], weights[place] = 0.0, 0.0, None
        else:
            surprise = minus_log_softmax(row)
            hard[place], weights[place] = w[label] * surprise[label], w[label]
            soft[place] = math.fsum(w[c] * surprise[c] for c in range(classes)) / classes
    if reduction == "none":
        y = np.zeros(target.shape)
        for place in hard:
            y[place] = (1 - label_smoothing) * hard[place] + label_smoothing * soft[place]
        return y
    parts = (weighted(part, weights, reduction) for part in (hard, soft))
    return np.array(math.fsum(f * part for f, part in zip((1 - label_smoothing, label_smoothing), parts, strict=True)))


def cross_entropy_of_probabilities(logits, q, weight=None, reduction="mean", label_smoothing=0.0):
    classes = logits.shape[1]
    w = [1.0] * classes if weight is None else [float(x) for x in weight]
    y = np.zeros((logits.shape[0], *logits.shape[2:]))
    for (place, row), (_, own) in zip(positions(logits), positions(q), strict=True):
        surprise = minus_log_softmax(row)
        smooth = [(1 - label_smoothing) * own[c] + label_smoothing / classes for c in range(classes)]
        y[place] = math.fsum(w[c] * smooth[c] * surprise[c] for c in range(classes))
    return reduced(y, reduction)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    losses, weights = {}, {}
    for place, row in positions(x):
        label = int(target[place])
        weights[place] = None if label == ignore_index else 1.0 if weight is None else float(weight[label])
        losses[place] = 0.0 if weights[place] is None else -weights[place] * row[label]
    if reduction == "none":
        return np.array([losses[place] for place in np.ndindex(*target.shape)]).reshape(target.shape)
    return np.array(weighted(losses, weights, reduction))


def reduced(losses, how):
    numbers = flat(losses)
    return {"none": lambda: losses, "sum": lambda: np.array(math.fsum(numbers)),
            "mean": lambda: np.array(math.fsum(numbers) / len(numbers))}[how]()  # fmt: skip


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def binary_cross_entropy(x, target, weight=None, reduction="mean", pos_weight=None):
    def loss(x, t, w, p):
        return -w * (p * t * log_sigmoid(x) + (1 - t) * log_sigmoid(-x))

    weight, pos_weight = (np.asarray(1.0 if w is None else w) for w in (weight, pos_weight))
    return reduced(elementwise(loss, x, target, weight, pos_weight), reduction)


def sigmoid_focal_loss(x, targets, alpha=0.25, gamma=2.0, reduction="none"):
    def loss(x, t):
        log_p = log_sigmoid(x) if t == 1 else log_sigmoid(-x)
        a = 1 if alpha == -1 else alpha if t == 1 else 1 - alpha
        return -a * (-math.expm1(log_p)) ** gamma * log_p

    return reduced(elementwise(loss, x, targets), reduction)


def mse_loss(x, target, reduction="mean"):
    return reduced(elementwise(lambda p, q: (p - q) * (p - q), x, target), reduction)


def l1_loss(x, target, reduction="mean"):
    return reduced(elementwise(lambda p, q: p - q if p > q else q - p, x, target), reduction)


def smooth_l1_loss(x, target, reduction="mean", beta=1.0):
    def loss(p, q):
        d = p - q if p > q else q - p
        return d * d / beta / 2 if d < beta else d - beta / 2

    return reduced(elementwise(loss, x, target), reduction)


def huber_loss(x, target, reduction="mean", delta=1.0):
    def loss(p, q):
        d = p - q if p > q else q - p
        return d * d / 2 if d < delta else delta * (d - delta / 2)

    return reduced(elementwise(loss, x, target), reduction)


# --- gradients where there is no derivative ---------------------------------------------------------------------------


def clipped_difference(gy, x, target, reduction="mean", beta=0.0, delta=None):
    """l1 (beta = 0), smooth_l1, huber (beta = delta, times delta): the slope goes through 0, and ends at ±1."""
    beta = beta if delta is None else delta
    share = 1 / x.size if reduction == "mean" else 1.0

    def slope(g, p, q):
        d = p - q
        steep = int(d > 0) - int(d < 0) if abs(d) >= beta else d / beta
        return g * share * steep * (1.0 if delta is None else delta)

    gx = elementwise(slope, gy, x, target)
    return [gx, -gx]
