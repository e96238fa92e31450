"""The book that computes nothing: each kernel gives zeros of the shape and dtype that the others give.

`with device.shapes_only():` opens it instead of the device's own, and a whole network runs in milliseconds: its layer
table, its multiply-adds and whether an image is large enough for it follow from shapes alone. Large arrays of zeros
cost nothing either: they are pages of their own, for which the system gives memory when something is written to them.

Kernels that are not here, on small arrays mostly, are the reference book's.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np

from . import reference
from .contents import CONTENTS

# Kernels whose (first) result looks like their first argument.
LIKE_FIRST = (
    "absolute", "channel_sum", "clip_mask", "copy", "cos", "elu", "exp", "expm1", "floor", "gelu", "gelu_slope",
    "gelu_tanh", "gelu_tanh_slope", "hard_sigmoid", "hard_swish", "hard_swish_slope", "leak", "local_response_norm",
    "local_response_norm_gradient", "log", "log1p", "log_softmax", "mish", "mish_slope", "neg", "reciprocal", "relu",
    "relu6", "relu_mask", "rint", "sigmoid", "sign", "silu", "silu_slope", "sin", "smooth_l1", "softmax", "softplus",
    "sqrt", "tanh",
)  # fmt: skip
LARGE = 1 << 17  # bytes; below, NumPy writes the zeros more quickly than the system maps pages
BROADCAST = ("add", "div", "maximum", "minimum", "mul", "power", "sub")


def __getattr__(name: str) -> Any:
    if name in CONTENTS:
        return getattr(reference, name)
    raise AttributeError(f"the book of shapes has no {name!r}")


def _new(shape, dtype=np.float64):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, mmap.mmap(-1, size)) if size >= LARGE else np.zeros(shape, dtype)


def _like_first(x, *options):
    return _new(x.shape, x.dtype)


def _broadcast(a, b):
    return _new(np.broadcast_shapes(a.shape, np.shape(b)), a.dtype)


globals().update(dict.fromkeys(LIKE_FIRST, _like_first), **dict.fromkeys(BROADCAST, _broadcast))


# --- arrays -----------------------------------------------------------------------------------------------------------


def sum(x, axis, keepdims):
    shape = (1 if i in axis else size for i, size in enumerate(x.shape) if keepdims or i not in axis)
    return _new(tuple(shape), x.dtype)


def concat(arrays, axis):
    shape = list(arrays[0].shape)
    shape[axis] = 0
    for array in arrays:
        shape[axis] += array.shape[axis]
    return _new(shape, arrays[0].dtype)


def pad(x, widths, value):
    return _new([before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)], x.dtype)


def matmul(a, b):
    return _new((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)


def linear(x, w, b, relu):
    return _new((len(x), len(w)), x.dtype)


def linear_gradient(gy, y, x, w, needs):
    gx = _new((len(gy), w.shape[1]), gy.dtype) if needs[0] else None
    gw = _new((gy.shape[1], x.shape[1]), gy.dtype) if needs[1] else None
    return gx, gw, _new(gy.shape[1:2], gy.dtype) if needs[2] else None


def random_bits(seed, call, n):
    return _new((n,), np.uint32)


def dropout_mask(seed, call, p, shape, dtype):
    return np.zeros(shape, dtype)


# --- convolution ------------------------------------------------------------------------------------------------------


def conv2d(x, w, b, window, groups):
    return _new((len(x), len(w), *window.output_size(x.shape[2:])), x.dtype)


def conv2d_act(x, w, b, window, groups, cap):
    return conv2d(x, w, b, window, groups)


def conv_transpose2d(gy, w, b, window, groups, output_size):
    return _new((len(gy), w.shape[1] * groups, *output_size), gy.dtype)


def conv2d_weight(x, gy, window, groups, bias):
    gw = _new((gy.shape[1], x.shape[1] // groups, *window.kernel), x.dtype)
    return gw, _new(gy.shape[1:2], x.dtype) if bias else None


def conv2d_relu_max_pool2d(x, w, b, window, groups, pool):
    return max_pool2d(conv2d(x, w, b, window, groups), pool)


def conv2d_relu_max_pool2d_gradient(gy, indices, x, w, window, groups, pool, needs):
    gx = _new(x.shape, gy.dtype) if needs[0] else None
    gw, _ = conv2d_weight(x, gy, window, groups, False) if needs[1] else (None, None)
    return gx, gw, _new(gy.shape[1:2], gy.dtype) if needs[2] else None


# --- pooling and resizing ---------------------------------------------------------------------------------------------


def _sized(x, size):
    return _new((*x.shape[:2], *size), x.dtype)


def max_pool2d(x, window):
    y = _sized(x, window.output_size(x.shape[2:]))
    return y, _new(y.shape, np.int32)


relu_max_pool2d = max_pool2d


def max_pool2d_scatter(gy, indices, size):
    return _sized(gy, size)


def max_pool2d_gather(x, indices):
    return _new(indices.shape, x.dtype)


def avg_pool2d(x, window, count_include_pad):
    return _sized(x, window.output_size(x.shape[2:]))


def avg_pool2d_transpose(gy, window, count_include_pad, size):
    return _sized(gy, size)


def max_unpool2d(x, indices, size):
    return _sized(x, size), _new(indices.shape, np.int32)


def adaptive_avg_pool2d(x, size):
    return _sized(x, size)


def adaptive_avg_pool2d_transpose(gy, size):
    return _sized(gy, size)


def adaptive_max_pool2d(x, size):
    y = _sized(x, size)
    return y, _new(y.shape, np.int32)


def resize2d(x, rows, columns):
    return _sized(x, (rows.outputs, columns.outputs))


def resize2d_transpose(gy, rows, columns):
    return _sized(gy, (rows.inputs, columns.inputs))


# --- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(x, mean, var, w, b, residual, eps, cap):
    if mean is None:
        mean, var = _new(x.shape[1:2]), _new(x.shape[1:2])
    return _new(x.shape, x.dtype), mean, var


def batch_norm_gradient(gy, x, y, w, mean, var, eps, cap):
    of_w = (x if w is None else w).dtype
    return _new(x.shape, x.dtype), _new(x.shape[1:2], of_w), _new(x.shape[1:2], of_w)


def standardize(x, eps):
    return _new(x.shape, x.dtype), _new((len(x), 1), x.dtype)


def track_statistics(running_mean, running_var, mean, var, count, momentum):
    """Nothing is known, so nothing is tracked."""
