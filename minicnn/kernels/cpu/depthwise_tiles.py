"""Micro-kernels of depthwise convolution in blocks of channels, made for one pattern of reads.

A tile is a few pixels of a row, each a vector of channels. Which pixels of x they read is known when the code is made;
so a pixel of x is loaded once, and multiplied into every sum of the tile that it belongs to:

    correlate_rows, 3 taps, stride 1                     weigh_rows

    x    [0]  [1]  [2]  [3] ...    loaded one by one     x    [0]  [1]  [2]  [3] ...
          w0   w1   w2                                        gy0  gy0  gy0
    y     └────┴────┘→ y0          up to 14 sums               │   gy1  gy1  gy1
               w0   w1   w2        in registers                │    │   gy2  gy2 ...
               └────┴────┘→ y1                                 ↓    ↓    ↓
                                                         gw   [0]  [1]  [2]    sums in registers, up to 3 rows

A column of x that is padding for some tiles is jumped over there, and one that is padding for all is not in the code:
padding costs nothing and is never read.
"""

from __future__ import annotations

from typing import NamedTuple

from .blocked import BLOCK
from .code import INT
from .microkernels import Machine

PIXEL = 4 * BLOCK  # bytes
WEIGHED = 7  # pixels in a tile of weigh_rows: twice as many gain a twentieth and take twice as long to compile


class Column(NamedTuple):
    """A column of x, as a tile of outputs sees it."""

    place: int  # counted from the column where the tile begins
    before: bool  # whether it is to the left of the image for some tile
    beyond: bool  # to the right
    uses: tuple[tuple[int, int], ...]  # who reads it: (output in the tile, tap)


class Pattern(NamedTuple):
    """What the tiles of a row read."""

    outputs: int  # pixels in a tile
    advance: int  # columns of x from a tile to the next
    taps: int  # of a row
    columns: tuple[Column, ...]


def tile_outputs(machine: Machine) -> int:
    """Pixels in a tile of correlate_rows: half of the registers; most networks have rows of 7 · 2ⁿ."""
    return 14 if machine.registers >= 32 else 7


def tap_rows(machine: Machine, taps: int) -> int:
    """Rows of taps for weigh_rows: registers for the sums, as many of gy as a column has uses, and one of x."""
    return max(1, min(3, (machine.registers - taps - 1) // taps))


def correlate_rows(
    code, rows, tiles, start, width, taps, x, x_row, x_tap, w, w_tap, b, y, y_row, *, pattern, cap=None
):  # fmt: skip
    """y[p, q] = b + Σ_{r,s} w[r, s] · x[p, r, the column that q reads through s], for `rows` · `tiles` tiles.

    x: where the first tile begins, `start` columns from the left edge of an image that is `width` wide. From one row of
    outputs to the next it is x_row bytes in x and y_row in y; from one of the `taps` rows of taps to the next x_tap
    in x and w_tap in w. cap: min(max(·, 0), cap).
    """

    def row(p, at):
        x, y = at
        code.loop(tiles, [x, y, start], tile)
        return [code.plus(x, x_row), code.plus(y, y_row)]

    def tile(t, at):
        x, y, start = at
        inside = _inside(code, pattern, start, width)

        def vector(part, nothing):
            _correlate(code, pattern, inside, taps, code.times(part, code.bytes), x, x_tap, w, w_tap, b, y, cap)
            return nothing

        code.loop(INT(BLOCK // code.lanes), [], vector)
        return _next_tile(code, pattern, x, y, start)

    code.loop(rows, [x, y], row)


def _correlate(code, pattern, inside, taps, part, x, x_tap, w, w_tap, b, y, cap):
    """One vector of each pixel of a tile: that at `part` bytes."""

    def tap_row(r, carried):
        x, w, *sums = carried
        weights = [code.load(code.plus(w, s * PIXEL)) for s in range(pattern.taps)]

        def multiply(column, sums):
            value = code.load(code.plus(x, column.place * PIXEL))
            for output, tap in column.uses:
                sums[output] = code.fma(value, weights[tap], sums[output])
            return sums

        sums = _over_columns(code, pattern, inside, sums, multiply)
        return [code.plus(x, x_tap), code.plus(w, w_tap), *sums]

    bias = code.load(code.plus(b, part))
    _, _, *sums = code.loop(taps, [code.plus(x, part), code.plus(w, part), *[bias] * pattern.outputs], tap_row)
    for output, value in enumerate(sums):
        code.store(value if cap is None else code.clip(value, cap), code.plus(code.plus(y, part), output * PIXEL))


def weigh_rows(
    code, rows, tiles, start, width, taps, x, x_row, x_tap, gw, gw_tap, b, gy, gy_row, *, pattern, tap_rows
):  # fmt: skip
    """gw[r, s] += Σ_{p,q} gy[p, q] · x[p, r, the column that q reads through s], for r < tap_rows.

    The arguments are those of correlate_rows. A call's sum is complete before it is added: two levels of sums round
    less.
    """

    def vector(part, nothing):
        offset = code.times(part, code.bytes)
        initial = [code.plus(x, offset), code.plus(gy, offset), *[code.zero] * (tap_rows * pattern.taps)]
        _, _, *sums = code.loop(rows, initial, row)
        for i, value in enumerate(sums):
            r, s = divmod(i, pattern.taps)
            _add(code, value, code.plus(code.at(code.plus(gw, offset), r, gw_tap), s * PIXEL))
        return nothing

    def row(p, carried):
        x, gy, *sums = carried
        _, _, _, *sums = code.loop(tiles, [x, gy, start, *sums], tile)
        return [code.plus(x, x_row), code.plus(gy, gy_row), *sums]

    def tile(t, carried):
        x, gy, start, *sums = carried
        x_rows = [code.at(x, r, x_tap) for r in range(tap_rows)]

        def multiply(column, sums):
            pixels = {output: code.load(code.plus(gy, output * PIXEL)) for output, _ in column.uses}
            for r in range(tap_rows):
                value = code.load(code.plus(x_rows[r], column.place * PIXEL))
                for output, tap in column.uses:
                    place = r * pattern.taps + tap
                    sums[place] = code.fma(value, pixels[output], sums[place])
            return sums

        sums = _over_columns(code, pattern, _inside(code, pattern, start, width), sums, multiply)
        return [*_next_tile(code, pattern, x, gy, start), *sums]

    code.loop(INT(BLOCK // code.lanes), [], vector)


def sum_rows(code, rows, tiles, start, width, taps, x, x_row, x_tap, gb, gb_tap, b, gy, gy_row):
    """gb += Σ_{p,q} gy[p, q], for rows of `width` pixels: the weight of an input that is 1."""

    def vector(part, nothing):
        offset = code.times(part, code.bytes)
        _, total = code.loop(rows, [code.plus(gy, offset), code.zero], row)
        _add(code, total, code.plus(gb, offset))
        return nothing

    def row(p, carried):
        gy, total = carried
        _, total = code.loop(width, [gy, total], pixel)
        return [code.plus(gy, gy_row), total]

    def pixel(q, carried):
        gy, total = carried
        return [code.plus(gy, PIXEL), code.add(total, code.load(gy))]

    code.loop(INT(BLOCK // code.lanes), [], vector)


# --- their parts ------------------------------------------------------------------------------------------------------


def _inside(code, pattern, start, width):
    """For each column that is padding for some tiles: whether it is none for the tile that begins at `start`."""
    inside = {}
    for column in pattern.columns:
        place = code.plus(start, column.place)
        checks = [code.builder.icmp_signed(">=", place, INT(0))] if column.before else []
        checks += [code.builder.icmp_signed("<", place, width)] if column.beyond else []
        if checks:
            inside[column] = checks[0] if len(checks) == 1 else code.builder.and_(*checks)
    return inside


def _over_columns(code, pattern, inside, sums, multiply):
    for column in pattern.columns:
        if column in inside:
            sums = code.when(inside[column], sums, lambda sums, column=column: multiply(column, list(sums)))
        else:
            sums = multiply(column, list(sums))
    return sums


def _next_tile(code, pattern, x, y, start):
    x, y = code.plus(x, pattern.advance * PIXEL), code.plus(y, pattern.outputs * PIXEL)
    return [x, y, code.plus(start, pattern.advance)]


def _add(code, value, address):
    code.store(code.add(code.load(address), value), address)
