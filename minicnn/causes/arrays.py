"""Mistakes in arithmetic, broadcasting, reductions and products."""

from __future__ import annotations

import numpy as np

from .. import ops
from .cause import Cause, arguments, gradient
from .subject import Subject, distinct, nonzero, positive

PAIR = ("a", "b")
OF_ONE = (lambda A, B: ((A, B),),)
BROADCAST = (
    lambda A, B, C: ((A, B, C), (A, B, C)), lambda A, B, C: ((A, B, C), (C,)), lambda A, B, C: ((B, 1), (A, 1, C)),
    lambda A, B, C: ((1, C), (A, B, 1)),
)  # fmt: skip
CUBE = {"A": (2, 2, 4), "B": (2, 2, 5), "C": (2, 3, 5)}
OF_CUBE = (lambda A, B, C: ((A, B, C),),)
REDUCED = {"axis": (None, 1, 0, -1, (0, 2)), "keepdims": (False, True)}
MATRICES = {"M": (2, 2, 5), "K": (2, 2, 5), "N": (2, 2, 5)}

SUBJECTS = (
    Subject("add", ops.add, PAIR, BROADCAST, CUBE),
    Subject("sub", ops.sub, PAIR, BROADCAST, CUBE),
    Subject("mul", ops.mul, PAIR, BROADCAST, CUBE),
    Subject("div", ops.div, PAIR, BROADCAST, CUBE, values=nonzero),
    Subject("exp", ops.exp, ("x",), OF_ONE, CUBE),
    Subject("log", ops.log, ("x",), OF_ONE, CUBE, values=positive),
    Subject("sqrt", ops.sqrt, ("x",), OF_ONE, CUBE, values=positive),
    Subject("abs", ops.abs, ("x",), OF_ONE, CUBE, values=nonzero),
    Subject("pow", ops.pow, ("x",), OF_ONE, CUBE, {"exponent": (2, 3, 0.5, -1.5)}, positive),
    Subject("maximum", ops.maximum, PAIR, BROADCAST, CUBE, values=distinct),
    Subject("sum", ops.sum, ("x",), OF_CUBE, CUBE, REDUCED),
    Subject("mean", ops.mean, ("x",), OF_CUBE, CUBE, REDUCED),
    Subject("max", ops.max, ("x",), OF_CUBE, CUBE, REDUCED, distinct),
    Subject("var", ops.var, ("x",), OF_CUBE, CUBE, REDUCED | {"correction": (0, 1)}),
    Subject("logsumexp", ops.logsumexp, ("x",), OF_CUBE, CUBE, REDUCED),
    Subject("matmul", ops.matmul, PAIR, (lambda M, K, N: ((M, K), (K, N)),), MATRICES),
    Subject(
        "linear", ops.linear, ("x", "weight", "bias"), (lambda M, K, N: ((M, K), (N, K), (N,)),), MATRICES, optional=1,
    ),
)  # fmt: skip


def sum_to(g, shape):
    """Sums over the axes along which `shape` was broadcast."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True)


def one_copy(g, shape):
    """Undoes a broadcast by taking the first copy."""
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if size == 1 else slice(None) for size in shape)]


def mean_to(g, shape):
    """Undoes a broadcast by averaging."""
    return sum_to(g, shape) * (np.prod(shape) / g.size)


def axes_of(c):
    return tuple(range(c.x.ndim)) if c.axis is None else c.axis


def with_axes(c, g):
    """g, reduced, with the axes that it lost."""
    return g if c.keepdims else np.expand_dims(g, axes_of(c))


def count(c):
    """How many elements are reduced to one."""
    return c.x.size / c.gy.size


def trailing(c):
    """gy broadcast as if the last axes were the ones that were reduced: right if they are, an error if it cannot be."""
    g = c.gy if c.keepdims else c.gy.reshape(c.gy.shape + (1,) * (c.x.ndim - c.gy.ndim))
    return np.broadcast_to(g, c.x.shape)


def unturned(a, b):
    """a·b where a·bᵀ is meant and b is square, so that both fit."""
    return a @ (b if b.shape[-1] == b.shape[-2] else b.swapaxes(-1, -2))


def turned_if_square(array):
    return array.T if array.shape[0] == array.shape[1] else array


ARITHMETIC = (
    Cause("broadcast not summed: one copy taken", "add", "engines with their own unbroadcast",
          gradient(a=lambda c: one_copy(c.gy, c.a.shape), b=lambda c: one_copy(c.gy, c.b.shape))),
    Cause("broadcast averaged, not summed", "add", "mean for sum in unbroadcast",
          gradient(a=lambda c: mean_to(c.gy, c.a.shape), b=lambda c: mean_to(c.gy, c.b.shape))),
    Cause("broadcast not undone: the gradient has the shape of the result", "add", "engines without broadcasting",
          gradient(a=lambda c: c.gy, b=lambda c: c.gy)),
    Cause("sign of the second gradient", "sub", "copied from add", gradient(b=lambda c: -c.gb)),
    Cause("each gradient is that of the other", "mul", "a and b mixed up, hidden by tests with a = b",
          gradient(a=lambda c: sum_to(c.gy * c.a, c.a.shape), b=lambda c: sum_to(c.gy * c.b, c.b.shape))),
    Cause("the other factor forgotten", "mul", "copied from add",
          gradient(a=lambda c: sum_to(c.gy + 0 * c.y, c.a.shape), b=lambda c: sum_to(c.gy + 0 * c.y, c.b.shape))),
    Cause("square of the divisor forgotten", "div", "coursework",
          gradient(b=lambda c: sum_to(-c.gy * c.a / c.b, c.b.shape))),
    Cause("minus sign of the divisor's gradient forgotten", "div", "coursework", gradient(b=lambda c: -c.gb)),
    Cause("gradient 1", "exp", "coursework", gradient(x=lambda c: c.gy)),
    Cause("x·eˣ⁻¹, the power rule", "exp", "coursework", gradient(x=lambda c: c.gy * c.x * np.exp(c.x - 1))),
    Cause("1/y for 1/x", "log", "layers that keep only y", gradient(x=lambda c: c.gy / c.y)),
    Cause("exponent not reduced by one", "pow", "coursework", gradient(x=lambda c: c.gy * c.exponent * c.y)),
    Cause("factor e forgotten", "pow", "coursework", gradient(x=lambda c: c.gx / c.exponent)),
    Cause("factor 2 forgotten", "sqrt", "coursework", gradient(x=lambda c: c.gy / c.y)),
    Cause("gradient 1 on both sides", "abs", "coursework", gradient(x=lambda c: c.gy)),
    Cause("both get the gradient", "maximum", "the mask forgotten",
          gradient(a=lambda c: sum_to(c.gy, c.a.shape), b=lambda c: sum_to(c.gy, c.b.shape))),
    Cause("the smaller gets the gradient", "maximum", "< for > in the mask",
          gradient(a=lambda c: sum_to(c.gy * (c.a < c.b), c.a.shape),
                   b=lambda c: sum_to(c.gy * (c.b < c.a), c.b.shape))),
)  # fmt: skip

REDUCTIONS = (
    Cause("1/n missing in backward", "mean", "minitorch-style labs",
          gradient(x=lambda c: c.gx * (c.x.size / c.gy.size))),
    Cause("divided by all elements, whatever axis is", "mean", "x.size for x.shape[axis]",
          gradient(x=lambda c: c.gx / c.gy.size)),
    Cause("gradient broadcast along the wrong axis", "sum", "keepdims forgotten; right for square arrays and axis 0",
          gradient(x=trailing)),
    Cause("gradient of a mean", "sum", "copied from mean", gradient(x=lambda c: c.gx * (c.gy.size / c.x.size))),
    Cause("n for n − 1, backward too", "var", "NumPy's default taken for PyTorch's", arguments(correction=lambda c: 0)),
    Cause("n for n − 1 in backward only", "var", "2/n·(x − x̄) from the lecture, whatever the divisor",
          gradient(x=lambda c: c.gx * (count(c) - c.correction) / count(c))),
    Cause("the mean is not taken off in backward", "var", "as if it were a mean of squares",
          gradient(x=lambda c: with_axes(c, c.gy) * c.x * 2 / (count(c) - c.correction))),
    Cause("the 2 of the square is forgotten", "var", "coursework", gradient(x=lambda c: c.gx / 2)),
    Cause("not divided by the sum in backward", "logsumexp", "the exponentials kept from forward",
          gradient(x=lambda c: with_axes(c, c.gy) * np.exp(c.x))),
    Cause("the gradient goes to the largest", "logsumexp", "a soft maximum taken for a hard one",
          gradient(x=lambda c: with_axes(c, c.gy) * (c.x == c.x.max(axes_of(c), keepdims=True)))),
    Cause("everything along the axis gets the gradient", "max", "the mask forgotten",
          gradient(x=lambda c: np.broadcast_to(with_axes(c, c.gy), c.x.shape))),
    Cause("shared out along the axis", "max", "copied from mean",
          gradient(x=lambda c: np.broadcast_to(with_axes(c, c.gy), c.x.shape) * (c.gy.size / c.x.size))),
    Cause("the mask alone, without the gradient that comes in", "max", "the derivative taken for the gradient",
          gradient(x=lambda c: c.x == with_axes(c, c.y))),
)  # fmt: skip

PRODUCTS = (
    Cause("transpose forgotten where the matrix is square", "matmul", "tests with square matrices",
          gradient(a=lambda c: unturned(c.gy, c.b))),
    Cause("second transpose forgotten where the matrix is square", "matmul", "tests with square matrices",
          gradient(b=lambda c: unturned(c.gy.T, c.a.T).T)),
    Cause("gradient of the first row only in the bias", "linear", "the batch sum forgotten",
          gradient(bias=lambda c: c.gy[0])),
    Cause("gradient of the bias averaged over the batch", "linear", "1/N once here and once in the loss",
          gradient(bias=lambda c: c.gy.mean(0))),
    Cause("weight gradient averaged over the batch, in linear", "linear", "1/N once here and once in the loss",
          gradient(weight=lambda c: c.gweight / len(c.x))),
    Cause("weight gradient transposed where it is square", "linear", "xᵀ·gy for gyᵀ·x",
          gradient(weight=lambda c: turned_if_square(c.gweight))),
    Cause("weight gradient transposed, whatever its shape", "linear", "weights kept as (inputs, outputs) elsewhere",
          gradient(weight=lambda c: c.gweight.T)),
    Cause("input gradient with the weight transposed", "linear", "gy·wᵀ for gy·w, where w is square",
          gradient(x=lambda c: unturned(c.gy, c.weight.T))),
    Cause("bias gradient summed over outputs, not images", "linear", "axis=1 for axis=0; fits where N = O",
          gradient(bias=lambda c: c.gy.sum(1))),
    Cause("bias left out", "linear", "y = x·wᵀ", arguments(bias=lambda c: None)),
    Cause("bias subtracted", "linear", "a sign lost", arguments(bias=lambda c: c.bias if c.bias is None else -c.bias)),
)  # fmt: skip

CAUSES = ARITHMETIC + REDUCTIONS + PRODUCTS
