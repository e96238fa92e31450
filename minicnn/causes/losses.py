"""Mistakes in losses."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..kernels import reference
from .cause import Cause, arguments, gradient, result
from .subject import Subject, distinct

REDUCTION = {"reduction": ("mean", "sum", "none")}


def with_labels(random, shapes):
    """Logits, and labels among which the first, the last and twice the same class occur."""
    (count, classes), _ = shapes
    labels = np.concatenate([[0, classes - 1, classes - 1], random.integers(0, classes, count)])[:count]
    return [random.standard_normal(shapes[0]), random.permutation(labels)]


def probable(random, shapes):
    """Logits, and probabilities that are neither 0 nor 1."""
    return [random.standard_normal(shapes[0]), random.uniform(0.1, 0.9, shapes[1])]


SUBJECTS = (
    Subject("cross_entropy", ops.cross_entropy, ("logits", "target"), (lambda N, C: ((N, C), (N,)),),
            {"N": (3, 3, 6), "C": (2, 3, 5)}, REDUCTION, with_labels),
    Subject("mse_loss", ops.mse_loss, ("x", "target"), (lambda N, C: ((N, C), (N, C)),),
            {"N": (2, 3, 6), "C": (2, 2, 5)}, REDUCTION),
    Subject("l1_loss", ops.l1_loss, ("x", "target"), (lambda N, C: ((N, C), (N, C)),),
            {"N": (2, 3, 6), "C": (2, 2, 5)}, REDUCTION, distinct),
    Subject("smooth_l1_loss", ops.smooth_l1_loss, ("x", "target"), (lambda N, C: ((N, C), (N, C)),),
            {"N": (2, 3, 6), "C": (2, 2, 5)}, REDUCTION | {"beta": (1.0, 0.4)}),
    Subject("binary_cross_entropy_with_logits", ops.binary_cross_entropy_with_logits, ("x", "target"),
            (lambda N, C: ((N, C), (N, C)),), {"N": (2, 3, 6), "C": (2, 2, 5)}, REDUCTION, probable),
)  # fmt: skip


def share(c):
    """gy for every row, with what reduction divides by."""
    gy = np.broadcast_to(c.gy, len(c.target))[:, None]
    return gy / len(c.target) if c.reduction == "mean" else gy


def probabilities(c):
    return reference.softmax(c.logits, 1)


def one_hot(c):
    return np.eye(c.logits.shape[1])[c.target]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reduced(c, losses):
    return losses if c.reduction == "none" else losses.sum() if c.reduction == "sum" else losses.mean()


def whole(c):
    """How many elements the mean is over; 1 if it is none."""
    return c.x.size if c.reduction == "mean" else 1


CAUSES = (
    Cause("not divided by N", "cross_entropy", "sum for mean",
          arguments(reduction=lambda c: "sum" if c.reduction == "mean" else c.reduction)),
    Cause("label off by one", "cross_entropy", "classes numbered from 1",
          arguments(target=lambda c: np.maximum(c.target - 1, 0))),
    Cause("cotangent ignored", "cross_entropy", "the loss is taken to be the end of the graph",
          gradient(logits=lambda c: c.glogits / c.gy.reshape(-1, 1))),
    Cause("gradient not divided by N", "cross_entropy", "mean in forward, sum in backward",
          gradient(logits=lambda c: c.glogits * (len(c.target) if c.reduction == "mean" else 1))),
    Cause("gradient divided by N twice", "cross_entropy", "in the loss and in the layer before it",
          gradient(logits=lambda c: c.glogits / (len(c.target) if c.reduction == "mean" else 1))),
    Cause("gradient is softmax(z), the 1 at the label not taken off", "cross_entropy", "p[arange(N), t] −= 1 forgotten",
          gradient(logits=lambda c: share(c) * probabilities(c))),
    Cause("gradient is −1 at the label, the rest forgotten", "cross_entropy", "the logarithm of the sum forgotten",
          gradient(logits=lambda c: -share(c) * one_hot(c))),
    Cause("gradient z − onehot, without softmax", "cross_entropy", "softmax taken for the network's last layer",
          gradient(logits=lambda c: share(c) * (c.logits - one_hot(c)))),
    Cause("sign of the gradient", "cross_entropy", "onehot − p", gradient(logits=lambda c: -c.glogits)),
    Cause("softmax applied twice", "cross_entropy", "a network that ends in softmax",
          arguments(logits=lambda c: ops.softmax(c.logits, 1))),
    Cause("factor 2 forgotten in backward", "mse_loss", "coursework",
          gradient(x=lambda c: c.gx / 2, target=lambda c: c.gtarget / 2)),
    Cause("half the squared error", "mse_loss", "textbooks that write ½(x − t)²", result(lambda c: c.y * 0.5)),
    Cause("divided by the batch, not by all elements", "mse_loss", "labs with one output",
          result(lambda c: c.y * float(c.x.shape[1]) if c.reduction == "mean" else c.y)),
    Cause("gradient not divided by the number of elements", "mse_loss", "mean in forward, sum in backward",
          gradient(x=lambda c: c.gx * whole(c), target=lambda c: c.gtarget * whole(c))),
    Cause("gradient divided by N, not by all elements", "mse_loss", "the batch taken for everything",
          gradient(x=lambda c: c.gx * whole(c) / (len(c.x) if whole(c) > 1 else 1),
                   target=lambda c: c.gtarget * whole(c) / (len(c.x) if whole(c) > 1 else 1))),
    Cause("gradient is the difference, not its sign", "l1_loss", "mse's backward, copied",
          gradient(x=lambda c: c.gx * np.abs(c.x - c.target), target=lambda c: c.gtarget * np.abs(c.x - c.target))),
    Cause("beta forgotten in the quadratic part", "smooth_l1_loss", "Fast R-CNN's formula, where beta is 1",
          result(lambda c: reduced(c, ops.where(
              np.abs((c.x - c.target).data) < c.beta, (c.x - c.target) ** 2 * 0.5,
              ops.abs(c.x - c.target) - c.beta / 2)))),
    Cause("gradient d for d/beta", "smooth_l1_loss", "Fast R-CNN's formula, where beta is 1",
          gradient(x=lambda c: c.gx * c.beta, target=lambda c: c.gtarget * c.beta)),
    Cause("the straight part begins at 1, whatever beta is", "smooth_l1_loss", "an option that is passed on nowhere",
          arguments(beta=lambda c: 1.0)),
    Cause("gradient (p − t)·p·(1 − p)", "binary_cross_entropy_with_logits", "sigmoid's derivative taken once too often",
          gradient(x=lambda c: c.gx * sigmoid(c.x) * (1 - sigmoid(c.x)))),
    Cause("gradient x − t, without sigmoid", "binary_cross_entropy_with_logits", "logits taken for probabilities",
          gradient(x=lambda c: c.gy / whole(c) * (c.x - c.target))),
    Cause("sigmoid applied twice", "binary_cross_entropy_with_logits", "a network that ends in sigmoid",
          arguments(x=lambda c: ops.sigmoid(c.x))),
    Cause("the term of t = 0 forgotten", "binary_cross_entropy_with_logits", "−t·ln p alone",
          result(lambda c: reduced(c, c.target * ops.softplus(-c.x)))),
    Cause("the target's gradient has the sign of x's", "mse_loss", "copied from x",
          gradient(target=lambda c: -c.gtarget)),
)  # fmt: skip
