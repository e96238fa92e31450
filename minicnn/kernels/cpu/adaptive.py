"""Adaptive pooling and unpooling on CPU: like pool.py, one plane (image, channel) after the other on its own thread.

An adaptive bin is some rows times some columns, so its sum is taken in two steps, and the long one is made of vectors:

      x      ┌───────────┐
      rows   │▒▒▒▒▒▒▒▒▒▒▒│   added up as whole rows      total  ┌───────────┐   cut into bins      y  ┌───────┐
      of p   │▒▒▒▒▒▒▒▒▒▒▒│ ─────────────────────────→           │▓▓▓▓▓▓▓▓▓▓▓│ ─────────────────→     │ ■ ■ ■ │ row p
             └───────────┘                                      └───────────┘   of columns           └───────┘

The gradient goes back the same way: a row of gy is spread over the columns, and that row added to all rows of p. Bins
overlap where P does not divide H, so it adds. For a single bin NumPy's own sum and argmax are as fast.

    operations   one addition for each element of x and for each row of bins it lies in (one or two)
    bytes        x read, y written (forward); gy read, gx written twice (backward)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from ..window import Pair, bins
from .compile import jit
from .threads import get_num_threads, parallel_for

SMALL = 1 << 17  # elements that one thread has dealt with before a second has woken up


def adaptive_avg_pool2d(x: np.ndarray, size: Pair) -> np.ndarray:
    """x (N, C, H, W) -> y (N, C, P, Q) with (P, Q) = size: means over bins."""
    if size == (1, 1):
        return reference.adaptive_avg_pool2d(x, size)
    y = np.empty((*x.shape[:2], *size), x.dtype)
    if y.size:
        _for_planes(max(x.size, y.size), y, _adaptive_average, *_geometry(x.shape, size), _flat(x), y.reshape(-1))
    return y


def adaptive_avg_pool2d_transpose(gy: np.ndarray, size: Pair) -> np.ndarray:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of adaptive_avg_pool2d."""
    if gy.shape[2:] == (1, 1):  # a view: who reads it as one number for each plane need not read a plane
        return np.broadcast_to(gy * gy.dtype.type(1 / (size[0] * size[1])), (*gy.shape[:2], *size))
    gx = np.empty((*gy.shape[:2], *size), gy.dtype)
    if gx.size:
        geometry = _geometry(gx.shape, (gy.shape[2], gy.shape[3]))
        _for_planes(max(gx.size, gy.size), gx, _adaptive_average_transposed, *geometry, _flat(gy), gx.reshape(-1))
    return gx


def adaptive_max_pool2d(x: np.ndarray, size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """x (N, C, H, W) -> y and indices (N, C, P, Q): the first maximum of each bin and its place h·W + w, int32."""
    if size == (1, 1):
        return reference.adaptive_max_pool2d(x, size)
    y = np.empty((*x.shape[:2], *size), x.dtype)
    indices = np.empty(y.shape, np.int32)
    if y.size:
        geometry = _geometry(x.shape, size)
        _for_planes(max(x.size, y.size), y, _adaptive_max, *geometry, _flat(x), y.reshape(-1), indices.reshape(-1))
    return y, indices


def max_unpool2d(x: np.ndarray, indices: np.ndarray, size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """x (N, C, P, Q) -> y (N, C, H, W) with (H, W) = size: x at its index, and the indices that were not covered."""
    y = np.empty((*x.shape[:2], *size), x.dtype)
    kept = np.empty(indices.shape, np.int32)
    if y.size:
        sizes = np.array([x.shape[2] * x.shape[3], size[0] * size[1]])
        places = _flat(np.asarray(indices, np.int32))
        _for_planes(y.size, y, _unpool, sizes, _flat(x), places, y.reshape(-1), kept.reshape(-1))
    return y, kept


def _flat(x: np.ndarray) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable, as a vector: one type for Numba to compile for."""
    return (x if x.flags.carray else x.copy(order="C")).reshape(-1)


def _geometry(shape: tuple[int, ...], outputs: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W, P, Q), and for each row and for each column of bins (first, last)."""
    rows, columns = (np.array(bins(shape[2 + axis], outputs[axis])) for axis in (0, 1))
    return np.array([shape[2], shape[3], *outputs]), rows, columns


def _for_planes(work: int, planes: np.ndarray, body: Callable[..., None], *args: Any) -> None:
    threads = 1 if work < SMALL else get_num_threads()
    parallel_for(planes.shape[0] * planes.shape[1], body, *args, threads=threads)


# --- compiled ---------------------------------------------------------------------------------------------------------


@jit
def _adaptive_average(share, first, last, size, rows, columns, x, y):
    height, width, p_count, q_count = size
    total = np.empty(width, x.dtype)
    for plane in range(first, last):
        for p in range(p_count):
            total[:] = 0
            for h in range(rows[p, 0], rows[p, 1]):
                start = (plane * height + h) * width
                for w in range(width):
                    total[w] += x[start + w]
            for q in range(q_count):
                mean = total[columns[q, 0]]
                for w in range(columns[q, 0] + 1, columns[q, 1]):
                    mean += total[w]
                count = (rows[p, 1] - rows[p, 0]) * (columns[q, 1] - columns[q, 0])
                y[(plane * p_count + p) * q_count + q] = mean / count


@jit
def _adaptive_average_transposed(share, first, last, size, rows, columns, gy, gx):
    height, width, p_count, q_count = size
    line = np.empty(width, gy.dtype)
    for plane in range(first, last):
        gx[plane * height * width : (plane + 1) * height * width] = 0
        for p in range(p_count):
            line[:] = 0
            for q in range(q_count):
                count = (rows[p, 1] - rows[p, 0]) * (columns[q, 1] - columns[q, 0])
                part = gy[(plane * p_count + p) * q_count + q] / count
                for w in range(columns[q, 0], columns[q, 1]):
                    line[w] += part
            for h in range(rows[p, 0], rows[p, 1]):
                start = (plane * height + h) * width
                for w in range(width):
                    gx[start + w] += line[w]


@jit
def _adaptive_max(share, first, last, size, rows, columns, x, y, indices):
    height, width, p_count, q_count = size
    for plane in range(first, last):
        start = plane * height * width
        for p in range(p_count):
            for q in range(q_count):
                place = rows[p, 0] * width + columns[q, 0]
                best = x[start + place]
                for h in range(rows[p, 0], rows[p, 1]):
                    for w in range(columns[q, 0], columns[q, 1]):
                        value = x[start + h * width + w]
                        if not (value <= best) and best == best:  # this way round NaN wins, and the first one stays
                            best, place = value, h * width + w
                y[(plane * p_count + p) * q_count + q] = best
                indices[(plane * p_count + p) * q_count + q] = place


@jit
def _unpool(share, first, last, size, x, indices, y, kept):
    inputs, outputs = size
    owner = np.empty(outputs, np.int64)  # of each place: the last number that named it
    for plane in range(first, last):
        owner[:] = -1
        y[plane * outputs : (plane + 1) * outputs] = 0
        for i in range(plane * inputs, (plane + 1) * inputs):
            if 0 <= indices[i] < outputs:
                owner[indices[i]] = i
        for i in range(plane * inputs, (plane + 1) * inputs):
            kept[i] = -1
            if 0 <= indices[i] < outputs and owner[indices[i]] == i:
                kept[i] = indices[i]
                y[plane * outputs + indices[i]] = x[i]
