"""Powers, elementary functions of each number by itself, steps, and clip. The four operations: arithmetic.py."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import expect, floating, of_one_dtype, real
from .arithmetic import like, operands, where


class Pow(Function):
    """y = xᵉ for a number e;  ∂y/∂x = e·xᵉ⁻¹ (0 for e = 0, also at x = 0)."""

    def forward(self, x, exponent):
        self.save(x)
        self.exponent = exponent
        return kernels.power(x, exponent)

    def backward(self, gy):
        (x,) = self.saved
        if self.exponent == 0:
            return gy * 0.0
        return gy * (x ** (self.exponent - 1) * self.exponent)


class PowOfTensors(Function):
    """y = xᵉ, shapes broadcast;  ∂y/∂x = e·xᵉ⁻¹ (0 for e = 0) and ∂y/∂e = y·ln x (0 for x = 0), NaN for x < 0."""

    name = "pow"

    def forward(self, x, e):
        y = kernels.power(x, e)
        self.save(x, e if self.needs_grad(0) else None, y if self.needs_grad(1) else None)
        self.shapes = x.shape, e.shape
        return y

    def backward(self, gy):
        x, e, y = self.saved
        gx = ge = None
        if self.needs_grad(0):
            reduced = where((e == 0.0) * (x == 0.0), 1.0, e - 1.0)  # of 0⁰ = 1 no 0⁻¹
            gx = (gy * e * x**reduced).sum_to(self.shapes[0])
        if self.needs_grad(1):
            ge = (gy * y * where(x == 0.0, 1.0, x).log()).sum_to(self.shapes[1])
        return gx, ge


class Log1p(Function):
    """y = ln(1 + x), to the last digit also where x is tiny;  ∂y/∂x = 1/(1 + x)."""

    def forward(self, x):
        self.save(x)
        return kernels.log1p(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy / (x + 1.0)


class Expm1(Function):
    """y = eˣ − 1, to the last digit also where x is tiny;  ∂y/∂x = y + 1."""

    def forward(self, x):
        y = kernels.expm1(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * (y + 1.0)


class Sin(Function):
    """y = sin x;  ∂y/∂x = cos x."""

    def forward(self, x):
        self.save(x)
        return kernels.sin(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy * cos(x)


class Cos(Function):
    """y = cos x;  ∂y/∂x = −sin x."""

    def forward(self, x):
        self.save(x)
        return kernels.cos(x)

    def backward(self, gy):
        (x,) = self.saved
        return -gy * sin(x)


class Reciprocal(Function):
    """y = 1/x;  ∂y/∂x = −y²."""

    def forward(self, x):
        y = kernels.reciprocal(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return -gy * (y * y)


class Sign(Function):
    """y = −1, 0 or 1;  ∂y/∂x = 0, also at the step x = 0."""

    def forward(self, x):
        return kernels.sign(x)

    def backward(self, gy):
        return gy * 0.0


class Floor(Function):
    """y = the largest whole number ≤ x;  ∂y/∂x = 0, also at the steps, the whole numbers."""

    def forward(self, x):
        return kernels.floor(x)

    def backward(self, gy):
        return gy * 0.0


class Round(Function):
    """y = the nearest whole number, the even one of two equally near;  ∂y/∂x = 0, also at the steps, the halves."""

    def forward(self, x):
        return kernels.rint(x)

    def backward(self, gy):
        return gy * 0.0


class Clip(Function):
    """y = min(max(x, low), high), either bound None;  the gradient goes to that one of the three which y is.

    Where x is equal to a bound, to x: gx = gy where low ≤ x ≤ high, as in PyTorch. Where low > high, y = high.
    """

    any_dtype = True

    def forward(self, x, low, high):
        raised = x if low is None else kernels.maximum(x, low)
        inside = kernels.compare(raised, x, "equal")
        fits = True if high is None else kernels.compare(raised, high, "less_equal")
        self.shapes = [None if array is None else array.shape for array in (x, low, high)]
        self.whose = (
            kernels.mul(inside, fits) if self.needs_grad(0) else None,
            kernels.mul(kernels.compare(x, low, "less"), fits) if self.needs_grad(1) else None,
            kernels.compare(raised, high, "greater") if self.needs_grad(2) else None,
        )
        return raised if high is None else kernels.minimum(raised, high)

    def backward(self, gy):
        return tuple(
            None if mask is None else where(mask, gy, 0.0).sum_to(shape)
            for mask, shape in zip(self.whose, self.shapes, strict=True)
        )


# --- what users call --------------------------------------------------------------------------------------------------


def pow(x: Any, exponent: Any) -> Tensor:
    """xᵉ. e is a number or a Tensor; below 0 the result is NaN unless e is whole, as in NumPy.

    Raises ShapeError if shapes do not broadcast, DTypeError for integers or two precisions.
    """
    if isinstance(exponent, numbers.Real | np.integer | np.floating):
        expect("pow", x)
        return Pow.apply(x, exponent=float(exponent))
    x, exponent = operands("pow", x, exponent)
    floating("pow", x, exponent)
    return PowOfTensors.apply(x, exponent)


def log1p(x: Tensor) -> Tensor:
    """ln(1 + x), exact where x is tiny: −∞ at −1 and NaN below."""
    expect("log1p", x)
    return Log1p.apply(x)


def expm1(x: Tensor) -> Tensor:
    """eˣ − 1, exact where x is tiny."""
    expect("expm1", x)
    return Expm1.apply(x)


def sin(x: Tensor) -> Tensor:
    """sin x, x in radians."""
    expect("sin", x)
    return Sin.apply(x)


def cos(x: Tensor) -> Tensor:
    """cos x, x in radians."""
    expect("cos", x)
    return Cos.apply(x)


def reciprocal(x: Tensor) -> Tensor:
    """1/x: ±∞ at 0."""
    expect("reciprocal", x)
    return Reciprocal.apply(x)


def square(x: Tensor) -> Tensor:
    """x·x."""
    expect("square", x)
    return x * x


def sign(x: Tensor) -> Tensor:
    """−1, 0 or 1; NaN stays NaN. Its gradient is 0 everywhere."""
    expect("sign", x)
    return Sign.apply(x)


def floor(x: Tensor) -> Tensor:
    """The largest whole number ≤ x. Its gradient is 0 everywhere."""
    expect("floor", x)
    real("floor", x)
    return Floor.apply(x)


def round(x: Tensor) -> Tensor:
    """The nearest whole number, and of two equally near the even one, as in NumPy: 0.5 -> 0, 1.5 -> 2.

    Its gradient is 0 everywhere; for the gradient of x itself ("straight through"): x + (x.round() - x).detach().
    """
    expect("round", x)
    return Round.apply(x)


def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x, raised to min where it is below, lowered to max where it is above; either may be None. PyTorch's clamp.

    The bounds are numbers, arrays or Tensors that broadcast with x. The gradient passes where min ≤ x ≤ max, the
    bounds included; elsewhere it goes to the bound. Raises ArgumentError without any bound, ShapeError if the shapes
    do not broadcast, DTypeError for two precisions.
    """
    expect("clip", x)
    bounds = [b if b is None or isinstance(b, Tensor) else like("clip", x, b) for b in (min, max)]
    given = [bound for bound in bounds if bound is not None]
    if not given:
        raise ArgumentError(f"clip of shape {x.shape} needs min or max, got neither")
    try:
        np.broadcast_shapes(x.shape, *(bound.shape for bound in given))
    except ValueError:
        shapes = " and ".join(str(bound.shape) for bound in given)
        raise ShapeError(
            f"clip of shape {x.shape} got bounds of shape {shapes}, which do not broadcast: "
            "counted from the last axis, sizes must be equal or one of them 1"
        ) from None
    x, *given = of_one_dtype("clip", [x, *given])
    low = given.pop(0) if bounds[0] is not None else None
    return Clip.apply(x, low, given[0] if given else None)
