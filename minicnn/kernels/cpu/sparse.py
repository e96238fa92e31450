"""The weight gradient of a convolution that a max pooling follows: only winners have a gradient.

Of each 2 × 2 window one element won at most, and where relu let nothing through, none. So instead of spreading gy over
an image that is zero for three quarters, we go to where each number of gy belongs:

    gw[k, c, r, :] += gy[n, k, j] · x[n, c, h + r, w : w + S]      (h, w) = winner j;  a vector for each row of taps

The C·R vectors of one k are a tile, which stays in registers (winners_tile). Images are copied, a few at a time, to
where they have their padding and every row of taps can be read as a whole vector.

    operations   2·N·K·P·Q/4 · C·R · lanes: for 5 × 5 taps in vectors of 8, 0.4 times what all pixels would take
    bytes        x copied once; a load from L1 for each multiply-add
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from ..window import Pair, Window
from . import microkernels
from .arguments import Fixed
from .bands import move
from .drivers import driver
from .microkernels import address, call_tile, move_rows, place, winners_tile
from .threads import get_num_threads, parallel_for, scratch

COPY_BYTES = 24 * 1024  # of x at a time: L1 also has to hold gy and the winners
SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up


def fits(x_shape: tuple[int, ...], window: Window, groups: int, dtype: str) -> bool:
    """Whether one tile holds the taps of all channels: registers for them, the bias, and the factor."""
    machine = microkernels.machine()
    rows, cols = x_shape[1] * window.kernel[0], window.kernel[1]
    return (
        groups == 1 and 0 < rows <= machine.registers - 2 and cols <= machine.lanes(dtype) and window.dilation[1] == 1
    )


def weight_gradient(
    x: np.ndarray, gy: np.ndarray, winners: np.ndarray, window: Window, size: Pair, bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy and winners (N, K, P, Q), places in an image of `size` -> gw (K, C, R, S), gb (K,) or None.

    All arrays are plain.
    """
    plan = _plan(x.shape, gy.shape, window, size, x.dtype.char)
    threads = 1 if gy.size * plan.rows * plan.lanes < SMALL else get_num_threads()
    work = scratch(threads, plan.work_size, x.dtype)
    parallel_for(len(x), _sum_winners, plan.fixed, x.reshape(-1), gy.reshape(-1), winners.reshape(-1), work,
                 threads=threads)  # fmt: skip
    used = min(len(x), threads)
    tile = (plan.rows + 1) * plan.lanes
    sums = work[:used, : gy.shape[1] * tile].reshape(used, gy.shape[1], plan.rows + 1, plan.lanes)
    total = sums.sum(axis=0) if used > 1 else sums[0]  # in the order of the shares
    gw = total[:, :-1, : window.kernel[1]].reshape(gy.shape[1], x.shape[1], *window.kernel)
    return np.array(gw, order="C"), total[:, -1, 0].copy() if bias else None


class Plan(NamedTuple):
    fixed: Fixed  # a record of SIZES; bytes to what winner −1, 0, 1, ... reads first; winners_tile; move_rows
    rows: int  # of taps, in all channels
    lanes: int
    work_size: int  # elements of scratch for each thread


SIZES = np.dtype(
    [
        (name, np.int64)
        for line in ("channels height width outputs winners", "start pitch plane image images tile sums copied")
        for name in line.split()
    ]
)


@functools.lru_cache(maxsize=1024)
def _plan(x_shape: tuple[int, ...], gy_shape: tuple[int, ...], window: Window, size: Pair, dtype: str) -> Plan:
    itemsize = np.dtype(dtype).itemsize
    channels, height, width = x_shape[1:]
    (top, bottom), (left, right) = window.pad
    lanes = 1 << (window.kernel[1] - 1).bit_length()  # the shortest vector that holds a row of taps
    sizes = np.zeros(1, SIZES)
    s = sizes.view(np.recarray)[0]
    s.channels, s.height, s.width, s.outputs, s.winners = channels, height, width, gy_shape[1], math.prod(gy_shape[2:])
    line = 64 // itemsize  # rows of the copy begin on a cache line: a vector that crosses into the next costs two loads
    s.pitch = -(-(width + left + right) // line) * line
    s.start, s.plane = top * s.pitch + left, (height + top + bottom) * s.pitch
    s.image = channels * s.plane
    s.images = max(1, COPY_BYTES // int(s.image * itemsize))
    rows = [(c * int(s.plane) + r * window.dilation[0] * int(s.pitch)) * itemsize
            for c in range(channels) for r in range(window.kernel[0])]  # fmt: skip
    s.tile = (len(rows) + 1) * lanes
    s.sums = -(-int(s.outputs * s.tile) // line) * line
    s.copied = -(-int(s.images * s.image + lanes) // line) * line
    p, q = np.divmod(np.arange(size[0] * size[1]), size[1])
    places = (p * window.stride[0] * s.pitch + q * window.stride[1]) * itemsize
    tile = address(dtype, winners_tile, rows=tuple(rows), lanes=lanes)
    fixed = Fixed(sizes, np.concatenate([[0], places]), tile, address(dtype, move_rows))
    kept = 16 * (int(s.winners) + 1) // itemsize
    return Plan(fixed, len(rows), lanes, int(s.sums + s.copied) + kept)


@driver
def _sum_winners(share, first, last, sizes, places, tile, mover, x, gy, winners, work):
    s = sizes[0]
    sums, copy = work[share][: s.sums], work[share][s.sums : s.sums + s.copied]
    kept = work[share][s.sums + s.copied :]
    sums[:] = 0
    copy[:] = 0
    zero = np.zeros(1, x.dtype)
    for n0 in range(first, last, s.images):
        images = min(s.images, last - n0)
        for plane in range(images * s.channels):
            source = (n0 * s.channels + plane) * s.height * s.width
            move(mover, s.height, x, source, s.width, copy, s.start + plane * s.plane, s.pitch, s.width, zero, 0)
        for k in range(s.outputs):
            for i in range(images):
                at = ((n0 + i) * s.outputs + k) * s.winners
                call_tile(
                    tile,
                    (
                        s.winners,
                        place(gy, at),
                        place(winners, at),
                        place(places, 0),
                        place(copy, i * s.image),
                        place(sums, k * s.tile),
                        place(kept, 0),
                    ),
                )
