"""Optimizer steps on CPU: all parameters of a group in one pass, each number read once and written once.

A network has many parameters and most are small (the biases of LeNet: 6, 16, 120, 84, 10), so what costs is a call for
each. Here there is one for all: a table of where they are, cut into equal shares of numbers for the threads.

    operations   2 to 4 for each number        bytes   p, g and v read, p and v written: 20 for each of float32
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..reference import steps
from .arguments import address_of
from .compile import jit
from .microkernels import address, call_tile, place, sgd_tile
from .threads import get_num_threads, parallel_for

SMALL = 1 << 15  # fewer numbers are done before a second thread has woken up
FLOATS = (np.dtype(np.float32).num, np.dtype(np.float64).num)


def sgd_step(
    params: Sequence[np.ndarray], grads: Sequence[np.ndarray], velocities: Sequence[np.ndarray], fresh: Sequence[bool],
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """One step of SGD on all params, in place; see reference.steps for what it computes."""
    dtype = params[0].dtype
    arrays = [*params, *grads, *velocities]
    if dtype.num not in FLOATS or not all(a.dtype is dtype and a.flags.carray for a in arrays):
        steps.sgd_step(params, grads, velocities, fresh, lr, momentum, dampening, weight_decay, nesterov)
        return
    if not momentum:
        velocities, fresh = params, [False] * len(params)  # not looked at
    rows = zip(params, grads, velocities, fresh, strict=True)
    table = np.array([(address_of(p), address_of(g), address_of(v), p.size, new) for p, g, v, new in rows])
    # For a fresh velocity v = g, as if momentum and dampening were 0: it begins as zeros.
    rest = weight_decay, momentum
    numbers = np.array([(lr, momentum, 1 - dampening, *rest), (lr, 0, 1, *rest)], dtype)
    tile = address(dtype.char, sgd_tile, momentum=bool(momentum), nesterov=bool(nesterov), decay=bool(weight_decay))
    total = sum(p.size for p in params)
    threads = 1 if total < SMALL else get_num_threads()
    parallel_for(total, _for_segments, table, numbers, tile, threads=threads)


@jit
def _for_segments(share, first, last, table, numbers, tile):
    """Calls the tile for what of each array lies within first ≤ i < last, counted through all arrays."""
    start = 0
    for row in range(len(table)):
        begin, end = max(first - start, 0), min(last - start, table[row, 3])
        if begin < end:
            skip = begin * numbers.itemsize
            call_tile(
                tile,
                (
                    end - begin,
                    table[row, 0] + skip,
                    table[row, 1] + skip,
                    table[row, 2] + skip,
                    place(numbers, table[row, 4] * numbers.shape[1]),
                ),
            )
        start += table[row, 3]
