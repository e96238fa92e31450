"""Activations, with PyTorch's names and arguments. The formulas stand with the functions in ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..kernels.window import is_whole
from ..ops.arguments import is_number, one_line
from ..tensor import Tensor
from .module import Module, Parameter


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class _WithOptions(Module):
    """An op and its options, which are attributes, read at each call. Wrong ones are refused when the layer is made."""

    def __init__(self, **options: Any):
        super().__init__()
        for name, value in options.items():
            setattr(self, name, value)
        self._names = tuple(options)
        self.forward(Tensor(np.zeros(0, np.float32)))  # raises ArgumentError

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._names)


class LeakyReLU(_WithOptions):
    """x where x > 0, else negative_slope·x."""

    def __init__(self, negative_slope: float = 0.01):
        super().__init__(negative_slope=negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class PReLU(Module):
    """x where x > 0, else weight·x: weight is learned, one number for each channel of x (N, C, ...), or one for all.

    num_parameters: C or 1. init: what weight begins with. Leave it out of weight decay, which would pull it towards
    the ReLU (He et al. 2015, section 2.1).
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        super().__init__()
        if not is_whole(num_parameters) or num_parameters < 1:
            raise ArgumentError(f"PReLU needs num_parameters, an integer ≥ 1, got {one_line(num_parameters)}")
        if not is_number(init):
            raise ArgumentError(f"PReLU needs a finite number init, got {one_line(init)}")
        self.num_parameters: int = int(num_parameters)
        self.weight: Parameter = Parameter(np.full(self.num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(_WithOptions):
    """x where x > 0, else alpha·(eˣ − 1)."""

    def __init__(self, alpha: float = 1.0):
        super().__init__(alpha=alpha)

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


class SELU(Module):
    """1.0507·x where x > 0, else 1.0507·1.6733·(eˣ − 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.selu(x)


class GELU(_WithOptions):
    """x·Φ(x), exactly (approximate="none") or with tanh in the place of erf ("tanh")."""

    def __init__(self, approximate: str = "none"):
        super().__init__(approximate=approximate)

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, self.approximate)


class SiLU(Module):
    """x / (1 + e⁻ˣ), also known as swish."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Mish(Module):
    """x·tanh(ln(1 + eˣ))."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.mish(x)


class Hardswish(Module):
    """x·min(max(x + 3, 0), 6)/6."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.hard_swish(x)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6)/6."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.hard_sigmoid(x)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class ScaledTanh(Module):
    """1.7159·tanh(2x/3), the squashing function of LeNet-5."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.scaled_tanh(x)


class Softplus(_WithOptions):
    """ln(1 + e^(beta·x)) / beta, and x itself where beta·x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__(beta=beta, threshold=threshold)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)


class Softmax(Module):
    """e^x / Σ e^x along the axis `dim`."""

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)


class LogSoftmax(Module):
    """ln softmax along the axis `dim`."""

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, self.dim)
