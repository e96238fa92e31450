"""Depthwise convolution in blocks of 16 channels: every channel has its own kernel, so the channels are the vector.

    x, one plane of a block                 y = conv2d(x, w)
    ┌──────────────────┐                    ┌──────────────────┐      one pixel = 16 channels = 64 bytes
    │▒▒▒▒▒▒▒▒▒▒▒▒·······│ rows of taps       │█████████ tile →   │
    │▒▒▒▒▒▒▒▒▒▒▒▒·······│ ───────────────→   │                  │      tile: 14 pixels of a row, in registers,
    │▒▒▒▒▒▒▒▒▒▒▒▒·······│ w (R, S, 16)       │                  │      for 7 × 7 planes 7: no plane is too small
    └──────────────────┘                    └──────────────────┘

The three passes are one loop over planes, in which a table says what to call: along each axis it is settled beforehand
which outputs the same taps reach (Axis). For rows that is a run of them, and each run is one call; for columns it is
the pattern that a micro-kernel is made of (depthwise_tiles.py). The input gradient is the same correlation, of gy: an
output reads through those taps that fall on a whole pixel, so a stride makes as many runs and patterns as it is long.
The weight gradient keeps the sums of up to 3 rows of taps in registers. It sums over parts of the batch that do not
depend on the number of threads, hence nor does the result.

    operations   2 · N·C·P·Q · R·S  for each pass
    bytes        x and y, once each: 9 taps are 18 operations for 8 bytes, so 3 × 3 can only be as fast as a copy
    predicted    copy bandwidth, 27 GB/s with one thread, for 3 × 3; from 5 × 5 on 150 GF, as 25 multiply-adds keep both
                 units busy for 12 cycles, and loading takes 6
    measured     3 × 3: 19 to 29 GB/s in all passes, 21 to 25 on planes of 7 × 7; 5 × 5: 93 to 134 GF with stride 1;
                 11 × 11: 165 to 200 (NOTES.md, beside PyTorch's times)
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..window import Pair, Window
from . import depthwise_tiles as tiles
from .arguments import address_of
from .blocked import BLOCK, Blocked, blocked
from .depthwise_tiles import PIXEL, Column, Pattern
from .drivers import driver
from .microkernels import Machine, address, call_tile, machine
from .threads import get_num_threads, parallel_for

SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up
LONGEST_SUM = 2048  # pixels of gy in a sum that one register takes, before it is added to others like it
SHARES = 32  # of the weight gradient, at least: then those of all threads are about equal

Image = np.ndarray | Blocked


# --- the three passes -------------------------------------------------------------------------------------------------


def conv2d(
    x: Image, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float | None = None
) -> Blocked:
    """x (N, C, H, W), w (C, 1, R, S), b (C,) or None -> y (N, C, P, Q); min(max(y, 0), cap) unless cap is None."""
    return _correlate(x, w, b, window, window.output_size((x.shape[2], x.shape[3])), transposed=False, cap=cap)


def conv_transpose2d(
    gy: Image, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> Blocked:
    """gy (N, C, P, Q), w (C, 1, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x."""
    return _correlate(gy, w, b, window, output_size, transposed=True, cap=None)


def _correlate(
    x: Image, w: np.ndarray, b: np.ndarray | None, window: Window, size: Pair, transposed: bool, cap: float | None
) -> Blocked:
    result = Blocked.empty((x.shape[0], x.shape[1], *size))
    y = result.blocks()
    if y.size:
        source = blocked(x).blocks()
        images, blocks = y.shape[:2]
        calls = _correlation((source.shape[2], source.shape[3]), size, window, transposed, cap, machine())
        weights = _pack(w.reshape(len(w), -1), blocks)
        bias = np.zeros((blocks, BLOCK), np.float32) if b is None else _pack(b[:, None], blocks)
        threads = 1 if y.size * math.prod(window.kernel) < SMALL else get_num_threads()
        parallel_for(images * blocks, sweep_planes, calls, blocks, images, images, address_of(source), _plane(source),
                     address_of(weights), weights[0].nbytes, 0, address_of(bias), address_of(y), _plane(y),
                     threads=threads)  # fmt: skip
    return result


def conv2d_weight(x: Image, gy: Image, window: Window, groups: int, bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy (N, C, P, Q) -> gw (C, 1, R, S): the adjoint of conv2d in w; and in b (C,), or None."""
    channels, taps = x.shape[1], math.prod(window.kernel)
    source, gradient = blocked(x).blocks(), blocked(gy).blocks()
    images, blocks = source.shape[:2]
    parts = _parts(images, blocks)
    sums = np.zeros((parts, blocks, taps + bias, BLOCK), np.float32)
    if gradient.size:
        calls = _weighing((source.shape[2], source.shape[3]), (gy.shape[2], gy.shape[3]), window, bias, machine())
        threads = 1 if gradient.size * taps < SMALL else get_num_threads()
        parallel_for(parts * blocks, sweep_planes, calls, blocks, images, parts, address_of(source), _plane(source),
                     address_of(sums), sums[0, 0].nbytes, sums[0].nbytes, 0, address_of(gradient), _plane(gradient),
                     threads=threads)  # fmt: skip
    total = sums.sum(axis=0).transpose(0, 2, 1).reshape(-1, taps + bias)[:channels]
    gw = np.ascontiguousarray(total[:, :taps]).reshape(channels, 1, *window.kernel)
    return gw, total[:, taps].copy() if bias else None


def _parts(images: int, blocks: int) -> int:
    """Into how many parts of equal size the batch is divided, so that there is something for each thread."""
    enough = (parts for parts in range(1, images) if images % parts == 0 and parts * blocks >= SHARES)
    return next(enough, max(1, images))


def _pack(w: np.ndarray, blocks: int) -> np.ndarray:
    """w (C, taps) -> (blocks, taps, 16), 0 past C."""
    padded = np.zeros((blocks * BLOCK, w.shape[1]), np.float32)
    padded[: len(w)] = w
    return np.ascontiguousarray(padded.reshape(blocks, BLOCK, -1).transpose(0, 2, 1))


def _plane(blocks: np.ndarray) -> int:
    """Bytes of the plane of one block."""
    return blocks.shape[2] * blocks.shape[3] * PIXEL


# --- which outputs read what, along one axis --------------------------------------------------------------------------


class Axis(NamedTuple):
    """Rows or columns of a correlation. Every `period` outputs the same taps read the same, `step` inputs further."""

    size: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    transposed: bool

    @property
    def period(self) -> int:
        return self.stride if self.transposed else 1

    @property
    def step(self) -> int:
        return 1 if self.transposed else self.stride

    def reads(self, output: int) -> list[Pair]:
        """Each tap through which it reads, and what: (tap, input), padding included."""
        if not self.transposed:
            return [(tap, output * self.stride + tap * self.dilation - self.before) for tap in range(self.taps)]
        places = [(tap, output + self.before - tap * self.dilation) for tap in range(self.taps)]
        return [(tap, place // self.stride) for tap, place in places if place % self.stride == 0]

    def inside(self, output: int) -> list[Pair]:
        """Without padding."""
        return [(tap, place) for tap, place in self.reads(output) if 0 <= place < self.size]

    def _taps_inside(self, output: int) -> list[int]:
        return [tap for tap, _ in self.inside(output)]

    def runs(self) -> Iterator[tuple[range, list[Pair]]]:
        """Outputs, `period` apart, that read through the same taps, and what the first of them reads."""
        for phase in range(self.period):
            outputs = range(phase, self.outputs, self.period)
            for _, run in itertools.groupby(outputs, key=self._taps_inside):
                same = list(run)
                yield range(same[0], same[-1] + 1, self.period), self.inside(same[0])

    def begins(self, output: int) -> int:
        """The input that a tile from that output on counts its places from."""
        return output // self.period * self.step

    def tiles(self, most: int) -> Iterator[tuple[int, int, Pattern]]:
        """(first output, number of tiles, their pattern): tiles of about `most` outputs, and one for the rest."""
        count = -(-self.outputs // most)
        outputs = -(-self.outputs // count)
        if count > 1:
            outputs = -(-outputs // self.period) * self.period
        whole, rest = divmod(self.outputs, outputs)
        yield 0, whole, self._pattern(0, whole, outputs)
        if rest:
            yield whole * outputs, 1, self._pattern(whole * outputs, 1, rest)

    def _pattern(self, first: int, count: int, outputs: int) -> Pattern:
        start, advance = self.begins(first), self.begins(outputs)
        last = start + (count - 1) * advance
        uses: dict[int, list[Pair]] = {}
        for output in range(outputs):
            for tap, place in self.reads(first + output):
                uses.setdefault(place - start, []).append((output, tap))
        columns = (
            Column(place, start + place < 0, last + place >= self.size, tuple(uses[place]))
            for place in sorted(uses)
            if last + place >= 0 and start + place < self.size  # else padding for all
        )
        return Pattern(outputs, advance, self.taps, tuple(columns))


def _axes(size: Pair, outputs: Pair, window: Window, transposed: bool) -> tuple[Axis, Axis]:
    rows, columns = (
        Axis(size[i], outputs[i], window.kernel[i], window.stride[i], window.dilation[i], window.pad[i][0], transposed)
        for i in (0, 1)
    )
    return rows, columns


# --- the tables of calls ----------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """What is called for each plane: a micro-kernel and its arguments; x, w and y are bytes from where the plane is."""

    kernel: int
    rows: int
    tiles: int
    start: int
    width: int
    taps: int
    x: int
    x_row: int
    x_tap: int
    w: int
    w_tap: int
    y: int
    y_row: int


def _call(
    rows: Axis, columns: Axis, run: range, reads: list[Pair], tile: tuple[int, int, Pattern], kernel: int
) -> Call:
    """For a run of rows that read through these taps: one, none, or several at equal distances."""
    first, count, _ = tile
    start = columns.begins(first)
    x_row, y_row, w_row = columns.size * PIXEL, columns.outputs * PIXEL, columns.taps * PIXEL
    tap, place = reads[0] if reads else (0, 0)
    next_tap, next_place = reads[1] if len(reads) > 1 else (tap, place)
    return Call(
        kernel, len(run), count, start, columns.size, len(reads),
        x=place * x_row + start * PIXEL, x_row=rows.step * x_row, x_tap=(next_place - place) * x_row,
        w=tap * w_row, w_tap=(next_tap - tap) * w_row,
        y=run[0] * y_row + first * PIXEL, y_row=rows.period * y_row,
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _correlation(
    size: Pair, outputs: Pair, window: Window, transposed: bool, cap: float | None, machine: Machine
) -> np.ndarray:
    rows, columns = _axes(size, outputs, window, transposed)
    tiled = [
        (tile, address("float32", tiles.correlate_rows, pattern=tile[2], cap=cap))
        for tile in columns.tiles(tiles.tile_outputs(machine))
    ]
    return _table(_call(rows, columns, run, reads, *tile) for run, reads in rows.runs() for tile in tiled)


@functools.lru_cache(maxsize=1024)
def _weighing(size: Pair, outputs: Pair, window: Window, bias: bool, machine: Machine) -> np.ndarray:
    rows, columns = _axes(size, outputs, window, transposed=False)
    most = max(1, LONGEST_SUM // columns.outputs)
    calls = []
    for run, reads in rows.runs():
        for first in range(0, len(run), most):
            piece = run[first : first + most]
            below = [(tap, place + first * rows.step) for tap, place in reads]
            for group in _groups(below, tiles.tap_rows(machine, columns.taps)):
                for tile in columns.tiles(tiles.WEIGHED):
                    kernel = address("float32", tiles.weigh_rows, pattern=tile[2], tap_rows=len(group))
                    calls.append(_call(rows, columns, piece, group, tile, kernel))
    if bias:
        kernel, row = address("float32", tiles.sum_rows), columns.outputs * PIXEL
        behind = math.prod(window.kernel) * PIXEL  # all weights
        for first in range(0, rows.outputs, most):
            count = min(most, rows.outputs - first)
            calls.append(Call(kernel, count, 1, 0, columns.outputs, 0, 0, 0, 0, behind, 0, first * row, row))
    return _table(calls)


def _groups(reads: list[Pair], most: int) -> list[list[Pair]]:
    """In groups of at most `most`, of about equal size."""
    count = -(-len(reads) // most)
    return [reads[len(reads) * i // count : len(reads) * (i + 1) // count] for i in range(count)]


def _table(calls: Iterable[Call]) -> np.ndarray:
    return np.array(list(calls), np.int64).reshape(-1, len(Call._fields))


@driver
def sweep_planes(share, first, last, calls, blocks, images, parts, x, x_plane, w, w_block, w_part, b, y, y_plane):
    """All calls for each plane. An item is one block in one part of the images; w is that of a block, and of a part.

    Addresses and bytes throughout. The fields of Call, in their order.
    """
    for item in range(first, last):
        part, block = item // blocks, item % blocks
        weights = w + part * w_part + block * w_block
        bias = b + block * PIXEL
        for n in range(part * images // parts, (part + 1) * images // parts):
            x_start, y_start = x + (n * blocks + block) * x_plane, y + (n * blocks + block) * y_plane
            for i in range(len(calls)):
                call_tile(
                    calls[i, 0],
                    (
                        calls[i, 1],
                        calls[i, 2],
                        calls[i, 3],
                        calls[i, 4],
                        calls[i, 5],
                        x_start + calls[i, 6],
                        calls[i, 7],
                        calls[i, 8],
                        weights + calls[i, 9],
                        calls[i, 10],
                        bias,
                        y_start + calls[i, 11],
                        calls[i, 12],
                    ),
                )
