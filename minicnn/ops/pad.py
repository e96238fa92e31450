"""Padding: a border of one value, or one that repeats what is inside, whose gradients fold back to where it came from.

widths (3, 2) around [a b c d]

constant   0 0 0 [a b c d] 0 0
reflect    d c b [a b c d] c b        the edge is the mirror, and stands there once
edge       a a a [a b c d] d d        PyTorch calls it replicate
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import as_tuple, expect, is_whole, one_line, refuse_huge

MODES = ("constant", "reflect", "edge")


class Pad(Function):
    """x with `value` around it;  gx is the part of gy inside of the border."""

    any_dtype = True

    def forward(self, x, widths, value):
        self.inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
        return kernels.pad(x, widths, value)

    def backward(self, gy):
        return gy[self.inside]


class PadWithCopies(Function):
    """y[i] = x[source(i)], where source leads from the border back inside;  gx[j] = Σ gy[i] over source(i) = j.

    Along an axis of n elements padded by b before, source(i) is i − b brought into 0 … n − 1: by mirroring at both
    ends (reflect), or by taking the nearest end (edge).
    """

    any_dtype = True

    def forward(self, x, widths, mode):
        self.widths, self.mode = widths, mode
        return kernels.pad_with_copies(x, widths, mode)

    def backward(self, gy):
        return FoldCopies.apply(gy, widths=self.widths, mode=self.mode)


class FoldCopies(Function):
    """The adjoint of PadWithCopies: what stands in the border is added to where it was copied from."""

    any_dtype = True

    def forward(self, gy, widths, mode):
        self.widths, self.mode = widths, mode
        return kernels.fold_copies(gy, widths, mode)

    def backward(self, v):
        return PadWithCopies.apply(v, widths=self.widths, mode=self.mode)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Tensor:
    """x with widths[i] = (before, after) elements around axis i: see the picture above for the modes.

    value is that of "constant". Raises ShapeError unless all widths are ≥ 0, or if they ask for copies of more than
    there is: "reflect" needs an axis longer than its widths, "edge" one that is not empty.
    """
    expect("pad", x)
    sides = [as_tuple(side) for side in as_tuple(widths)]
    if len(sides) != x.ndim or not all(len(s) == 2 and all(map(is_whole, s)) and min(s) >= 0 for s in sides):
        raise ShapeError(
            f"pad needs (before, after), both ≥ 0, for each of the {x.ndim} axes of shape {x.shape}, "
            f"got {one_line(widths)}"
        )
    if not isinstance(mode, str) or mode not in MODES:
        raise ArgumentError(f"pad of shape {x.shape} got mode={one_line(mode)}: choose one of {', '.join(MODES)}")
    if not isinstance(value, int | float | np.number):
        raise ArgumentError(f"pad of shape {x.shape} needs a number as value, got {one_line(value)}")
    widths = tuple((int(before), int(after)) for before, after in sides)
    refuse_huge("pad", x, tuple(size + before + after for size, (before, after) in zip(x.shape, widths, strict=True)))
    if mode == "constant":
        return Pad.apply(x, widths=widths, value=value)
    if value != 0:
        raise ArgumentError(
            f"pad of shape {x.shape} with mode={mode!r} repeats what is inside: leave out value={value}"
        )
    for axis, (size, side) in enumerate(zip(x.shape, widths, strict=True)):
        if max(side) and size < (max(side) + 1 if mode == "reflect" else 1):
            need = "longer than both" if mode == "reflect" else "that is not empty"
            raise ShapeError(f"pad of shape {x.shape} by {side} along axis {axis}: mode={mode!r} needs an axis {need}")
    return PadWithCopies.apply(x, widths=widths, mode=mode)
