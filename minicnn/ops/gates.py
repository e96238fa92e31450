"""Gates: activations that multiply x by a step of x itself, 0 far on the left and 1 far on the right.

    silu  x·σ(x)        gelu  x·Φ(x)        mish  x·tanh(ln(1 + eˣ))        hard_swish  x·relu6(x + 3)/6

f and g·f′ are one kernel each, so that neither direction writes anything in between; f″, which only second derivatives
need, is written with ops. All keep x, since y does not tell where on the dip left of 0 it came from. At x = −∞ the
formulas are ∞·0, and give NaN.
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..errors import ArgumentError
from ..function import Function
from ..tensor import Tensor
from .activation import sigmoid, softplus, tanh
from .arguments import expect, one_line, real
from .arithmetic import abs, exp


class Gate(Function):
    """y = f(x), elementwise;  gx = gy·f′(x). A subclass names two kernels, f(x) and g·f′(x), and has f″ in ops."""

    f: Any
    slope: Any
    bend: Any  # f″ of a Tensor

    def forward(self, x):
        self.save(x)
        return type(self).f(x)

    def backward(self, gy):
        (x,) = self.saved
        return GateSlope.apply(gy, x, gate=type(self))


class GateSlope(Function):
    """y = g·f′(x), elementwise and linear in g:  gg = v·f′(x),  gx = v·g·f″(x)."""

    def forward(self, g, x, gate):
        self.save(g if self.needs_grad(1) else None, x)
        self.gate = gate
        return gate.slope(g, x)

    def backward(self, v):
        g, x = self.saved
        gg = GateSlope.apply(v, x, gate=self.gate) if self.needs_grad(0) else None
        gx = v * g * self.gate.bend(x) if self.needs_grad(1) else None
        return gg, gx


class SiLU(Gate):
    """y = x·s with s = σ(x);  f′ = s + x·s′ and f″ = s′·(2 + x·(1 − 2s)), since s′ = s·(1 − s) and s″ = s′·(1 − 2s).

    Sources: Elfwing et al. 2018, "Sigmoid-weighted linear units"; as "swish", Ramachandran et al. 2017, "Searching for
    activation functions". Used by EfficientNet.
    """

    name = "silu"
    f, slope = kernels.silu, kernels.silu_slope

    @staticmethod
    def bend(x):
        s = sigmoid(x)
        return s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


class GELU(Gate):
    """y = x·Φ(x);  f′ = Φ + x·φ and f″ = φ·(2 − x²), with the density φ = Φ′ = e^(−x²/2) / √(2π), φ′ = −x·φ.

    Source: Hendrycks and Gimpel 2016, "Gaussian error linear units".
    """

    name = "gelu"
    f, slope = kernels.gelu, kernels.gelu_slope

    @staticmethod
    def bend(x):
        return exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)) * (2.0 - x * x)


class GELUTanh(Gate):
    """y = x·s with s = ½·(1 + tanh u) = σ(2u), 2u = k·(x + a·x³), k = √(8/π), a = 0.044715: within 5·10⁻⁴ of gelu.

    f′ = s + x·s′ and f″ = 2s′ + x·s″, with s′ = s·(1 − s)·w, w = k·(1 + 3a·x²), and s″ = s·(1 − s)·(6k·a·x +
    w²·(1 − 2s)). Source: Hendrycks and Gimpel 2016, section 2.
    """

    name = "gelu"
    f, slope = kernels.gelu_tanh, kernels.gelu_tanh_slope

    @staticmethod
    def bend(x):
        k, a = math.sqrt(8 / math.pi), 0.044715
        s = sigmoid(k * (x + a * (x * x * x)))
        w = k * (1.0 + 3 * a * (x * x))
        return s * (1.0 - s) * (2.0 * w + x * (6 * k * a * x + w * w * (1.0 - 2.0 * s)))


class HardSwish(Gate):
    """y = x·relu6(x + 3)/6;  f′ = x/3 + ½ where −3 < x < 3, 0 on the left and 1 on the right, bounds included.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    """

    f, slope = kernels.hard_swish, kernels.hard_swish_slope

    @staticmethod
    def bend(x):
        return (abs(x) < 3.0).to(x.dtype) * (1 / 3)


class Mish(Gate):
    """y = x·t with t = tanh(softplus(x));  f′ = t + x·t′ and f″ = 2t′ + x·t″.

    t′ = (1 − t²)·s with s = σ(x) = softplus′(x), and t″ = t′·(1 − s − 2t·s).
    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function".
    """

    f, slope = kernels.mish, kernels.mish_slope

    @staticmethod
    def bend(x):
        t, s = tanh(softplus(x)), sigmoid(x)
        return (1.0 - t * t) * s * (2.0 + x * (1.0 - s - 2.0 * (t * s)))


# --- what users call --------------------------------------------------------------------------------------------------


def silu(x: Tensor) -> Tensor:
    """x·σ(x) = x / (1 + e⁻ˣ), also known as swish."""
    expect("silu", x)
    return SiLU.apply(x)


swish = silu


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x), where Φ is the normal distribution; approximate="tanh": ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).

    "none" is exact, by erf. Raises ArgumentError for another approximation.
    """
    expect("gelu", x)
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ArgumentError(f'gelu got approximate={one_line(approximate)}: choose "none" or "tanh"')
    if approximate == "tanh":
        return GELUTanh.apply(x)
    real("gelu", x)
    return GELU.apply(x)


def hard_swish(x: Tensor) -> Tensor:
    """x·min(max(x + 3, 0), 6)/6, the cheap stand-in for silu in MobileNetV3."""
    expect("hard_swish", x)
    return HardSwish.apply(x)


def mish(x: Tensor) -> Tensor:
    """x·tanh(ln(1 + eˣ))."""
    expect("mish", x)
    return Mish.apply(x)
