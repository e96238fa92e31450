"""Planning a convolution: everything that follows from shapes alone, worked out once for each shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair
from . import microkernels
from .arguments import Fixed
from .microkernels import address, dot_tile, fma_tile, max_2x2, move_rows, unpool_2x2

BAND_BYTES = 512 * 1024  # columns and results of a band: L2 also has to hold the weights
DEPTH = 256  # terms of the reduction at a time: their weights stay in L1 while the tiles of a run go by
DOT_VECTORS = 64  # vectors of pixels at a time, for the weight gradient: a row of each operand is 4 KB
SLACK = 64  # elements after each piece of scratch that whole vectors may touch

Shape = tuple[int, ...]
Taps = tuple[int, ...]  # what each tap adds to (output · step) to give the row or column that it reads

# The numbers of a pass, in elements. A record: Numba takes it as one argument, and its fields have names.
PASS = np.dtype(
    [
        (name, np.int64)
        for line in (
            "itemsize lanes depth_piece dot_vectors",
            "groups images channels height width row_step col_step",  # what is read
            "copied_taps pitch halo",  # copies of a row, elements from image to image in it, and behind the last one
            "outputs rows cols y_start y_image y_channel y_row y_col unloader",  # what is written, and how
            "row_taps col_taps depth phases first_row",
            "band_images band_rows image_bands row_bands",
            "row_length slots plane columns_size c_row",  # scratch: rows and planes of columns, rows of C
            "tile_rows tile_columns panels depth_tiles sums_size ones",
        )
        for name in line.split()
    ]
)


class Plan(NamedTuple):
    numbers: Fixed  # one record of PASS; for the weight gradient also that for loading gy
    tables: Fixed  # see below
    threads: int
    items: int  # bands, over all groups
    panels: int  # of weights, over all groups
    packed_size: int  # elements of all packed weights
    work_size: int  # elements of scratch for each thread
    size: Pair  # of the images that are read; for the weight gradient those of gy
    pool: int  # address of max_2x2, or 0
    unpool: int  # address of unpool_2x2, if bands are whole images and load all that is not padding; else 0


def plan_pass(
    x_shape: Shape, outputs: int, groups: int, taps: tuple[Taps, Taps], step: Pair, y_shape: Shape,
    start: Pair, y_step: Pair, dtype: str, threads: int, for_weights: bool, bias: bool = False, pools: bool = False,
    unpools: bool = False, cap: float | None = None,
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
    if pools:
        p.y_channel = (y_shape[2] // 2) * (y_shape[3] // 2)
        p.y_image = y_shape[1] * p.y_channel
    p.row_taps, p.col_taps = len(taps[0]), len(taps[1])
    p.depth = p.row_taps * p.channels * p.col_taps
    share_rows = "never" if for_weights else "always" if unpools else "if it pays"
    loaded_taps, col_offsets = _lay_out_rows(p, taps[1], share_rows)

    down = np.array(taps[0]) - min(taps[0])  # rows below the first one read
    phases = np.unique(down % step[0])
    p.first_row, p.phases = min(taps[0]), len(phases)
    halo = int(down.max()) // step[0]
    row_bytes = size * p.pitch * (p.channels * p.copied_taps * p.phases + outputs)
    _choose_bands(p, halo, int(row_bytes), threads, 2 if pools else 1)
    p.row_length = p.band_images * p.pitch + p.halo
    if for_weights or p.row_length >= 4 * p.lanes:  # else rounding up would cost more than aligned rows bring
        p.row_length = -(-p.row_length // p.lanes) * p.lanes
    p.slots = p.band_rows + halo
    p.plane = _spread(p.phases * p.slots * p.row_length + p.halo, size)
    p.ones = p.columns_size = p.channels * p.copied_taps * p.plane + SLACK
    row_offsets = (np.searchsorted(phases, down % step[0]) * p.slots + down // step[0]) * p.row_length
    planes = np.arange(p.channels) * (p.copied_taps * p.plane)
    offsets = size * (row_offsets[:, None, None] + planes[:, None] + np.array(col_offsets(p.plane))).reshape(-1)

    if not for_weights:
        p.c_row = _spread(p.band_rows * p.row_length + p.lanes, size)
        p.panels = -(-outputs // machine.tile_rows)
        p.tile_rows = -(-outputs // p.panels)
        p.tile_columns = machine.tile_vectors
        widths = range(1, machine.tile_vectors + 1)
        p.unloader = address(dtype, move_rows, cap=cap)
        tiles = [address(dtype, fma_tile, rows=int(p.tile_rows), vectors=vectors) for vectors in widths]
        work_size = p.columns_size + p.panels * p.tile_rows * p.c_row + SLACK
    else:
        p.tile_rows, p.tile_columns = _dot_shape(outputs, int(p.depth) + bias)
        p.panels, p.depth_tiles = -(-outputs // p.tile_rows), -(-(p.depth + bias) // p.tile_columns)
        p.sums_size = groups * p.panels * p.tile_rows * p.depth_tiles * p.tile_columns
        tiles = [address(dtype, dot_tile, rows=int(p.tile_rows), columns=int(p.tile_columns))]
        if bias:
            offsets = np.append(offsets, p.ones * size)
            p.columns_size += p.plane + SLACK
        offsets = np.resize(offsets, int(p.depth_tiles * p.tile_columns))  # the surplus is computed and not used
        loaded_gy = numbers.copy()
        g = loaded_gy[0]
        g.channels, g.height, g.width, g.row_step, g.col_step = outputs, p.rows, p.cols, 1, 1
        g.copied_taps, g.halo, g.phases, g.first_row, g.slots = 1, 0, 1, 0, p.band_rows
        g.plane = _spread(g.slots * g.row_length, size)
        g.columns_size = p.panels * p.tile_rows * g.plane + SLACK
        work_size = p.columns_size + g.columns_size + p.sums_size
    mover = address(dtype, move_rows)
    loads_all = p.first_row <= 0 and min(taps[1]) <= 0 and p.slots >= p.height - p.first_row and tuple(step) == (1, 1)
    # Rows that taps read; columns that are copied; residues mod row_step of the rows, counted from first_row; bytes
    # from the columns of a run to what tap (r, c, s) reads; the fma_tiles with 1, 2, ... vectors, or the dot_tile.
    tables = np.array(taps[0]), np.array(loaded_taps), phases, offsets, np.array(tiles, np.int64), mover
    panels = groups * int(p.panels)
    return Plan(
        Fixed(*(array.view(np.ndarray) for array in ((numbers, loaded_gy) if for_weights else (numbers,)))),
        Fixed(*tables), threads, groups * int(p.image_bands * p.row_bands), panels,
        panels * int(p.depth * p.tile_rows), int(work_size),
        (y_shape[2], y_shape[3]) if for_weights else (x_shape[2], x_shape[3]),
        address(dtype, max_2x2, relu=True) if pools else 0,
        address(dtype, unpool_2x2) if p.row_bands == 1 and (for_weights or (unpools and loads_all)) else 0,
    )  # fmt: skip


def _lay_out_rows(p: Any, taps: Taps, share: str) -> tuple[Taps, Callable[[int], list[int]]]:
    """Whether a row of columns is copied once for each tap, or once for all; the taps copied, and how to find each.

    Shared by all taps, a row has to be as long as what they read, padding included, and products are computed for
    columns that are no output; but each pixel is copied once. The padding to the right of an image is that to the left
    of the next one. Measured: sharing pays, by up to a fifth, as long as few products are in vain; dot_tile, which
    reads everything along the row, loses more by rows that do not begin on a vector.
    """
    first, span = min(taps), max(taps) - min(taps)
    left, right = max(0, -first), max(0, int(p.cols) - 1 + max(taps) - (int(p.width) - 1))
    pitch = max(int(p.width) + max(left, right), int(p.cols)) if first <= 0 else int(p.cols) + span
    if p.col_step == 1 and (share == "always" or (share == "if it pays" and pitch <= 1.2 * p.cols)):
        p.copied_taps, p.pitch, p.halo = 1, pitch, span
        return (first,), lambda plane: [tap - first for tap in taps]
    p.copied_taps, p.pitch, p.halo = p.col_taps, p.cols, 0
    return taps, lambda plane: [i * plane for i in range(len(taps))]


def _choose_bands(p: Any, halo: int, row_bytes: int, threads: int, multiple: int) -> None:
    """Whole images if one fits into a band, else rows of one image; and work for all threads, if there is enough.

    Rows in a band are a multiple of `multiple`.
    """
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
    p.band_rows += -p.band_rows % multiple
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
