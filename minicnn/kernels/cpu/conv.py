"""Convolution on CPU: columns for one band at a time, then a matrix product that never leaves the cache.

A band is some output rows of some images, small enough that its columns stay in the L2 cache. The matrix of columns
has a row for each (tap r, channel, tap s), but only the horizontal taps s are copied: the vertical tap r of the same
pixels is the same copy, r rows further down, so it is found by an offset. R times less is copied than by im2col, and
no pixel of the product is wasted on padding, however small the planes:

      x[n, c]             columns[c, s]
      ┌──────┐  tap s=0   ┌ row 0: image 0 ▒▒▒▒│image 1 ▒▒▒▒│ ... ┐ ← offset[r=0, c, s=0]
      │▒▒▒▒··│ ─────────→ │ row 1: ▒▒▒▒│▒▒▒▒│ ...               │ ← offset[r=1, c, s=0]    C = A · columns:
      │      │            └ row 2: ▒▒▒▒│▒▒▒▒│ ...               ┘   ...                    fma_tile walks through the
      │      │  tap s=1   ┌ row 0: ▒▒▒▒│▒▒▒▒│ ...               ┐ ← offset[r=0, c, s=1]    offsets, and keeps a tile
      │·▒▒▒▒·│ ─────────→ │ row 1: ▒▒▒▒│▒▒▒▒│ ...               │   ...                    of C in registers
      └──────┘            └                                     ┘

Images stand side by side in a row, so that runs of pixels are long even where planes are small. Output rows near the
edge of the image leave out the taps that fall outside; the rows between them form one run. A stride along the columns
is gone once they are copied; a stride along the rows sorts them into phases, row mod stride.

The input gradient is a convolution too: of gy, with the weights transposed, one for each phase of the stride. The
weight gradient takes the same columns and multiplies them with gy along the pixels (dot_tile); each thread sums over
its bands, and the sums are added in the order of the threads. This file plans; bands.py is what runs.

    operations   2 · N·K·P·Q · C/groups · R·S  for each of the three
    bytes        x, w, y once from memory; N·C·S·P·Q elements written to L2, and read back R times for 8 channels of K
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair, Window
from . import bands, microkernels
from .arguments import Fixed
from .microkernels import address, dot_tile, fma_tile, move_rows
from .threads import get_num_threads, parallel_for, scratch

BAND_BYTES = 512 * 1024  # columns and results of a band: L2 also has to hold the weights
DEPTH = 256  # terms of the reduction at a time: their weights stay in L1 while the tiles of a run go by
DOT_VECTORS = 64  # vectors of pixels at a time, for the weight gradient: a row of each operand is 4 KB
SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up
SLACK = 64  # elements after each piece of scratch that whole vectors may touch

Taps = tuple[int, ...]  # what each tap adds to (output · step) to give the row or column that it reads

# The numbers of a pass, in elements. A record: Numba takes it as one argument, and its fields have names.
PASS = np.dtype(
    [
        (name, np.int64)
        for line in (
            "itemsize lanes depth_piece dot_vectors",
            "groups images channels height width row_step col_step",  # what is read
            "outputs rows cols y_start y_image y_channel y_row y_col",  # what is written
            "row_taps col_taps depth phases first_row",
            "band_images band_rows image_bands row_bands",
            "row_length slots plane columns_size c_row",  # scratch: rows and planes of columns, rows of C
            "tile_rows tile_columns panels depth_tiles sums_size",
        )
        for name in line.split()
    ]
)


# --- the three convolutions -------------------------------------------------------------------------------------------


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int) -> np.ndarray:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q)."""
    p, q = window.output_size((x.shape[2], x.shape[3]))
    y = np.empty((x.shape[0], w.shape[0], p, q), x.dtype)
    w = _plain(w, x.dtype)
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    taps = _taps(window, 0), _taps(window, 1)
    _correlate(_plain(x, x.dtype), w, weights, b, y, taps, window.stride, start=(0, 0), y_step=(1, 1))
    return y


def conv_transpose2d(
    gy: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> np.ndarray:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x.

    Row h of x met row p of y through tap r where p·stride + r·dilation − pad = h. So the rows with equal
    (h + pad) mod stride have the same taps, and are a convolution of gy with stride 1; columns likewise.
    """
    gx = np.empty((gy.shape[0], groups * w.shape[1], *output_size), gy.dtype)
    gy, w = _plain(gy, gy.dtype), _plain(w, gy.dtype)
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    for top, row_slice, row_taps in _phases(window, 0):
        for left, col_slice, col_taps in _phases(window, 1):
            part = weights[..., row_slice, col_slice]
            _correlate(gy, w, part, b, gx, (row_taps, col_taps), (1, 1), start=(top, left), y_step=window.stride)
    return gx


def conv2d_weight(x: np.ndarray, gy: np.ndarray, window: Window, groups: int) -> np.ndarray:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S): the adjoint of conv2d in w."""
    gw = np.zeros((gy.shape[1], x.shape[1] // groups, *window.kernel), x.dtype)
    if 0 in x.shape or 0 in gy.shape or 0 in gw.shape:
        return gw
    threads = _threads_for(gw.size // gw.shape[0] * gy.size)
    taps = _taps(window, 0), _taps(window, 1)
    plan = _plan(x.shape, gw.shape[0] // groups, groups, taps, window.stride, gy.shape, (0, 0), (1, 1), x.dtype.name,
                 threads, True)  # fmt: skip
    work = scratch(threads, plan.work_size, x.dtype)
    parallel_for(plan.items, bands.weight_bands, plan.numbers, plan.loaded_gy, _plain(x, x.dtype).reshape(-1),
                 _plain(gy, x.dtype).reshape(-1), plan.col_taps, plan.phases, plan.offsets, plan.tiles, plan.mover,
                 work, threads=threads)  # fmt: skip
    used = min(plan.items, threads)
    parallel_for(gw.shape[0], bands.add_sums, plan.numbers, work, used, gw.reshape(-1), threads=_threads_for(gw.size))
    return gw


@functools.lru_cache(maxsize=1024)
def _taps(window: Window, axis: int) -> Taps:
    return tuple(tap * window.dilation[axis] - window.pad[axis][0] for tap in range(window.kernel[axis]))


@functools.lru_cache(maxsize=1024)
def _phases(window: Window, axis: int) -> list[tuple[int, slice, Taps]]:
    """For each residue of (h + pad) mod stride: its first h, the taps that meet it, and what they add to give p."""
    stride, dilation, pad = window.stride[axis], window.dilation[axis], window.pad[axis][0]
    phases = []
    for phase in range(stride):
        start = (phase - pad) % stride
        taps = [tap for tap in range(window.kernel[axis]) if tap * dilation % stride == phase]
        first = taps[0] if taps else window.kernel[axis]
        shifts = tuple((start + pad - tap * dilation) // stride for tap in taps)
        phases.append((start, slice(first, None, stride // math.gcd(stride, dilation)), shifts))
    return phases


def _plain(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable: one type for Numba to compile for, instead of many."""
    x = np.asarray(x, dtype)
    return x if x.flags.carray else x.copy(order="C")


def _threads_for(operations: int) -> int:
    return 1 if operations < SMALL else get_num_threads()


def _correlate(
    x: np.ndarray, w: np.ndarray, weights: np.ndarray, b: np.ndarray | None, y: np.ndarray, taps: tuple[Taps, Taps],
    step: Pair, start: Pair, y_step: Pair,
) -> None:  # fmt: skip
    """y[n, k, start + p·y_step] = b[k] + Σ_{c,r,s} weights[k, c, r, s] · x[n, c, p·step + taps[r]], in both axes.

    x is zero outside. weights (groups, K/groups, C/groups, R, S) is any view of w; x, w and y are plain arrays.
    """
    if b is None:
        b = np.zeros(y.shape[1], y.dtype)
    part = y[:, :, start[0] :: y_step[0], start[1] :: y_step[1]]
    if part.size == 0 or weights.size == 0 or x.size == 0:
        part[...] = b[:, None, None]
        return
    groups, outputs = weights.shape[:2]
    threads = _threads_for(part.size * math.prod(weights.shape[2:]))
    plan = _plan(x.shape, outputs, groups, taps, step, y.shape, start, y_step, x.dtype.name, threads, False)
    strides = [stride // x.itemsize for stride in weights.strides]
    layout = np.array([(weights.ctypes.data - w.ctypes.data) // x.itemsize, *strides])
    a = np.empty(plan.packed_size, x.dtype)
    parallel_for(plan.panels, bands.pack_weights, plan.numbers, w.reshape(-1), layout, a,
                 threads=_threads_for(a.size))  # fmt: skip
    work = scratch(threads, plan.work_size, x.dtype)
    parallel_for(plan.items, bands.convolve_bands, plan.numbers, x.reshape(-1), a, _plain(b, x.dtype), y.reshape(-1),
                 plan.row_taps, plan.col_taps, plan.phases, plan.offsets, plan.tiles, plan.mover, work,
                 threads=threads)  # fmt: skip


# --- planning: everything that follows from shapes alone --------------------------------------------------------------


class Plan(NamedTuple):
    numbers: Fixed  # one record of PASS
    row_taps: Fixed
    col_taps: Fixed
    phases: Fixed  # residues mod row_step of the rows that any tap reads, counted from first_row
    offsets: Fixed  # bytes from the columns of a run to what tap (r, c, s) reads
    tiles: Fixed  # addresses of the fma_tiles with 1, 2, ... vectors, or of the dot_tile
    mover: int  # address of move_rows
    loaded_gy: Fixed  # weight gradient: the record for loading gy
    items: int  # bands, over all groups
    panels: int  # of weights, over all groups
    packed_size: int  # elements of all packed weights
    work_size: int  # elements of scratch for each thread


@functools.lru_cache(maxsize=1024)
def _plan(
    x_shape: tuple[int, ...], outputs: int, groups: int, taps: tuple[Taps, Taps], step: Pair, y_shape: tuple[int, ...],
    start: Pair, y_step: Pair, dtype: str, threads: int, for_weights: bool,
) -> Plan:  # fmt: skip
    machine = microkernels.machine()
    size = np.dtype(dtype).itemsize
    numbers = np.zeros(1, PASS).view(np.recarray)
    p = numbers[0]
    p.itemsize, p.lanes, p.depth_piece, p.dot_vectors = size, machine.lanes(dtype), DEPTH, DOT_VECTORS
    p.groups, p.images = groups, x_shape[0]
    p.channels, p.height, p.width = x_shape[1] // groups, x_shape[2], x_shape[3]
    p.row_step, p.col_step = step
    p.outputs, p.rows, p.cols = outputs, *(len(range(start[i], y_shape[2 + i], y_step[i])) for i in (0, 1))
    p.y_image, p.y_channel, p.y_row, p.y_col = math.prod(y_shape[1:]), y_shape[2] * y_shape[3], y_shape[3], 1
    p.y_start = start[0] * p.y_row + start[1]
    p.y_row, p.y_col = p.y_row * y_step[0], y_step[1]
    p.row_taps, p.col_taps = len(taps[0]), len(taps[1])
    p.depth = p.row_taps * p.channels * p.col_taps

    down = np.array(taps[0]) - min(taps[0])  # rows below the first one read
    phases = np.unique(down % step[0])
    p.first_row, p.phases = min(taps[0]), len(phases)
    halo = int(down.max()) // step[0]
    row_bytes = size * p.cols * (p.channels * p.col_taps * p.phases + outputs)
    _choose_bands(p, halo, int(row_bytes), threads)
    p.row_length = p.band_images * p.cols
    if for_weights or p.row_length >= 4 * p.lanes:  # else rounding up would cost more than aligned rows bring
        p.row_length = -(-p.row_length // p.lanes) * p.lanes
    p.slots = p.band_rows + halo
    p.plane = _spread(p.phases * p.slots * p.row_length, size)
    p.columns_size = p.channels * p.col_taps * p.plane + SLACK
    offsets = (
        (np.searchsorted(phases, down % step[0]) * p.slots + down // step[0])[:, None] * p.row_length
        + np.arange(p.channels * p.col_taps) * p.plane
    ).reshape(-1) * size

    if not for_weights:
        p.c_row = _spread(p.band_rows * p.row_length + p.lanes, size)
        p.panels = -(-outputs // machine.tile_rows)
        p.tile_rows = -(-outputs // p.panels)
        p.tile_columns = machine.tile_vectors
        widths = range(1, machine.tile_vectors + 1)
        tiles = [address(dtype, fma_tile, rows=int(p.tile_rows), vectors=vectors) for vectors in widths]
        loaded_gy = numbers[:0]
        work_size = p.columns_size + p.panels * p.tile_rows * p.c_row + SLACK
    else:
        p.tile_rows, p.tile_columns = _dot_shape(outputs, int(p.depth))
        p.panels, p.depth_tiles = -(-outputs // p.tile_rows), -(-p.depth // p.tile_columns)
        p.sums_size = groups * p.panels * p.tile_rows * p.depth_tiles * p.tile_columns
        tiles = [address(dtype, dot_tile, rows=int(p.tile_rows), columns=int(p.tile_columns))]
        offsets = np.resize(offsets, int(p.depth_tiles * p.tile_columns))  # the surplus is computed and not used
        loaded_gy = numbers.copy()
        g = loaded_gy[0]
        g.channels, g.height, g.width, g.row_step, g.col_step = outputs, p.rows, p.cols, 1, 1
        g.col_taps, g.phases, g.first_row, g.slots = 1, 1, 0, p.band_rows
        g.plane = _spread(g.slots * g.row_length, size)
        g.columns_size = p.panels * p.tile_rows * g.plane + SLACK
        work_size = p.columns_size + g.columns_size + p.sums_size
    mover = address(dtype, move_rows)
    panels = groups * int(p.panels)
    return Plan(
        Fixed(numbers), Fixed(np.array(taps[0])), Fixed(np.array(taps[1])), Fixed(phases), Fixed(offsets),
        Fixed(np.array(tiles, np.int64)), mover, Fixed(loaded_gy), groups * int(p.image_bands * p.row_bands), panels,
        panels * int(p.depth * p.tile_rows), int(work_size),
    )  # fmt: skip


def _choose_bands(p: Any, halo: int, row_bytes: int, threads: int) -> None:
    """Whole images if one fits into a band, else rows of one image; and work for all threads, if there is enough."""
    image_bytes = row_bytes * (int(p.rows) + halo)
    images = min(int(p.images), max(1, BAND_BYTES // image_bytes))
    rows = int(p.rows) if image_bytes <= BAND_BYTES else max(1, BAND_BYTES // row_bytes - halo)
    image_bands, row_bands = -(-int(p.images) // images), -(-int(p.rows) // rows)
    if p.groups * image_bands * row_bands % threads:
        even = -(-image_bands // threads) * threads
        if even <= p.images:
            image_bands = even
        else:
            row_bands = min(int(p.rows), -(-row_bands // threads) * threads)
    p.band_images, p.band_rows = -(-int(p.images) // image_bands), -(-int(p.rows) // row_bands)
    p.image_bands, p.row_bands = -(-int(p.images) // int(p.band_images)), -(-int(p.rows) // int(p.band_rows))


def _spread(elements: int, itemsize: int) -> int:
    """At least that many, and an odd number of cache lines: multiples of 4 KB would all meet in one cache set."""
    line = 64 // itemsize
    return (-(-int(elements) // line) | 1) * line


def _dot_shape(outputs: int, depth: int) -> Pair:
    """Rows and columns of the dot_tile that cost least: padding to whole tiles, and loads for each product."""

    def cost(shape: Pair) -> float:
        rows, columns = shape
        padded = -(-outputs // rows) * rows * -(-depth // columns) * columns
        return padded * (1 + (rows + columns) / (rows * columns))

    return min(microkernels.machine().dot_shapes(), key=cost)
