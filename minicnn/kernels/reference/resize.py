"""Resizing: one axis after the other, each output a mixture of the two inputs beside its place."""

from __future__ import annotations

import numpy as np


def resize2d(x, rows, columns):
    return _sampled(_sampled(x, 2, rows), 3, columns)


def resize2d_transpose(gy, rows, columns):
    return _put_back(_put_back(gy, 3, columns), 2, rows)


def _sampled(x, axis, sampling):
    low, high, share = _taps(x, axis, sampling)
    if sampling.mode == "nearest":
        return x.take(low, axis)
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share


def _put_back(gy, axis, sampling):
    """Each gradient to the two inputs that were mixed."""
    low, high, share = _taps(gy, axis, sampling)
    gx = np.zeros((*gy.shape[:axis], sampling.inputs, *gy.shape[axis + 1 :]), gy.dtype)
    before = (slice(None),) * axis
    np.add.at(gx, (*before, low), gy if sampling.mode == "nearest" else gy * (1 - share))
    if sampling.mode != "nearest":
        np.add.at(gx, (*before, high), gy * share)
    return gx


def _taps(x, axis, sampling):
    low, high, share = sampling.taps()
    return low, high, share.astype(x.dtype).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
