"""Mistakes in activations and softmax."""

from __future__ import annotations

import numpy as np

from .. import ops
from .cause import Cause, arguments, gradient, result
from .subject import Subject, nonzero

MATRIX = {"A": (1, 2, 4), "B": (1, 2, 4)}
OF_MATRIX = (lambda A, B: ((A, B),),)
ALONG = {"A": (2, 2, 4), "B": (3, 3, 5), "C": (2, 2, 4)}
OF_CUBE = (lambda A, B: ((A, B),), lambda A, B, C, axis: ((A, B, C),))

SUBJECTS = (
    Subject("relu", ops.relu, ("x",), OF_MATRIX, MATRIX, values=nonzero),
    Subject("tanh", ops.tanh, ("x",), OF_MATRIX, MATRIX),
    Subject("sigmoid", ops.sigmoid, ("x",), OF_MATRIX, MATRIX),
    Subject("scaled_tanh", ops.scaled_tanh, ("x",), OF_MATRIX, MATRIX),
    Subject("softmax", ops.softmax, ("x",), OF_CUBE, ALONG, {"axis": (-1, 0, 1)}),
    Subject("log_softmax", ops.log_softmax, ("x",), OF_CUBE, ALONG, {"axis": (-1, 0, 1)}),
)


def along(a, axis):
    """Σ along one axis, which stays."""
    return a.sum(axis, keepdims=True)


CAUSES = (
    Cause("backward lets everything through", "relu", "the mask forgotten", gradient(x=lambda c: c.gy)),
    Cause("masked where the gradient, not x, is negative", "relu", "the rule of deconvnets, Zeiler and Fergus 2014",
          gradient(x=lambda c: np.maximum(c.gy, 0))),
    Cause("masked twice: by x and by the gradient", "relu", "guided backpropagation, left switched on",
          gradient(x=lambda c: np.maximum(c.gx, 0))),
    Cause("the mask alone: the gradient that comes in is ignored", "relu", "the derivative taken for the gradient",
          gradient(x=lambda c: c.x > 0)),
    Cause("x times the mask: forward, again", "relu", "coursework", gradient(x=lambda c: c.gy * c.y)),
    Cause("1 − y for 1 − y²", "tanh", "coursework", gradient(x=lambda c: c.gy * (1 - c.y))),
    Cause("1 − x²: the input where the output belongs", "tanh", "layers that keep x",
          gradient(x=lambda c: c.gy * (1 - c.x**2))),
    Cause("y·(1 − y), which is sigmoid's", "tanh", "copied from sigmoid", gradient(x=lambda c: c.gy * c.y * (1 - c.y))),
    Cause("derivative without the gradient that comes in", "tanh", "the derivative taken for the gradient",
          gradient(x=lambda c: 1 - c.y**2)),
    Cause("factor 1 − y forgotten", "sigmoid", "coursework", gradient(x=lambda c: c.gy * c.y)),
    Cause("x·(1 − x): the input where the output belongs", "sigmoid", "sigmoid_derivative(x), called with z",
          gradient(x=lambda c: c.gy * c.x * (1 - c.x))),
    Cause("1 − y², which is tanh's", "sigmoid", "copied from tanh", gradient(x=lambda c: c.gy * (1 - c.y**2))),
    Cause("the derivative alone: gy is ignored", "sigmoid", "the derivative taken for the gradient",
          gradient(x=lambda c: c.y * (1 - c.y))),
    Cause("e⁺ˣ for e⁻ˣ", "sigmoid", "a sign lost", arguments(x=lambda c: -c.x)),
    Cause("slope 2/3 forgotten in backward", "scaled_tanh", "LeNet-5 re-implementations",
          gradient(x=lambda c: c.gx * 1.5)),
    Cause("amplitude forgotten in backward", "scaled_tanh", "LeNet-5 re-implementations",
          gradient(x=lambda c: c.gx / 1.7159)),
    Cause("1 − y² as if there were no amplitude", "scaled_tanh", "copied from tanh",
          gradient(x=lambda c: c.gy * 1.7159 * 2 / 3 * (1 - c.y**2))),
    Cause("softmax without the sum: y·(1 − y)", "softmax", "sigmoid's formula, element by element",
          gradient(x=lambda c: c.gy * c.y * (1 - c.y))),
    Cause("y·gy: the sum is missing", "softmax", "coursework", gradient(x=lambda c: c.gy * c.y)),
    Cause("the sum is not multiplied by y", "softmax", "coursework",
          gradient(x=lambda c: c.gy * c.y - along(c.gy * c.y, c.axis))),
    Cause("the gradient passes unchanged", "softmax", "left to a loss that was to contain softmax",
          gradient(x=lambda c: c.gy)),
    Cause("gradient 0: right for a cotangent of ones", "softmax", "what DeZero's checker lets pass",
          gradient(x=lambda c: 0 * c.gy)),
    Cause("sum over the last axis, whatever axis is", "softmax", "segmentation models: the class axis is 1",
          gradient(x=lambda c: c.y * (c.gy - along(c.gy * c.y, -1)))),
    Cause("divided by the sum over everything", "softmax", "axis forgotten: right for one row",
          result(lambda c: ops.exp(c.x) / ops.exp(c.x).sum())),
    Cause("divided along axis 0, whatever axis is", "softmax", "code for one vector, given a batch",
          arguments(axis=lambda c: 0)),
    Cause("the exponentials are not divided", "softmax", "the sum forgotten in forward",
          result(lambda c: ops.exp(c.x))),
    Cause("y for e^y", "log_softmax", "softmax's backward, copied",
          gradient(x=lambda c: c.gy - c.y * along(c.gy, c.axis))),
    Cause("gy for its sum", "log_softmax", "softmax's Jacobian taken for diagonal",
          gradient(x=lambda c: c.gy - np.exp(c.y) * c.gy)),
    Cause("softmax's gradient", "log_softmax", "the logarithm forgotten in backward",
          gradient(x=lambda c: np.exp(c.y) * (c.gy - along(c.gy * np.exp(c.y), c.axis)))),
    Cause("the sum over the last axis, whatever axis is", "log_softmax", "segmentation models: the class axis is 1",
          gradient(x=lambda c: c.gy - np.exp(c.y) * along(c.gy, -1))),
)  # fmt: skip
