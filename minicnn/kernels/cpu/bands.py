"""The compiled half of conv.py: a band's columns, its products, and its results. conv.py explains the idea.

    _load_columns     x  ──→ columns[c, s, phase, row, image, q]        row by row, with zeros where taps fall outside
    _load_unpooled    the same of a gradient that comes from a max pooling: each number goes to its winner
    _multiply         columns, a ──→ c[k, row, image, q]                fma_tile
    _unload           c, b ──→ y[image, k, row, q]
    _unload_pooled    the same through relu and max pooling: c is still in the cache

Every function gets `p`, the record of PASS that conv.py planned; sizes and places are in elements, and only what is
handed to a micro-kernel is turned into addresses.
"""

from __future__ import annotations

import numpy as np

from .drivers import driver
from .microkernels import call_tile, place

# --- bands of columns -------------------------------------------------------------------------------------------------


@driver
def _inside(shift, step, size, outputs):
    """The outputs first ≤ o < last with 0 ≤ o·step + shift < size."""
    first = max(0, -(shift // step))
    last = max(0, min(outputs, -((shift - size) // step)))
    return min(first, last), last


@driver
def _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, fill, columns):
    """columns[c, s, phase, row, n, q] = x[n, c, h, q·step + taps[s]], 0 outside, for q < pitch.

    Rows that lie outside of the image, and what pads a row to whole vectors, are left as they are unless `fill`:
    no result that is used depends on them, except in sums over all pixels.
    """
    zeros = np.zeros(p.pitch, x.dtype)
    plane = p.height * p.width
    image = p.groups * p.channels * plane
    images, slots, cols = n1 - n0, p1 - p0 + p.slots - p.band_rows, p.pitch
    for cs in range(p.channels * p.copied_taps):
        shift = col_taps[cs % p.copied_taps]
        q0, q1 = _inside(shift, p.col_step, p.width, cols)
        start = n0 * image + (g * p.channels + cs // p.copied_taps) * plane + q0 * p.col_step + shift
        for f in range(p.phases):
            for slot in range(slots):
                h = (p0 + slot) * p.row_step + p.first_row + phases[f]
                to = cs * p.plane + (f * p.slots + slot) * p.row_length
                outside = h < 0 or h >= p.height
                if not outside:
                    source = start + h * p.width
                    if p.col_step == 1:
                        move(mover, images, x, source, image, columns, to + q0, cols, q1 - q0, zeros, 0)
                    else:
                        _gather(x, source, image, p.col_step, columns, to + q0, cols, images, q1 - q0)
                    if q0 > 0:
                        move(mover, images, zeros, 0, 0, columns, to, cols, q0, zeros, 0)
                    if q1 < cols:
                        move(mover, images, zeros, 0, 0, columns, to + q1, cols, cols - q1, zeros, 0)
                    for i in range(to + images * cols, to + images * cols + p.halo):
                        columns[i] = 0  # what the last image has to its right
                if fill:
                    for i in range(to if outside else to + images * cols, to + p.row_length + p.halo):
                        columns[i] = 0


@driver
def _load_unpooled(p, gy, indices, g, n0, n1, left, unpool, clear, columns):
    """columns[c, row, n, left + q] = gy at its winners, 0 elsewhere: whole images, all rows of them.

    `clear`: if not, what lies between the images is already 0.
    """
    rows, cols = p.height // 2, p.width // 2
    if clear:
        columns[:] = 0
    for c in range(p.channels):
        start = c * p.plane
        for n in range(n0, n1):
            source = ((n * p.groups + g) * p.channels + c) * rows * cols
            to = start - p.first_row * p.row_length + (n - n0) * p.pitch + left
            call_tile(
                unpool,
                (
                    rows,
                    cols,
                    place(gy, source),
                    place(indices, source),
                    p.width,
                    0,
                    place(columns, to),
                    p.row_length * p.itemsize,
                ),
            )


@driver
def move(mover, rows, source, i, source_step, target, j, target_step, width, addend, k):
    """target[j + row·target_step + q] = source[i + row·source_step + q] + addend[k]  for q < width"""
    size = source.itemsize
    call_tile(
        mover,
        (
            rows,
            place(source, i),
            source_step * size,
            place(target, j),
            target_step * size,
            width,
            place(addend, k),
        ),
    )


@driver
def _gather(x, source, image, step, columns, to, cols, images, count):
    """columns[to + n·cols + i] = x[source + n·image + i·step]"""
    for _ in range(images):
        for i in range(count):
            columns[to + i] = x[source + i * step]
        source += image
        to += cols


# --- forward and input gradient ---------------------------------------------------------------------------------------


@driver
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


@driver
def convolve_bands(
    share, first, last, plan, row_taps, col_taps, phases, offsets, tiles, mover, x, a, b, y, work,
    unpool, winners, pool, indices,
):  # fmt: skip
    """y = a · columns(x) + b. unpool ≠ 0: x is the gradient of a pooling with these winners; pool ≠ 0: y is pooled."""
    p = plan[0]
    columns = work[share][: p.columns_size]
    c = work[share][p.columns_size :]
    for item in range(first, last):
        g = item % p.groups
        n0 = item // p.groups // p.row_bands * p.band_images
        n1 = min(n0 + p.band_images, p.images)
        p0 = item // p.groups % p.row_bands * p.band_rows
        p1 = min(p0 + p.band_rows, p.rows)
        if unpool:
            clear = item == first or n1 - n0 < p.band_images  # then fewer images leave more room between them
            _load_unpooled(p, x, winners, g, n0, n1, -col_taps[0], unpool, clear, columns)
        else:
            _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, False, columns)
        _multiply(p, a[g * p.panels * p.depth * p.tile_rows :], n1 - n0, p0, p1, row_taps, offsets, tiles, columns, c)
        if pool:
            _unload_pooled(p, b, g, n0, n1, p0, p1, pool, c, y, indices)
        else:
            _unload(p, b, g, n0, n1, p0, p1, c, y)


@driver
def _multiply(p, a, images, p0, p1, row_taps, offsets, tiles, columns, c):
    """c[k, (row, n, q)] = Σ a[k, (r, c, s)] · columns[(r, c, s), (row, n, q)], in runs of rows with the same taps."""
    from_row = p0
    while from_row < p1:
        r0, r1 = _taps_inside(p, row_taps, from_row)
        to_row = from_row + 1
        while to_row < p1 and _taps_inside(p, row_taps, to_row) == (r0, r1):
            to_row += 1
        start = (from_row - p0) * p.row_length
        count = (to_row - from_row - 1) * p.row_length + images * p.pitch
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
                            place(a, (panel * p.depth + k0) * p.tile_rows),
                            place(offsets, k0),
                            place(columns, t),
                            place(c, panel * p.tile_rows * p.c_row + t),
                            p.c_row * p.itemsize,
                            k0 - r0 * depth,  # not 0: add to what the terms before gave
                        ),
                    )
        from_row = to_row


@driver
def _taps_inside(p, row_taps, row):
    """The taps r0 ≤ r < r1 for which output row `row` reads inside of the image: a range, as taps are monotonic."""
    r0, r1 = 0, p.row_taps
    while r0 < r1 and not 0 <= row * p.row_step + row_taps[r0] < p.height:
        r0 += 1
    while r0 < r1 and not 0 <= row * p.row_step + row_taps[r1 - 1] < p.height:
        r1 -= 1
    return r0, r1


@driver
def _unload(p, b, g, n0, n1, p0, p1, c, y):
    """y[n, k, row, q] = c[k, (row, n, q)] + b[k], or relu of that: what the unloader makes of it."""
    for n in range(n0, n1):
        for k in range(p.outputs):
            output = g * p.outputs + k
            to = p.y_start + n * p.y_image + output * p.y_channel + p0 * p.y_row
            source = k * p.c_row + (n - n0) * p.pitch
            if p.y_col == 1:
                move(p.unloader, p1 - p0, c, source, p.row_length, y, to, p.y_row, p.cols, b, output)
            else:
                for _ in range(p0, p1):
                    for q in range(p.cols):
                        y[to + q * p.y_col] = c[source + q] + b[output]
                    to += p.y_row
                    source += p.row_length


@driver
def _unload_pooled(p, b, g, n0, n1, p0, p1, pool, c, y, indices):
    """y[n, k, row, q] = relu(the largest of four c[k, (row, n, q)] + b[k]), indices = where that was."""
    cols = p.cols // 2
    for n in range(n0, n1):
        for k in range(p.outputs):
            output = g * p.outputs + k
            to = n * p.y_image + output * p.y_channel + p0 // 2 * cols
            call_tile(
                pool,
                (
                    (p1 - p0) // 2,
                    cols,
                    place(c, k * p.c_row + (n - n0) * p.pitch),
                    p.row_length * p.itemsize,
                    p.cols,
                    p0 * p.cols,
                    place(y, to),
                    place(indices, to),
                    place(b, output),
                ),
            )


# --- weight gradient --------------------------------------------------------------------------------------------------


@driver
def weight_bands(
    share, first, last, plan, plan_gy, row_taps, col_taps, phases, offsets, tiles, mover, x, gy, work, unpool, winners
):
    """Sums over this share's bands. A bias is the weight of an input that is 1 everywhere: one more column."""
    p, pg = plan[0], plan_gy[0]
    zero = np.zeros(1, np.int64)
    sums = work[share][: p.sums_size]
    columns = work[share][p.sums_size : p.sums_size + p.columns_size]
    pixels = work[share][p.sums_size + p.columns_size :][: pg.columns_size]
    sums[:] = 0
    columns[p.ones : p.columns_size] = 1
    width = p.depth_tiles * p.tile_columns
    for item in range(first, last):
        g = item % p.groups
        n0 = item // p.groups // p.row_bands * p.band_images
        n1 = min(n0 + p.band_images, p.images)
        p0 = item // p.groups % p.row_bands * p.band_rows
        p1 = min(p0 + p.band_rows, p.rows)
        _load_columns(p, x, g, n0, n1, p0, p1, col_taps, phases, mover, True, columns)
        if unpool:
            clear = item == first or n1 - n0 < p.band_images
            _load_unpooled(pg, gy, winners, g, n0, n1, 0, unpool, clear, pixels)
        else:
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
                            place(pixels, i * p.tile_rows * pg.plane + t * p.lanes),
                            pg.plane * p.itemsize,
                            place(columns, t * p.lanes),
                            place(offsets, j * p.tile_columns),
                            place(sums, ((g * p.panels + i) * p.tile_rows) * width + j * p.tile_columns),
                            width * p.itemsize,
                        ),
                    )


@driver
def add_sums(share, first, last, plan, plan_gy, work, shares, gw, gb):
    """gw[k, c, r, s] = Σ over the shares, in their order, of sums[k, (r, c, s)]; gb[k] of the column behind them."""
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
        if len(gb):
            total = work[0, row + p.depth]
            for i in range(1, shares):
                total += work[i, row + p.depth]
            gb[k] = total
