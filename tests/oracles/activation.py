"""Naive oracles of activations, and the gradients they promise at their kinks."""

from __future__ import annotations

import math

import numpy as np

from .naive import elementwise, of

# --- functions of one number ------------------------------------------------------------------------------------------


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def log_one_plus_exp(x):
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def normal(x):
    """The share of a normal distribution below x."""
    return math.erfc(-x / math.sqrt(2)) / 2


def selu_numbers():
    """α and λ for which normal numbers keep mean 0 and variance 1: Klambauer et al. 2017, equation 14."""
    e, small, large = math.e, math.erfc(math.sqrt(0.5)), math.erfc(math.sqrt(2))
    alpha = -math.sqrt(2 / math.pi) / (small * math.sqrt(e) - 1)
    second_moment = 2 * large * e**2 + math.pi * small**2 * e - 2 * (2 + math.pi) * small * math.sqrt(e) + math.pi + 2
    return alpha, (1 - small * math.sqrt(e)) * math.sqrt(2 * math.pi) / math.sqrt(second_moment)


def one_elu(x, alpha):
    return x if x > 0 else alpha * math.expm1(x)


def one_selu(x):
    alpha, scale = selu_numbers()
    return scale * one_elu(x, alpha)


def one_gelu_tanh(x):
    return x * logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))  # ½·(1 + tanh u) = logistic(2u)


def one_softplus(x, beta, threshold):
    return x if beta * x > threshold else log_one_plus_exp(beta * x) / beta


# --- oracles ----------------------------------------------------------------------------------------------------------

relu6 = of(lambda x: 0.0 if x < 0 else 6.0 if x > 6 else x)
hard_sigmoid = of(lambda x: 0.0 if x < -3 else 1.0 if x > 3 else x / 6 + 0.5)
hard_swish = of(lambda x: 0.0 if x < -3 else x if x > 3 else (x * x + 3 * x) / 6)
selu = of(one_selu)
silu = of(lambda x: x * logistic(x))
mish = of(lambda x: x * math.tanh(log_one_plus_exp(x)))


def leaky_relu(x, negative_slope):
    return elementwise(lambda a: a if a > 0 else negative_slope * a, x)


def prelu(x, weight):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        y[index] = x[index] if x[index] > 0 else x[index] * weight[index[1] if len(weight) > 1 else 0]
    return y


def elu(x, alpha):
    return elementwise(lambda a: one_elu(a, alpha), x)


def gelu(x, approximate):
    return elementwise(one_gelu_tanh if approximate == "tanh" else lambda a: a * normal(a), x)


def softplus(x, beta, threshold):
    return elementwise(lambda a: one_softplus(a, beta, threshold), x)


# --- gradients at kinks -----------------------------------------------------------------------------------------------


def at_kinks(slope):
    """Of an elementwise op, from its slope at a number."""
    return lambda gy, x, **options: [elementwise(lambda g, a: g * slope(a, **options), gy, x)]


relu6_at_kinks = at_kinks(lambda x: 1.0 if 0 < x < 6 else 0.0)
hard_sigmoid_at_kinks = at_kinks(lambda x: 1 / 6 if -3 < x < 3 else 0.0)
hard_swish_at_kinks = at_kinks(lambda x: 0.0 if x <= -3 else 1.0 if x >= 3 else x / 3 + 0.5)
leaky_relu_at_kinks = at_kinks(lambda x, negative_slope: 1.0 if x > 0 else negative_slope)
elu_at_kinks = at_kinks(lambda x, alpha: 1.0 if x > 0 else alpha * math.exp(x))
softplus_at_kinks = at_kinks(lambda x, beta, threshold: 1.0 if beta * x > threshold else logistic(beta * x))


def selu_at_kinks(gy, x):
    alpha, scale = selu_numbers()
    return [scale * elu_at_kinks(gy, x, alpha=alpha)[0]]


def prelu_at_kinks(gy, x, weight):
    gx, gw = np.zeros(x.shape), np.zeros(weight.shape)
    for index in np.ndindex(*x.shape):
        channel = index[1] if len(weight) > 1 else 0
        gx[index] = gy[index] * (1 if x[index] > 0 else weight[channel])
        gw[channel] += 0 if x[index] > 0 else gy[index] * x[index]
    return [gx, gw]
