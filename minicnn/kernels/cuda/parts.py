"""Sums in pieces: where a result has too few tiles for all of a GPU, several blocks share each, and their sums are
added in a second pass, in a fixed order.

How many pieces depends on shapes only, not on the card: all GPUs add in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import ACC, empty, kernel

ENOUGH = 264  # blocks: two for each multiprocessor of an H100
LEAST = 256  # terms in a piece: shorter, and the second pass costs more than it gains


def pieces_of(blocks: int, depth: int, slice_: int = 16) -> tuple[int, int]:
    """How many pieces a sum of `depth` terms in each of `blocks` tiles is split into, and how long a piece is: whole
    slices of a tile."""
    pieces = min(ENOUGH // max(blocks, 1), depth // LEAST)
    if pieces < 2:
        return 1, depth
    piece = -(-depth // pieces)
    piece += -piece % slice_
    return -(-depth // piece), piece


def parts_for(y: Any, pieces: int) -> Any:
    """Room for the pieces of y, in the type that sums are made in; y itself where nothing is split, as a dummy."""
    wide = np.dtype("float32" if y.dtype.name in ACC else y.dtype)
    return y if pieces == 1 and wide == y.dtype else empty((pieces if pieces > 1 else 0, *y.shape), wide)


def add_parts(y: Any, parts: Any, pieces: int, bias: Any = None, inner: int = 1, cap: float | None = None) -> None:
    """y = Σ parts + bias, clipped to 0 ≤ y ≤ cap unless cap is None. The channel of y[i] is i / inner mod channels."""
    clip = 0 if cap is None else 1 if cap == float("inf") else 2
    channels = 1 if bias is None else bias.size
    kernel("parts.cu", "add_parts", y.dtype)(
        y.size, (y, parts, y if bias is None else bias, y.size, pieces, inner, channels, bias is not None, clip,
                 float(cap or 0))
    )  # fmt: skip
