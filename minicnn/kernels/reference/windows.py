"""Convolution and pooling.

Loops run over the taps of a window, never over its positions: for one tap (r, s), the inputs that all outputs read
are a strided slice of the padded image. Convolution is im2col: every window becomes a column, and convolution becomes
one matrix product.
"""

from __future__ import annotations

import math

import numpy as np

from .functions import relu
from .halves import rounded_once

# --- convolution ------------------------------------------------------------------------------------------------------


def taps(window, outputs):
    """For every tap (r, s): its place, and the slice of the padded image that all outputs read through it."""
    (stride_h, stride_w), (dilation_h, dilation_w), (p, q) = window.stride, window.dilation, outputs
    for r in range(window.kernel[0]):
        for s in range(window.kernel[1]):
            top, left = r * dilation_h, s * dilation_w
            rows = slice(top, top + (p - 1) * stride_h + 1, stride_h)
            columns = slice(left, left + (q - 1) * stride_w + 1, stride_w)
            yield (r, s), (..., rows, columns)


def padded(x, window, value):
    """x (N, C, H, W) with a border of `value`, so that every window is whole."""
    return np.pad(x, ((0, 0), (0, 0), *window.overhang(x.shape[2:])), constant_values=value)


def im2col(x, window):
    """x (N, C, H, W) -> every window as a column, (N, C, R, S, P, Q)."""
    n, c, h, w = x.shape
    outputs = window.output_size((h, w))
    image = padded(x, window, 0)
    columns = np.empty((n, c, *window.kernel, *outputs), x.dtype)
    for (r, s), where_read in taps(window, outputs):
        columns[:, :, r, s] = image[where_read]
    return columns


def col2im(columns, window, size):
    """(N, C, R, S, P, Q) -> (N, C, H, W): each column added back to where im2col had read it."""
    n, c, _, _, p, q = columns.shape
    (top, bottom), (left, right) = window.overhang(size)
    image = np.zeros((n, c, top + size[0] + bottom, left + size[1] + right), columns.dtype)
    for (r, s), where_read in taps(window, (p, q)):
        image[where_read] += columns[:, :, r, s]  # adds, since windows overlap
    return image[:, :, top : top + size[0], left : left + size[1]].copy()


@rounded_once
def conv2d(x, w, b, window, groups):
    n, k = len(x), len(w)
    p, q = window.output_size(x.shape[2:])
    depth = math.prod(w.shape[1:])
    columns = im2col(x, window).reshape(n, groups, depth, p * q)
    weight = w.reshape(groups, k // groups, depth)
    y = np.matmul(weight, columns).reshape(n, k, p, q)
    return y if b is None else y + b[:, None, None]


@rounded_once
def conv2d_act(x, w, b, window, groups, cap):
    return np.clip(conv2d(x, w, b, window, groups), 0, cap)


@rounded_once
def conv_transpose2d(gy, w, b, window, groups, output_size):
    n, k, p, q = gy.shape
    weight = w.reshape(groups, k // groups, math.prod(w.shape[1:]))
    gradient = gy.reshape(n, groups, k // groups, p * q)
    columns = np.matmul(weight.transpose(0, 2, 1), gradient)  # (N, groups, C/groups·R·S, P·Q)
    gx = col2im(columns.reshape(n, groups * w.shape[1], *window.kernel, p, q), window, output_size)
    return gx if b is None else gx + b[:, None, None]


@rounded_once
def conv2d_weight(x, gy, window, groups, bias):
    n, k, p, q = gy.shape
    columns = im2col(x, window).reshape(n, groups, x.shape[1] // groups, *window.kernel, p, q)
    gradient = gy.reshape(n, groups, k // groups, p, q)
    gw = np.einsum("ngkpq,ngcrspq->gkcrs", gradient, columns, optimize=True)
    return gw.reshape(k, x.shape[1] // groups, *window.kernel), gy.sum(axis=(0, 2, 3)) if bias else None


# --- pooling ----------------------------------------------------------------------------------------------------------


def max_pool2d(x, window):
    h, w = x.shape[2:]
    outputs = window.output_size((h, w))
    image = padded(x, window, -np.inf)
    (top, _), (left, _) = window.overhang((h, w))
    y = np.full((*x.shape[:2], *outputs), -np.inf, x.dtype)
    indices = np.full(y.shape, -1, np.int32)
    rows = np.arange(outputs[0])[:, None] * window.stride[0] - top
    columns = np.arange(outputs[1])[None, :] * window.stride[1] - left
    for (r, s), where_read in taps(window, outputs):
        value = image[where_read]
        row, column = rows + r * window.dilation[0], columns + s * window.dilation[1]
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        larger = (value > y) | (np.isnan(value) & ~np.isnan(y)) | (indices < 0)
        y = np.where(inside & larger, value, y)
        indices = np.where(inside & larger, row * w + column, indices)
    return y, indices.astype(np.int32)


def relu_max_pool2d(x, window):
    y, indices = max_pool2d(relu(x), window)
    return y, np.where(y > 0, indices, np.int32(-1))


def conv2d_relu_max_pool2d(x, w, b, window, groups, pool):
    return relu_max_pool2d(conv2d(x, w, b, window, groups), pool)


def conv2d_relu_max_pool2d_gradient(gy, indices, x, w, window, groups, pool, needs):
    gx = gw = gb = None
    gradient = max_pool2d_scatter(gy, indices, window.output_size(x.shape[2:]))
    if needs[0]:
        gx = conv_transpose2d(gradient, w, None, window, groups, x.shape[2:])
    if needs[1] or needs[2]:
        gw, gb = conv2d_weight(x, gradient, window, groups, needs[2])
    return gx, gw if needs[1] else None, gb


def max_pool2d_scatter(gy, indices, size):
    n, c = gy.shape[:2]
    planes = np.zeros((n, c, size[0] * size[1] + 1), gy.dtype)  # index −1 falls into the extra last place
    image, channel = np.arange(n)[:, None, None, None], np.arange(c)[None, :, None, None]
    np.add.at(planes, (image, channel, indices), gy)
    return planes[:, :, :-1].reshape(n, c, *size)


def max_pool2d_gather(x, indices):
    n, c, h, w = x.shape
    planes = np.concatenate([x.reshape(n, c, h * w), np.zeros((n, c, 1), x.dtype)], axis=2)  # for index −1
    image, channel = np.arange(n)[:, None, None, None], np.arange(c)[None, :, None, None]
    return planes[image, channel, indices]


def avg_pool2d(x, window, count_include_pad):
    size = x.shape[2:]
    outputs = window.output_size(size)
    image = padded(x, window, 0)
    total = np.zeros((*x.shape[:2], *outputs), x.dtype)
    for _, where_read in taps(window, outputs):
        total += image[where_read]
    return total / _counts(window, size, count_include_pad, x.dtype)


def avg_pool2d_transpose(gy, window, count_include_pad, size):
    share = gy / _counts(window, size, count_include_pad, gy.dtype)
    columns = np.broadcast_to(share[:, :, None, None], (*gy.shape[:2], *window.kernel, *gy.shape[2:]))
    return col2im(columns, window, size)


def _counts(window, size, count_include_pad, dtype):
    """Divisors of an average; a window that sees nothing has sum 0, and 0 / 1 = 0."""
    return np.maximum(window.counts(size, count_include_pad), 1).astype(dtype)
