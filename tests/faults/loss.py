"""Faults of losses."""

from __future__ import annotations

import numpy as np

from minicnn.ops.loss import CrossEntropy, CrossEntropyGradient

from .planting import Fault, after_backward, backward, forward, kernel


def not_divided(right):
    def loss(z, labels, weight, smoothing, divisor):
        return right(z, labels, weight, smoothing, divisor and 1.0)

    return loss


def labels_off_by_one(right):
    def forward(self, z, targets):
        return right(self, z, (np.maximum(targets[0] - 1, 0), *targets[1:]))

    return forward


def probabilities_constant(self, v):
    """The second derivative of someone who kept p as an array."""
    ggy, gz = right_backward(self, v)
    return ggy, gz * 0.0


right_backward = CrossEntropyGradient.backward

LOSSES = (
    Fault("not divided by N", "cross_entropy", "sum for mean", kernel("softmax_cross_entropy", not_divided),
          "forward_is_the_oracle"),
    Fault("label off by one", "cross_entropy", "classes numbered from 1",
          forward(CrossEntropy, labels_off_by_one), "forward_is_the_oracle"),
    Fault("cotangent ignored", "cross_entropy", "the loss is taken to be the end of the graph",
          after_backward(CrossEntropy, lambda self, gy, gz: gz / gy.reshape(-1, 1)), "gradient_is_the_derivative"),
    Fault("probabilities are constants in the second derivative", "cross_entropy", "fused kernels that keep p",
          backward(CrossEntropyGradient, probabilities_constant), "second_derivative"),
)  # fmt: skip
