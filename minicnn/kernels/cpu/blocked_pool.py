"""Pooling of images in blocks of channels: a pixel is a vector, so a window is a few loads, whatever its shape.

    columns of x     0 1 2 3 4 5 6 ...         each pixel ▒ is 64 bytes: 16 channels
                   ┌─────┐
      rows       0 │▒ ▒ ▒│▒ ▒ ▒ ▒              y[p, q] = the largest (the sum) of some rows × columns of pixels,
                 1 │▒ ▒ ▒│▒ ▒ ▒ ▒                        kept in registers; beside it, in 16 lanes, the places
                 2 │▒ ▒ ▒│▒ ▒ ▒ ▒                        h·W + w of the largest
                   └─────┘└ the next window, in steps of the stride

Two tables say for each row and each column of the result the first place that is read, and how many: what padding,
ceil_mode and dilation leave of a window, and the bins of adaptive pooling. The adjoint of an average is one as well:
each pixel of gx adds up the windows that have read it, and is written once. So one loop, pool_rows, does all of them.

max_pool2d_scatter has the winners only. Row by row of gy: zeros up to the furthest place that the row names, then
16 additions for each pixel, each to its own place; what was just set to 0 is still in L1 when gradients come.

    operations   two comparisons and two selections for each tap, an addition for an average; 16 scalar additions
                 for each pixel of gy in the scatter
    bytes        x read, y and indices written; gy and indices read, gx written: 1½ times x (3×3, stride 2)
    predicted    the speed of memory, some 20 GB/s: 1.0 ms forward, 1.0 back for 4 images of 64 × 112 × 112, 1 thread
    measured     0.8 and 1.2 (AVX2 1.8 and 1.3, SSE 1.7 and 1.2); PyTorch 28 and 2.1, channels-last 1.6 and 2.1
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..window import Pair, Window, bins
from . import pool
from .blocked import BLOCK, Blocked, blocked, plain
from .code import INT, INT32, Code
from .passes import run

PIXEL = 4 * BLOCK  # bytes


# --- the kernels ------------------------------------------------------------------------------------------------------


def max_pool2d(x: Any, window: Window) -> tuple[Any, Any]:
    """x (N, C, H, W) -> y and indices (N, C, P, Q): the first maximum of each window and its place h·W + w, int32."""
    size = _size(x)
    return _largest(x, window.output_size(size), _taps(window, size), "max")


def relu_max_pool2d(x: Any, window: Window) -> tuple[Any, Any]:
    """max_pool2d(relu(x), window), with index −1 where the result is not above 0."""
    size = _size(x)
    return _largest(x, window.output_size(size), _taps(window, size), "relu_max")


def max_pool2d_scatter(gy: Any, indices: Any, size: Pair) -> Any:
    """gx (N, C, H, W) with (H, W) = size: gy added at its index, −1 ignored."""
    gradient, winners = blocked(gy).blocks(), blocked(indices).blocks()
    gx = Blocked.empty((*gy.shape[:2], *size))
    images, blocks, p, q, _ = winners.shape
    nowhere = np.empty((images * blocks, BLOCK), np.float32)  # a pixel for each share, at most one for each plane
    words = [gradient, winners, gx.blocks(), p, q, size[0] * size[1], nowhere]
    run(images * blocks, gx.nbytes, scatter_planes, words)
    return gx


def max_pool2d_gather(x: Any, indices: Any) -> Any:
    """x (N, C, H, W) at the indices: for second derivatives, plainly."""
    return pool.max_pool2d_gather(plain(x), plain(indices))


def avg_pool2d(x: Any, window: Window, count_include_pad: bool) -> Any:
    """x (N, C, H, W) -> y (N, C, P, Q): sums over windows, divided by window.counts(...)."""
    size = _size(x)
    return _sums(x, window.output_size(size), _taps(window, size), _weights(window, size, count_include_pad), "mean")


def avg_pool2d_transpose(gy: Any, window: Window, count_include_pad: bool, size: Pair) -> Any:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of avg_pool2d."""
    if window.dilation != (1, 1):  # else the windows over a pixel are neighbours
        return pool.avg_pool2d_transpose(plain(gy), window, count_include_pad, size)
    size = int(size[0]), int(size[1])
    return _sums(gy, size, _windows_over(window, size), _weights(window, size, count_include_pad), "spread")


def adaptive_avg_pool2d(x: Any, size: Pair) -> Any:
    """x (N, C, H, W) -> y (N, C, P, Q) with (P, Q) = size: means over bins. Of a single bin a plain array."""
    y = _sums(x, size, *_bins(_size(x), size), "mean")
    return plain(y) if size == (1, 1) else y


def adaptive_avg_pool2d_transpose(gy: Any, size: Pair) -> Any:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of adaptive_avg_pool2d."""
    return _sums(gy, size, *_bins_over(size, _size(gy)), "spread")


def adaptive_max_pool2d(x: Any, size: Pair) -> tuple[Any, Any]:
    """x (N, C, H, W) -> y and indices (N, C, P, Q): the first maximum of each bin and its place h·W + w, int32."""
    return _largest(x, size, _bins(_size(x), size)[0], "max")


# --- what is read for each row and column -----------------------------------------------------------------------------


class Reach(NamedTuple):
    """For each row and each column of the result (first, count) of what it reads, and the steps between those."""

    rows: np.ndarray
    columns: np.ndarray
    steps: Pair = (1, 1)


def _size(x: Any) -> Pair:
    return x.shape[2], x.shape[3]


def _spans(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(first, count), with first a place that exists even where there is nothing to read."""
    count = np.maximum(last - first, 0)
    return np.stack([np.where(count, first, 0), count], axis=1).astype(np.int64)


@functools.lru_cache(maxsize=256)
def _taps(window: Window, size: Pair) -> Reach:
    """What each window has inside of the image."""

    def along(axis: int) -> np.ndarray:
        start = np.arange(window.output_size(size)[axis]) * window.stride[axis] - window.pad[axis][0]
        step = window.dilation[axis]
        first = -(np.minimum(start, 0) // step)
        spans = _spans(first, np.minimum(window.kernel[axis], -((start - size[axis]) // step)))
        spans[:, 0] = np.where(spans[:, 1] > 0, start + step * first, 0)
        return spans

    return Reach(along(0), along(1), window.dilation)


@functools.lru_cache(maxsize=256)
def _windows_over(window: Window, size: Pair) -> Reach:
    """Which windows have read each place of the image."""

    def along(axis: int) -> np.ndarray:
        place, stride = np.arange(size[axis]) + window.pad[axis][0], window.stride[axis]
        first = np.maximum(0, -((window.kernel[axis] - 1 - place) // stride))
        return _spans(first, np.minimum(window.output_size(size)[axis], place // stride + 1))

    return Reach(along(0), along(1))


@functools.lru_cache(maxsize=256)
def _weights(window: Window, size: Pair, include_pad: bool) -> np.ndarray:
    """1 / how many each window counts; one that sees nothing has sum 0 anyway."""
    return (1 / np.maximum(window.counts(size, include_pad), 1)).astype(np.float32)


@functools.lru_cache(maxsize=256)
def _bins(size: Pair, outputs: Pair) -> tuple[Reach, np.ndarray]:
    """What each bin has of the image, and 1 / how much."""
    rows, columns = (np.array(bins(size[axis], outputs[axis]), np.int64).reshape(-1, 2) for axis in (0, 1))
    counts = (rows[:, 1] - rows[:, 0])[:, None] * (columns[:, 1] - columns[:, 0])
    return Reach(_spans(*rows.T), _spans(*columns.T)), (1 / counts).astype(np.float32)


@functools.lru_cache(maxsize=256)
def _bins_over(size: Pair, outputs: Pair) -> tuple[Reach, np.ndarray]:
    """Which bins have read each place of the image: neighbours, since both ends of the bins only ever move on."""

    def along(axis: int) -> np.ndarray:
        first, last = np.array(bins(size[axis], outputs[axis]), np.int64).reshape(-1, 2).T
        place = np.arange(size[axis])
        return _spans(np.searchsorted(last, place, "right"), np.searchsorted(first, place, "right"))

    return Reach(along(0), along(1)), _bins(size, outputs)[1]


@functools.lru_cache(maxsize=256)
def _channel_bits(channels: int) -> np.ndarray:
    """Which lanes are channels, as bits: of a whole block, and of the last one."""
    bits = np.full((2, BLOCK), -1, np.int32)
    bits[1, (channels - 1) % BLOCK + 1 :] = 0
    return bits


def _largest(x: Any, outputs: Pair, reach: Reach, how: str) -> tuple[Any, Any]:
    x = blocked(x)
    y, indices = Blocked.empty((*x.shape[:2], *outputs)), Blocked.empty((*x.shape[:2], *outputs), np.int32)
    _pool(x.blocks(), y.blocks(), indices.blocks(), reach, _channel_bits(x.shape[1]), how)
    return y, indices


def _sums(x: Any, outputs: Pair, reach: Reach, weights: np.ndarray, how: str) -> Any:
    x = blocked(x)
    y = Blocked.empty((*x.shape[:2], *outputs))
    _pool(x.blocks(), y.blocks(), 0, reach, weights, how)
    return y


def _pool(x: np.ndarray, y: np.ndarray, indices: Any, reach: Reach, table: np.ndarray, how: str) -> None:
    images, blocks, height, width, _ = x.shape
    p, q = y.shape[2:4]
    steps = reach.steps[0] * width, reach.steps[1]
    words = [x, y, indices, reach.rows, reach.columns, table, height * width, width, p, q, blocks, *steps]
    run(images * blocks * p, x.nbytes + y.nbytes, pool_rows, words, how=how)


# --- micro-kernels ----------------------------------------------------------------------------------------------------


class Taps(NamedTuple):
    """Where a window reads: counts of rows and columns, places from one to the next, and its first place."""

    source: ir.Value
    rows: ir.Value
    columns: ir.Value
    row_step: ir.Value
    column_step: ir.Value
    place: ir.Value


def pool_rows(code, share, first, last, words, *, how):
    """Rows first ≤ i < last of all planes of the result: y, and with how = "max" or "relu_max" the indices.

    words: as _pool lays them out. table: bits of channels for maxima; for "mean" the weight of each pixel of y, for
    "spread" the weight of each pixel of x.
    """
    code = code.of_lanes(BLOCK)
    x, y, indices, rows, columns, table, *counts = code.load_ints(words, 13)
    pixels, width, p_count, q_count, blocks, row_step, column_step = counts

    def row(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        i = code.plus(first, i)
        plane, p = code.divided(i, p_count)
        source = code.plus(x, code.times(code.times(plane, pixels), PIXEL))
        first_row, row_taps = code.load_ints(code.plus(rows, code.times(p, 16)), 2)
        channels = _bits_of(code, table, plane, blocks) if how in ("max", "relu_max") else None

        def pixel(q: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            first_column, column_taps = code.load_ints(code.plus(columns, code.times(q, 16)), 2)
            place = code.plus(code.times(first_row, width), first_column)
            taps = Taps(source, row_taps, column_taps, row_step, column_step, place)
            to = code.times(code.plus(code.times(i, q_count), q), PIXEL)
            if channels is None:
                total = _total(code, taps, table if how == "spread" else None)
                if how == "mean":
                    total = code.times_vector(total, _weight(code, table, code.plus(code.times(p, q_count), q)))
                code.store(total, code.plus(y, to))
            else:
                best, winner = _best(code, taps, relu=how == "relu_max")
                code.store(code.keep_bits(best, channels), code.plus(y, to))
                code.store(code.keep_bits(winner, channels), code.plus(indices, to))
            return nothing

        return code.loop(q_count, nothing, pixel)

    code.loop(code.builder.sub(last, first), [], row)


def _bits_of(code: Code, table: ir.Value, plane: ir.Value, blocks: ir.Value) -> ir.Value:
    """Which lanes of a plane are channels."""
    block = code.plus(code.divided(plane, blocks)[1], 1)
    last = code.builder.icmp_signed("==", block, blocks)
    return code.load_places(code.plus(table, code.builder.select(last, INT(PIXEL), INT(0))))


def _weight(code: Code, table: ir.Value, place: ir.Value) -> ir.Value:
    return code.splat(code.load_one(code.plus(table, code.times(place, code.size))))


def _total(code: Code, taps: Taps, weights: ir.Value | None) -> ir.Value:
    """The sum of what a window reads, each times its weight; row by row, as two levels of sums round less."""

    def tap(s: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        place, line = carried
        value = code.load(code.plus(taps.source, code.times(place, PIXEL)))
        line = code.add(line, value) if weights is None else code.fma(value, _weight(code, weights, place), line)
        return [code.plus(place, taps.column_step), line]

    def row(r: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        place, total = carried
        _, line = code.loop(taps.columns, [place, code.zero], tap)
        return [code.plus(place, taps.row_step), code.add(total, line)]

    return code.loop(taps.rows, [taps.place, code.zero], row)[1]


def _best(code: Code, taps: Taps, relu: bool) -> tuple[ir.Value, ir.Value]:
    """The largest of what a window reads and its place; −∞ and −1 if that is nothing."""

    def tap(s: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        place, best, winner = carried
        value = code.load(code.plus(taps.source, code.times(place, PIXEL)))
        best, winner = code.larger(best, winner, value, code.splat(code.builder.trunc(place, INT32)))
        return [code.plus(place, taps.column_step), best, winner]

    def row(r: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        place, best, winner = carried
        _, best, winner = code.loop(taps.columns, [place, best, winner], tap)
        return [code.plus(place, taps.row_step), best, winner]

    nothing = code.builder.icmp_signed("==", code.times(taps.rows, taps.columns), INT(0))
    lowest = ir.Constant(code.vector, [float("-inf")] * code.lanes)
    start = code.builder.select(nothing, INT32(-1), code.builder.trunc(taps.place, INT32))  # the first, if all are −∞
    _, best, winner = code.loop(taps.rows, [taps.place, lowest, code.splat(start)], row)
    if not relu:
        return best, winner
    kept, winner = code.keep_positive(best, winner)
    return code.builder.select(nothing, lowest, kept), winner


def scatter_planes(code, share, first, last, words):
    """gx = 0, then gx[indices] += gy, lane by lane, for planes first ≤ i < last. words: as max_pool2d_scatter's."""
    code = code.of_lanes(BLOCK)
    gy, winners, gx, p_count, q_count, size, nowhere = code.load_ints(words, 7)
    nowhere = code.plus(nowhere, code.times(share, PIXEL))

    def plane(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        i = code.plus(first, i)
        target = code.plus(gx, code.times(code.times(i, size), PIXEL))

        def row(p: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            (cleared,) = carried
            start = code.times(code.times(code.plus(code.times(i, p_count), p), q_count), PIXEL)
            until = _end_of(code, code.plus(winners, start), q_count, size)
            _clear(code, target, cleared, until)

            def pixel(q: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
                at = code.plus(start, code.times(q, PIXEL))
                _add_to_winners(code, code.plus(gy, at), code.plus(winners, at), target, size, nowhere)
                return nothing

            code.loop(q_count, [], pixel)
            return [_larger_int(code, cleared, until)]

        (cleared,) = code.loop(p_count, [INT(0)], row)
        _clear(code, target, cleared, size)
        return nothing

    code.loop(code.builder.sub(last, first), [], plane)


def _larger_int(code: Code, a: ir.Value, b: ir.Value) -> ir.Value:
    return code.builder.select(code.builder.icmp_signed(">", a, b), a, b)


def _end_of(code: Code, winners: ir.Value, count: ir.Value, size: ir.Value) -> ir.Value:
    """1 + the largest place that a row of winners names."""

    def pixel(q: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        return [code.larger_places(carried[0], code.load_places(code.plus(winners, code.times(q, PIXEL))))]

    (largest,) = code.loop(count, [code.splat(INT32(-1))], pixel)
    end = code.plus(code.builder.sext(code.largest_lane(largest), INT), 1)
    return code.builder.select(code.builder.icmp_signed("<", end, size), end, size)


def _clear(code: Code, target: ir.Value, start: ir.Value, end: ir.Value) -> None:
    def pixel(j: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        code.store(code.zero, code.plus(target, code.times(code.plus(start, j), PIXEL)))
        return nothing

    code.loop(code.builder.sub(end, start), [], pixel)


def _add_to_winners(code: Code, gy: ir.Value, winners: ir.Value, target: ir.Value, size: Any, nowhere: Any) -> None:
    """Each lane of a pixel to its own place; what has none to `nowhere`, as branches on that would mispredict."""
    for lane in range(BLOCK):
        place = code.builder.zext(code.load_int32(code.plus(winners, 4 * lane)), INT)
        inside = code.builder.icmp_unsigned("<", place, size)
        to = code.builder.select(inside, code.plus(target, code.times(place, PIXEL)), nowhere)
        code.add_one(code.load_one(code.plus(gy, 4 * lane)), code.plus(to, 4 * lane))
