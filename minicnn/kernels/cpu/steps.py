"""Optimizer steps on CPU: all parameters of a group in one pass, each number read once and written once.

A network has many parameters and most are small (the biases of LeNet: 6, 16, 120, 84, 10), so what costs is a call for
each. Here there is one for all: a table of where they are, cut into equal shares of numbers for the threads.

    operations   2 to 4 for each number        bytes   p, g and v read, p and v written: 20 for each of float32
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np

from ..reference import steps
from .arguments import address_of
from .drivers import driver
from .microkernels import address, call_tile, place, sgd_tile
from .threads import get_num_threads, parallel_for

SMALL = 1 << 15  # fewer numbers are done before a second thread has woken up
MOST_TABLES = 64  # of groups of parameters whose places are remembered
PARAMETER, GRADIENT, VELOCITY, SIZE, FRESH = range(5)  # columns of the table
FLOATS = (np.dtype(np.float32).num, np.dtype(np.float64).num)


def sgd_step(
    params: Sequence[np.ndarray], grads: Sequence[np.ndarray], velocities: Sequence[np.ndarray], fresh: Sequence[bool],
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """One step of SGD on all params, in place; see reference.steps for what it computes."""
    dtype = params[0].dtype
    table = _places(params, velocities)
    if table is None or not all(g.dtype is dtype and g.flags.carray for g in grads):
        steps.sgd_step(params, grads, velocities, fresh, lr, momentum, dampening, weight_decay, nesterov)
        return
    table[:, GRADIENT] = [address_of(g) for g in grads]
    if True in fresh:
        table[:, FRESH] = fresh
    # For a fresh velocity v = g, as if momentum and dampening were 0: it begins as zeros.
    rest = weight_decay, momentum
    numbers = np.array([(lr, momentum, 1 - dampening, *rest), (lr, 0, 1, *rest)], dtype)
    tile = address(dtype.char, sgd_tile, momentum=bool(momentum), nesterov=bool(nesterov), decay=bool(weight_decay))
    total = int(table[:, SIZE].sum())
    threads = 1 if total < SMALL else get_num_threads()
    parallel_for(total, _for_segments, table, numbers, tile, threads=threads)


_tables: dict[tuple[int, ...], tuple[list[weakref.ref], np.ndarray]] = {}  # ids of arrays -> they, and where they are


def _places(params: Sequence[np.ndarray], velocities: Sequence[np.ndarray]) -> np.ndarray | None:
    """The rows of _for_segments but for the gradients; None if the arrays are not plain memory of one floating type.

    From step to step only gradients are new arrays: where the others are is asked once.
    """
    arrays = [*params, *velocities]
    key = tuple(map(id, arrays))
    known = _tables.get(key)
    if known is not None and all(kept() is a for kept, a in zip(known[0], arrays, strict=True)):
        return known[1].copy()
    dtype = params[0].dtype
    if dtype.num not in FLOATS or not all(a.dtype == dtype and a.flags.carray for a in arrays):
        return None
    table = np.zeros((len(params), 5), np.int64)
    table[:, PARAMETER], table[:, SIZE] = [address_of(p) for p in params], [p.size for p in params]
    if velocities:
        table[:, VELOCITY] = [address_of(v) for v in velocities]
    if len(_tables) >= MOST_TABLES:
        _tables.clear()
    _tables[key] = [weakref.ref(a) for a in arrays], table
    return table.copy()


@driver
def _for_segments(share, first, last, table, numbers, tile):
    """Calls the tile for what of each array lies within first ≤ i < last, counted through all arrays."""
    start = 0
    for row in range(len(table)):
        begin, end = max(first - start, 0), min(last - start, table[row, SIZE])
        if begin < end:
            skip = begin * numbers.itemsize
            call_tile(
                tile,
                (
                    end - begin,
                    table[row, PARAMETER] + skip,
                    table[row, GRADIENT] + skip,
                    table[row, VELOCITY] + skip,
                    place(numbers, table[row, FRESH] * numbers.shape[1]),
                ),
            )
        start += table[row, SIZE]
