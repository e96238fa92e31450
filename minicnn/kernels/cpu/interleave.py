"""Planes to blocks of 16 channels and back: a transposition of 16 channels × as many pixels as a vector has lanes.

    16 planes     a0 a1 a2 a3 ...                      a0 b0 c0 ... p0 │ a1 b1 c1 ... p1 │ ...
                  b0 b1 b2 b3 ...      ──→ blocks
                  ...                                  each vector loaded once, each stored once, and between them
                  p0 p1 p2 p3 ...                      4 shuffles for each vector of 16 lanes (Code.transpose)

Channels past the last are read from a row of zeros, and written to a row that nobody reads.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir

from .arguments import Fixed
from .drivers import driver
from .microkernels import address, call_tile, place
from .threads import get_num_threads, parallel_for

BLOCK = 16
SMALL = 1 << 16  # numbers that one thread has moved before a second has woken up


def interleave(x: np.ndarray, blocks: np.ndarray) -> None:
    """x (N, C, H, W) -> blocks (N, ⌈C/16⌉, H, W, 16), 0 past C."""
    _move(x, blocks, _interleave, interleave_pixels)


def separate(blocks: np.ndarray, x: np.ndarray) -> None:
    """blocks (N, ⌈C/16⌉, H, W, 16) -> x (N, C, H, W)."""
    _move(x, blocks, _separate, separate_pixels)


def _move(x: np.ndarray, blocks: np.ndarray, body: Any, micro_kernel: Any) -> None:
    n, c, h, w = x.shape
    threads = 1 if x.size < SMALL else get_num_threads()
    flat, sixteens = (a.view(np.float32).reshape(-1) for a in (x, blocks))  # bits are moved, whatever they mean
    parallel_for(n * blocks.shape[1], body, c, h * w, _tile(micro_kernel), flat, sixteens, _row(), threads=threads)


def _tile(micro_kernel: Any) -> int:
    return address("float32", micro_kernel)


@functools.cache
def _row() -> Fixed:
    return Fixed(np.zeros(BLOCK, np.float32))


# --- compiled ---------------------------------------------------------------------------------------------------------


def interleave_pixels(code, count, rows, blocks):
    """blocks[p, c] = row c[p]  for p < count, c < 16. rows: the address of 16 pairs (address, bytes to the next)."""

    def move(code, p):
        sources = [_element(code, rows, c, p) for c in range(BLOCK)]
        for first in range(0, BLOCK, code.lanes):
            vectors = [code.load(source) for source in sources[first : first + code.lanes]]
            for pixel, vector in enumerate(code.transpose(vectors)):
                code.store(vector, _place(code, blocks, code.plus(p, pixel), first))

    def move_one(code, p):
        for c in range(BLOCK):
            code.store(code.load_one(_element(code, rows, c, p)), _place(code, blocks, p, c))

    _for_pixels(code, count, move, move_one)


def separate_pixels(code, count, rows, blocks):
    """row c[p] = blocks[p, c]  for p < count, c < 16: the opposite."""

    def move(code, p):
        for first in range(0, BLOCK, code.lanes):
            pixels = [
                code.plus(blocks, code.plus(code.times(code.plus(p, i), 64), 4 * first)) for i in range(code.lanes)
            ]
            for lane, vector in enumerate(code.transpose([code.load(pixel) for pixel in pixels])):
                code.store(vector, _element(code, rows, first + lane, p))

    def move_one(code, p):
        for c in range(BLOCK):
            code.store(code.load_one(_place(code, blocks, p, c)), _element(code, rows, c, p))

    _for_pixels(code, count, move, move_one)


def _place(code, blocks: ir.Value, p: ir.Value, c: int) -> ir.Value:
    """The address of channel c of pixel p."""
    return code.plus(blocks, code.plus(code.times(p, 4 * BLOCK), 4 * c))


def _element(code, rows, c: int, p: ir.Value) -> ir.Value:
    """The address of pixel p in row c; a row whose pixels all are one place has 0 bytes to the next."""
    start, step = code.load_int(code.plus(rows, 16 * c)), code.load_int(code.plus(rows, 16 * c + 8))
    return code.plus(start, code.builder.mul(p, step))


def _for_pixels(code, count, move, move_one):
    """move(code, p) for a vector's worth of pixels at a time, then move_one(code, p) for each of the rest."""

    def whole(i, nothing):
        move(code, code.times(i, code.lanes))
        return nothing

    def one(i, nothing):
        move_one(code, code.plus(first, i))
        return nothing

    vectors = code.builder.sdiv(count, count.type(code.lanes))
    first = code.times(vectors, code.lanes)
    code.loop(vectors, [], whole)
    code.loop(code.builder.sub(count, first), [], one)


@driver
def _interleave(share, first, last, channels, pixels, tile, x, blocks, row):
    rows = np.empty(32, np.int64)
    per_image = (channels + 15) // 16
    for item in range(first, last):
        n, block = item // per_image, item % per_image
        _point(rows, x, n * channels, channels, block, pixels, row)
        call_tile(tile, (pixels, place(rows, 0), place(blocks, item * pixels * 16)))


@driver
def _separate(share, first, last, channels, pixels, tile, x, blocks, row):
    rows = np.empty(32, np.int64)
    nowhere = np.empty(16, x.dtype)
    per_image = (channels + 15) // 16
    for item in range(first, last):
        n, block = item // per_image, item % per_image
        _point(rows, x, n * channels, channels, block, pixels, nowhere)
        call_tile(tile, (pixels, place(rows, 0), place(blocks, item * pixels * 16)))


@driver
def _point(rows, x, image, channels, block, pixels, beyond):
    """Where the 16 channels of a block are, in bytes, and how far their pixels are apart."""
    for i in range(16):
        c = block * 16 + i
        rows[2 * i] = place(x, (image + c) * pixels) if c < channels else place(beyond, 0)
        rows[2 * i + 1] = 4 if c < channels else 0
