"""The weight gradient of a convolution behind which a max pooling stands: only winners have a gradient.

Of each 2 × 2 window at most one element won, and where relu let nothing through, none. So instead of spreading gy over
an image that is zeros for three quarters, we go to where each number of gy belongs:

    gw[k, c, r, :] += gy[n, k, j] · x[n, c, h + r, w : w + S]      (h, w) = winner j;  one vector for a row of taps

The C·R vectors of one k are the tile, and stay in registers (winners_tile). Images are copied, a few at a time, to
where they have their padding, so that every row can be read as a whole vector.

    operations   2·N·K·P·Q/4 · C·R · lanes: for 5 × 5 taps 0.4 times what all pixels would take, in vectors of 8
    bytes        x copied once; for each multiply-add one load, from L1
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..window import Window
from .arguments import Fixed
from .microkernels import machine

MOST_ROWS = 30  # of taps, in all channels: with the factor they have to fit into registers
COPIED_BYTES = 32 * 1024  # of x at a time: L1 also has to hold gy and the winners


class Plan(NamedTuple):
    sizes: Fixed
    places: Fixed  # bytes from the copy of an image to what winner −1, 0, 1, ... reads first
    tile: int  # address of winners_tile
    mover: int  # address of move_rows
    lanes: int
    work_size: int  # elements of scratch for each thread


SIZES = np.dtype([(name, np.int64) for line in (
    "images channels height width outputs winners",
    "top left pitch image lanes group rows",
) for name in line.split()])  # fmt: skip


def winners_pay(x_shape: tuple[int, ...], window: Window, groups: int, dtype: str) -> bool:
    """Whether one tile can hold the taps of all channels."""
    return groups == 1 and x_shape[1] * window.kernel[0] <= min(MOST_ROWS, machine().registers - 2) and (
        window.kernel[1] <= machine().lanes(dtype) and window.dilation[1] == 1
    )  # fmt: skip
