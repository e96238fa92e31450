"""Mistakes in activations and softmax."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from .cause import Cause, arguments, gradient, result
from .subject import Subject, nonzero

MATRIX = {"A": (1, 2, 4), "B": (1, 2, 4)}
OF_MATRIX = (lambda A, B: ((A, B),),)
ALONG = {"A": (2, 2, 4), "B": (3, 3, 5), "C": (2, 2, 4)}
OF_CUBE = (lambda A, B: ((A, B),), lambda A, B, C, axis: ((A, B, C),))

WIDE = {"A": (1, 3, 4), "B": (2, 4, 5)}  # enough numbers to lie in every piece


def around(kink):
    """Numbers on both sides of 0 and of ±kink, none of them near."""

    def values(random, shapes):
        pieces = (-kink - 2, -kink + 0.3, 0.3, kink + 0.3)
        return [random.choice(pieces, shape) + random.uniform(0, min(kink - 0.6, 1.7), shape) for shape in shapes]

    return values


SUBJECTS = (
    Subject("relu", ops.relu, ("x",), OF_MATRIX, MATRIX, values=nonzero),
    Subject("tanh", ops.tanh, ("x",), OF_MATRIX, MATRIX),
    Subject("sigmoid", ops.sigmoid, ("x",), OF_MATRIX, MATRIX),
    Subject("scaled_tanh", ops.scaled_tanh, ("x",), OF_MATRIX, MATRIX),
    Subject("relu6", ops.relu6, ("x",), OF_MATRIX, WIDE, values=around(6.0)),
    Subject("leaky_relu", ops.leaky_relu, ("x",), OF_MATRIX, MATRIX, {"negative_slope": (0.01, 0.3)}, nonzero),
    Subject(
        "prelu",
        ops.prelu,
        ("x", "weight"),
        (lambda N, C, H: ((N, C, H), (C,)),),
        {"N": (2, 2, 4), "C": (2, 2, 4), "H": (1, 2, 4)},
        values=nonzero,
    ),
    Subject("elu", ops.elu, ("x",), OF_MATRIX, MATRIX, {"alpha": (1.0, 0.7)}, nonzero),
    Subject("softplus", ops.softplus, ("x",), OF_MATRIX, WIDE, {"beta": (1.0, 2.0), "threshold": (20.0, 4.0)},
            values=around(3.0)),
    Subject("hard_sigmoid", ops.hard_sigmoid, ("x",), OF_MATRIX, WIDE, values=around(3.0)),
    Subject("hard_swish", ops.hard_swish, ("x",), OF_MATRIX, WIDE, values=around(3.0)),
    Subject("silu", ops.silu, ("x",), OF_MATRIX, MATRIX),
    Subject("mish", ops.mish, ("x",), OF_MATRIX, MATRIX),
    Subject("gelu", ops.gelu, ("x",), OF_MATRIX, MATRIX, {"approximate": ("none", "tanh")}),
    Subject("softmax", ops.softmax, ("x",), OF_CUBE, ALONG, {"axis": (-1, 0, 1)}),
    Subject("log_softmax", ops.log_softmax, ("x",), OF_CUBE, ALONG, {"axis": (-1, 0, 1)}),
)  # fmt: skip


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cdf(x):
    """Of the normal distribution: x = gelu(x)/x."""
    return np.vectorize(math.erf)(x / math.sqrt(2)) / 2 + 0.5


def gelu_slope(c, density=1.0, tanh=False):
    """gelu′ of one formula or the other; density: times what is right."""
    if tanh:
        inner = math.sqrt(2 / math.pi) * (c.x + 0.044715 * c.x**3)
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * c.x**2)
        return (1 + np.tanh(inner)) / 2 + c.x * (1 - np.tanh(inner) ** 2) * slope / 2
    return cdf(c.x) + density * c.x * np.exp(-(c.x**2) / 2) / math.sqrt(2 * math.pi)


def of_channels(a, x):
    return a.reshape(-1, *[1] * (x.ndim - 2))


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
    Cause("gradient passes above 6", "relu6", "relu's backward, copied", gradient(x=lambda c: c.gy * (c.x > 0))),
    Cause("clipped above only", "relu6", "min(x, 6)", result(lambda c: ops.minimum(c.x, 6.0))),
    Cause("slope on the positive side", "leaky_relu", "arguments of where in the wrong order",
          result(lambda c: ops.where(c.x.data > 0, c.x * c.negative_slope, c.x))),
    Cause("gradient 0 on the negative side", "leaky_relu", "relu's backward, inherited",
          gradient(x=lambda c: c.gy * (c.x > 0))),
    Cause("gradient x·slope on the negative side", "leaky_relu", "forward, again",
          gradient(x=lambda c: np.where(c.x > 0, c.gy, c.gy * c.y))),
    Cause("slope's gradient not summed over the batch", "prelu", "coursework, right for one image",
          gradient(weight=lambda c: np.where(c.x[:1] > 0, 0, (c.gy * c.x)[:1]).sum((0, 2)))),
    Cause("slope's gradient from both sides", "prelu", "the mask forgotten",
          gradient(weight=lambda c: (c.gy * c.x).sum((0, 2)))),
    Cause("gradient 1 on the negative side", "prelu", "the slope forgotten in backward", gradient(x=lambda c: c.gy)),
    Cause("alpha taken for 1 on the negative side of backward", "elu", "y + 1 for y + alpha",
          gradient(x=lambda c: c.gy * np.where(c.x > 0, 1, c.y + 1))),
    Cause("gradient y on the negative side", "elu", "α·eˣ taken for α·(eˣ − 1)",
          gradient(x=lambda c: c.gy * np.where(c.x > 0, 1, c.y))),
    Cause("alpha·eˣ, without − 1", "elu", "a jump at 0",
          result(lambda c: ops.where(c.x.data > 0, c.x, c.y + c.alpha))),
    Cause("beta forgotten in backward", "softplus", "tests with beta = 1",
          gradient(x=lambda c: c.gy * sigmoid(c.x))),
    Cause("gradient curved beyond the threshold", "softplus", "tests with the threshold out of reach",
          gradient(x=lambda c: c.gy * sigmoid(c.beta * c.x))),
    Cause("threshold for x, not for beta·x", "softplus", "beta added later",
          arguments(threshold=lambda c: c.threshold * c.beta)),
    Cause("slope 0.2 for 1/6", "hard_sigmoid", "ports from Keras 2 and ONNX, whose default it is",
          result(lambda c: ops.clip(c.x * 0.2 + 0.5, 0.0, 1.0))),
    Cause("slope 1/6 forgotten in backward", "hard_sigmoid", "relu6's backward, copied",
          gradient(x=lambda c: c.gy * (np.abs(c.x) < 3))),
    Cause("slope 1/6 everywhere: bounds of x compared with y", "hard_sigmoid", "PyTorch 1.5",
          gradient(x=lambda c: c.gy / 6)),
    Cause("the middle without its product rule: (x + 3)/6", "hard_swish", "the gate taken for a constant",
          gradient(x=lambda c: c.gy * np.where(c.x >= 3, 1, np.clip(c.x + 3, 0, 6) / 6))),
    Cause("the middle's formula everywhere", "hard_swish", "the bounds forgotten in backward",
          gradient(x=lambda c: c.gy * (c.x / 3 + 0.5))),
    Cause("derivative without x·s′", "silu", "the gate taken for a constant",
          gradient(x=lambda c: c.gy * sigmoid(c.x))),
    Cause("s′ of silu's result, not of x", "silu", "sigmoid's backward with the wrong saved array",
          gradient(x=lambda c: c.gy * (sigmoid(c.x) + c.x * c.y * (1 - c.y)))),
    Cause("derivative without s", "silu", "the other half of the product rule",
          gradient(x=lambda c: c.gy * c.x * sigmoid(c.x) * (1 - sigmoid(c.x)))),
    Cause("term with sech² missing", "mish", "coursework", gradient(x=lambda c: c.gy * c.y / c.x)),
    Cause("softplus taken for its slope", "mish", "tanh(softplus)′ without the inner derivative",
          gradient(x=lambda c: c.gy * (c.y / c.x + c.x * (1 - (c.y / c.x) ** 2)))),
    Cause("the approximation by tanh as the exact one", "gelu", "GPT-2, where gelu is this one",
          arguments(approximate=lambda c: "tanh")),
    Cause("the approximation by σ(1.702x) as the exact one", "gelu", "the other formula of the paper's section 2",
          result(lambda c: c.x * ops.sigmoid(c.x * 1.702) if c.approximate == "none" else c.y)),
    Cause("the exact formula, whatever approximate says", "gelu", "an option that is passed on nowhere",
          arguments(approximate=lambda c: "none")),
    Cause("backward of the other approximation", "gelu", "an option that only forward looks at",
          gradient(x=lambda c: c.gy * gelu_slope(c))),
    Cause("density without 1/√(2π)", "gelu", "coursework",
          gradient(x=lambda c: c.gy * gelu_slope(c, math.sqrt(2 * math.pi)) if c.approximate == "none" else c.gx)),
    Cause("derivative without the density", "gelu", "the gate taken for a constant",
          gradient(x=lambda c: c.gy * c.y / c.x)),
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
