"""Linear layers on CPU: small ones on our own tiles and threads, with bias, relu and all gradients in the same pass.

    linear            y[n, o]  = Σ_i x[n, i] · w[o, i] + b[o]     dot_tile: both factors lie along i
    linear_gradient   gx[n, i] = Σ_o g[n, o] · w[o, i]            fma_tile: a column of g for each tile, the other
                      gw[o, i] = Σ_n g[n, o] · x[n, i]            factor along i;   g = gy where y > 0, if relu made y

The layers of LeNet are 6 million operations and less: 50 µs of one core, too little for the threads of BLAS
(products.py), and as much again for the passes before and after. Layers whose weights do not stay in the L2 cache
are for wide.py if images are few, and else, as batches that would leave most of a tile empty, for BLAS.

    operations   2·N·I·O for each product        bytes   (N·I + I·O + N·O)·itemsize for each
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from . import microkernels, wide
from .arguments import Fixed
from .drivers import driver
from .elementwise import relu_mask
from .microkernels import address, call_tile, dot_tile, fma_tile, move_rows, place
from .products import matmul
from .threads import get_num_threads, parallel_for, scratch

MOST_WEIGHTS = 1 << 17  # elements of w
LEAST_ROWS, MOST_ROWS = 4, 1 << 12  # of x
SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up
CHUNK = 64  # vectors of a dot product at a time: a row of each operand is 4 KB, so that a tile's stay in L1


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, relu: bool) -> np.ndarray:
    """x (N, I), w (O, I), b (O,) | None -> y = x·wᵀ + b (N, O), with `relu` max(y, 0)."""
    if wide.fits(len(x), w.shape[0], w.shape[1], x.dtype):
        return wide.linear(_plain(x), _plain(w), b, relu)
    if not _fits(x, w):
        y = matmul(x, w.T)
        if b is not None:
            y += b
        return np.maximum(y, 0, out=y) if relu else y
    (n, i), o = x.shape, len(w)
    plan = _plan(i, o, x.dtype.char)
    y = np.empty((n, o), x.dtype)
    b = np.zeros(o, x.dtype) if b is None else _plain(b)
    threads = 1 if n * i * o < SMALL else get_num_threads()
    work = scratch(threads, plan.forward_size(-(-n // threads)), x.dtype)
    parallel_for(n, _linear, plan.sizes, _plain(x), _plain(w), b, y, int(relu), plan.dot_offsets, plan.dot, plan.mover,
                 work, threads=threads)  # fmt: skip
    return y


def linear_gradient(
    gy: np.ndarray, y: np.ndarray | None, x: Any, w: Any, needs: tuple[bool, bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """gy (N, O), y (N, O) if relu made it, x (N, I), w (O, I) -> gx, gw, gb; None for what `needs` does not name."""
    other = w if needs[0] else x if needs[1] else None
    if other is None or not _fits(gy, other) or gy.shape[1] > MOST_ROWS:
        g = gy if y is None else relu_mask(gy, y)
        gb = g.sum(axis=0) if needs[2] else None
        if other is not None and wide.fits(gy.shape[0], gy.shape[1], other.shape[1], gy.dtype):
            return *wide.linear_gradient(_plain(g), needs[1] and _plain(x), needs[0] and _plain(w), needs[:2]), gb
        gx = matmul(g, w) if needs[0] else None
        return gx, matmul(g.T, x) if needs[1] else None, gb
    (n, o), i = gy.shape, other.shape[1]
    plan = _plan(i, o, gy.dtype.char)
    gx = np.empty((n if needs[0] else 0, i), gy.dtype)
    gw = np.empty((o if needs[1] else 0, i), gy.dtype)
    gb = np.empty(o if needs[2] else 0, gy.dtype)
    gy = _plain(gy)
    threads = 1 if n * i * o < SMALL else get_num_threads()
    work = scratch(threads, plan.backward_size(n, threads), gy.dtype)
    parallel_for(threads, _linear_gradient, plan.sizes, threads, gy.reshape(-1),
                 (gy if y is None else _plain(y)).reshape(-1), int(y is not None),
                 _plain(x) if needs[1] else gy, _plain(w) if needs[0] else gy, gx, gw, gb, plan.fma_offsets, plan.fma,
                 plan.mover, work, threads=threads)  # fmt: skip
    return gx if needs[0] else None, gw if needs[1] else None, gb if needs[2] else None


def _fits(x: np.ndarray, w: np.ndarray) -> bool:
    return LEAST_ROWS <= len(x) <= MOST_ROWS and 0 < w.size <= MOST_WEIGHTS and len(w) <= MOST_ROWS


def _plain(x: np.ndarray) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable, as drivers read it."""
    return x if x.flags.carray else x.copy(order="C")


# --- planning: everything that follows from sizes alone ---------------------------------------------------------------

SIZES = np.dtype(
    [
        (name, np.int64)
        for line in ("inputs outputs itemsize lanes pitch", "rows columns tile_rows vectors")
        for name in line.split()
    ]
)


class Plan(NamedTuple):
    sizes: Fixed  # one record of SIZES
    dot: int  # address of a dot_tile of rows × columns
    dot_offsets: Fixed  # bytes to each row of w
    fma: Fixed  # addresses of the fma_tiles of tile_rows × 1, 2, ... vectors
    fma_offsets: Fixed  # bytes to each row of w or x
    mover: int  # address of move_rows

    def forward_size(self, rows: int) -> int:
        """Elements of scratch: the rows of x, w, and the results."""
        s = self.sizes.array[0]
        return int((rows + s["rows"]) * (s["pitch"] + s["outputs"] + s["columns"]) + s["outputs"] * s["pitch"])

    def backward_size(self, rows: int, threads: int) -> int:
        """Elements of scratch: the other factor, columns of g, and the results."""
        s = self.sizes.array[0]
        most = max(rows, int(s["outputs"]))
        panels = -(-most // int(s["tile_rows"])) // threads + 1
        return int(rows * s["outputs"] + most * s["pitch"] + panels * s["tile_rows"] * (most + s["pitch"]))


@functools.lru_cache(maxsize=1024)
def _plan(inputs: int, outputs: int, dtype: str) -> Plan:
    machine = microkernels.machine()
    sizes = np.zeros(1, SIZES)
    s = sizes[0]
    size, lanes = np.dtype(dtype).itemsize, machine.lanes(dtype)
    pitch = -(-inputs // lanes) * lanes
    rows, columns = max(machine.dot_shapes(), key=lambda shape: shape[0] * shape[1] / sum(shape))
    s["inputs"], s["outputs"], s["itemsize"], s["lanes"], s["pitch"] = inputs, outputs, size, lanes, pitch
    s["rows"], s["columns"], s["tile_rows"], s["vectors"] = rows, columns, machine.tile_rows, machine.tile_vectors
    # Rows of w, then again from the first: the surplus of the last tile is computed and not used.
    dot_offsets = np.resize(np.arange(outputs) * (pitch * size), -(-outputs // columns) * columns)
    fma = [address(dtype, fma_tile, rows=machine.tile_rows, vectors=v + 1) for v in range(machine.tile_vectors)]
    return Plan(
        Fixed(sizes), address(dtype, dot_tile, rows=rows, columns=columns), Fixed(dot_offsets),
        Fixed(np.array(fma, np.int64)), Fixed(np.arange(MOST_ROWS) * (pitch * size)), address(dtype, move_rows),
    )  # fmt: skip


# --- compiled ---------------------------------------------------------------------------------------------------------


@driver
def _whole_vectors(s, x, first, last, mover, copy):
    """The address of rows first ≤ n < last of x, whole vectors each: x itself, or a copy filled up with zeros."""
    if s.pitch == s.inputs:
        return place(x, first * s.inputs)
    _copy_rows(s, x, first, last, mover, copy)
    return place(copy, 0)


@driver
def _copy_rows(s, x, first, last, mover, copy):
    copy[: (last - first) * s.pitch] = 0
    zero = np.zeros(1, x.dtype)
    source, step = place(x, first * s.inputs), s.inputs * s.itemsize
    call_tile(mover, (last - first, source, step, place(copy, 0), s.pitch * s.itemsize, s.inputs, place(zero, 0)))


@driver
def _linear(share, first, last, sizes, x, w, b, y, relu, offsets, dot, mover, work):
    s = sizes[0]
    panels, tiles = (last - first + s.rows - 1) // s.rows, len(offsets) // s.columns
    columns = tiles * s.columns
    own, rest = work[share], work[share][panels * s.rows * s.pitch :]
    own[: panels * s.rows * s.pitch] = 0  # also the rows past the last one
    _copy_rows(s, x, first, last, mover, own)
    c, rest = rest[: panels * s.rows * columns], rest[panels * s.rows * columns :]
    c[:] = 0
    weights = _whole_vectors(s, w, 0, s.outputs, mover, rest)
    for t in range(0, s.pitch // s.lanes, CHUNK):
        count = min(CHUNK, s.pitch // s.lanes - t)
        start = t * s.lanes
        for j in range(tiles):  # outside: a tile of w stays in L1 while the rows of x go by
            for panel in range(panels):
                call_tile(
                    dot,
                    (
                        count,
                        place(own, panel * s.rows * s.pitch + start),
                        s.pitch * s.itemsize,
                        weights + start * s.itemsize,
                        place(offsets, j * s.columns),
                        place(c, panel * s.rows * columns + j * s.columns),
                        columns * s.itemsize,
                    ),
                )
    for n in range(first, last):
        row = c[(n - first) * columns :]
        for o in range(s.outputs):
            value = row[o] + b[o]
            y[n, o] = 0 if (value <= 0) & (relu != 0) else value  # this way round NaN is kept


@driver
def _linear_gradient(share, first, last, sizes, shares, gy, y, relu, x, w, gx, gw, gb, offsets, tiles, mover, work):
    """Each share has some rows of gx and some of gw; a row of either belongs to one share."""
    s = sizes[0]
    images, rows = len(gy) // s.outputs, s.tile_rows
    g, rest = work[share][: images * s.outputs], work[share][images * s.outputs :]
    for i in range(images * s.outputs):
        value = gy[i]
        g[i] = value if (y[i] > 0) | (relu == 0) else 0
    if len(gb):
        o0, o1 = s.outputs * first // shares, s.outputs * last // shares
        gb[o0:o1] = 0
        for n in range(images):
            for o in range(o0, o1):
                gb[o] += g[n * s.outputs + o]
    factor, a = rest[: max(images, s.outputs) * s.pitch], rest[max(images, s.outputs) * s.pitch :]
    if len(gx):
        panels = (images + rows - 1) // rows
        p0, p1 = panels * first // shares, panels * last // shares
        for panel in range(p0, p1):
            for o in range(s.outputs):
                for r in range(rows):
                    n = min(panel * rows + r, images - 1)  # past the last: computed and not used
                    a[((panel - p0) * s.outputs + o) * rows + r] = g[n * s.outputs + o]
        weights = _whole_vectors(s, w, 0, s.outputs, mover, factor)
        _multiply(s, s.outputs, p0, p1, weights, offsets, tiles, mover, a, gx)
    if len(gw):
        panels = (s.outputs + rows - 1) // rows
        p0, p1 = panels * first // shares, panels * last // shares
        for panel in range(p0, p1):
            for n in range(images):
                for r in range(rows):
                    o = min(panel * rows + r, s.outputs - 1)
                    a[((panel - p0) * images + n) * rows + r] = g[n * s.outputs + o]
        images_rows = _whole_vectors(s, x, 0, images, mover, factor)
        _multiply(s, images, p0, p1, images_rows, offsets, tiles, mover, a, gw)


@driver
def _multiply(s, depth, p0, p1, factor, offsets, tiles, mover, a, result):
    """result[panels p0 to p1] = Σ_k a[k] · factor[k]"""
    c = a[(p1 - p0) * s.tile_rows * depth :]
    vectors = s.pitch // s.lanes
    for v in range(0, vectors, s.vectors):
        width = min(s.vectors, vectors - v)
        for panel in range(p1 - p0):  # inside: a strip of the factor stays in L1
            call_tile(
                tiles[width - 1],
                (
                    depth,
                    place(a, panel * s.tile_rows * depth),
                    place(offsets, 0),
                    factor + v * s.lanes * s.itemsize,
                    place(c, panel * s.tile_rows * s.pitch + v * s.lanes),
                    s.pitch * s.itemsize,
                    0,
                ),
            )
    zero = np.zeros(1, result.dtype)
    start, rows = p0 * s.tile_rows, min(len(result), p1 * s.tile_rows) - p0 * s.tile_rows
    if rows > 0:
        target, step = place(result, start * s.inputs), s.inputs * s.itemsize
        source = place(c, 0)
        call_tile(mover, (rows, source, s.pitch * s.itemsize, target, step, s.inputs, place(zero, 0)))
