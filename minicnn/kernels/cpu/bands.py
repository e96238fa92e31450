"""The compiled half of conv.py: a band's columns, its products, and its results. conv.py explains the idea.

    _load_columns     x  ──→ columns[c, s, phase, row, image, q]        row by row, with zeros where taps fall outside
    _multiply         columns, a ──→ c[k, row, image, q]                fma_tile
    _unload           c, b ──→ y[image, k, row, q]

Every function gets `p`, the record of PASS that conv.py planned; sizes and places are in elements, and only what is
handed to a micro-kernel is turned into addresses.
"""

from __future__ import annotations

import numpy as np

from .compile import jit
from .microkernels import call_tile

# --- bands of columns -------------------------------------------------------------------------------------------------


@jit
def _inside(shift, step, size, outputs):
    """The outputs first ≤ o < last with 0 ≤ o·step + shift < size."""
    first = max(0, -(shift // step))
    last = max(0, min(outputs, -((shift - size) // step)))
    return min(first, last), last


@jit
def _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, fill, columns):
    """columns[c, s, phase, row, n, q] = x[n, c, h, q·step + taps[s]], 0 outside.

    Rows that lie outside of the image, and what pads a row to whole vectors, are left as they are unless `fill`:
    no result that is used depends on them, except in sums over all pixels.
    """
    zeros = np.zeros(p.cols, x.dtype)
    plane = p.height * p.width
    image = p.groups * p.channels * plane
    images, slots, cols = n1 - n0, p1 - p0 + p.slots - p.band_rows, p.cols
    for cs in range(p.channels * p.col_taps):
        shift = col_taps[cs % p.col_taps]
        q0, q1 = _inside(shift, p.col_step, p.width, cols)
        start = n0 * image + (g * p.channels + cs // p.col_taps) * plane + q0 * p.col_step + shift
        for f in range(p.phases):
            for slot in range(slots):
                h = (p0 + slot) * p.row_step + p.first_row + phases[f]
                to = cs * p.plane + (f * p.slots + slot) * p.row_length
                outside = h < 0 or h >= p.height
                if not outside:
                    source = start + h * p.width
                    if p.col_step == 1:
                        _move(mover, images, x, source, image, columns, to + q0, cols, q1 - q0, zeros, 0)
                    else:
                        _gather(x, source, image, p.col_step, columns, to + q0, cols, images, q1 - q0)
                    if q0 > 0:
                        _move(mover, images, zeros, 0, 0, columns, to, cols, q0, zeros, 0)
                    if q1 < cols:
                        _move(mover, images, zeros, 0, 0, columns, to + q1, cols, cols - q1, zeros, 0)
                if fill:
                    for i in range(to if outside else to + images * cols, to + p.row_length):
                        columns[i] = 0


@jit
def _move(mover, rows, source, i, source_step, target, j, target_step, width, addend, k):
    """target[j + row·target_step + q] = source[i + row·source_step + q] + addend[k]  for q < width"""
    size = source.itemsize
    call_tile(
        mover,
        (
            rows,
            source.ctypes.data + i * size,
            source_step * size,
            target.ctypes.data + j * size,
            target_step * size,
            width,
            addend.ctypes.data + k * size,
        ),
    )


@jit
def _gather(x, source, image, step, columns, to, cols, images, count):
    """columns[to + n·cols + i] = x[source + n·image + i·step]"""
    for _ in range(images):
        for i in range(count):
            columns[to + i] = x[source + i * step]
        source += image
        to += cols


# --- forward and input gradient ---------------------------------------------------------------------------------------


@jit
def pack_weights(share, first, last, plan, w, layout, a):
    """a[panel, (r, c, s), i] = weights[g, panel·tile_rows + i, c, r, s], 0 past the last output."""
    p = plan[0]
    start, group, output, channel, row, col = layout
    for panel in range(first, last):
        k0 = panel % p.panels * p.tile_rows
        to = panel * p.depth * p.tile_rows
        begin = start + panel // p.panels * group + k0 * output
        for r in range(p.row_taps):
            for c in range(p.channels):
                for s in range(p.col_taps):
                    source = begin + r * row + c * channel + s * col
                    for i in range(p.tile_rows):
                        a[to + i] = w[source + i * output] if k0 + i < p.outputs else 0
                    to += p.tile_rows


@jit
def convolve_bands(share, first, last, plan, x, a, b, y, row_taps, col_taps, phases, offsets, tiles, mover, work):
    p = plan[0]
    columns = work[share][: p.columns_size]
    c = work[share][p.columns_size :]
    for item in range(first, last):
        g = item % p.groups
        n0 = item // p.groups // p.row_bands * p.band_images
        n1 = min(n0 + p.band_images, p.images)
        p0 = item // p.groups % p.row_bands * p.band_rows
        p1 = min(p0 + p.band_rows, p.rows)
        _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, False, columns)
        _multiply(p, a[g * p.panels * p.depth * p.tile_rows :], n1 - n0, p0, p1, row_taps, offsets, tiles, columns, c)
        _unload(p, b, g, n0, n1, p0, p1, mover, c, y)


@jit
def _multiply(p, a, images, p0, p1, row_taps, offsets, tiles, columns, c):
    """c[k, (row, n, q)] = Σ a[k, (r, c, s)] · columns[(r, c, s), (row, n, q)], in runs of rows with the same taps."""
    from_row = p0
    while from_row < p1:
        r0, r1 = _taps_inside(p, row_taps, from_row)
        to_row = from_row + 1
        while to_row < p1 and _taps_inside(p, row_taps, to_row) == (r0, r1):
            to_row += 1
        start = (from_row - p0) * p.row_length
        count = (to_row - from_row - 1) * p.row_length + images * p.cols
        depth = p.channels * p.col_taps
        if r0 == r1:  # all padding
            for k in range(p.outputs):
                c[k * p.c_row + start : k * p.c_row + start + count] = 0
        for k0 in range(r0 * depth, r1 * depth, p.depth_piece):
            terms = min(p.depth_piece, r1 * depth - k0)
            for t in range(start, start + count, p.tile_columns * p.lanes):
                vectors = min(p.tile_columns, (start + count - t + p.lanes - 1) // p.lanes)
                for panel in range(p.panels):
                    call_tile(
                        tiles[vectors - 1],
                        (
                            terms,
                            a.ctypes.data + (panel * p.depth + k0) * p.tile_rows * p.itemsize,
                            offsets.ctypes.data + k0 * 8,
                            columns.ctypes.data + t * p.itemsize,
                            c.ctypes.data + (panel * p.tile_rows * p.c_row + t) * p.itemsize,
                            p.c_row * p.itemsize,
                            k0 - r0 * depth,  # not 0: add to what the terms before gave
                        ),
                    )
        from_row = to_row


@jit
def _taps_inside(p, row_taps, row):
    """The taps r0 ≤ r < r1 for which output row `row` reads inside of the image: a range, as taps are monotonic."""
    r0, r1 = 0, p.row_taps
    while r0 < r1 and not 0 <= row * p.row_step + row_taps[r0] < p.height:
        r0 += 1
    while r0 < r1 and not 0 <= row * p.row_step + row_taps[r1 - 1] < p.height:
        r1 -= 1
    return r0, r1


@jit
def _unload(p, b, g, n0, n1, p0, p1, mover, c, y):
    """y[n, k, row, q] = c[k, (row, n, q)] + b[k]"""
    for n in range(n0, n1):
        for k in range(p.outputs):
            output = g * p.outputs + k
            to = p.y_start + n * p.y_image + output * p.y_channel + p0 * p.y_row
            source = k * p.c_row + (n - n0) * p.cols
            if p.y_col == 1:
                _move(mover, p1 - p0, c, source, p.row_length, y, to, p.y_row, p.cols, b, output)
            else:
                for _ in range(p0, p1):
                    for q in range(p.cols):
                        y[to + q * p.y_col] = c[source + q] + b[output]
                    to += p.y_row
                    source += p.row_length


# --- weight gradient --------------------------------------------------------------------------------------------------


@jit
def weight_bands(share, first, last, plan, plan_gy, x, gy, col_taps, phases, offsets, tiles, mover, work):
    p, pg = plan[0], plan_gy[0]
    zero = np.zeros(1, np.int64)
    sums = work[share][: p.sums_size]
    columns = work[share][p.sums_size : p.sums_size + p.columns_size]
    pixels = work[share][p.sums_size + p.columns_size :]
    sums[:] = 0
    width = p.depth_tiles * p.tile_columns
    for item in range(first, last):
        g = item % p.groups
        n0 = item // p.groups // p.row_bands * p.band_images
        n1 = min(n0 + p.band_images, p.images)
        p0 = item // p.groups % p.row_bands * p.band_rows
        p1 = min(p0 + p.band_rows, p.rows)
        _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, True, columns)
        _load_columns(pg, gy, g, n0, n1, p0, p1, zero, zero, mover, True, pixels)
        count = (p1 - p0) * p.row_length // p.lanes
        for t in range(0, count, p.dot_vectors):
            vectors = min(p.dot_vectors, count - t)
            for j in range(p.depth_tiles):
                for i in range(p.panels):
                    call_tile(
                        tiles[0],
                        (
                            vectors,
                            pixels.ctypes.data + (i * p.tile_rows * pg.plane + t * p.lanes) * p.itemsize,
                            pg.plane * p.itemsize,
                            columns.ctypes.data + t * p.lanes * p.itemsize,
                            offsets.ctypes.data + j * p.tile_columns * 8,
                            sums.ctypes.data
                            + (((g * p.panels + i) * p.tile_rows) * width + j * p.tile_columns) * p.itemsize,
                            width * p.itemsize,
                        ),
                    )


@jit
def add_sums(share, first, last, plan, work, shares, gw):
    """gw[k, c, r, s] = Σ over the shares, in their order, of sums[k, (r, c, s)]."""
    p = plan[0]
    width = p.depth_tiles * p.tile_columns
    for k in range(first, last):
        row = (k // p.outputs * p.panels * p.tile_rows + k % p.outputs) * width
        for c in range(p.channels):
            for r in range(p.row_taps):
                for s in range(p.col_taps):
                    source = row + (r * p.channels + c) * p.col_taps + s
                    total = work[0, source]
                    for i in range(1, shares):
                        total += work[i, source]
                    gw[((k * p.channels + c) * p.row_taps + r) * p.col_taps + s] = total
