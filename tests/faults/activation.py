"""Faults of activations, and of dropout for channels and branches."""

from __future__ import annotations

import math

import numpy as np

from minicnn.device import generator
from minicnn.kernels import cpu, reference
from minicnn.kernels.reference import functions
from minicnn.ops import sigmoid, where
from minicnn.ops.activation import ELU, ClipMask, HardSigmoid, LeakyReLU, PReLU, ReLU6, ReLUMask, Softplus
from minicnn.ops.dropout import Dropout2d, StochasticDepth
from minicnn.ops.gates import GELU, GateSlope, GELUTanh, HardSwish, Mish, SiLU

from .planting import Fault, after_backward, attribute, backward, forward, kernel

# --- pieces of straight lines -----------------------------------------------------------------------------------------


def slopes_in_turn(g, x, slope):
    """Element i has slope i mod C."""
    return np.where(x > 0, g, np.resize(slope, x.shape) * g)


def open_at_six(right):
    def forward(self, x):
        y = right(self, x)
        self.save(np.where(x == 6, 1, y).astype(x.dtype))  # what backward compares with 0 and 6
        return y

    return forward


def keeps_result(right):
    def forward(self, x, negative_slope):
        y = right(self, x, negative_slope)
        self.save(y)
        return y

    return forward


def first_image_only(self, gy, gx, ga):
    if ga is None or gy.ndim < 2:
        return gx, ga
    left = where(self.sign[:1] > 0, 0.0, (gy * self.saved[0])[:1])
    return gx, left.sum(axis=tuple(axis for axis in range(gy.ndim) if axis != 1 or ga.size == 1)).reshape(ga.size)


STRAIGHT = (
    Fault("gradient passes above 6", "relu6", "relu's backward, copied",
          backward(ReLU6, lambda self, gy: ReLUMask.apply(gy, y=self.saved[0].data)), "gradient_is_the_derivative"),
    Fault("gradient 1 at 6", "relu6", "≤ for < at the upper bound",
          forward(ReLU6, open_at_six), "gradient_at_kinks"),
    Fault("slope 0.2 for 1/6", "hard_sigmoid", "ports from Keras 2 and ONNX, whose default it is",
          attribute(reference, "hard_sigmoid", lambda x: np.clip(0.2 * x + 0.5, 0, 1)), "forward_is_the_oracle"),
    Fault("slope 1/6 forgotten in backward", "hard_sigmoid", "relu6's backward, copied",
          backward(HardSigmoid, lambda self, gy: ClipMask.apply(gy, y=self.saved[0].data, low=0.0, high=1.0)),
          "gradient_is_the_derivative"),
    Fault("slope 1/6 everywhere: bounds of x compared with y", "hard_sigmoid", "PyTorch 1.5",
          backward(HardSigmoid, lambda self, gy: ClipMask.apply(gy, y=self.saved[0].data, low=-3.0, high=3.0)
                   * (1 / 6)), "gradient_is_the_derivative"),
    Fault("slope on the positive side", "leaky_relu", "arguments of where in the wrong order",
          attribute(reference, "leak", lambda g, x, slope: np.where(x > 0, slope[0] * g, g)), "forward_is_the_oracle"),
    Fault("gradient 0 on the negative side", "leaky_relu", "relu's backward, inherited",
          backward(LeakyReLU, lambda self, gy: ReLUMask.apply(gy, y=self.saved[0].data)),
          "gradient_is_the_derivative"),
    Fault("slope 1 at 0", "leaky_relu", "x ≥ 0 as the condition",
          attribute(reference, "leak", lambda g, x, slope: np.where(x >= 0, g, slope[0] * g)), "gradient_at_kinks"),
    Fault("sign of the result for that of the input", "leaky_relu (of a negative slope)",
          "computing in place, which PyTorch refuses for this reason", forward(LeakyReLU, keeps_result),
          "gradient_is_the_derivative"),
    Fault("slopes along the last axis", "prelu", "ports from channels-last code",
          attribute(reference, "leak", slopes_in_turn), "forward_is_the_oracle"),
    Fault("slope's gradient not summed over the batch", "prelu", "coursework, right for one image",
          after_backward(PReLU, first_image_only), "gradient_is_the_derivative"),
    Fault("slope's gradient from both sides", "prelu", "the mask forgotten",
          after_backward(PReLU, lambda self, gy, gx, ga: (gx, ga if ga is None else (gy * self.saved[0]).sum(axis=tuple(
              axis for axis in range(gy.ndim) if axis != 1 or ga.size == 1)).reshape(ga.size))),
          "gradient_is_the_derivative"),
)  # fmt: skip


# --- exponentials and gates -------------------------------------------------------------------------------------------


def softplus_of_anything(x, beta, threshold):
    return np.log(1 + np.exp(beta * x)) / beta


def elu_without_scale_on_the_left(x, alpha, scale):
    return np.where(x > 0, scale * x, alpha * np.expm1(np.minimum(x, 0)))


def cotangent_once(self, v, gg, gx):
    """The gradient in x as if this were the first derivative."""
    return gg, None if gx is None else v * self.gate.bend(self.saved[1])


CURVED = (
    Fault("alpha taken for 1 on the negative side of backward", "elu", "y + 1 for y + alpha",
          backward(ELU, lambda self, gy: gy * where(self.saved[0] > 0.0, 1.0, self.saved[0] + 1.0)),
          "gradient_is_the_derivative"),
    Fault("gradient y on the negative side", "elu", "α·eˣ taken for α·(eˣ − 1)",
          backward(ELU, lambda self, gy: gy * where(self.saved[0] > 0.0, self.scale, self.saved[0])),
          "gradient_is_the_derivative"),
    Fault("λ on the positive side only", "selu", "the brace of the paper's formula misread",
          attribute(reference, "elu", elu_without_scale_on_the_left), "forward_is_the_oracle"),
    Fault("overflow of e^x", "softplus", "the formula as it stands in a book",
          attribute(reference, "softplus", softplus_of_anything), "forward_is_the_oracle"),
    Fault("threshold for x, not for beta·x", "softplus", "beta added later",
          kernel("softplus", lambda right: lambda x, beta, threshold: right(x, beta, threshold * beta)),
          "forward_is_the_oracle"),
    Fault("beta forgotten in backward", "softplus", "tests with beta = 1",
          backward(Softplus, lambda self, gy: gy * sigmoid(self.saved[0])), "gradient_is_the_derivative"),
    Fault("gradient curved beyond the threshold", "softplus", "tests with the threshold out of reach",
          backward(Softplus, lambda self, gy: gy * sigmoid(self.saved[0] * self.beta)), "gradient_is_the_derivative"),
    Fault("derivative without x·s′", "silu", "the gate taken for a constant",
          attribute(reference, "silu_slope", lambda g, x: g * functions.sigmoid(x)), "gradient_is_the_derivative"),
    Fault("s′ of silu's result, not of x", "silu", "sigmoid's backward with the wrong saved array",
          attribute(reference, "silu_slope", lambda g, x: g * (functions.sigmoid(x) + x * (
              (y := functions.silu(x)) * (1 - y)))), "gradient_is_the_derivative"),
    Fault("second derivative without 1 − 2s", "silu", "double backward written by hand",
          attribute(SiLU, "bend", staticmethod(lambda x: (s := sigmoid(x)) * (1.0 - s) * (2.0 + x))),
          "second_derivative"),
    Fault("the approximation by tanh as the exact one", "gelu", "GPT-2, where gelu is this one",
          attribute(GELU, "f", staticmethod(functions.gelu_tanh)), "forward_is_the_oracle"),
    Fault("the approximation by σ(1.702x) as the exact one", "gelu", "the other formula of the paper's section 2",
          attribute(reference, "gelu", lambda x: x * functions.sigmoid(1.702 * x)), "forward_is_the_oracle"),
    Fault("backward of the other approximation", "gelu (by tanh)", "an option that only forward looks at",
          attribute(GELUTanh, "slope", staticmethod(functions.gelu_slope)), "gradient_is_the_derivative"),
    Fault("density without 1/√(2π)", "gelu", "coursework",
          attribute(reference, "gelu_slope", lambda g, x: functions.gelu_slope(g, x)
                    + g * x * np.exp(-x * x / 2) * (1 - 1 / np.sqrt(2 * np.pi))), "gradient_is_the_derivative"),
    Fault("0.44715 for 0.044715", "gelu (by tanh)", "a digit lost in copying",
          attribute(functions, "CUBIC", 0.44715), "forward_is_the_oracle"),
    Fault("the middle without its product rule: (x + 3)/6", "hard_swish", "the gate taken for a constant",
          attribute(reference, "hard_swish_slope", lambda g, x: g * np.where(x >= 3, 1, np.clip(x + 3, 0, 6) / 6)),
          "gradient_is_the_derivative"),
    Fault("the middle's formula also at its ends", "hard_swish", "< and ≤, as in PyTorch for some years",
          attribute(reference, "hard_swish_slope", lambda g, x: g * np.where(
              x < -3, 0, np.where(x <= 3, x / 3 + 0.5, 1))), "gradient_at_kinks"),
    Fault("second derivative 0", "hard_swish", "taken for a piecewise linear function",
          attribute(HardSwish, "bend", staticmethod(lambda x: x * 0.0)), "second_derivative"),
    Fault("term with sech² missing", "mish", "coursework",
          attribute(reference, "mish_slope", lambda g, x: g * functions.mish(x) / x), "gradient_is_the_derivative"),
    Fault("softplus taken for its slope", "mish", "tanh(softplus)′ without the inner derivative",
          attribute(Mish, "slope", staticmethod(lambda g, x: g * (
              (t := np.tanh(np.log1p(np.exp(x)))) + x * (1 - t * t)))), "gradient_is_the_derivative"),
    Fault("second derivative without the gradient that came", "mish", "double backward tested with ones only",
          after_backward(GateSlope, cotangent_once), "second_derivative"),
    Fault("single precision in float64", "silu", "a fast exponential meant for float32",
          kernel("silu", lambda right: lambda x: right(np.float32(x)).astype(x.dtype), cpu), "device_equals_reference",
          device="cpu"),
)  # fmt: skip


# --- noise ------------------------------------------------------------------------------------------------------------


def with_decisions(shape_of):
    """Dropout whose mask has another shape."""
    return lambda right: lambda self, x, p, seed, call, decisions: right(self, x, p, seed, call, shape_of(x, decisions))


def redrawn(self, gy):
    seed, call = generator.next_call()
    return type(self).apply(gy, p=0.5, seed=seed, call=call, decisions=self.saved[0].shape)


def halves(right):
    """Two threads, each with a stream of its own."""

    def mask(seed, call, p, shape, dtype):
        n = math.prod(shape)
        parts = right(seed, call, p, ((n + 1) // 2,), dtype), right(seed + 1, call, p, (n // 2,), dtype)
        return np.concatenate(parts).reshape(shape)

    return mask


NOISE = (
    Fault("a mask for each element", "dropout2d", "dropout under another name",
          forward(Dropout2d, with_decisions(lambda x, decisions: x.shape)), "forward_is_the_oracle"),
    Fault("one mask for all images", "dropout2d", "a mask of shape (1, C, 1, 1)",
          forward(Dropout2d, with_decisions(lambda x, decisions: (1, *decisions[1:]))), "forward_is_the_oracle"),
    Fault("mask of channels redrawn in backward", "dropout2d", "layers without a saved mask",
          backward(Dropout2d, redrawn), "gradient_is_the_derivative"),
    Fault("mask depends on the threads", "dropout2d", "one generator for each thread",
          kernel("dropout_mask", halves, cpu), "forward_is_the_oracle", device="cpu"),
    Fault("branch not rescaled", "stochastic_depth", "the paper scales in evaluation instead",
          forward(StochasticDepth, lambda right: lambda self, x, p, **place: right(self, x, p, **place)
                  * x.dtype.type(1 - p)), "forward_is_the_oracle"),
    Fault("p taken for the probability to survive", "stochastic_depth", "the paper's p",
          forward(StochasticDepth, lambda right: lambda self, x, p, **place: right(self, x, 1 - p, **place)),
          "forward_is_the_oracle"),
    Fault("one decision for the batch, whatever the mode", "stochastic_depth", "a mask of one number",
          forward(StochasticDepth, with_decisions(lambda x, decisions: (1,) * x.ndim)), "forward_is_the_oracle"),
    Fault("gradient passes where the branch is off", "stochastic_depth", "the shortcut's gradient given to both",
          backward(StochasticDepth, lambda self, gy: gy * 1.0), "gradient_is_the_derivative"),
)  # fmt: skip
