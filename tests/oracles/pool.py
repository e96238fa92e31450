"""Naive oracles for what pooling tells beside its result, for unpooling, and for adaptive pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from .windows import output_size, pool_windows, starts, two

# --- places of maxima, and back ---------------------------------------------------------------------------------------


def first_largest(plane, seen) -> int:
    """The flat place of the first largest number of a plane among the places seen; −1 for none."""
    best = -1
    for h, w in seen:
        if best < 0 or plane[h, w] > plane.flat[best]:
            best = h * plane.shape[1] + w
    return best


def max_pool2d_indices(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    steps = kernel_size if stride is None else stride
    indices = np.zeros((*x.shape[:2], *output_size(x.shape[2:], kernel_size, steps, padding, dilation, ceil_mode)), int)
    for (n, c, p, q), seen in pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode):
        indices[n, c, p, q] = first_largest(x[n, c], seen)
    return indices


def unpooled_length(outputs: int, kernel: int, stride: int, pad: tuple[int, int] | str) -> int:
    """The first length, tried one after the other, that has so many windows; for "same" the longest."""
    if pad == "same":
        return outputs * stride
    return next(size for size in itertools.count(1) if len(starts(size, kernel, stride, pad, 1, False)) == outputs)


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    if output_size is None:
        steps = two(kernel_size if stride is None else stride)
        pads = ["same"] * 2 if padding == "same" else [two(p) for p in two(0 if padding == "valid" else padding)]
        height, width = (unpooled_length(*numbers) for numbers in zip(x.shape[2:], two(kernel_size), steps, pads,
                                                                      strict=True))  # fmt: skip
    else:
        height, width = output_size[-2:]
    y = np.zeros((*x.shape[:2], height, width))
    for n, c, p, q in np.ndindex(*x.shape):  # in row-major order, so that the last of several stays
        if indices[n, c, p, q] >= 0:
            y[n, c, indices[n, c, p, q] // width, indices[n, c, p, q] % width] = x[n, c, p, q]
    return y


# --- adaptive ---------------------------------------------------------------------------------------------------------


def bin_members(size: int, outputs: int) -> list[list[int]]:
    """Cut a line of length `size` into equal parts, one for each output: it sees the elements that its part touches."""
    return [
        [i for i in range(size) if i * outputs < (o + 1) * size and (i + 1) * outputs > o * size]
        for o in range(outputs)
    ]  # fmt: skip


def adaptive_bins(x, output_size) -> tuple[tuple[int, int], Iterator]:
    """(P, Q), and (p, q, the places (h, w) that it sees) for each output."""
    wanted = (output_size, output_size) if isinstance(output_size, int) else output_size
    p_all, q_all = (size if given is None else given for given, size in zip(wanted, x.shape[2:], strict=True))
    rows, columns = bin_members(x.shape[2], p_all), bin_members(x.shape[3], q_all)
    both = itertools.product(enumerate(rows), enumerate(columns))
    return (p_all, q_all), ((p, q, list(itertools.product(hs, ws))) for (p, hs), (q, ws) in both)


def adaptive_avg_pool2d(x, output_size):
    outputs, bins = adaptive_bins(x, output_size)
    y = np.zeros((*x.shape[:2], *outputs))
    for p, q, seen in bins:
        for n, c in np.ndindex(*x.shape[:2]):
            y[n, c, p, q] = math.fsum(x[n, c, h, w] for h, w in seen) / len(seen)
    return y


def adaptive_max_pool2d(x, output_size):
    outputs, bins = adaptive_bins(x, output_size)
    y = np.zeros((*x.shape[:2], *outputs))
    for p, q, seen in bins:
        for n, c in np.ndindex(*x.shape[:2]):
            y[n, c, p, q] = max(x[n, c, h, w] for h, w in seen)
    return y


def adaptive_max_pool2d_indices(x, output_size):
    outputs, bins = adaptive_bins(x, output_size)
    indices = np.zeros((*x.shape[:2], *outputs), int)
    for p, q, seen in bins:
        for n, c in np.ndindex(*x.shape[:2]):
            indices[n, c, p, q] = first_largest(x[n, c], seen)
    return indices


def first_of_bin(gy, x, output_size=1):
    """The gradient that adaptive max pooling promises at ties: the first maximum of a bin gets its gradient."""
    gx = np.zeros(x.shape)
    indices = adaptive_max_pool2d_indices(x, output_size)
    for n, c, p, q in np.ndindex(*gy.shape):
        gx[n, c].flat[indices[n, c, p, q]] += gy[n, c, p, q]
    return [gx]


def global_avg_pool2d(x):
    y = np.zeros((*x.shape[:2], 1, 1))
    for n, c in np.ndindex(*x.shape[:2]):
        y[n, c, 0, 0] = math.fsum(x[n, c].flat) / x[n, c].size
    return y


def global_max_pool2d(x):
    y = np.zeros((*x.shape[:2], 1, 1))
    for n, c in np.ndindex(*x.shape[:2]):
        y[n, c, 0, 0] = max(x[n, c].flat)
    return y
