"""Resizing: plane by plane, each row of the result from a band of rows, then each of its columns from a band of that.

        x ┌─────────┐            line ┌─────────┐          y ┌───────────────┐
          │ a b c d │ ─┐ · weights    │ . . . . │ ──────────→│ . . . . . . . │   column q = Σ weights · line
          │ e f g h │ ─┴────────────→ └─────────┘            │               │
          └─────────┘                                        └───────────────┘

The adjoint is a band as well (sampling.bands): which outputs read one input are neighbours. So it gathers, with the
same loops: a thread owns its planes, no two write to one element, and sums have a fixed order. Rows are mixed first,
since that is done for whole lines at once; a line stays in L1. A row that repeats the one above (nearest) is copied.

    operations   2 · width of the band for each element of line and of y; enlarging 2·(W + 2·Q) a row or less
    bytes        x read once, y written once
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sampling import Sampling
from .compile import jit
from .threads import get_num_threads, parallel_for

index = np.uintp  # Numba lets a signed index count from the end, and that test keeps the compiler from making vectors
SMALL = 1 << 16  # elements that one thread has dealt with before a second has woken up


def resize2d(x: np.ndarray, rows: Sampling, columns: Sampling) -> np.ndarray:
    """x (N, C, H, W) -> y (N, C, P, Q), mixed as the samplings say."""
    return _banded(x, (rows.outputs, columns.outputs), rows.bands(False), columns.bands(False))


def resize2d_transpose(gy: np.ndarray, rows: Sampling, columns: Sampling) -> np.ndarray:
    """gy (N, C, P, Q) -> gx (N, C, H, W): the adjoint of resize2d."""
    return _banded(gy, (rows.inputs, columns.inputs), rows.bands(True), columns.bands(True))


def _banded(x: np.ndarray, size: tuple[int, int], rows: Any, columns: Any) -> np.ndarray:
    y = np.empty((*x.shape[:2], *size), x.dtype)
    if y.size:
        row_weights, column_weights = rows[1].astype(x.dtype), columns[1].astype(x.dtype)
        repeats = (rows[0] == np.roll(rows[0], 1)) & (row_weights == np.roll(row_weights, 1, axis=0)).all(axis=1)
        flat = (x if x.flags.carray else x.copy(order="C")).reshape(-1)
        parallel_for(
            x.shape[0] * x.shape[1], _planes, np.array([*x.shape[2:], *size]), repeats,
            rows[0], row_weights, columns[0], column_weights, flat, y.reshape(-1),
            threads=1 if max(x.size, y.size) < SMALL else get_num_threads(),
        )  # fmt: skip
    return y


@jit
def _planes(share, first, last, size, repeats, row_start, row_weights, column_start, column_weights, x, y):
    height, width, rows, columns = size
    line = np.empty(width, x.dtype)
    for plane in range(first, last):
        for p in range(rows):
            to = (plane * rows + p) * columns
            if p and repeats[p]:
                for q in range(columns):
                    y[index(to + q)] = y[index(to - columns + q)]
                continue
            line[:] = 0
            for k in range(row_weights.shape[1]):
                weight = row_weights[p, k]
                source = (plane * height + row_start[p] + k) * width
                if weight != 0:
                    for j in range(width):
                        line[index(j)] += weight * x[index(source + j)]
            if column_weights.shape[1] == 1:
                for q in range(columns):
                    y[index(to + q)] = column_weights[q, 0] * line[index(column_start[q])]
            elif column_weights.shape[1] == 2:
                for q in range(columns):
                    left, right = line[index(column_start[q])], line[index(column_start[q] + 1)]
                    y[index(to + q)] = column_weights[q, 0] * left + column_weights[q, 1] * right
            else:
                for q in range(columns):
                    total = column_weights[q, 0] * line[index(column_start[q])]
                    for k in range(1, column_weights.shape[1]):
                        total += column_weights[q, k] * line[index(column_start[q] + k)]
                    y[index(to + q)] = total
