"""Winograd's convolution in blocks of 16 channels: 3 × 3 windows with a quarter of the multiplications.

4 × 4 outputs of a 3 × 3 convolution need 144 products of a channel, of which many are nearly the same. After a linear
transform of the 6 × 6 inputs, and one of the weights, 36 suffice (winograd_tiles.py has the formula). For each of these
36 places a product of matrices remains: tiles × channels times channels × outputs, which convolve_tile does as it does
a 1 × 1 convolution, the tiles being its pixels.

    x, a row of tiles                v                        m                         y
    ┌──────────────┐   Bᵀ x B   36 × [block][tile]   · u   36 × [block][tile]   Aᵀ m A   ┌──────────┐
    │▒▒▒▒▒▒········│ ─────────→      ▓▓▓▓▓▓▓        ─────→      ▓▓▓▓▓▓▓        ───────→  │▒▒▒▒······│
    └──────────────┘            a band of tiles stays in L2                              └──────────┘

The input gradient is the same with the taps in opposite order. For the weight gradient the products are summed over
tiles: v, of x, with what the transposed transforms make of gy (gradient_tile), and 3 × 3 of the 6 × 6 sums come back.

    operations   2 · 36 · tiles · C · K, a quarter of the direct way if 4 divides the plane's sides; transforms besides
    bytes        u: 4 times w, written once and read once for each band; v and m: 2¼ times x and y, in L2
    error        up to 2e-5 of the largest result, where the direct way has 1e-6: the factors of the transforms, up to
                 8, magnify rounding. Tested; never used for float64
    NaN and ∞  reach all 4 × 4 outputs of a tile that reads them, not 3 × 3 of them alone; and ∞ may become NaN
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair, Window
from .arguments import Fixed
from .blocked_plans import WIDTHS, Shape, widths_of
from .blocked_tiles import BLOCK, convolve_tile, copy_padded, gradient_tile, group_size, most_channels, most_pixels
from .drivers import driver
from .memory import empty
from .microkernels import address, call_tile, place
from .threads import parallel_for, scratch
from .winograd_tiles import (
    SQUARE,
    TILE,
    gradient_of_weights,
    transform_gradients,
    transform_inputs,
    transform_products,
    transform_weights,
)

L2_BYTES = 1_200_000  # for v and m of a band
PLACES = SQUARE * SQUARE
FIRST_TILE = 4  # in the table of addresses: before it are the transforms

WINOGRAD = np.dtype(
    [
        (name, np.int64)
        for line in (
            "images in_blocks out_blocks parts part_blocks height width rows cols top left",
            "tile_rows tile_cols band widest widest_last channels",  # tiles of a plane; rows of tiles in a band
            "v_block v_step m_block m_step m_start u_step x_row y_row end",
        )
        for name in line.split()
    ]
)


class Plan(NamedTuple):
    numbers: Fixed
    tables: Fixed  # bytes from a tile to four of its channels; addresses of the micro-kernels
    bands: int
    u_size: int
    work_size: int  # elements of scratch for each thread
    threads: int
    rows: int  # of tiles, in all images
    band: int  # of these in a band
    parts: int  # of the outputs
    in_blocks: int
    both_size: int  # elements of v and m of a band


# --- planning ---------------------------------------------------------------------------------------------------------


def _begin(x_shape: Shape, outputs: int, size: Pair, padding: Pair) -> Any:
    """The record of a convolution of images of x_shape with this padding at the top and left, to results of `size`."""
    images, channels, height, width = x_shape
    numbers = np.zeros(1, WINOGRAD).view(np.recarray)
    p = numbers[0]
    p.images, p.height, p.width, p.rows, p.cols, p.top, p.left = images, height, width, *size, *padding
    p.in_blocks, p.out_blocks = -(-channels // BLOCK), -(-outputs // BLOCK)
    p.part_blocks = min(group_size(), p.out_blocks)
    p.parts = max(1, p.out_blocks // group_size())
    p.tile_rows, p.tile_cols = -(-p.rows // TILE), -(-p.cols // TILE)
    p.u_step = _odd_lines(BLOCK * p.in_blocks * BLOCK * p.out_blocks)
    p.x_row, p.y_row = (p.tile_cols * TILE + 2) * BLOCK, p.tile_cols * TILE * BLOCK
    return numbers


def _place_band(p: Any, rows: int) -> None:
    """Strides of v and m for so many rows of tiles, and of a row of each thread's own."""
    p.band = rows
    tiles = rows * p.tile_cols
    p.v_block = p.m_block = tiles * BLOCK
    p.v_step, p.m_step = _odd_lines(p.in_blocks * p.v_block), _odd_lines(p.out_blocks * p.m_block)
    p.m_start = PLACES * p.v_step
    p.end = p.m_start + PLACES * p.m_step


@functools.lru_cache(maxsize=1024)
def plan_convolution(x_shape: Shape, outputs: int, size: Pair, padding: Pair, threads: int, cap: float | None) -> Plan:
    """Bands for each thread, of which v and m fit into its L2; but if u is large, rather few than many."""
    numbers = _begin(x_shape, outputs, size, padding)
    p = numbers[0]
    all_rows = int(p.images * p.tile_rows)
    row_bytes = 4 * PLACES * BLOCK * int((p.in_blocks + p.out_blocks) * p.tile_cols)
    bands = -(-all_rows // max(1, L2_BYTES // row_bytes))
    if 4 * PLACES * int(p.u_step) * (bands - threads) > 2 * row_bytes * all_rows:
        bands = threads  # to read u again for each band would cost more than v and m from L3
    bands = min(all_rows, -(-bands // threads) * threads)
    _place_band(p, -(-all_rows // bands))
    bands = -(-all_rows // int(p.band))
    last = int(p.out_blocks - (p.parts - 1) * p.part_blocks)
    p.widest, p.widest_last = most_pixels(int(p.part_blocks)), most_pixels(last)
    table = np.zeros(FIRST_TILE + 2 * WIDTHS, np.int64)
    table[:FIRST_TILE] = (
        address("float32", transform_inputs),
        address("float32", copy_padded),
        address("float32", transform_products, cap=cap),
        address("float32", transform_weights),
    )
    counts = {int(rows * p.tile_cols) for rows in (p.band, all_rows - (bands - 1) * p.band)}
    for kind, blocks in enumerate((int(p.part_blocks), last)):
        for width in {width for count in counts for width in widths_of(count, most_pixels(blocks))}:
            tile = address("float32", convolve_tile, pixels=width, blocks=blocks, step=64, channels=4)
            table[FIRST_TILE + WIDTHS * kind + width] = tile
    offsets = 4 * (np.arange(p.in_blocks)[:, None] * p.v_block + 4 * np.arange(4)).reshape(-1)
    work_size = int(p.end + SQUARE * p.x_row + TILE * p.y_row) + 64
    return Plan(Fixed(numbers.view(np.ndarray)), Fixed(offsets.astype(np.int64), table), bands, PLACES * int(p.u_step),
                work_size, threads, *_counts(p))  # fmt: skip


@functools.lru_cache(maxsize=1024)
def plan_gradient(x_shape: Shape, outputs: int, size: Pair, padding: Pair, threads: int) -> Plan:
    """Bands for all threads together: v and m of one are in their L2 or L3, and u is added to once for each."""
    numbers = _begin(x_shape, outputs, size, padding)
    p = numbers[0]
    all_rows = int(p.images * p.tile_rows)
    row_bytes = 4 * PLACES * BLOCK * int((p.in_blocks + p.out_blocks) * p.tile_cols)
    band_bytes = max(threads * L2_BYTES, 16 * PLACES * int(p.u_step))
    bands = -(-all_rows // max(1, band_bytes // row_bytes))
    _place_band(p, -(-all_rows // bands))
    blocks = int(p.part_blocks), int(p.out_blocks - (p.parts - 1) * p.part_blocks)
    p.channels = max(c for c in (1, 2, 4, 8) if c <= min(map(most_channels, blocks)))
    tiles = [
        address("float32", gradient_tile, step=64, lines=1, channels=int(p.channels), blocks=count) for count in blocks
    ]
    kinds = transform_inputs, copy_padded, transform_gradients, gradient_of_weights
    table = [address("float32", kind) for kind in kinds]
    work_size = int(SQUARE * p.x_row + TILE * p.y_row) + 64
    return Plan(Fixed(numbers.view(np.ndarray)), Fixed(np.array([*table, *tiles], np.int64)),
                -(-all_rows // int(p.band)), PLACES * int(p.u_step), work_size, threads, *_counts(p))  # fmt: skip


def _counts(p: Any) -> tuple[int, ...]:
    return int(p.images * p.tile_rows), int(p.band), int(p.parts), int(p.in_blocks), int(p.end)


def _odd_lines(elements: int) -> int:
    """At least that many, an odd number of cache lines: 36 places a multiple of 4 KB apart would share a cache set."""
    return (-(-int(elements) // BLOCK) | 1) * BLOCK


# --- what blocked_conv.py calls ---------------------------------------------------------------------------------------


def fits(window: Window, groups: int, size: Pair) -> bool:
    """Whether it is a convolution for this file, and its planes are not so small that most of a tile is in vain."""
    products = PLACES * -(-size[0] // TILE) * -(-size[1] // TILE)
    square = window.kernel == (3, 3) and window.stride == (1, 1) and window.dilation == (1, 1)
    return groups == 1 and square and products < 0.75 * 9 * size[0] * size[1]


def correlate(plan: Plan, x: np.ndarray, a: np.ndarray, flipped: bool, bias: np.ndarray, y: np.ndarray) -> None:
    """y = bias + x * w, where a are the weights as pack() orders them, and `flipped` if their taps run backwards."""
    u = empty((plan.u_size,))
    parallel_for(plan.parts * plan.in_blocks, prepare_weights, plan.numbers, plan.tables, a, u, int(flipped),
                 threads=plan.threads)  # fmt: skip
    work = scratch(plan.threads, plan.work_size, np.float32)
    parallel_for(plan.bands, multiply_bands, plan.numbers, plan.tables, x, u, bias, y, work, threads=plan.threads)


def weight_gradient(plan: Plan, x: np.ndarray, gy: np.ndarray, sums: np.ndarray) -> None:
    """sums, in the order of pack(), of the products of x and gy."""
    u, both = empty((plan.u_size,)), empty((plan.both_size,))
    work = scratch(plan.threads, plan.work_size, np.float32)
    for first in range(0, plan.rows, plan.band):
        rows = min(plan.band, plan.rows - first)
        parallel_for(rows, transform_rows, plan.numbers, plan.tables, first, x, gy, both, work, threads=plan.threads)
        parallel_for(PLACES * plan.parts, add_products, plan.numbers, plan.tables, rows, first, both, u,
                     threads=plan.threads)  # fmt: skip
    parallel_for(plan.parts * plan.in_blocks, finish_weights, plan.numbers, plan.tables, u, sums,
                 threads=plan.threads)  # fmt: skip


# --- compiled: weights ------------------------------------------------------------------------------------------------


@driver
def _weights_of(p, item):
    """Of part and block number `item`: lines of 16 weights, their place in a and from tap to tap, their place in u."""
    part, block = item // p.in_blocks, item % p.in_blocks
    blocks = p.part_blocks if part < p.parts - 1 else p.out_blocks - part * p.part_blocks
    start, lines = part * p.part_blocks * 16 * p.in_blocks * 16, blocks * 16
    a_col = 16 * lines
    return lines, start * 9 + block * 3 * a_col, p.in_blocks * 3 * a_col, a_col, start + block * a_col


@driver
def prepare_weights(share, first, last, plan, offsets, tiles, a, u, flipped):
    p = plan[0]
    for item in range(first, last):
        lines, from_a, a_row, a_col, to = _weights_of(p, item)
        call_tile(tiles[3], (lines, place(a, from_a), a_row * 4, a_col * 4, place(u, to), p.u_step * 4, flipped))


@driver
def finish_weights(share, first, last, plan, tiles, u, sums):
    p = plan[0]
    for item in range(first, last):
        lines, to, a_row, a_col, from_u = _weights_of(p, item)
        call_tile(tiles[3], (lines, place(u, from_u), p.u_step * 4, place(sums, to), a_row * 4, a_col * 4))


# --- compiled: rows of tiles ------------------------------------------------------------------------------------------


@driver
def _copy_row(copy, source, image, height, width, top, left, target, rows, cols):
    """target[i, j] = pixel (top + i, left + j) of an image, 0 outside."""
    begin = min(cols, max(0, -left))
    end = max(begin, min(cols, width - left))
    call_tile(
        copy, (rows, cols, place(source, image + left * 16), width * 64, begin, end, top, height, target, cols * 64)
    )


@driver
def _transform_x(p, tiles, x, number, block, own, row_at, target):
    """Row of tiles `number` of x, one block of it, into the 36 places of v."""
    n, row = number // p.tile_rows, number % p.tile_rows
    image = (n * p.in_blocks + block) * p.height * p.width * 16
    own_row = place(own, row_at)
    _copy_row(tiles[1], x, image, p.height, p.width, row * 4 - p.top, -p.left, own_row, 6, p.tile_cols * 4 + 2)
    call_tile(tiles[0], (p.tile_cols, own_row, p.x_row * 4, target, p.v_step * 4))


@driver
def multiply_bands(share, first, last, plan, offsets, tiles, x, u, bias, y, work):
    """Bands of y, by v and m in this thread's own memory."""
    p = plan[0]
    own = work[share]
    none = np.zeros(64, x.dtype)
    for item in range(first, last):
        row0, row1 = item * p.band, min((item + 1) * p.band, p.images * p.tile_rows)
        for number in range(row0, row1):
            for block in range(p.in_blocks):
                to = block * p.v_block + (number - row0) * p.tile_cols * 16
                _transform_x(p, tiles, x, number, block, own, p.end, place(own, to))
        for i in range(36):
            for part in range(p.parts):
                _multiply(p, i, part, (row1 - row0) * p.tile_cols, offsets, tiles, u, none, own)
        for number in range(row0, row1):
            for block in range(p.out_blocks):
                source = p.m_start + block * p.m_block + (number - row0) * p.tile_cols * 16
                _transform_m(p, tiles[2], number, block, source, bias, y, own)


@driver
def _multiply(p, i, part, count, offsets, tiles, u, none, own):
    """m = v · u for one of the 36 places, all tiles of the band and one part of the outputs."""
    last = part == p.parts - 1
    widest = p.widest_last if last else p.widest
    runs = (count + widest - 1) // widest
    width, wider = count // runs, count % runs
    source = i * p.v_step
    target = p.m_start + i * p.m_step + part * p.part_blocks * p.m_block
    weights = place(u, i * p.u_step + part * p.part_blocks * 16 * p.in_blocks * 16)
    for run in range(runs):
        pixels = width + (run < wider)
        call_tile(
            tiles[4 + 32 * last + pixels],
            (
                p.in_blocks * 4,
                place(offsets, 0),
                place(own, source),
                weights,
                place(own, target),
                64,
                p.m_block * 4,
                place(none, 0),
                0,
            ),
        )
        source += pixels * 16
        target += pixels * 16


@driver
def _transform_m(p, tile, number, block, source, bias, y, own):
    """A row of tiles of y: directly if all of them lie inside, else by way of a row of whole tiles."""
    n, row = number // p.tile_rows, number % p.tile_rows
    to = ((n * p.out_blocks + block) * p.rows + row * 4) * p.cols * 16
    inside = row * 4 + 4 <= p.rows and p.cols % 4 == 0
    row_at = p.end + 6 * p.x_row
    target, step = (place(y, to), p.cols * 64) if inside else (place(own, row_at), p.y_row * 4)
    call_tile(tile, (p.tile_cols, place(own, source), p.m_step * 4, target, step, place(bias, block * 16)))
    if not inside:
        for i in range(min(4, p.rows - row * 4)):
            begin = row_at + i * p.y_row
            y[to + i * p.cols * 16 : to + (i + 1) * p.cols * 16] = own[begin : begin + p.cols * 16]


# --- compiled: weight gradient ----------------------------------------------------------------------------------------


@driver
def transform_rows(share, first, last, plan, tiles, row0, x, gy, both, work):
    """v of x and m of gy, for rows of tiles row0 + first to row0 + last."""
    p = plan[0]
    own = work[share]
    for number in range(row0 + first, row0 + last):
        place_in_band = (number - row0) * p.tile_cols * 16
        for block in range(p.in_blocks):
            _transform_x(p, tiles, x, number, block, own, 0, place(both, block * p.v_block + place_in_band))
        n, row = number // p.tile_rows, number % p.tile_rows
        for block in range(p.out_blocks):
            image = (n * p.out_blocks + block) * p.rows * p.cols * 16
            target = place(both, p.m_start + block * p.m_block + place_in_band)
            if row * 4 + 4 <= p.rows and p.cols % 4 == 0:
                source, step = place(gy, image + row * 4 * p.cols * 16), p.cols * 64
            else:
                source, step = place(own, 0), p.y_row * 4
                _copy_row(tiles[1], gy, image, p.rows, p.cols, row * 4, 0, source, 4, p.tile_cols * 4)
            call_tile(tiles[2], (p.tile_cols, source, step, target, p.m_step * 4))


@driver
def add_products(share, first, last, plan, tiles, rows, before, both, u):
    """u[i] += Σ over tiles of v[i] · m[i], for (place i, part of the outputs); = if there was none `before`."""
    p = plan[0]
    tiles_in_all = rows * p.tile_cols
    for item in range(first, last):
        i, part = item // p.parts, item % p.parts
        last_part = part == p.parts - 1
        wide = 16 * (p.out_blocks - part * p.part_blocks if last_part else p.part_blocks)
        start = i * p.u_step + part * p.part_blocks * 16 * p.in_blocks * 16
        for t in range(0, tiles_in_all, 256):
            count = min(256, tiles_in_all - t)
            gradients = place(both, p.m_start + i * p.m_step + part * p.part_blocks * p.m_block + t * 16)
            for block in range(p.in_blocks):
                for c in range(0, 16, p.channels):
                    call_tile(
                        tiles[4 + last_part],
                        (
                            1,
                            count,
                            place(both, i * p.v_step + block * p.v_block + t * 16 + c),
                            0,
                            0,
                            gradients,
                            0,
                            p.m_block * 4,
                            place(u, start + (block * 16 + c) * wide),
                            0,
                            before + t,
                        ),
                    )
