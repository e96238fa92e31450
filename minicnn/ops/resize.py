"""Resizing images: each output pixel reads at a place between the input pixels (kernels/sampling.py says which).

Once the places are known the op is linear; its gradient is its adjoint, which puts every gradient back to the pixels
that were read, and whose gradient is resizing again.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..kernels.sampling import MODES, Sampling
from ..kernels.window import pair
from ..tensor import Tensor
from .arguments import expect_images, flag, is_number, one_line, refuse_huge


class Resize(Function):
    """y[n, c, p, q] = Σ_{h,w} R[p, h] · S[q, w] · x[n, c, h, w]

    x (N, C, H, W) -> y (N, C, P, Q). A row of R (P, H) says how much of each input row an output row is made of: all
    of the pixel at its place (nearest), or (1 − t) and t of the two beside it (bilinear); S (Q, W) likewise for
    columns. So gx = Rᵀ·gy·S.
    """

    def forward(self, x, rows, columns):
        self.rows, self.columns = rows, columns
        return kernels.resize2d(x, rows, columns)

    def backward(self, gy):
        return ResizeTranspose.apply(gy, rows=self.rows, columns=self.columns)


class ResizeTranspose(Function):
    """gx[n, c, h, w] = Σ_{p,q} R[p, h] · S[q, w] · gy[n, c, p, q], the adjoint of resize."""

    def forward(self, gy, rows, columns):
        self.rows, self.columns = rows, columns
        return kernels.resize2d_transpose(gy, rows, columns)

    def backward(self, v):
        return Resize.apply(v, rows=self.rows, columns=self.columns)


def resize(
    x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = False
) -> Tensor:
    """x (N, C, H, W) enlarged or reduced to (N, C, P, Q): PyTorch's interpolate, which is another name for it here.

    size: (P, Q), or one number for both; or scale_factor, one or two, then P = ⌊H·scale_factor⌋.
    mode: "nearest" copies the pixel at the place p·H/P, rounded down; "bilinear" mixes the four around it.
    align_corners, of "bilinear": False, pixels are squares and the images' outer edges meet; True, the centres of their
    corner pixels meet.
    Raises ShapeError for an image without pixels, ArgumentError for options out of range.
    """
    expect_images("resize", x)
    if not isinstance(mode, str) or mode not in MODES:
        raise ArgumentError(f"resize got mode={one_line(mode)}: choose one of {', '.join(MODES)}")
    corners = align_corners is not None and flag("resize", "align_corners", align_corners)
    if corners and mode == "nearest":
        raise ArgumentError(
            'resize got align_corners=True, which goes with mode="bilinear": nearest has no such choice'
        )
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            f"resize of x {x.shape} takes either size or scale_factor, got size={one_line(size)}, "
            f"scale_factor={one_line(scale_factor)}"
        )
    if 0 in x.shape[2:]:
        raise ShapeError(f"resize of x {x.shape} has no pixels to read")
    sizes: tuple[int, ...]
    if scale_factor is None:
        sizes = pair(size, f"resize of x {x.shape}: size", 1)
        steps = [Fraction(inputs, outputs) for inputs, outputs in zip(x.shape[2:], sizes, strict=True)]
    else:
        factors = _factors(x, scale_factor)
        sizes = tuple(math.floor(length * factor) for length, factor in zip(x.shape[2:], factors, strict=True))
        steps = [1 / Fraction(factor).limit_denominator(10**6) for factor in factors]
        if min(sizes) < 1:
            raise ArgumentError(f"resize of x {x.shape} by {scale_factor} leaves no pixels: (P, Q) would be {sizes}")
    refuse_huge("resize", x, (*x.shape[:2], *sizes))
    rows, columns = (Sampling(x.shape[axis], sizes[axis - 2], steps[axis - 2], mode, corners) for axis in (2, 3))
    return Resize.apply(x, rows=rows, columns=columns)


interpolate = resize


def _factors(x: Tensor, scale_factor: Any) -> tuple[float, ...]:
    plain = scale_factor.tolist() if isinstance(scale_factor, np.ndarray) else scale_factor
    factors = tuple(plain) if isinstance(plain, tuple | list) else (plain, plain)
    if len(factors) != 2 or not all(map(is_number, factors)) or not all(1e-4 <= f <= 1e6 for f in factors):
        raise ArgumentError(
            f"resize of x {x.shape}: scale_factor must be a number from 0.0001 to 1000000, or two (rows, columns), "
            f"got {one_line(scale_factor)}"
        )
    return float(factors[0]), float(factors[1])
