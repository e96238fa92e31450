"""Naive oracles for convolution and pooling, with a geometry of their own: tap by tap, bounds checked each time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def tf_same(size: int, extent: int, stride: int) -> tuple[int, int]:
    """TensorFlow's rule as its documentation states it, by cases of the remainder."""
    total = extent - stride if size % stride == 0 else extent - size % stride
    total = max(total, 0)
    return total // 2, total - total // 2


def sides(padding, size, kernel, stride, dilation) -> list[tuple[int, int]]:
    """Padding as (before, after) for rows and for columns."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        extents = [d * (k - 1) + 1 for k, d in zip(two(kernel), two(dilation), strict=True)]
        return [tf_same(*numbers) for numbers in zip(size, extents, two(stride), strict=True)]
    return [two(side) for side in two(padding)] if not isinstance(padding, int) else [(padding, padding)] * 2


def starts(size: int, kernel: int, stride: int, pad: tuple[int, int], dilation: int, ceil_mode: bool) -> list[int]:
    """Where each window begins, as a position of the input (negative: in the padding): one after the other is tried."""
    before, after = pad
    extent = dilation * (kernel - 1) + 1
    found, start = [], -before
    while start + extent <= size + after:
        found.append(start)
        start += stride
    covered = found[-1] + extent if found else -before
    hangs_over = start + extent - size - after
    if ceil_mode and covered < size + after and hangs_over < stride and start < size:
        found.append(start)  # hangs over the end, but by less than a stride, and begins inside
    return found


def window_starts(size, kernel, stride=1, padding=0, dilation=1, ceil_mode=False) -> tuple[list[int], list[int]]:
    pads = sides(padding, size, kernel, stride, dilation)
    rows, columns = (
        starts(size[a], two(kernel)[a], two(stride)[a], pads[a], two(dilation)[a], ceil_mode) for a in (0, 1)
    )
    return rows, columns


def output_size(size, kernel, stride=1, padding=0, dilation=1, ceil_mode=False) -> tuple[int, int]:
    rows, columns = window_starts(size, kernel, stride, padding, dilation, ceil_mode)
    return len(rows), len(columns)


def reads(size, kernel, dilation, row: int, column: int) -> Iterator[tuple[int, int, int, int]]:
    """The taps (r, s) of the window that begins at (row, column) which lie on the input, and where."""
    for r, s in itertools.product(range(two(kernel)[0]), range(two(kernel)[1])):
        h, w = row + r * two(dilation)[0], column + s * two(dilation)[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield r, s, h, w


def convolutions(size, shape, stride, padding, dilation, groups) -> Iterator[tuple[int, ...]]:
    """All (k, c within its group, c, p, q, r, s, h, w) of a convolution with a weight of `shape`."""
    k_all, c_group, *kernel = shape
    rows, columns = window_starts(size, kernel, stride, padding, dilation)
    for (p, row), (q, column) in itertools.product(enumerate(rows), enumerate(columns)):
        for r, s, h, w in reads(size, kernel, dilation, row, column):
            for k, c in itertools.product(range(k_all), range(c_group)):
                group = k // (k_all // groups)
                yield k, c, group * c_group + c, p, q, r, s, h, w


def conv2d(x, w, b, stride=1, padding=0, dilation=1, groups=1):
    y = np.zeros((len(x), len(w), *output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)))
    for k, c, channel, p, q, r, s, i, j in convolutions(x.shape[2:], w.shape, stride, padding, dilation, groups):
        for n in range(len(x)):
            y[n, k, p, q] += w[k, c, r, s] * x[n, channel, i, j]
    if b is not None:
        for n, k, p, q in np.ndindex(*y.shape):
            y[n, k, p, q] += b[k]
    return y


def conv2d_weight(x, gy, kernel_size, stride=1, padding=0, dilation=1, groups=1):
    gw = np.zeros((gy.shape[1], x.shape[1] // groups, *two(kernel_size)))
    for k, c, channel, p, q, r, s, i, j in convolutions(x.shape[2:], gw.shape, stride, padding, dilation, groups):
        for n in range(len(x)):
            gw[k, c, r, s] += gy[n, k, p, q] * x[n, channel, i, j]
    return gw


def conv_transpose2d(x, w, b, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Every number of x, times the kernel, is put down on an endless plane, of which the padding is then cut off."""
    (top, bottom), (left, right) = sides(padding, None, None, None, None)
    (sh, sw), (dh, dw), (eh, ew) = two(stride), two(dilation), two(output_padding)
    n_all, _, p_all, q_all = x.shape
    k_all, c_group, r_all, s_all = w.shape
    height = stride_span(p_all, sh, r_all, dh) + eh - bottom
    width = stride_span(q_all, sw, s_all, dw) + ew - right
    plane = np.zeros((n_all, groups * c_group, height + bottom, width + right))
    for n, k, c, p, q, r, s in np.ndindex(n_all, k_all, c_group, p_all, q_all, r_all, s_all):
        channel = k // (k_all // groups) * c_group + c
        plane[n, channel, p * sh + r * dh, q * sw + s * dw] += x[n, k, p, q] * w[k, c, r, s]
    y = plane[:, :, top:height, left:width]
    return y if b is None else y + np.array(b).reshape(1, -1, 1, 1)


def stride_span(outputs: int, stride: int, taps: int, dilation: int) -> int:
    """Rows from the first tap of the first window to the last tap of the last."""
    return (outputs - 1) * stride + (taps - 1) * dilation + 1


def pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode) -> Iterator[tuple[tuple[int, ...], list]]:
    """((n, c, p, q), [(h, w), ...]) for every window: the positions of the input that it sees, in row-major order."""
    stride = kernel_size if stride is None else stride
    rows, columns = window_starts(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    for (p, row), (q, column) in itertools.product(enumerate(rows), enumerate(columns)):
        seen = [(h, w) for _, _, h, w in reads(x.shape[2:], kernel_size, dilation, row, column)]
        for n, c in np.ndindex(*x.shape[:2]):
            yield (n, c, p, q), seen


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    steps = kernel_size if stride is None else stride
    y = np.full((*x.shape[:2], *output_size(x.shape[2:], kernel_size, steps, padding, dilation, ceil_mode)), -math.inf)
    for (n, c, p, q), seen in pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode):
        for h, w in seen:
            if x[n, c, h, w] > y[n, c, p, q]:
                y[n, c, p, q] = x[n, c, h, w]
    return y


def relu_max_pool2d(x, kernel_size, **options):
    return max_pool2d(np.where(x < 0, 0, x), kernel_size, **options)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    steps = kernel_size if stride is None else stride
    rows, columns = window_starts(x.shape[2:], kernel_size, steps, padding, 1, ceil_mode)
    pads = sides(padding, x.shape[2:], kernel_size, steps, 1)

    def covered(start: int, taps: int, axis: int) -> int:
        """Positions of a window on the input, or on the padding that was asked for; never what hangs over it."""
        before, after = pads[axis] if count_include_pad else (0, 0)
        return len([i for i in range(start, start + taps) if -before <= i < x.shape[2 + axis] + after])

    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for (n, c, p, q), seen in pool_windows(x, kernel_size, stride, padding, 1, ceil_mode):
        count = covered(rows[p], two(kernel_size)[0], 0) * covered(columns[q], two(kernel_size)[1], 1)
        if seen:
            y[n, c, p, q] = math.fsum(x[n, c, h, w] for h, w in seen) / count
    return y
