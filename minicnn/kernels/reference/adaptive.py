"""Adaptive pooling, bin by bin, and unpooling."""

from __future__ import annotations

import numpy as np

from ..window import bins
from .windows import max_pool2d_scatter


def places(size, outputs):
    """For every output (p, q): its place, and the slice of an image of `size` that its bin covers."""
    for p, rows in enumerate(bins(size[0], outputs[0])):
        for q, columns in enumerate(bins(size[1], outputs[1])):
            yield (..., p, q), (..., slice(*rows), slice(*columns))


def adaptive_avg_pool2d(x, size):
    y = np.empty((*x.shape[:2], *size), x.dtype)
    for output, covered in places(x.shape[2:], size):
        y[output] = x[covered].mean(axis=(2, 3))
    return y


def adaptive_avg_pool2d_transpose(gy, size):
    gx = np.zeros((*gy.shape[:2], *size), gy.dtype)
    for output, covered in places(size, gy.shape[2:]):
        area = gx[covered]
        area += gy[output][..., None, None] / (area.shape[2] * area.shape[3])  # adds, since bins overlap
    return gx


def adaptive_max_pool2d(x, size):
    y = np.empty((*x.shape[:2], *size), x.dtype)
    indices = np.empty(y.shape, np.int32)
    for output, covered in places(x.shape[2:], size):
        area = x[covered]
        row_by_row = area.reshape(*x.shape[:2], area.shape[2] * area.shape[3])
        first = row_by_row.argmax(axis=2)  # NumPy too takes NaN for the largest
        row, column = np.divmod(first, area.shape[3])
        indices[output] = (covered[1].start + row) * x.shape[3] + covered[2].start + column
        y[output] = np.take_along_axis(row_by_row, first[..., None], axis=2)[..., 0]
    return y, indices


def max_unpool2d(x, indices, size):
    n, c, p, q = x.shape
    image, channel = np.arange(n)[:, None, None, None], np.arange(c)[None, :, None, None]
    number = np.arange(p * q).reshape(p, q)
    last = np.full((n, c, size[0] * size[1] + 1), -1)  # to name each place; index −1 names the extra one
    np.maximum.at(last, (image, channel, indices), number)
    stays = (last[image, channel, indices] == number) & (indices >= 0)
    kept = np.where(stays, indices, -1).astype(np.int32)
    return max_pool2d_scatter(x, kept, size), kept
