"""Gates on CPU: x·gate(x) and its slope in one pass, with an exponential that the compiler can make vectors of.

    silu          x / (1 + e⁻ˣ)                        a call of the C library for each number takes 3 to 15 ns;
    gelu          x·Φ(x)                               the loops here take 0.6 ns in float32, most of it for moving
    hard_swish    x·min(max(x + 3, 0), 6) / 6          x and y, as they have no calls and no branches
    mish          x·tanh(ln(1 + eˣ))

In float64, which is for judging gradients, they do call the C library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .compile import inlined, jit
from .elementwise import each, index
from .exponents import LN2_HIGH, LN2_LOW, LOG2_E, SERIES, TO_INTEGER, single


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + e⁻ˣ)"""
    return each(_silu, x)


def silu_slope(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g·f′(x)"""
    return each(_silu_slope, g, x)


def gelu(x: np.ndarray) -> np.ndarray:
    """x·Φ(x)"""
    return each(_gelu, x)


def gelu_slope(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g·f′(x)"""
    return each(_gelu_slope, g, x)


def hard_swish(x: np.ndarray) -> np.ndarray:
    """x·min(max(x + 3, 0), 6) / 6"""
    return each(_hard_swish, x)


def hard_swish_slope(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g·f′(x), taken as 0 at x = −3 and as 1 at x = 3."""
    return each(_hard_swish_slope, g, x)


def mish(x: np.ndarray) -> np.ndarray:
    """x·tanh(ln(1 + eˣ))"""
    return each(_mish, x)


def mish_slope(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g·f′(x)"""
    return each(_mish_slope, g, x)


# --- the exponential and the normal distribution ----------------------------------------------------------------------


def exponential(x: Any) -> Any:
    """eˣ, for use in compiled kernels; in float32 within 1.5 units of the last digit, 0 below −87.7, ∞ above 88.4."""
    raise NotImplementedError


def normal_tail(a: Any, e: Any) -> Any:
    """Φ(−a) for a ≥ 0, given e = e^(−a²/2); for use in compiled kernels; in float32 to 6 digits, as far as e goes."""
    raise NotImplementedError


@overload(exponential, inline="always")
def _exponential(x):
    def of_float64(x):
        return math.exp(x)

    def of_float32(x):
        """eˣ = 2ᵏ·eʳ with k whole and |r| ≤ ½·ln 2: Taylor's series for eʳ, and k goes where floats have exponents."""
        x = single(-88) if x < single(-88) else single(89) if x > single(89) else x  # NaN passes
        shifted = x * LOG2_E + TO_INTEGER
        k = shifted - TO_INTEGER
        r = (x - k * LN2_HIGH) - k * LN2_LOW
        series = single(0)
        for coefficient in SERIES:
            series = series * r + coefficient
        return series * _float_of((_bits_of(shifted) + np.int32(127)) << np.int32(23))

    return of_float64 if x == types.float64 else of_float32


# Φ(−a)·e^(a²/2) = t·polynomial(t) with t = 1/(1 + 0.35·a): coefficients fitted to math.erfc for 0 ≤ a ≤ 14, so that
# the largest relative error, 3e-8, is as small as it can be (tests/kernels/cpu/test_gates.py compares).
NORMAL = tuple(map(single, (
    -0.0291459277, 0.143971685, -0.255714227, 0.159174129, -0.0231098138, 0.105507995, 0.11983287, 0.139861869,
    0.139621404,
)))  # fmt: skip
NORMAL_T = single(0.35)


@overload(normal_tail, inline="always")
def _normal_tail(a, e):
    def of_float64(a, e):
        return 0.5 * math.erfc(a * math.sqrt(0.5))

    def of_float32(a, e):
        t = np.divide(single(1), single(1) + NORMAL_T * a)
        polynomial = single(0)
        for coefficient in NORMAL:
            polynomial = polynomial * t + coefficient
        return t * polynomial * e

    return of_float64 if a == types.float64 else of_float32


def _reinterpret(result: Any, given: Any, llvm_type: ir.Type) -> Any:
    """An intrinsic that takes the bits of one type for those of another."""

    def typed(typing: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], llvm_type)

        return result(given), emit

    return intrinsic(typed)


_float_of = _reinterpret(types.float32, types.int32, ir.FloatType())
_bits_of = _reinterpret(types.int32, types.float32, ir.IntType(32))


# --- compiled ---------------------------------------------------------------------------------------------------------
# np.divide: Numba's / tests for 0 and raises, and a loop with a test cannot become vectors.


@jit
def _silu(share, first, last, x, y):
    one = x.dtype.type(1)
    for i in range(first, last):
        y[index(i)] = np.divide(x[index(i)], one + exponential(-x[index(i)]))


@jit
def _silu_slope(share, first, last, g, x, y):
    """f′ = s·(1 + x·(1 − s)); what e⁻ˣ = ∞ makes of it is 0, since s is."""
    one = x.dtype.type(1)
    for i in range(first, last):
        s = np.divide(one, one + exponential(-x[index(i)]))
        y[index(i)] = g[index(i)] * (s + x[index(i)] * (s * (one - s)))


@inlined
def _normal(x, e):
    """Φ(x), given e = e^(−x²/2)."""
    tail = normal_tail(abs(x), e)
    return tail if x < 0 else single(1) - tail  # float64 stays float64


@jit
def _gelu(share, first, last, x, y):
    half = x.dtype.type(0.5)
    for i in range(first, last):
        y[index(i)] = x[index(i)] * _normal(x[index(i)], exponential(-half * x[index(i)] * x[index(i)]))


@jit
def _gelu_slope(share, first, last, g, x, y):
    """f′ = Φ + x·φ, the density φ = e^(−x²/2) / √(2π)"""
    half, norm = x.dtype.type(0.5), x.dtype.type(1 / math.sqrt(2 * math.pi))
    for i in range(first, last):
        e = exponential(-half * x[index(i)] * x[index(i)])
        y[index(i)] = g[index(i)] * (_normal(x[index(i)], e) + x[index(i)] * (e * norm))


@jit
def _hard_swish(share, first, last, x, y):
    zero, three, six, sixth = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6), x.dtype.type(1 / 6)
    for i in range(first, last):
        h = x[index(i)] + three
        h = zero if h < zero else six if h > six else h
        y[index(i)] = x[index(i)] * (h * sixth)


@jit
def _hard_swish_slope(share, first, last, g, x, y):
    zero, one, three = x.dtype.type(0), x.dtype.type(1), x.dtype.type(3)
    third, half = x.dtype.type(1 / 3), x.dtype.type(0.5)
    for i in range(first, last):
        z = x[index(i)]
        y[index(i)] = g[index(i)] * (zero if z <= -three else one if z >= three else z * third + half)


@jit
def _mish(share, first, last, x, y):
    """tanh(ln(1 + e)) = n/(n + 2) with n = (1 + e)² − 1; e⁻²⁰ is nothing beside 1, nor is its square in float64."""
    two, far = x.dtype.type(2), x.dtype.type(20)
    for i in range(first, last):
        e = exponential(far if x[index(i)] > far else x[index(i)])
        n = e * (e + two)
        y[index(i)] = x[index(i)] * np.divide(n, n + two)


@jit
def _mish_slope(share, first, last, g, x, y):
    one, two, four, far = x.dtype.type(1), x.dtype.type(2), x.dtype.type(4), x.dtype.type(20)
    for i in range(first, last):  # t′ = 4·e·(e + 1) / (n + 2)²
        z = far if x[index(i)] > far else x[index(i)]
        e = exponential(z)
        n = e * (e + two)
        part = np.divide(one, n + two)
        y[index(i)] = g[index(i)] * (n * part + z * (four * e * (e + one) * part * part))
