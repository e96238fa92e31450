"""What is done to the parameters of a model between backward() and step(), with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .. import ops
from ..errors import ArgumentError
from ..function import no_grad
from ..ops.arguments import is_number, one_line
from ..tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> Tensor:
    """Shrink all gradients by one factor, so that the norm of all of them together is at most max_norm. Returns what it
    was before.

        g ← g · min(1, max_norm/‖g‖)

    Parameters without a gradient are left out. Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training
    recurrent neural networks", algorithm 1. Raises ArgumentError unless max_norm > 0.
    """
    if not is_number(max_norm, math.inf) or max_norm <= 0:
        raise ArgumentError(f"clip_grad_norm_ takes a max_norm above 0, got {one_line(max_norm)}")
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [p.grad for p in given if p.grad is not None]
    if not gradients:
        raise ArgumentError("clip_grad_norm_ found no gradient among its parameters: call backward() first")
    with no_grad():
        squares = ops.stack([ops.square(g).sum().to("float64") for g in gradients])
        norm = ops.sqrt(squares.sum())
        factor = ops.minimum(max_norm / (norm + 1e-300), 1.0)  # also where all gradients are 0
        for g in gradients:
            g.copy_(g * factor.to(g.dtype))
    return norm
