"""Weights in the order in which the tiles of blocked_tiles.py read them, and back.

    w   (K, C/groups, R, S)                    the parameter: of one output, all taps of one channel after the other
    a   [part, (r, block, s, c), k]            of one tap and channel, the 32 outputs of a part side by side

A line of a holds 16 outputs k of one (r, s, c): a column of w, of which 16 × 16 numbers are transposed at a time. For
the input gradient outputs and inputs change their roles: the 16 × 16 numbers of a tap are transposed once more.
Blocks that are not full (the last one, if 16 does not divide the channels) are copied number by number.

    bytes      8 for each weight
    measured   1 thread, 512 × 512 × 3 × 3: 0.6 ns a weight one way, 0.9 the other; number by number 2.5
"""

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir

from .arguments import Fixed
from .drivers import driver
from .microkernels import address, call_tile, place

BLOCK = 16


class Order:
    """Where the lines of a block of inputs stand, and the micro-kernels that fill and read them."""

    def __init__(self, row_taps: int, col_taps: int, in_blocks: int, vector: int):
        r, s, c = np.indices((row_taps, col_taps, vector))
        lines = (r * in_blocks * col_taps + s) * vector + c
        in_order_of_w = np.ascontiguousarray(lines.transpose(2, 0, 1)).reshape(-1).astype(np.int64)
        by_tap = np.ascontiguousarray(((r * col_taps + s) * vector + c).transpose(2, 0, 1)).reshape(-1)
        self.packing = Fixed(in_order_of_w, by_tap.astype(np.int64), address("float32", lines_from_rows))
        self.unpacking = Fixed(in_order_of_w, address("float32", rows_from_lines))


@functools.lru_cache(maxsize=1024)
def order_of(row_taps: int, col_taps: int, in_blocks: int, vector: int) -> Order:
    return Order(row_taps, col_taps, in_blocks, vector)


# --- micro-kernels ----------------------------------------------------------------------------------------------------


def lines_from_rows(code, count, rows, row_step, places, lines, line_bytes):
    """line places[j] [i] = row i[j]  for j < count, a multiple of 16, and i < 16."""

    def move(code, j, part):
        sources = [
            code.plus(code.at(rows, row=part + i, row_bytes=row_step), code.times(j, 4)) for i in range(code.lanes)
        ]
        for i, vector in enumerate(code.transpose([code.load(source) for source in sources])):
            code.store(vector, _line(code, places, lines, line_bytes, code.plus(j, i), part))

    _in_squares(code, count, move)


def rows_from_lines(code, count, rows, row_step, places, lines, line_bytes):
    """row i[j] = line places[j] [i]: the opposite."""

    def move(code, j, part):
        sources = [_line(code, places, lines, line_bytes, code.plus(j, i), part) for i in range(code.lanes)]
        for i, vector in enumerate(code.transpose([code.load(source) for source in sources])):
            code.store(vector, code.plus(code.at(rows, row=part + i, row_bytes=row_step), code.times(j, 4)))

    _in_squares(code, count, move)


def _in_squares(code, count, move):
    """move(code, first j, first i) for squares of a vector's size."""

    def step(t: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        for part in range(0, BLOCK, code.lanes):
            move(code, code.times(t, code.lanes), part)
        return nothing

    code.loop(code.builder.sdiv(count, count.type(code.lanes)), [], step)


def _line(code, places, lines, line_bytes, j, first):
    number = code.load_int(code.plus(places, code.times(j, 8)))
    return code.plus(code.plus(lines, code.builder.mul(number, line_bytes)), 4 * first)


# --- compiled ---------------------------------------------------------------------------------------------------------


@driver
def part_of(p, item):
    """Group of channels, part, blocks of outputs, and the place of the first weight, of part `item` of all outputs."""
    group, part = item // p.parts, item % p.parts
    blocks = p.part_blocks if part < p.parts - 1 else p.out_blocks - part * p.part_blocks
    return group, part, blocks, (group * p.out_blocks + part * p.part_blocks) * 16 * p.depth


@driver
def pack(share, first, last, plan, w, layout, order, by_tap, tile, outputs, inputs, all_taps, a):
    """a[part, (r, block, s, c), k] = w of these; 0 past the last output or input of a group."""
    p = plan[0]
    start, of_group, of_output, of_input, of_row, of_col = layout
    taps = np.empty(all_taps * 16 * 16, a.dtype)
    identity = np.empty(16, np.int64)
    for i in range(16):
        identity[i] = i
    for item in range(first, last):
        group, part, blocks, to = part_of(p, item)
        wide = blocks * 16
        if (part * p.part_blocks + blocks) * 16 > outputs or inputs < p.in_blocks * p.vector:
            a[to : to + wide * p.depth] = 0
        for b in range(blocks):
            k0 = (part * p.part_blocks + b) * 16
            for block in range(p.in_blocks):
                c0 = block * p.vector
                source = group * of_group + k0 * of_output + c0 * of_input
                target = to + block * p.col_taps * p.vector * wide + b * 16
                if p.vector < 16 or k0 + 16 > outputs or c0 + 16 > inputs:
                    ks, cs = min(16, outputs - k0), min(p.vector, inputs - c0)
                    _copy_weights(p, w, source + start, layout, a, target, wide, ks, cs)
                elif of_output > of_input:
                    call_tile(tile, (16 * all_taps, place(w, source), of_output * 4, place(order, 0), place(a, target),
                                     wide * 4))  # fmt: skip
                else:  # w has inputs where the tile wants outputs: 16 × 16 numbers for each tap, and these turned
                    call_tile(
                        tile, (16 * all_taps, place(w, source), of_input * 4, place(by_tap, 0), place(taps, 0), 64)
                    )
                    for r in range(p.row_taps):
                        for s in range(p.col_taps):
                            tap = start + r * of_row + s * of_col
                            line = target + (r * p.in_blocks * p.col_taps + s) * p.vector * wide
                            call_tile(tile, (16, place(taps, tap * 256), 64, place(identity, 0), place(a, line),
                                             wide * 4))  # fmt: skip


@driver
def _copy_weights(p, w, source, layout, a, target, wide, ks, cs):
    _, _, of_output, of_input, of_row, of_col = layout
    for r in range(p.row_taps):
        for s in range(p.col_taps):
            to = target + (r * p.in_blocks * p.col_taps + s) * p.vector * wide
            here = source + r * of_row + s * of_col
            for c in range(cs):
                for k in range(ks):
                    a[to + c * wide + k] = w[here + c * of_input + k * of_output]


@driver
def unpack(share, first, last, plan, order, tile, sums, outputs, inputs, gw):
    """gw[k, c, r, s] = sums[part, (r, block, s, c), k]"""
    p = plan[0]
    taps = p.row_taps * p.col_taps
    for item in range(first, last):
        group, part, blocks, source = part_of(p, item)
        wide = blocks * 16
        for b in range(blocks):
            k0 = (part * p.part_blocks + b) * 16
            for block in range(p.in_blocks):
                c0 = block * p.vector
                here = source + block * p.col_taps * p.vector * wide + b * 16
                to = ((group * outputs + k0) * inputs + c0) * taps
                if p.vector == 16 and k0 + 16 <= outputs and c0 + 16 <= inputs:
                    call_tile(tile, (16 * taps, place(gw, to), inputs * taps * 4, place(order, 0), place(sums, here),
                                     wide * 4))  # fmt: skip
                else:
                    for k in range(min(16, outputs - k0)):
                        for j in range(min(p.vector, inputs - c0) * taps):
                            gw[to + k * inputs * taps + j] = sums[here + order[j] * wide + k]
