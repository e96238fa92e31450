"""Planning a convolution in blocks: everything that follows from shapes alone, worked out once for each shape."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair
from .arguments import Fixed
from .blocked_tiles import BLOCK, convolve_tile, copy_padded, gradient_tile, group_size, most_channels, most_pixels
from .microkernels import address

BAND_BYTES = 768 * 1024  # of x, for one band: L2 also holds what is made of it, and weights that stream by
DEPTH = 288  # terms of the reduction at a time: their weights stay in L1 while the tiles of a band go by
CHUNK = 256  # pixels at a time, for the weight gradient: x and gy of one block stay in L1
RUN = 56  # pixels to a row where rows have no meaning

Shape = tuple[int, ...]
Taps = tuple[int, ...]  # what each tap adds to (output · step) to give the row or column that it reads

# The numbers of a pass. Sizes and strides are in elements; a "block" of x that is planar is one channel.
PASS = np.dtype(
    [
        (name, np.int64)
        for line in (
            "groups images in_blocks vector height width x_image x_block x_row",  # what is read
            "copies copy_rows copy_cols image block row first_row first_col row_step col_step",  # and how
            "out_blocks parts part_blocks rows cols pixels y_start y_image y_block y_row y_col",  # what is written
            "terms channels depth depth_piece row_taps col_taps",
            "band_images band_rows image_bands row_bands splits widest widest_last",
            "units chunk_rows linear x_line gw_line",  # of the weight gradient
        )
        for name in line.split()
    ]
)


class Plan(NamedTuple):
    numbers: Fixed  # one record of PASS
    tables: Fixed
    items: int  # for convolve: bands; for gradient: pieces of the weights
    packed_size: int  # elements of all packed weights
    work_size: int  # elements of scratch for each thread
    threads: int
    parts: int  # of the outputs, over all groups
    in_blocks: int
    vector: int


def plan_convolution(
    x_shape: Shape, planar: bool, outputs: int, groups: int, taps: tuple[Taps, Taps], step: Pair, y_shape: Shape,
    start: Pair, y_step: Pair, threads: int, cap: float | None, only_packs: bool,
) -> Plan:  # fmt: skip
    """y[n, k, start + p·y_step] = Σ x[n, c, p·step + taps] · w, for all `outputs` channels k of y_shape.

    only_packs: the plan is for packing weights alone, and no tile is compiled for it.
    """
    numbers = np.zeros(1, PASS).view(np.recarray)
    p = numbers[0]
    _reading(p, x_shape, planar, groups, taps, step, y_shape, start, y_step)
    _writing(p, outputs, y_shape, start, y_step)
    if p.linear:
        p.cols = max(1, RUN // most_pixels(int(p.part_blocks))) * most_pixels(int(p.part_blocks))
        p.rows, p.row = -(-p.pixels // p.cols), p.cols * BLOCK
        p.x_row, p.y_row = p.row, p.row
    _choose_bands(p, threads)
    _place_copy(p)
    tiles = np.zeros(1, np.int64) if only_packs else _convolve_tiles(p, planar, cap)
    tables = _tap_offsets(p, taps), tiles, address("float32", copy_padded)
    packed = groups * int(p.out_blocks) * BLOCK * int(p.depth)
    items = groups * int(p.image_bands * p.row_bands * p.splits)
    return Plan(Fixed(numbers.view(np.ndarray)), Fixed(*tables), items, packed, _copy_size(p), threads,
                groups * int(p.parts), int(p.in_blocks), int(p.vector))  # fmt: skip


def plan_gradient(
    x_shape: Shape, planar: bool, outputs: int, groups: int, taps: tuple[Taps, Taps], step: Pair, y_shape: Shape,
    threads: int, only_packs: bool,
) -> Plan:  # fmt: skip
    """gw[k, c, taps] = Σ x[n, c, p·step + taps] · gy[n, k, p], for gy of y_shape."""
    numbers = np.zeros(1, PASS).view(np.recarray)
    p = numbers[0]
    _reading(p, x_shape, planar, groups, taps, step, y_shape, (0, 0), (1, 1))
    _writing(p, outputs, y_shape, (0, 0), (1, 1))
    if p.linear:
        p.cols = RUN
        p.rows, p.row = -(-p.pixels // p.cols), p.cols * BLOCK
        p.x_row, p.y_row = p.row, p.row
    _choose_bands(p, 1)
    _place_copy(p)
    p.chunk_rows = max(1, CHUNK // int(p.cols))
    units, lines, channels = _units(p, planar, taps)
    last = int(p.out_blocks - (p.parts - 1) * p.part_blocks)
    step_bytes = 4 * int(p.col_step) * int(p.vector)
    tiles = [
        address("float32", gradient_tile, step=step_bytes, lines=lines, channels=channels, blocks=blocks)
        for blocks in (int(p.part_blocks), last)
        if not only_packs
    ]
    p.units = len(units)
    packed = groups * int(p.out_blocks) * BLOCK * int(p.depth)
    items = groups * int(p.parts * p.units)
    tables = units, np.array(tiles, np.int64), address("float32", copy_padded)
    return Plan(Fixed(numbers.view(np.ndarray)), Fixed(*tables), items, packed, _copy_size(p), threads,
                groups * int(p.parts), int(p.in_blocks), int(p.vector))  # fmt: skip


# --- what both have in common -----------------------------------------------------------------------------------------


def _reading(
    p: Any, x_shape: Shape, planar: bool, groups: int, taps: tuple[Taps, Taps], step: Pair, y_shape: Shape, start: Pair,
    y_step: Pair,
) -> None:  # fmt: skip
    n, c, h, w = x_shape
    p.groups, p.images, p.height, p.width = groups, n, h, w
    p.vector = 1 if planar else BLOCK
    p.in_blocks = c // groups if planar else -(-c // groups // BLOCK)
    p.channels = 1 if planar else 4
    p.x_row = w * p.vector
    p.x_block = h * p.x_row
    p.x_image = groups * p.in_blocks * p.x_block
    p.rows, p.cols = (len(range(start[i], y_shape[2 + i], y_step[i])) for i in (0, 1))
    p.row_step, p.col_step = step
    p.first_row, p.first_col = min(taps[0]), min(taps[1])
    p.row_taps, p.col_taps = len(taps[0]), len(taps[1])
    bottom = (p.rows - 1) * p.row_step + max(taps[0])
    right = (p.cols - 1) * p.col_step + max(taps[1])
    p.copies = p.first_row < 0 or p.first_col < 0 or bottom >= h or right >= w
    p.copy_cols = right - p.first_col + 1
    p.copy_rows = max(taps[0]) - p.first_row + 1  # of one output row; _place_copy knows how many there are
    p.terms = p.row_taps * p.in_blocks * p.col_taps * (1 if planar else 4)
    p.depth = p.terms * p.channels


def _writing(p: Any, outputs: int, y_shape: Shape, start: Pair, y_step: Pair) -> None:
    blocks = -(-outputs // p.groups // BLOCK)
    size = group_size()
    p.out_blocks, p.parts = blocks, max(1, blocks // size)
    p.part_blocks = min(size, blocks)
    p.y_block = y_shape[2] * y_shape[3] * BLOCK
    p.y_image = p.groups * blocks * p.y_block
    p.y_start = (start[0] * y_shape[3] + start[1]) * BLOCK
    p.y_row, p.y_col = y_shape[3] * BLOCK * y_step[0], BLOCK * y_step[1]
    p.pixels = p.rows * p.cols
    whole = (p.rows, p.cols) == (p.height, p.width) == tuple(y_shape[2:])
    p.linear = whole and p.row_taps == p.col_taps == 1 and not p.copies and p.vector == BLOCK


def _choose_bands(p: Any, threads: int) -> None:
    """Whole images if one fits into a band, else rows of one image; and work for all threads, if there is enough."""
    row_bytes = 4 * int(p.in_blocks * p.row_step * (p.copy_cols * p.vector if p.copies else p.x_row))
    halo_bytes = max(0, int(p.copy_rows - p.row_step)) * row_bytes // int(p.row_step)
    rows = max(1, min(int(p.rows), (BAND_BYTES - halo_bytes) // row_bytes))
    images = max(1, min(int(p.images), BAND_BYTES // (row_bytes * int(p.rows) + halo_bytes)))
    p.splits = 1
    image_bands = -(-int(p.images) // images)
    row_bands = -(-int(p.rows) // rows)
    if p.groups * image_bands * row_bands % threads:
        even = -(-image_bands // threads) * threads
        heavy = p.depth * p.out_blocks > p.in_blocks * p.height * p.width  # more weights than numbers of x
        if even <= p.images:
            image_bands = even
        elif (heavy or p.rows < 2 * threads) and p.parts >= threads:
            p.splits = threads
        else:
            row_bands = min(int(p.rows), -(-row_bands // threads) * threads)
    p.band_images, p.band_rows = -(-int(p.images) // image_bands), -(-int(p.rows) // row_bands)
    p.image_bands, p.row_bands = -(-int(p.images) // int(p.band_images)), -(-int(p.rows) // int(p.band_rows))


def _place_copy(p: Any) -> None:
    """Strides of what tiles read: of the padded copy of a band, or of x itself."""
    if not p.copies:
        p.image, p.block, p.row = p.x_image, p.x_block, p.x_row
        return
    p.copy_rows += (p.band_rows - 1) * p.row_step
    p.row = p.copy_cols * p.vector
    line = 64 // 4
    p.block = (-(-p.copy_rows * p.row // line) | 1) * line  # an odd number of cache lines: see _spread in plans.py
    p.image = p.in_blocks * p.block


def _copy_size(p: Any) -> int:
    return int(p.band_images * p.image) + 64 if p.copies else 0


def _tap_offsets(p: Any, taps: tuple[Taps, Taps]) -> np.ndarray:
    """Bytes from the first pixel of a tile to what term (r, block, s, quarter of the block) of it reads."""
    rows = (np.array(taps[0]) - p.first_row)[:, None, None, None] * p.row
    blocks = np.arange(p.in_blocks)[:, None, None] * p.block
    cols = (np.array(taps[1]) - p.first_col)[:, None] * p.vector
    quarters = np.arange(p.vector // p.channels) * 4
    return (4 * (rows + blocks + cols + quarters)).reshape(-1).astype(np.int64)


# --- tiles ------------------------------------------------------------------------------------------------------------


def widths_of(pixels: int, most: int) -> set[int]:
    """Widths of the tiles that a row is cut into: as few as possible, and nearly equal."""
    tiles = -(-pixels // most)
    return {pixels // tiles, -(-pixels // tiles)}


WIDTHS = 32  # places in the table of tiles for each kind of them: the place is the number of pixels


def _convolve_tiles(p: Any, planar: bool, cap: float | None) -> np.ndarray:
    """Addresses: of tiles that begin or go on with a sum, that finish it; for the last blocks of outputs, likewise."""
    last = int(p.out_blocks - (p.parts - 1) * p.part_blocks)
    p.widest, p.widest_last = most_pixels(int(p.part_blocks)), most_pixels(last)
    piece = DEPTH // int(p.channels)
    p.depth_piece = piece if p.terms > piece * 1.25 else int(p.terms)
    p.depth_piece = -(-int(p.terms) // -(-int(p.terms) // int(p.depth_piece)))  # pieces of equal length
    table = np.zeros((4, WIDTHS), np.int64)
    rows = {int(p.cols), int(p.pixels - (p.rows - 1) * p.cols)}
    for kind in range(4):
        blocks, finishes = (int(p.part_blocks), last)[kind // 2], kind % 2
        for width in {w for row in rows for w in widths_of(row, most_pixels(blocks))}:
            table[kind, width] = address(
                "float32", convolve_tile, pixels=width, blocks=blocks, step=4 * int(p.col_step) * int(p.vector),
                channels=int(p.channels), cap=cap if finishes else None,
            )  # fmt: skip
    return table.reshape(-1)


def _units(p: Any, planar: bool, taps: tuple[Taps, Taps]) -> tuple[np.ndarray, int, int]:
    """(elements from a pixel to what is read for it, place among the weights, block) of each piece of the weights that
    one tile sums up, and the tile's lines and channels."""
    last = int(p.out_blocks - (p.parts - 1) * p.part_blocks)
    most = min(most_channels(int(p.part_blocks)), most_channels(last))
    rows, cols = (np.array(taps[0]) - p.first_row) * p.row, (np.array(taps[1]) - p.first_col) * p.vector
    if planar:
        evenly = len(set(np.diff(taps[1]))) <= 1 and (len(taps[1]) == 1 or taps[1][1] - taps[1][0] == 1)
        channels = _divisor(len(taps[1]), most) if evenly else 1
        lines = _divisor(len(taps[0]), most // channels) if len(set(np.diff(taps[0]))) <= 1 else 1
        p.x_line = rows[1] - rows[0] if lines > 1 else 0
        p.gw_line = p.in_blocks * p.col_taps
    else:
        lines = 3 if p.col_taps == 3 and most >= 12 else 1
        channels = _divisor(BLOCK, min(most // lines, 16))
        p.x_line = cols[1] - cols[0] if lines > 1 else 0
        p.gw_line = BLOCK
    units = []
    for r in range(0, int(p.row_taps), lines if planar else 1):
        for block in range(int(p.in_blocks)):
            for s in range(0, int(p.col_taps), channels if planar else lines):
                for c in range(0, int(p.vector), 1 if planar else channels):
                    place = ((r * p.in_blocks + block) * p.col_taps + s) * p.vector + c
                    units.append((rows[r] + block * p.block + cols[s] + c, place, block))
    return np.array(units, np.int64), lines, channels


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is not above `most`."""
    return max(d for d in range(1, max(1, min(n, most)) + 1) if n % d == 0)


def operations(y_shape: Shape, depth: int) -> int:
    """Multiply-adds."""
    return math.prod(y_shape) * depth
