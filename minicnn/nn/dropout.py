"""Dropout layers, with PyTorch's names (torchvision's for StochasticDepth) and arguments.

Active in training only: in evaluation each is x itself. The rate is the float attribute `p`, read at each call, so that
a schedule may change it.
"""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError
from ..ops.arguments import is_number, one_line
from ..tensor import Tensor
from .module import Module


class _Dropping(Module):
    """What drops with probability p. Raises ArgumentError unless 0 ≤ p ≤ 1."""

    def __init__(self, p: float):
        super().__init__()
        if not is_number(p, 1) or p < 0:
            raise ArgumentError(f"{type(self).__name__} needs a probability p from 0 to 1, got {one_line(p)}")
        self.p: float = float(p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropping):
    """Zero each element with probability p and scale the rest by 1/(1−p)."""

    def __init__(self, p: float = 0.5):
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)


class Dropout2d(_Dropping):
    """Zero each channel of each image (N, C, H, W) with probability p and scale the rest by 1/(1−p)."""

    def __init__(self, p: float = 0.5):
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout2d(x, self.p, self.training)


class StochasticDepth(_Dropping):
    """Zero each image (mode "row") or the whole batch ("batch") with probability p and scale the rest by 1/(1−p).

    It stands at the end of a residual branch, before the shortcut is added; timm calls it DropPath. Huang et al. 2016
    let p grow with the depth, from 0 at the first block to the rate of the network at the last.
    """

    def __init__(self, p: float, mode: str = "row"):
        super().__init__(p)
        if not isinstance(mode, str) or mode not in ("row", "batch"):
            raise ArgumentError(f'StochasticDepth got mode={one_line(mode)}: choose "row" or "batch"')
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"
