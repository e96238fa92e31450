"""Linear layers whose weights are far larger than a cache, beside few images: each weight is moved once.

The three linear layers of AlexNet have 235 MB of weights, and 16 images want 2 billion operations of them: no more than
it takes to read them. BLAS packs what it multiplies first, and moves the weights three times. Here each thread has
some outputs, and goes through the rows of w in order, with all images at once:

    forward     6 rows of w ─┐                    y[n, o .. o+6] = 6 × 4 inner products (dot_tile); a piece of the
                4 images    ─┴→ 24 products       rows stays in L1 while the images go by

    backward    16 rows of w, 16 of gw            gx += g · w, in this thread's own copy of gx (L2), and gw = gᵀ · x,
                for all columns                   both by fma_tile; the copies of gx are added in the threads' order

    operations   2·N·I·O for each product
    bytes        I·O·itemsize: once read forward; read and written (fetched before) backward; x and gx stay in L2
    measured     1 thread, ms, BLAS in brackets: 16 images, 4096 → 4096 forward 7 (16), backward 15 (43); 2 images,
                 25088 → 4096 forward 27 (79), backward 94 (242)
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from . import microkernels
from .arguments import Fixed
from .drivers import driver
from .memory import empty
from .microkernels import address, call_tile, dot_tile, fma_tile, place
from .threads import get_num_threads, parallel_for, scratch

LEAST_WEIGHTS, MOST_IMAGES = 1 << 17, 64
ROWS, COLUMNS = 4, 6  # of images and of w in a dot_tile; fewer where the registers do not suffice
PANEL = 16  # rows of w at a time, backwards
CHUNK = 64  # vectors of a row at a time

SIZES = np.dtype([(name, np.int64) for name in ("inputs", "outputs", "images", "itemsize", "lanes", "rows", "columns",
                                                "tile_rows", "vectors", "pitch")])  # fmt: skip


class Plan(NamedTuple):
    sizes: Fixed
    dots: Fixed  # bytes to each row of w; addresses of dot_tiles, by rows and columns
    products: Fixed  # bytes to each row of a factor; addresses of fma_tiles, by rows and vectors


def fits(images: int, outputs: int, inputs: int, dtype: np.dtype) -> bool:
    """Whether the weights are so many, and the images so few, that this is what to do."""
    whole = inputs % microkernels.machine().lanes(dtype) == 0
    return outputs * inputs > LEAST_WEIGHTS and 0 < images <= MOST_IMAGES and whole


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, relu: bool) -> np.ndarray:
    """x (N, I), w (O, I), b (O,) | None -> y = x·wᵀ + b (N, O), with `relu` max(y, 0)."""
    plan = _plan(len(x), *w.shape, x.dtype.char)
    y = np.zeros((len(x), len(w)), x.dtype)
    spread = np.empty((len(x), int(plan.sizes.array[0]["pitch"])), x.dtype)  # rows of 4 KB · k would share a cache set
    spread[:, : x.shape[1]] = x
    parallel_for(-(-len(w) // int(plan.sizes.array[0]["columns"])), _forward, plan.sizes, plan.dots, spread.reshape(-1),
                 w.reshape(-1), y.reshape(-1))  # fmt: skip
    if b is not None:
        y += b
    return np.maximum(y, 0, out=y) if relu else y


def linear_gradient(
    g: np.ndarray, x: Any, w: Any, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """g (N, O), x (N, I), w (O, I) -> gx and gw, None for what is not needed."""
    (n, o), i = g.shape, (w if needs[0] else x).shape[1]
    plan = _plan(n, o, i, g.dtype.char)
    threads = get_num_threads()
    nothing = g.reshape(-1)[:0]
    gw = empty((o if needs[1] else 0, i), g.dtype)
    partial = scratch(threads, n * i if needs[0] else 0, g.dtype)
    turned = np.ascontiguousarray(g.T).reshape(-1)
    parallel_for(threads, _backward, plan.sizes, plan.products, threads, g.reshape(-1), turned,
                 x.reshape(-1) if needs[1] else nothing, w.reshape(-1) if needs[0] else nothing, partial,
                 gw.reshape(-1), threads=threads)  # fmt: skip
    gx = None
    if needs[0]:
        gx = partial[0, : n * i].reshape(n, i).copy()
        for other in partial[1:]:
            gx += other[: n * i].reshape(n, i)
    return gx, gw if needs[1] else None


@functools.lru_cache(maxsize=256)
def _plan(images: int, outputs: int, inputs: int, dtype: str) -> Plan:
    machine = microkernels.machine()
    size = np.dtype(dtype).itemsize
    rows, columns = next(shape for shape in ((ROWS, COLUMNS), (2, 4), (1, 4), (1, 1)) if _in_registers(shape))
    sizes = np.zeros(1, SIZES)
    sizes[0] = (inputs, outputs, images, size, machine.lanes(dtype), rows, columns, machine.tile_rows,
                machine.tile_vectors, inputs + 64 // size)  # fmt: skip
    dots = np.zeros((rows + 1, columns + 1), np.int64)
    for r in {rows, images % rows} - {0}:
        for c in {columns, outputs % columns} - {0}:
            dots[r, c] = address(dtype, dot_tile, rows=r, columns=c)
    products = np.zeros((machine.tile_rows + 1, machine.tile_vectors + 1), np.int64)
    left = inputs // machine.lanes(dtype) % machine.tile_vectors
    for r in range(1, machine.tile_rows + 1):
        for v in {machine.tile_vectors, left} - {0}:
            products[r, v] = address(dtype, fma_tile, rows=r, vectors=v)
    steps = np.arange(max(columns, PANEL, images)) * (inputs * size)
    return Plan(Fixed(sizes), Fixed(steps, dots), Fixed(steps, products))


def _in_registers(shape: tuple[int, int]) -> bool:
    return dict(microkernels.machine().dot_shapes()).get(shape[0], 0) >= shape[1]


# --- compiled ---------------------------------------------------------------------------------------------------------


@driver
def _forward(share, first, last, sizes, steps, tiles, x, w, y):
    """Items are groups of outputs."""
    s = sizes[0]
    for item in range(first, last):
        o = item * s.columns
        columns = min(s.columns, s.outputs - o)
        for t in range(0, s.inputs // s.lanes, CHUNK):
            count = min(CHUNK, s.inputs // s.lanes - t)
            for n in range(0, s.images, s.rows):
                call_tile(
                    tiles[min(s.rows, s.images - n), columns],
                    (
                        count,
                        place(x, n * s.pitch + t * s.lanes),
                        s.pitch * s.itemsize,
                        place(w, o * s.inputs + t * s.lanes),
                        place(steps, 0),
                        place(y, n * s.outputs + o),
                        s.outputs * s.itemsize,
                    ),
                )


@driver
def _backward(share, first, last, sizes, steps, tiles, shares, g, turned, x, w, partial, gw):
    """Items are shares of the outputs. turned: g with the images along its rows."""
    s = sizes[0]
    gx = partial[share]
    for part in range(first, last):
        begin, end = s.outputs * part // shares, s.outputs * (part + 1) // shares
        for o in range(begin, end, PANEL):
            rows = min(PANEL, end - o)
            if len(w):
                _multiply(s, tiles, steps, s.images, rows, g, o, s.outputs, w, o * s.inputs, gx, 0, o - begin)
            if len(gw):
                _multiply(s, tiles, steps, rows, s.images, turned, o * s.images, s.images, x, 0, gw, o * s.inputs, 0)
        if len(w) and begin == end:
            gx[: s.images * s.inputs] = 0


@driver
def _multiply(s, tiles, steps, rows, depth, a, a_start, a_row, b, b_start, c, c_start, accumulate):
    """c[i, :] = Σ_k a[i, k] · b[k, :], added to c if `accumulate` is not 0."""
    column = np.empty(depth * s.tile_rows, a.dtype)
    for i0 in range(0, rows, s.tile_rows):
        count = min(s.tile_rows, rows - i0)
        for k in range(depth):
            for i in range(count):
                column[k * count + i] = a[a_start + (i0 + i) * a_row + k]
        for v in range(0, s.inputs // s.lanes, s.vectors):
            vectors = min(s.vectors, s.inputs // s.lanes - v)
            call_tile(
                tiles[count, vectors],
                (
                    depth,
                    place(column, 0),
                    place(steps, 0),
                    place(b, b_start + v * s.lanes),
                    place(c, c_start + i0 * s.inputs + v * s.lanes),
                    s.inputs * s.itemsize,
                    accumulate,
                ),
            )
