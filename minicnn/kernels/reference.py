"""The reference book: every kernel in plain NumPy, written to be read.

Loops run over the taps of a window, never over its positions: for one tap (r, s), the inputs that all outputs read
are a strided slice of the padded image. Convolution is im2col: every window becomes a column, and convolution becomes
one matrix product.

The other books must agree with this one to rounding; tests/ compare them, and compare this one with naive loops.
"""

from __future__ import annotations

import math

import numpy as np

# --- arithmetic -------------------------------------------------------------------------------------------------------

add = np.add
sub = np.subtract
mul = np.multiply
div = np.divide
neg = np.negative
power = np.power
exp = np.exp
log = np.log
sqrt = np.sqrt
absolute = np.absolute
maximum = np.maximum
where = np.where


def compare(a, b, how):
    return getattr(np, how)(a, b)


# --- reductions -------------------------------------------------------------------------------------------------------


def sum(x, axis, keepdims):
    if x.dtype.kind in "biu":
        return np.sum(x, axis=axis, keepdims=keepdims)  # NumPy counts bools and small integers in 64 bits
    wider = np.float32 if x.dtype == np.float16 else x.dtype
    return np.asarray(np.add.reduce(x, axis=axis, dtype=wider, keepdims=keepdims)).astype(x.dtype, copy=False)


def amax(x, axis, keepdims):
    return np.max(x, axis=axis, keepdims=keepdims)


def argmax(x, axis):
    return np.argmax(x, axis=axis)


# --- shape ------------------------------------------------------------------------------------------------------------


def copy(x):
    return x.copy()


def full(shape, value, dtype):
    return np.full(shape, value, dtype)


def reshape(x, shape):
    return x.reshape(shape)


def transpose(x, axes):
    return x.transpose(axes)


def broadcast_to(x, shape):
    return np.broadcast_to(x, shape)


def getitem(x, index):
    return x[index]


def scatter_add(v, index, shape):
    total = np.zeros(shape, v.dtype)
    np.add.at(total, index, v)  # unlike total[index] += v, this adds once per repetition
    return total


def concat(arrays, axis):
    return np.concatenate(arrays, axis=axis)


def pad(x, widths, value):
    return np.pad(x, widths, constant_values=value) if widths else x.copy()


def cast(x, dtype):
    return x.astype(dtype)


# --- linear -----------------------------------------------------------------------------------------------------------


def matmul(a, b):
    return np.matmul(a, b)


def linear(x, w, b):
    y = x @ w.T
    return y if b is None else y + b


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


def conv2d(x, w, b, window, groups):
    n, k = len(x), len(w)
    p, q = window.output_size(x.shape[2:])
    depth = math.prod(w.shape[1:])
    columns = im2col(x, window).reshape(n, groups, depth, p * q)
    weight = w.reshape(groups, k // groups, depth)
    y = np.matmul(weight, columns).reshape(n, k, p, q)
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(gy, w, b, window, groups, output_size):
    n, k, p, q = gy.shape
    weight = w.reshape(groups, k // groups, math.prod(w.shape[1:]))
    gradient = gy.reshape(n, groups, k // groups, p * q)
    columns = np.matmul(weight.transpose(0, 2, 1), gradient)  # (N, groups, C/groups·R·S, P·Q)
    gx = col2im(columns.reshape(n, groups * w.shape[1], *window.kernel, p, q), window, output_size)
    return gx if b is None else gx + b[:, None, None]


def conv2d_weight(x, gy, window, groups):
    n, k, p, q = gy.shape
    columns = im2col(x, window).reshape(n, groups, x.shape[1] // groups, *window.kernel, p, q)
    gradient = gy.reshape(n, groups, k // groups, p, q)
    gw = np.einsum("ngkpq,ngcrspq->gkcrs", gradient, columns, optimize=True)
    return gw.reshape(k, x.shape[1] // groups, *window.kernel)


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
    return max_pool2d(relu(x), window)


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


# --- activations and losses -------------------------------------------------------------------------------------------


def relu(x):
    return np.maximum(x, 0)


def relu_mask(g, y):
    return np.where(y > 0, g, np.zeros((), g.dtype))


tanh = np.tanh


def sigmoid(x):
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half  # the same function; tanh does not overflow


def softmax(x, axis):
    e = np.exp(x - _largest(x, axis))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis):
    if x.shape[axis] == 0:
        return x.copy()
    shifted = x - _largest(x, axis)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _largest(x, axis):
    """max along axis; 0 where the axis has no elements, since there is nothing to shift then."""
    if x.shape[axis] == 0:
        return np.zeros((), x.dtype)
    return x.max(axis=axis, keepdims=True)


sign = np.sign


def pick(x, labels):
    return x[np.arange(len(x)), labels]


def one_hot(labels, classes, dtype):
    return (labels[:, None] == np.arange(classes)).astype(dtype)


# --- random numbers ---------------------------------------------------------------------------------------------------


def random_bits(seed, call, n):
    """Ten rounds of two 32×32→64-bit products. Each step of the loop is one round on all blocks at once."""
    low = np.uint64(0xFFFFFFFF)
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    c0, c1 = block & low, block >> np.uint64(32)
    c2, c3 = np.full_like(block, call & 0xFFFFFFFF), np.full_like(block, call >> 32)
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (b >> np.uint64(32)) ^ c1 ^ np.uint64(key0),
            b & low,
            (a >> np.uint64(32)) ^ c3 ^ np.uint64(key1),
            a & low,
        )
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF  # Weyl sequence
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32).reshape(-1)[:n]


# --- optimizer steps --------------------------------------------------------------------------------------------------


def sgd_step(p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    if weight_decay:
        g = g + weight_decay * p
    if momentum:
        if first:
            velocity[...] = g
        else:
            velocity *= momentum
            velocity += g if dampening == 0 else (1 - dampening) * g
        g = g + momentum * velocity if nesterov else velocity
    p -= lr * g


def adam_step(p, g, mean, square, lr, beta1, beta2, eps, weight_decay, step):
    if weight_decay:
        g = g + weight_decay * p
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    unbiased_mean = mean / (1 - beta1**step)
    unbiased_square = square / (1 - beta2**step)
    p -= lr * unbiased_mean / (np.sqrt(unbiased_square) + eps)
