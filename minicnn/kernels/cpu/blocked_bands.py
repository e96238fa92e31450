"""The compiled half of blocked_conv.py, which explains the idea. Sizes and places are in elements.

    convolve     x, a, bias ──→ y                       band by band: copy it padded, then tile by tile
    gradient     x, gy ──→ sums, in the order of a      each thread has some of the weights, and all pixels

a are the weights in the order in which tiles read them: see blocked_weights.py.
"""

from __future__ import annotations

import numpy as np

from .blocked_weights import part_of
from .drivers import driver
from .microkernels import call_tile, place

# --- a band of x ------------------------------------------------------------------------------------------------------


@driver
def _copy_band(p, copy, x, group, n0, n1, p0, p1, block0, block1, work):
    """work[n, block, row, col] = x, 0 outside of the image, for all that output rows p0 to p1 read."""
    h0 = p0 * p.row_step + p.first_row
    rows = (p1 - p0 - 1) * p.row_step + p.copy_rows - (p.band_rows - 1) * p.row_step
    left = max(0, min(p.copy_cols, -p.first_col))
    right = max(left, min(p.copy_cols, p.width - p.first_col))
    v = p.vector
    for n in range(n0, n1):
        for block in range(block0, block1):
            source = n * p.x_image + (group * p.in_blocks + block) * p.x_block + p.first_col * v
            to = (n - n0) * p.image + block * p.block
            if v == 16:
                call_tile(
                    copy,
                    (
                        rows,
                        p.copy_cols,
                        place(x, source),
                        p.x_row * 4,
                        left,
                        right,
                        h0,
                        p.height,
                        place(work, to),
                        p.row * 4,
                    ),
                )
                continue
            for h in range(h0, h0 + rows):  # planes
                work[to : to + p.copy_cols] = 0
                if 0 <= h < p.height:
                    for j in range(left, right):
                        work[np.uintp(to + j)] = x[np.uintp(source + h * p.x_row + j)]
                to += p.row


# --- forward and input gradient ---------------------------------------------------------------------------------------


@driver
def convolve(share, first, last, plan, offsets, tiles, copy, x, a, bias, y, work):
    """Items are bands of images or rows, for one group of channels, and all or some parts of the outputs."""
    p = plan[0]
    for item in range(first, last):
        group, rest = item % p.groups, item // p.groups
        split, band = rest % p.splits, rest // p.splits
        n0 = band // p.row_bands * p.band_images
        n1 = min(n0 + p.band_images, p.images)
        p0 = band % p.row_bands * p.band_rows
        p1 = min(p0 + p.band_rows, p.rows)
        if p.copies:
            own = work[share]
            _copy_band(p, copy, x, group, n0, n1, p0, p1, 0, p.in_blocks, own)
            start = place(own, 0)
        else:
            row = p0 * p.row_step + p.first_row
            start = place(x, n0 * p.x_image + group * p.in_blocks * p.x_block + row * p.row + p.first_col * p.vector)
        for part in range(p.parts * split // p.splits, p.parts * (split + 1) // p.splits):
            _convolvepart_of(p, group, part, n0, n1, p0, p1, offsets, tiles, start, a, bias, y)


@driver
def _convolvepart_of(p, group, part, n0, n1, p0, p1, offsets, tiles, x, a, bias, y):
    _, _, blocks, weights = part_of(p, group * p.parts + part)
    is_last = part == p.parts - 1
    widest = p.widest_last if is_last else p.widest
    first_block = group * p.out_blocks + part * p.part_blocks
    for t in range(0, p.terms, p.depth_piece):
        terms = min(p.depth_piece, p.terms - t)
        kind = 2 * is_last + (t + terms == p.terms)
        for n in range(n0, n1):
            for row in range(p0, p1):
                source = x + ((n - n0) * p.image + (row - p0) * p.row_step * p.row) * 4
                target = p.y_start + n * p.y_image + first_block * p.y_block + row * p.y_row
                cols = min(p.cols, p.pixels - row * p.cols)
                count = (cols + widest - 1) // widest
                width, wider = cols // count, cols % count
                for i in range(count):
                    pixels = width + (i < wider)
                    call_tile(
                        tiles[kind * 32 + pixels],
                        (
                            terms,
                            place(offsets, t),
                            source,
                            place(a, weights + t * p.channels * blocks * 16),
                            place(y, target),
                            p.y_col * 4,
                            p.y_block * 4,
                            place(bias, first_block * 16),
                            t,  # not 0: add to what the terms before gave
                        ),
                    )
                    source += pixels * p.col_step * p.vector * 4
                    target += pixels * p.y_col


# --- weight gradient --------------------------------------------------------------------------------------------------


@driver
def gradient(share, first, last, plan, units, tiles, copy, x, gy, sums, work):
    """Items are (group of channels, part of the outputs, unit): each is summed over all pixels by one thread."""
    p = plan[0]
    own = work[share]
    per_group = p.parts * p.units
    for group in range(first // per_group, (last - 1) // per_group + 1):
        from_item, to_item = max(first, group * per_group), min(last, (group + 1) * per_group)
        block0, block1 = 0, p.in_blocks
        if from_item // p.units == (to_item - 1) // p.units:  # of one part some units: they may not need all of x
            block0 = units[from_item % p.units, 2]
            block1 = block0 + 1
            for item in range(from_item, to_item):
                block0 = min(block0, units[item % p.units, 2])
                block1 = max(block1, units[item % p.units, 2] + 1)
        for n0 in range(0, p.images, p.band_images):
            n1 = min(n0 + p.band_images, p.images)
            for p0 in range(0, p.rows, p.band_rows):
                p1 = min(p0 + p.band_rows, p.rows)
                if p.copies:
                    _copy_band(p, copy, x, group, n0, n1, p0, p1, block0, block1, own)
                    start = place(own, 0)
                else:
                    row = p0 * p.row_step + p.first_row
                    start = place(x, n0 * p.x_image + group * p.in_blocks * p.x_block + row * p.row
                                  + p.first_col * p.vector)  # fmt: skip
                for n in range(n0, n1):
                    for row in range(p0, p1, p.chunk_rows):
                        rows = min(p.chunk_rows, p1 - row)
                        source = start + ((n - n0) * p.image + (row - p0) * p.row_step * p.row) * 4
                        _gradient_chunk(p, from_item, to_item, n, row, rows, units, tiles, source, gy, sums)


@driver
def _gradient_chunk(p, first, last, n, row, rows, units, tiles, x, gy, sums):
    cols = p.cols
    if p.linear:  # rows are one run
        cols, rows = min(rows * p.cols, p.pixels - row * p.cols), 1
    for item in range(first, last):
        group, part, blocks, to = part_of(p, item // p.units)
        unit = item % p.units
        first_block = group * p.out_blocks + part * p.part_blocks
        call_tile(
            tiles[1 if part == p.parts - 1 else 0],
            (
                rows,
                cols,
                x + units[unit, 0] * 4,
                p.row * p.row_step * 4,
                p.x_line * 4,
                place(gy, n * p.y_image + first_block * p.y_block + row * p.y_row),
                p.y_row * 4,
                p.y_block * 4,
                place(sums, to + units[unit, 1] * blocks * 16),
                p.gw_line * blocks * 64,
                n + row,  # not 0: add to what the pixels before gave
            ),
        )
