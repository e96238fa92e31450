"""Activations: elementwise functions, and softmax along an axis. Most gradients are cheapest in terms of the output.

Those that multiply x by a step of x (silu, gelu, hard_swish, mish) stand in gates.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import axis_of, expect, floating, is_number, largest_of, one_line
from .arithmetic import where


class ReLU(Function):
    """y = max(x, 0);  gx = gy where y > 0, else 0 (also at the kink x = 0).

    Source: Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    name = "relu"

    def forward(self, x):
        y = kernels.relu(x)
        self.save(y)
        return y

    def backward(self, gy):
        return ReLUMask.apply(gy, y=self.saved[0].stored)


class ReLUMask(Function):
    """g where y > 0, else 0. Linear in g, so it is its own gradient; where y > 0 holds does not depend on g."""

    name = "relu_mask"

    def forward(self, g, y):
        self.y = y
        return kernels.relu_mask(g, y)

    def backward(self, v):
        return ReLUMask.apply(v, y=self.y)


class ReLU6(Function):
    """y = min(max(x, 0), 6);  gx = gy where 0 < y < 6, else 0 (also at the kinks x = 0 and x = 6).

    Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10". Used by MobileNetV2.
    """

    name = "relu6"

    def forward(self, x):
        y = kernels.relu6(x)
        self.save(y)
        return y

    def backward(self, gy):
        return ClipMask.apply(gy, y=self.saved[0].stored, low=0.0, high=6.0)


class HardSigmoid(Function):
    """y = relu6(x + 3)/6;  gx = gy/6 where 0 < y < 1, else 0 (also at the kinks x = ±3).

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    """

    def forward(self, x):
        y = kernels.hard_sigmoid(x)
        self.save(y)
        return y

    def backward(self, gy):
        return ClipMask.apply(gy, y=self.saved[0].stored, low=0.0, high=1.0) * (1 / 6)


class ClipMask(Function):
    """g where low < y < high, else 0. Linear in g, and its own gradient, as ReLUMask."""

    def forward(self, g, y, low, high):
        self.y, self.bounds = y, (low, high)
        return kernels.clip_mask(g, y, low, high)

    def backward(self, v):
        return ClipMask.apply(v, y=self.y, low=self.bounds[0], high=self.bounds[1])


class PReLU(Function):
    """y = x where x > 0, else a[c]·x, c being the place along axis 1: linear in x and in a once the signs are known.

    So gx is the same function of gy, with the signs of x; and ga[c] = Σ gy·x over all x ≤ 0 with this c. At the kink
    x = 0 the slope is a. `sign` is the array whose signs count: in forward x itself.
    Source: He et al. 2015, "Delving deep into rectifiers", section 2.1.
    """

    name = "prelu"

    def forward(self, x, a, sign):
        if sign.dtype != x.dtype:  # autocast has made x wider
            sign = x
        self.save(x if self.needs_grad(1) or x is sign else None, a if self.needs_grad(0) else None)
        self.sign, self.channels = sign, len(a)
        return kernels.leak(x, sign, a)

    def backward(self, gy):
        x, a = self.saved
        gx = PReLU.apply(gy, a, sign=self.sign) if self.needs_grad(0) else None
        ga = None
        if self.needs_grad(1):
            left = where(kernels.compare(self.sign, 0, "greater"), 0.0, gy * x)
            others = tuple(axis for axis in range(left.ndim) if axis != 1 or self.channels == 1)
            ga = left.sum(axis=others).reshape(self.channels)
        return gx, ga


class LeakyReLU(Function):
    """y = x where x > 0, else a·x, for a number a;  gx = gy where x > 0, else a·gy (also at the kink x = 0).

    y has the sign of x unless a < 0, so y is kept, which the next layer has as well.
    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    name = "leaky_relu"

    def forward(self, x, negative_slope):
        self.a = kernels.full((1,), negative_slope, x.dtype)
        y = kernels.leak(x, x, self.a)
        self.save(x if negative_slope < 0 else y)
        return y

    def backward(self, gy):
        (sign,) = self.saved
        return PReLU.apply(gy, Tensor._made(self.a, self.device), sign=sign.stored)


class ELU(Function):
    """y = λx where x > 0, else λα·(eˣ − 1);  ∂y/∂x = λ where y > 0, else y + λα (also at the kink x = 0).

    Source: Clevert et al. 2015, "Fast and accurate deep network learning by exponential linear units", with λ = 1.
    """

    name = "elu"

    def forward(self, x, alpha, scale):
        y = kernels.elu(x, alpha, scale)
        self.save(y)
        self.alpha, self.scale = alpha, scale
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * where(y > 0.0, self.scale, y + self.scale * self.alpha)


class SELU(ELU):
    """The ELU that keeps mean 0 and variance 1: its fixed point for normal x gives the two numbers.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", equation 14.
    """

    name = "selu"
    ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


class Softplus(Function):
    """y = ln(1 + e^(βx)) / β, and x itself where βx > threshold;  ∂y/∂x = σ(βx), and 1 there.

    Source: Dugas et al. 2000, "Incorporating second-order functional knowledge for better option pricing".
    """

    def forward(self, x, beta, threshold):
        self.save(x)
        self.beta, self.threshold = beta, threshold
        return kernels.softplus(x, beta, threshold)

    def backward(self, gy):
        (x,) = self.saved
        z = x * self.beta
        return gy * where(z > self.threshold, 1.0, sigmoid(z))


class Tanh(Function):
    """y = tanh x;  ∂y/∂x = 1 − y²."""

    def forward(self, x):
        y = kernels.tanh(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * (1.0 - y * y)


class Sigmoid(Function):
    """y = 1 / (1 + e⁻ˣ);  ∂y/∂x = y·(1 − y)."""

    def forward(self, x):
        y = kernels.sigmoid(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * (y * (1.0 - y))


AMPLITUDE, SLOPE = 1.7159, 2 / 3  # LeCun et al. 1998, appendix A: then f(±1) = ±1 and f″ is largest there


class ScaledTanh(Function):
    """y = A·tanh(S·x) with A = 1.7159, S = 2/3;  ∂y/∂x = A·S·(1 − (y/A)²) = A·S − S/A·y².

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", equation 6 and appendix A.
    """

    def forward(self, x):
        y = kernels.mul(kernels.tanh(kernels.mul(x, x.dtype.type(SLOPE))), x.dtype.type(AMPLITUDE))
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * (AMPLITUDE * SLOPE - SLOPE / AMPLITUDE * (y * y))


class Softmax(Function):
    """yᵢ = e^xᵢ / Σⱼ e^xⱼ along one axis;  gx = y·(gy − Σⱼ gyⱼ·yⱼ)."""

    def forward(self, x, axis):
        self.axis = axis
        y = kernels.softmax(x, axis)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return y * (gy - (gy * y).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Function):
    """yᵢ = xᵢ − ln Σⱼ e^xⱼ along one axis;  gx = gy − e^y·Σⱼ gyⱼ."""

    def forward(self, x, axis):
        self.axis = axis
        y = kernels.log_softmax(x, axis)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy - y.exp() * gy.sum(axis=self.axis, keepdims=True)


# --- what users call --------------------------------------------------------------------------------------------------


def relu(x: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN."""
    expect("relu", x)
    return ReLU.apply(x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6); NaN stays NaN."""
    expect("relu6", x)
    return ReLU6.apply(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6)/6: that of PyTorch, MobileNetV3 and Keras 3. The slope is 0.2 by default in ONNX and in
    Keras 2."""
    expect("hard_sigmoid", x)
    return HardSigmoid.apply(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope·x. Raises ArgumentError unless that is a finite number."""
    expect("leaky_relu", x)
    floating("leaky_relu", x)
    return LeakyReLU.apply(x, negative_slope=_number("leaky_relu", x, negative_slope=negative_slope))


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight·x: x (N, C, ...), weight (C,), one slope a channel, or (1,), one for all.

    Raises ShapeError if weight has another shape, DTypeError if the two differ in dtype.
    """
    expect("prelu", x)
    expect("prelu", weight, "weight")
    floating("prelu", x, weight)
    if weight.shape != (1,) and (x.ndim < 2 or weight.shape != x.shape[1:2]):
        channels = f" or ({x.shape[1]},), one slope for each channel" if x.ndim > 1 else ""
        raise ShapeError(f"prelu of x {x.shape} takes a weight of shape (1,){channels}, got shape {weight.shape}")
    return PReLU.apply(x, weight, sign=x.stored)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha·(eˣ − 1). Raises ArgumentError unless alpha is a finite number ≥ 0."""
    expect("elu", x)
    floating("elu", x)
    return ELU.apply(x, alpha=_number("elu", x, least=0.0, alpha=alpha), scale=1.0)


def selu(x: Tensor) -> Tensor:
    """1.0507·x where x > 0, else 1.0507·1.6733·(eˣ − 1)."""
    expect("selu", x)
    return SELU.apply(x, alpha=SELU.ALPHA, scale=SELU.SCALE)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """ln(1 + e^(beta·x)) / beta, and x itself where beta·x > threshold. Raises ArgumentError unless beta > 0."""
    expect("softplus", x)
    floating("softplus", x)
    smallest = float(np.finfo(x.dtype).tiny)
    beta = _number("softplus", x, least=smallest, beta=beta)
    return Softplus.apply(x, beta=beta, threshold=_number("softplus", x, threshold=threshold))


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    expect("tanh", x)
    return Tanh.apply(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    expect("sigmoid", x)
    return Sigmoid.apply(x)


def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159·tanh(2x/3), the squashing function of LeNet-5."""
    expect("scaled_tanh", x)
    return ScaledTanh.apply(x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / Σ e^x along axis. Raises ShapeError for an axis that is not there."""
    expect("softmax", x)
    return Softmax.apply(x, axis=axis_of("softmax", x, axis))


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """x − ln Σ e^x along axis, more accurate than the logarithm of softmax. Errors as softmax."""
    expect("log_softmax", x)
    return LogSoftmax.apply(x, axis=axis_of("log_softmax", x, axis))


def _number(op: str, x: Tensor, least: float = -math.inf, **named: Any) -> float:
    """The one number in `named` as a float. Raises ArgumentError unless it is finite in x's dtype, and ≥ least."""
    ((name, value),) = named.items()
    if is_number(value, largest_of(x.dtype)):
        number = float(value)
        if number >= least:
            return number
    limit = "" if least == -math.inf else " ≥ 0" if least == 0 else " > 0"
    raise ArgumentError(f"{op} takes a finite number {name}{limit}, got {one_line(value)}")
