"""Elementwise kernels that NumPy is slow at: one pass over memory, no temporary arrays, on all threads.

relu_mask   reads g and y, writes one array; NumPy's where takes six times as long, as it branches at each element
"""

from __future__ import annotations

import numpy as np

from .compile import jit
from .threads import get_num_threads, parallel_for

SMALL = 1 << 16  # fewer elements are done before a second thread has woken up


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0); NaN stays NaN."""
    y = np.empty(x.shape, x.dtype)
    parallel_for(x.size, _relu, _flat(x), y.reshape(-1), threads=_threads(x.size))
    return y


def relu_mask(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """g where y > 0, else 0."""
    masked = np.empty(g.shape, g.dtype)
    parallel_for(g.size, _relu_mask, _flat(g), _flat(y), masked.reshape(-1), threads=_threads(g.size))
    return masked


def _flat(x: np.ndarray) -> np.ndarray:
    """x, or a copy, as a plain vector: one type for Numba to compile for."""
    return (x if x.flags.carray else x.copy(order="C")).reshape(-1)


def _threads(elements: int) -> int:
    return 1 if elements < SMALL else get_num_threads()


@jit
def _relu(share, first, last, x, y):
    for i in range(first, last):
        y[i] = 0 if x[i] <= 0 else x[i]  # this way round NaN is kept


@jit
def _relu_mask(share, first, last, g, y, masked):
    for i in range(first, last):
        masked[i] = g[i] if y[i] > 0 else 0
