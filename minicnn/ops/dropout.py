"""Dropout: noise that stays the same on every device and for every number of threads."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..device import generator
from ..errors import ArgumentError
from ..function import Function
from ..tensor import Tensor
from .arguments import expect, flag, one_line


class Dropout(Function):
    """y = x·m with m = 1/(1−p) where a 32-bit random word is at least p·2³², else 0; E[y] = x.  gx = gy·m.

    Word i of call number `call` decides about element i in row-major order: Philox4x32-10 keyed by the seed, with the
    call as counter (device.py), so the mask depends on neither device nor threads. It is drawn once, in forward.
    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """

    def forward(self, x, p, seed, call):
        words = kernels.reshape(kernels.random_bits(seed, call, x.size), x.shape)
        kept = kernels.cast(kernels.compare(words, min(round(p * 2**32), 2**32 - 1), "greater_equal"), x.dtype)
        mask = kernels.mul(kept, x.dtype.type(1 / (1 - p) if p < 1 else 0))
        self.save(mask)
        return kernels.mul(x, mask)

    def backward(self, gy):
        (mask,) = self.saved
        return gy * mask


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability p and scale the others by 1/(1−p); x itself if not training or p = 0.

    Every call draws a new mask from the stream that minicnn.manual_seed(n) restarts.
    Raises ArgumentError unless 0 ≤ p ≤ 1.
    """
    expect("dropout", x)
    if not isinstance(p, float | int | np.floating | np.integer) or isinstance(p, bool) or not 0 <= p <= 1:
        raise ArgumentError(f"dropout needs a probability p from 0 to 1, got {one_line(p)}")
    if not flag("dropout", "training", training) or p == 0:
        return x
    seed, call = generator.next_call()
    return Dropout.apply(x, p=p, seed=seed, call=call)
