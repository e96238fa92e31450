"""Arithmetic, reductions, shapes and products: NumPy itself, in our names."""

from __future__ import annotations

import numpy as np

from .halves import rounded_once

# --- arithmetic -------------------------------------------------------------------------------------------------------


add = np.add
sub = np.subtract
mul = np.multiply
div = np.divide
neg = np.negative
power = np.power
exp = np.exp
log = np.log
sqrt = np.sqrt
absolute = np.absolute
maximum = np.maximum
minimum = np.minimum
log1p = np.log1p
expm1 = np.expm1
sin = np.sin
cos = np.cos
reciprocal = np.reciprocal
floor = np.floor
rint = np.rint
where = np.where


def compare(a, b, how):
    return getattr(np, how)(a, b)


# --- reductions -------------------------------------------------------------------------------------------------------


def sum(x, axis, keepdims):
    if x.dtype.kind in "biu":
        return np.sum(x, axis=axis, keepdims=keepdims)  # NumPy counts bools and small integers in 64 bits
    wider = np.float32 if x.dtype == np.float16 else x.dtype
    return np.asarray(np.add.reduce(x, axis=axis, dtype=wider, keepdims=keepdims)).astype(x.dtype, copy=False)


def amax(x, axis, keepdims):
    return np.max(x, axis=axis, keepdims=keepdims)


def argmax(x, axis):
    return np.argmax(x, axis=axis)


def argmin(x, axis):
    return np.argmin(x, axis=axis)


def logsumexp(x, axis, keepdims):
    largest = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0)  # ∞ − ∞ would be NaN
    with np.errstate(divide="ignore", over="ignore"):  # ln 0 = −∞, where nothing or only −∞ was added, is meant
        y = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return y if keepdims else np.squeeze(y, axis)


# --- shape ------------------------------------------------------------------------------------------------------------


def copy(x):
    return x.copy()


def full(shape, value, dtype):
    return np.full(shape, value, dtype)


def reshape(x, shape):
    return x.reshape(shape)


def transpose(x, axes):
    return x.transpose(axes)


def broadcast_to(x, shape):
    return np.broadcast_to(x, shape)


def getitem(x, index):
    return x[index]


def add_at(v, index, shape):
    total = np.zeros(shape, v.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(part is None or part is ... or isinstance(part, int | np.integer | slice) for part in parts):
        total[index] = v  # these select nothing twice, and this is eight times as fast
    else:
        np.add.at(total, index, v)  # unlike total[index] += v, this adds once per repetition
    return total


def gather(x, index, axis):
    return np.take_along_axis(x, index, axis)


def scatter_add(v, index, axis, size):
    total = np.zeros((*v.shape[:axis], size, *v.shape[axis + 1 :]), v.dtype)
    places = list(np.indices(v.shape, sparse=True))
    places[axis] = index
    np.add.at(total, tuple(places), v)
    return total


def concat(arrays, axis):
    return np.concatenate(arrays, axis=axis)


def pad(x, widths, value):
    return np.pad(x, widths, constant_values=value) if widths else x.copy()


def pad_with_copies(x, widths, mode):
    return np.pad(x, widths, mode=mode) if widths else x.copy()


def fold_copies(gy, widths, mode):
    gx = gy.copy()
    for axis, (before, after) in enumerate(widths):
        lines = np.moveaxis(gx, axis, 0)
        n = len(lines) - before - after
        border = lines[:before].copy(), lines[before + n :].copy()
        inside = lines[before : before + n]
        if mode == "reflect":  # a b c d: the border before is d c b, the one after c b a
            inside[1 : before + 1] += border[0][::-1]
            inside[n - 1 - after : n - 1] += border[1][::-1]
        elif before or after:
            inside[0] += border[0].sum(axis=0)
            inside[-1] += border[1].sum(axis=0)
        gx = np.moveaxis(inside, 0, axis)
    return gx.copy()


def roll(x, shifts, axes):
    return np.roll(x, shifts, axes)


def cast(x, dtype):
    return x.astype(dtype)


# --- linear -----------------------------------------------------------------------------------------------------------


@rounded_once
def matmul(a, b):
    return np.matmul(a, b)


@rounded_once
def einsum(x, others, formula):
    return np.einsum(formula, x, *others)


@rounded_once
def linear(x, w, b, relu):
    y = x @ w.T if b is None else x @ w.T + b
    return np.maximum(y, 0) if relu else y


@rounded_once
def linear_gradient(gy, y, x, w, needs):
    g = gy if y is None else np.where(y > 0, gy, np.zeros((), gy.dtype))
    return g @ w if needs[0] else None, g.T @ x if needs[1] else None, g.sum(axis=0) if needs[2] else None
