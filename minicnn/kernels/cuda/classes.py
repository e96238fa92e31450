"""Softmax, and the losses of classes: softmax.cu with a thread, a warp or a block for each row."""

from __future__ import annotations

import math
from typing import Any

from .launch import contiguous, empty, kernel
from .reduce import group_size, reduced, row_blocks, wide


def softmax(x: Any, axis: int) -> Any:
    """eˣ / Σ eˣ along an axis."""
    return _along("softmax", x, axis)


def log_softmax(x: Any, axis: int) -> Any:
    """x − log Σ eˣ along an axis."""
    return _along("log_softmax", x, axis)


def _along(name: str, x: Any, axis: int) -> Any:
    y = empty(x.shape, x.dtype)
    rows, n, inner, t = _rows(x.shape, axis)
    kernel("softmax.cu", name, x.dtype)(row_blocks(rows, t), (y, contiguous(x), rows, n, inner, t))
    return y


def _rows(shape: tuple[int, ...], axis: int) -> tuple[int, int, int, int]:
    """Rows along an axis, numbers in each, how far apart these stand, and threads for each row."""
    n, inner = shape[axis], math.prod(shape[axis + 1 :])
    rows = math.prod(shape[:axis]) * inner
    return rows, n, inner, group_size(n) if inner == 1 else 1


def class_targets(
    shape: tuple[int, ...], dtype: Any, labels: Any, weight: Any, smoothing: float, divisor: float | None
) -> Any:
    """q (N, C, ...), what softmax should be."""
    q = empty(shape, dtype)
    values = (q, contiguous(labels), *_weights(weight, q), float(smoothing), float(divisor or 1))
    kernel("softmax.cu", "class_targets", dtype)(q.size, (*values, shape[1], math.prod(shape[2:]), q.size))
    return q


def negative_log_likelihood(x: Any, labels: Any, weight: Any, smoothing: float, divisor: float | None) -> Any:
    """−Σ q·x over the classes; over all if there is a divisor."""
    return _losses(x, labels, weight, smoothing, divisor, False)


def softmax_cross_entropy(z: Any, labels: Any, weight: Any, smoothing: float, divisor: float | None) -> Any:
    """−Σ q·log_softmax(z): logits are read, and one number for each row is written."""
    return _losses(z, labels, weight, smoothing, divisor, True)


def _losses(x: Any, labels: Any, weight: Any, smoothing: float, divisor: float | None, logits: bool) -> Any:
    losses, x = empty((x.shape[0], *x.shape[2:]), wide(x.dtype)), contiguous(x)
    rows, n, inner, t = _rows(x.shape, 1)
    values = (losses, x, contiguous(labels), *_weights(weight, x), float(smoothing), float(divisor or 1))
    kernel("softmax.cu", "class_losses", x.dtype)(row_blocks(rows, t), (*values, logits, rows, n, inner, t))
    if divisor is not None:
        losses = reduced("sum", losses, tuple(range(losses.ndim))).reshape(())
    return losses.astype(x.dtype, copy=False)


def softmax_cross_entropy_gradient(
    g: Any, z: Any, labels: Any, weight: Any, smoothing: float, divisor: float | None
) -> Any:
    """g·(softmax(z)·Σ q − q), g one number for each row or for all."""
    gz = empty(z.shape, z.dtype)
    rows, n, inner, t = _rows(z.shape, 1)
    arrays = gz, contiguous(g), contiguous(z), contiguous(labels)
    values = (*arrays, *_weights(weight, gz), float(smoothing), float(divisor or 1), g.ndim == 0, rows, n, inner, t)
    kernel("softmax.cu", "cross_entropy_gradient", z.dtype)(row_blocks(rows, t), values)
    return gz


def _weights(weight: Any, stand_in: Any) -> tuple[Any, bool]:
    """The weights of the classes, and whether there are any: an array has to be passed in any case."""
    return (stand_in, False) if weight is None else (contiguous(weight), True)
