"""Activations: elementwise functions, and softmax along an axis. Most gradients are cheapest in terms of the output."""

from __future__ import annotations

from .. import kernels
from ..function import Function
from ..tensor import Tensor
from .arguments import axis_of, expect


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
        return ReLUMask.apply(gy, y=self.saved[0].data)


class ReLUMask(Function):
    """g where y > 0, else 0. Linear in g, so it is its own gradient; where y > 0 holds does not depend on g."""

    name = "relu_mask"

    def forward(self, g, y):
        self.y = y
        return kernels.relu_mask(g, y)

    def backward(self, v):
        return ReLUMask.apply(v, y=self.y)


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
