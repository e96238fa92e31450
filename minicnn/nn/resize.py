"""Layers that change the size of images without parameters."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module


class Upsample(Module):
    """Images (N, C, H, W) in another size, or larger by a factor: see ops.resize for the modes.

    size is (P, Q) or one number; or scale_factor, which makes it ⌊H·scale_factor⌋.
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ):
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return ops.resize(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        target = f"to {self.size}" if self.size is not None else f"×{self.scale_factor}"
        return f"{target}, {self.mode}" + (", corners aligned" if self.align_corners else "")
