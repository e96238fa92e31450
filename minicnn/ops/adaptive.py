"""Pooling to a size that is asked for: bins that adapt to the input, of which global pooling has one.

mean: adaptive_avg_pool2d averages bins, adaptive_avg_unpool2d spreads a gradient over them: each the other's gradient
max:  the winners once known, the pair of max pooling (pool.py): max_scatter and max_gather
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..kernels.window import Pair, is_whole, one_line
from ..tensor import Tensor
from .arguments import as_tuple, expect_images, flag, floating, refuse_huge
from .pool import MaxScatter


class AdaptiveAvgPool2d(Function):
    """y[n, c, p, q] = mean of x[n, c, h, w] over  ⌊p·H/P⌋ ≤ h < ⌈(p + 1)·H/P⌉,  ⌊q·W/Q⌋ ≤ w < ⌈(q + 1)·W/Q⌉

    x (N, C, H, W) -> y (N, C, P, Q). Bins differ in size, and overlap, where P does not divide H; with P > H elements
    are repeated. Linear, so the gradient is its adjoint, adaptive_avg_unpool2d.
    Source: He et al. 2014, "Spatial pyramid pooling", appendix A; P = Q = 1 is Lin et al. 2013, "Network in network",
    section 3.2.
    """

    name = "adaptive_avg_pool2d"

    def forward(self, x, size):
        self.size = x.shape[2:]
        return kernels.adaptive_avg_pool2d(x, size)

    def backward(self, gy):
        return AdaptiveAvgUnpool2d.apply(gy, size=self.size)


class AdaptiveAvgUnpool2d(Function):
    """gx[n, c, h, w] = Σ gy[n, c, p, q] / (elements of the bin) over the bins (p, q) that (h, w) lies in."""

    name = "adaptive_avg_unpool2d"

    def forward(self, gy, size):
        self.bins = gy.shape[2:]
        return kernels.adaptive_avg_pool2d_transpose(gy, size)

    def backward(self, v):
        return AdaptiveAvgPool2d.apply(v, size=self.bins)


class AdaptiveMaxPool2d(Function):
    """y[n, c, p, q] = max of x[n, c, h, w] over  ⌊p·H/P⌋ ≤ h < ⌈(p + 1)·H/P⌉,  ⌊q·W/Q⌋ ≤ w < ⌈(q + 1)·W/Q⌉

    x (N, C, H, W) -> y (N, C, P, Q), and the flat places h·W + w of the winners if asked for. The gradient goes to the
    first maximum of each bin, in row-major order; where bins overlap, gradients add up. NaN counts as largest.
    Source: He et al. 2014, "Spatial pyramid pooling", appendix A.
    """

    name = "adaptive_max_pool2d"

    def forward(self, x, size, return_indices):
        y, self.indices = kernels.adaptive_max_pool2d(x, size)
        self.size = x.shape[2:]
        return (y, kernels.cast(self.indices, "int64")) if return_indices else y

    def backward(self, gy, _=None):
        return MaxScatter.apply(gy, indices=self.indices, size=self.size)


# --- what users call --------------------------------------------------------------------------------------------------


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """The mean x of each bin: x (N, C, H, W) -> (N, C, P, Q), whatever H and W are: see AdaptiveAvgPool2d.

    output_size: P = Q, or (P, Q), in which None keeps H or W. Raises ShapeError if x is not four-dimensional or has no
    rows or columns, ArgumentError for an output_size that is none.
    """
    return AdaptiveAvgPool2d.apply(x, size=_outputs("adaptive_avg_pool2d", x, output_size))


def adaptive_max_pool2d(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest x of each bin: x (N, C, H, W) -> (N, C, P, Q), whatever H and W are: see AdaptiveMaxPool2d.

    return_indices: also their places h·W + w in x (N, C, P, Q), int64, without gradient. Else as adaptive_avg_pool2d.
    """
    size = _outputs("adaptive_max_pool2d", x, output_size)
    return AdaptiveMaxPool2d.apply(
        x, size=size, return_indices=flag("adaptive_max_pool2d", "return_indices", return_indices)
    )


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each image and channel: x (N, C, H, W) -> (N, C, 1, 1), adaptive_avg_pool2d with one bin.

    Raises ShapeError if x is not four-dimensional or has no rows or columns.
    """
    return AdaptiveAvgPool2d.apply(x, size=_outputs("global_avg_pool2d", x, 1))


def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest of each image and channel: x (N, C, H, W) -> (N, C, 1, 1), adaptive_max_pool2d with one bin.

    Raises ShapeError if x is not four-dimensional or has no rows or columns.
    """
    return AdaptiveMaxPool2d.apply(x, size=_outputs("global_max_pool2d", x, 1), return_indices=False)


def output_size_of(op: str, output_size: Any) -> tuple[int | None, int | None]:
    """(P, Q) from an int, or from two of them, None where a size is kept. Raises ArgumentError for all else."""
    sizes = as_tuple(output_size)
    sizes = sizes * 2 if len(sizes) == 1 and sizes[0] is not None else sizes
    if len(sizes) != 2 or not all(size is None or (is_whole(size) and size >= 1) for size in sizes):
        raise ArgumentError(
            f"{op} takes output_size as an integer ≥ 1, or two of them (rows, columns) of which None keeps the "
            f"input's, got {one_line(output_size)}"
        )
    rows, columns = (size if size is None else int(size) for size in sizes)
    return rows, columns


def _outputs(op: str, x: Tensor, output_size: Any) -> Pair:
    """(P, Q) for this x; none of the bins is empty."""
    expect_images(op, x)
    floating(op, x)
    p, q = (given or kept for given, kept in zip(output_size_of(op, output_size), x.shape[2:], strict=True))
    if (p > 0 and x.shape[2] == 0) or (q > 0 and x.shape[3] == 0):
        raise ShapeError(f"{op} of x {x.shape} to {p} × {q}: a bin of no elements has no value")
    refuse_huge(op, x, (*x.shape[:2], p, q))
    return p, q
