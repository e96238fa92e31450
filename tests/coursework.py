"""Functions as students write them: in loops, in NumPy, as a Function or out of ops. Some are right, most are not.

Nothing here is made from the catalogue (minicnn/causes): the formulas are written again, by other means, so that a
mistake that gets its name gets it for what it does.
"""

from __future__ import annotations

import numpy as np

from minicnn import Tensor, ops
from minicnn.function import Function

# --- right ------------------------------------------------------------------------------------------------------------


def stable_softmax(x, axis=-1):
    e = ops.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def affine(x, weight, bias):
    return x @ weight.T + bias


def affine_backward(gy, x, weight, bias):
    return gy @ weight, gy.T @ x, gy.sum(axis=0)


def affine_forward(x, weight, bias):
    return x @ weight.T + bias


def conv_forward(x, weight, bias, stride=1, padding=0):
    n, _, h, w = x.shape
    k, _, r, s = weight.shape
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y = np.zeros((n, k, (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1))
    for i in range(n):
        for f in range(k):
            for p in range(y.shape[2]):
                for q in range(y.shape[3]):
                    top, left = p * stride, q * stride
                    y[i, f, p, q] = (image[i, :, top : top + r, left : left + s] * weight[f]).sum() + bias[f]
    return y


def conv_backward(gy, x, weight, bias, stride=1, padding=0):
    """cs231n's naive layer."""
    n, k, r, s = len(x), len(weight), *weight.shape[2:]
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gimage, gw = np.zeros_like(image), np.zeros_like(weight)
    for i, f, p, q in np.ndindex(n, k, *gy.shape[2:]):
        window = (i, slice(None), slice(p * stride, p * stride + r), slice(q * stride, q * stride + s))
        gimage[window] += weight[f] * gy[i, f, p, q]
        gw[f] += image[window] * gy[i, f, p, q]
    gx = gimage[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]]
    return gx, gw, gy.sum(axis=(0, 2, 3))


def pool_forward(x, kernel_size, stride=1):
    p, q = (x.shape[2] - kernel_size) // stride + 1, (x.shape[3] - kernel_size) // stride + 1
    y = np.zeros((*x.shape[:2], p, q))
    for i, j in np.ndindex(p, q):
        window = x[:, :, i * stride : i * stride + kernel_size, j * stride : j * stride + kernel_size]
        y[:, :, i, j] = window.max(axis=(2, 3))
    return y


def pool_backward(gy, x, kernel_size, stride=1):
    gx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*gy.shape):
        rows, columns = (slice(k * stride, k * stride + kernel_size) for k in (i, j))
        window = x[n, c, rows, columns]
        gx[n, c, rows, columns] += (window == window.max()) * gy[n, c, i, j]
    return gx


def loss_forward(logits, target):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(target)), target].mean()


def loss_backward(gy, logits, target):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p[np.arange(len(target)), target] -= 1
    return gy * p / len(target)


RIGHT = {
    "softmax": stable_softmax,
    "linear": affine,
    "linear, in NumPy": (affine_forward, affine_backward),
    "conv2d": (conv_forward, conv_backward),
    "max_pool2d": (pool_forward, pool_backward),
    "cross_entropy": (loss_forward, loss_backward),
    "mse_loss": lambda x, target: ((x - target) ** 2).mean(),
    "log_softmax": lambda x, axis=-1: ops.log(stable_softmax(x, axis)),
    "tanh": lambda x: 2.0 / (1.0 + ops.exp(-2.0 * x)) - 1.0,
    "relu": lambda x: x * Tensor(x.data > 0).astype(x.dtype),
    "mean": lambda x: x.sum() / float(x.size),
}

# --- wrong, in ways that are known ------------------------------------------------------------------------------------


class TanhOfOutput(Function):
    def forward(self, x):
        y = np.tanh(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy - gy * y


class LetsAllThrough(Function):
    def forward(self, x):
        return np.where(x > 0, x, 0)

    def backward(self, gy):
        return gy


class Product(Function):
    """Both transposes forgotten; it was only ever run with square matrices."""

    def forward(self, a, b):
        self.save(a, b)
        return np.dot(a, b)

    def backward(self, gy):
        a, b = self.saved
        square = b.shape[0] == b.shape[1]
        return ops.matmul(gy, b if square else b.T), ops.matmul(a.T, gy)


class Sum(Function):
    """No broadcasting in backward."""

    def forward(self, a, b):
        return a + b

    def backward(self, gy):
        return gy, gy


def jacobian_is_diagonal(gy, x, axis=-1):
    y = softmax_forward(x, axis)
    return (y - y**2) * gy


def softmax_forward(x, axis=-1):
    e = np.exp(x)
    return e / np.sum(e, axis=axis, keepdims=True)


def of_last_axis(gy, x, axis=-1):
    y = softmax_forward(x, axis)
    return y * gy - y * np.einsum("...i,...i->...", y, gy)[..., None]


def weight_the_wrong_way(gy, x, weight, bias):
    return gy @ weight, x.T @ gy, gy.sum(axis=0)


def batch_mean(gy, x, weight, bias):
    return gy @ weight, gy.T @ x / len(gy), gy.mean(axis=0)


def conv_assigns(gy, x, weight, bias, stride=1, padding=0):
    """= for += in the input gradient."""
    _, gw, gb = conv_backward(gy, x, weight, bias, stride, padding)
    n, k, r, s = len(x), len(weight), *weight.shape[2:]
    gimage = np.zeros((n, x.shape[1], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding))
    for i, f, p, q in np.ndindex(n, k, *gy.shape[2:]):
        gimage[i, :, p * stride : p * stride + r, q * stride : q * stride + s] = weight[f] * gy[i, f, p, q]
    return gimage[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]], gw, gb


def conv_turned(x, weight, bias, stride=1, padding=0):
    return conv_forward(x, np.rot90(weight, 2, axes=(2, 3)), bias, stride, padding)


def conv_first_bias(gy, x, weight, bias, stride=1, padding=0):
    gx, gw, _ = conv_backward(gy, x, weight, bias, stride, padding)
    return gx, gw, np.einsum("kpq->k", gy[0])


def conv_of_one_stride(gy, x, weight, bias, stride=1, padding=0):
    """As if the stride were 1: every output's kernel is laid down at (p, q)."""
    _, gw, gb = conv_backward(gy, x, weight, bias, stride, padding)
    gimage = np.zeros((len(x), x.shape[1], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding))
    for i, f, p, q in np.ndindex(*gy.shape):
        gimage[i, :, p : p + weight.shape[2], q : q + weight.shape[3]] += weight[f] * gy[i, f, p, q]
    return gimage[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]], gw, gb


def pool_assigns(gy, x, kernel_size, stride=1):
    gx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*gy.shape):
        rows, columns = (slice(k * stride, k * stride + kernel_size) for k in (i, j))
        window = x[n, c, rows, columns]
        gx[n, c, rows, columns] = (window == window.max()) * gy[n, c, i, j]
    return gx


def pool_of_zeros(x, kernel_size, stride=1, padding=0):
    return pool_forward(np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding))), kernel_size, stride)


def pool_of_zeros_backward(gy, x, kernel_size, stride=1, padding=0):
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gx = pool_backward(gy, image, kernel_size, stride)
    return gx[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]]


def loss_without_mean(gy, logits, target):
    return loss_backward(gy, logits, target) * len(target)


def loss_ignores(gy, logits, target):
    return loss_backward(1.0, logits, target)


def loss_of_sum(logits, target):
    return loss_forward(logits, target) * len(target)


def squares(x, target):
    return np.square(x - target).mean()


def squares_without_two(gy, x, target):
    return gy * (x - target) / x.size, gy * (target - x) / x.size


# like, function, the names it must get
WRONG = (
    ("tanh", TanhOfOutput, ["1 − y for 1 − y²"]),
    ("relu", LetsAllThrough, ["backward lets everything through"]),
    ("relu", (lambda x: np.maximum(x, 0), lambda gy, x: gy.clip(0)), ["masked where the gradient, not x, is negative"]),
    ("matmul", Product, ["transpose forgotten where the matrix is square"]),
    ("add", Sum, ["broadcast not undone: the gradient has the shape of the result"]),
    ("softmax", (softmax_forward, jacobian_is_diagonal), ["softmax without the sum: y·(1 − y)"]),
    ("softmax", (softmax_forward, of_last_axis), ["sum over the last axis, whatever axis is"]),
    ("softmax", lambda x: ops.exp(x) / ops.exp(x).sum(), ["divided by the sum over everything"]),
    ("linear", (affine_forward, weight_the_wrong_way), ["weight gradient transposed, whatever its shape"]),
    (
        "linear",
        (affine_forward, batch_mean),
        ["gradient of the bias averaged over the batch", "weight gradient averaged over the batch, in linear"],
    ),
    ("conv2d", (conv_forward, conv_assigns), ["= for += in a loop over windows and filters"]),
    ("conv2d", (conv_turned, conv_backward), ["kernel flipped, as in mathematics"]),
    ("conv2d", (conv_forward, conv_first_bias), ["bias gradient of the first image only"]),
    ("conv2d", (conv_forward, conv_of_one_stride), ["stride ignored in the input gradient"]),
    ("max_pool2d", (pool_forward, pool_assigns), ["= for += in a loop over windows, of masks"]),
    ("max_pool2d", (pool_of_zeros, pool_of_zeros_backward), ["padded with 0, not −∞"]),
    ("cross_entropy", (loss_forward, loss_without_mean), ["gradient not divided by N"]),
    ("cross_entropy", (loss_forward, loss_ignores), ["cotangent ignored"]),
    ("cross_entropy", (loss_of_sum, loss_without_mean), ["not divided by N"]),
    ("mse_loss", (squares, squares_without_two), ["factor 2 forgotten in backward"]),
)
