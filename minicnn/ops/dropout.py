"""Dropout of elements, channels and whole branches: noise that stays the same on every device and thread count."""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..device import generator
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import expect, expect_images, flag, floating, is_number, one_line


class Dropout(Function):
    """y = x·m with m = 1/(1−p) where a 32-bit random word is at least p·2³², else 0; E[y] = x.  gx = gy·m.

    m has the shape `decisions`, and broadcasts: each of its elements decides about all of x that lies along its axes
    of size 1. Word i of call number `call` is for element i of m in row-major order: Philox4x32-10 keyed by the seed,
    with the call as counter (device.py), so m depends on neither device nor threads. It is drawn once, in forward.
    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """

    def forward(self, x, p, seed, call, decisions):
        mask = kernels.dropout_mask(seed, call, p, decisions, x.dtype)
        self.save(mask)
        return kernels.mul(x, mask)

    def backward(self, gy):
        (mask,) = self.saved
        return gy * mask


class Dropout2d(Dropout):
    """Dropout that decides about each channel of each image: neighbouring pixels, alike as they are, go together.

    Source: Tompson et al. 2015, "Efficient object localization using convolutional networks", section 3.2.
    """

    name = "dropout2d"


class StochasticDepth(Dropout):
    """Dropout that decides about each image, or about all of x: on a residual branch, whether there is this layer.

    Source: Huang et al. 2016, "Deep networks with stochastic depth", section 3, where the branch is scaled in
    evaluation, by 1 − p; here, as in dropout, it is scaled in training, by 1/(1 − p).
    """


# --- what users call --------------------------------------------------------------------------------------------------
# Every call draws a new mask from the stream that minicnn.manual_seed(n) restarts.


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability p and scale the others by 1/(1−p); x itself if not training or p = 0.

    Raises ArgumentError unless 0 ≤ p ≤ 1.
    """
    expect("dropout", x)
    return _drop("dropout", Dropout, x, p, training, x.shape)


def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each channel of each image with probability p and scale the others by 1/(1−p): "spatial dropout".

    x (N, C, H, W); x itself if not training or p = 0. Errors as dropout, and ShapeError for another number of axes.
    """
    expect_images("dropout2d", x)
    return _drop("dropout2d", Dropout2d, x, p, training, (*x.shape[:2], 1, 1))


def stochastic_depth(x: Tensor, p: float, mode: str = "row", training: bool = True) -> Tensor:
    """Zero x (N, ...) with probability p or scale it by 1/(1−p): each of the N by itself (mode "row") or all of x as
    one ("batch"). For the residual branch of a block, before it is added to the shortcut.

    x itself if not training or p = 0. Errors as dropout, ArgumentError for another mode, ShapeError for x without axes.
    """
    expect("stochastic_depth", x)
    if not isinstance(mode, str) or mode not in ("row", "batch"):
        raise ArgumentError(f'stochastic_depth got mode={one_line(mode)}: choose "row" or "batch"')
    if x.ndim == 0:
        raise ShapeError("stochastic_depth expects x of shape (N, ...), got shape (): it decides along the first axis")
    images = len(x) if mode == "row" else 1
    return _drop("stochastic_depth", StochasticDepth, x, p, training, (images, *[1] * (x.ndim - 1)))


def _drop(op: str, function: type[Dropout], x: Tensor, p: Any, training: Any, decisions: tuple[int, ...]) -> Tensor:
    if not is_number(p, 1) or p < 0:
        raise ArgumentError(f"{op} needs a probability p from 0 to 1, got {one_line(p)}")
    floating(op, x)
    if not flag(op, "training", training) or p == 0:
        return x
    seed, call = generator.next_call()
    return function.apply(x, p=float(p), seed=seed, call=call, decisions=decisions)
