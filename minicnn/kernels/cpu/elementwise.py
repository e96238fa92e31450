"""Elementwise kernels that NumPy is slow at: one pass over memory, no temporary arrays, on all threads.

relu_mask, clip_mask and leak choose for each element: NumPy's where takes six times as long, as it branches at each
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .compile import jit
from .threads import get_num_threads, parallel_for

index = np.uintp  # of what Numba makes vectors of: see pool.py
SMALL = 1 << 16  # fewer elements are done before a second thread has woken up


def each(body: Callable[..., None], *arrays: np.ndarray, options: tuple[Any, ...] = ()) -> np.ndarray:
    """A new array y of the shape and dtype of the arrays: body(share, first, last, *arrays, *options, y), all flat."""
    y = np.empty(arrays[0].shape, arrays[0].dtype)
    threads = 1 if y.size < SMALL else get_num_threads()
    parallel_for(y.size, body, *map(_flat, arrays), *options, y.reshape(-1), threads=threads)
    return y


def _flat(x: np.ndarray) -> np.ndarray:
    """x, or a copy, as a plain vector: one type for Numba to compile for."""
    return (x if x.flags.carray else x.copy(order="C")).reshape(-1)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0); NaN stays NaN."""
    return each(_relu, x)


def relu_mask(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """g where y > 0, else 0."""
    return each(_relu_mask, g, y)


def relu6(x: np.ndarray) -> np.ndarray:
    """min(max(x, 0), 6); NaN stays NaN."""
    return each(_relu6, x)


def clip_mask(g: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    """g where low < y < high, else 0."""
    return each(_clip_mask, g, y, options=(np.array([low, high], y.dtype),))


def leak(g: np.ndarray, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """g where x > 0, else slope·g, with one slope for all, or one for each place along axis 1."""
    plane = x.size if slope.size == 1 else math.prod(x.shape[2:])
    return each(_leak, g, x, options=(_flat(slope), plane))


@jit
def _relu(share, first, last, x, y):
    zero = x.dtype.type(0)  # an integer would make the loop one of float64
    for i in range(first, last):
        y[index(i)] = zero if x[index(i)] <= zero else x[index(i)]  # this way round NaN is kept


@jit
def _relu_mask(share, first, last, g, y, masked):
    zero = g.dtype.type(0)
    for i in range(first, last):
        masked[index(i)] = g[index(i)] if y[index(i)] > zero else zero


@jit
def _relu6(share, first, last, x, y):
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for i in range(first, last):
        raised = zero if x[index(i)] <= zero else x[index(i)]
        y[index(i)] = six if raised > six else raised


@jit
def _clip_mask(share, first, last, g, y, bounds, masked):
    zero, low, high = g.dtype.type(0), bounds[0], bounds[1]
    for i in range(first, last):
        masked[index(i)] = g[index(i)] if (y[index(i)] > low) & (y[index(i)] < high) else zero


@jit
def _leak(share, first, last, g, x, slope, plane, y):
    """Plane by plane: within one, the slope is one number."""
    zero, i = x.dtype.type(0), first
    while i < last:
        a = slope[i // plane % len(slope)]
        stop = min(last, (i // plane + 1) * plane)
        for k in range(i, stop):
            y[index(k)] = g[index(k)] if x[index(k)] > zero else a * g[index(k)]
        i = stop
