"""Softmax and cross-entropy in one: the probabilities are neither stored nor kept.

    softmax_cross_entropy             z → a few rows at a time, in L1: e = exp(z − max) and Σe → one loss for each row
    softmax_cross_entropy_gradient    the same again, then gz = g·(e / Σe · Σq − q): computing e twice costs less than
                                      writing it to memory and reading it back

A row's targets q (see class_targets) are a number at its label plus, with label smoothing, a number for each class.
Rows are shared out among the threads; the losses of all rows are added up at the end, in one order. Numba calls exp
once for each number, 5 ns; for float32 it is written out below as arithmetic without branches, of which the compiler
makes vectors. So it does of sums and maxima, as there are LANES of each.

    operations   about 20 for each logit, most of them of exp's polynomial
    bytes        z read once (forward); z read and gz written (backward)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .compile import inlined, jit
from .threads import get_num_threads, parallel_for

SMALL = 1 << 14  # logits that one thread has dealt with before a second has woken up
BLOCK = 1 << 11  # logits whose exponentials are computed in one go
LANES = 16
index = np.uintp  # an index that cannot count from the end: needed for vectors


def softmax_cross_entropy(
    z: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, smoothing: float, divisor: float | None
) -> np.ndarray:
    """z (N, C), labels (N,), weight (C,) | None -> losses (N,), or their sum if divided by a divisor."""
    losses = np.empty(len(z), z.dtype)
    _for_rows(z, _losses, labels, *_parts_of_targets(z, weight, smoothing, divisor), losses)
    return losses if divisor is None else np.asarray(losses.sum())


def softmax_cross_entropy_gradient(
    g: np.ndarray, z: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, smoothing: float,
    divisor: float | None,
) -> np.ndarray:  # fmt: skip
    """g (N,) or (), z (N, C), labels (N,), weight (C,) | None -> gz (N, C)."""
    gz = np.empty(z.shape, z.dtype)
    _for_rows(z, _gradient, labels, *_parts_of_targets(z, weight, smoothing, divisor), _plain(g).reshape(-1), gz)
    return gz


def _parts_of_targets(
    z: np.ndarray, weight: np.ndarray | None, smoothing: float, divisor: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """What class_targets puts at the label, for each class (C,), and what it puts everywhere, (C,) or nothing."""
    at_label = np.full(z.shape[1], (1 - smoothing) / (divisor or 1), z.dtype)
    if weight is not None:
        at_label *= weight
    if not smoothing:
        return at_label, at_label[:0]
    everywhere = np.full(z.shape[1], smoothing / z.shape[1] / (divisor or 1), z.dtype)
    return at_label, everywhere if weight is None else everywhere * weight


def _for_rows(z: np.ndarray, body: Callable[..., None], *args: Any) -> None:
    threads = 1 if z.size < SMALL else get_num_threads()
    parallel_for(len(z), body, _plain(z), *args, threads=threads)


def _plain(x: np.ndarray) -> np.ndarray:
    """x, or a copy, in plain order: one type for Numba to compile for."""
    return x if x.flags.carray else x.copy(order="C")


@jit
def _losses(share, first, last, z, labels, at_label, everywhere, losses):
    classes = z.shape[1]
    rows = 1 + BLOCK // (classes + 1)
    e, work = np.empty(rows * classes, z.dtype), np.empty(LANES + rows * classes, z.dtype)
    largest = np.empty(rows, z.dtype)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        _exponentials(z, start, stop, largest, e, work)
        for n in range(start, stop):
            losses[n] = 0
            if labels[n] >= 0:
                row, label = n - start, labels[n]
                log_sum = np.log(_sum(e, row * classes, classes, work))
                losses[n] = at_label[label] * ((largest[row] - z[n, label]) + log_sum)
                for c in range(len(everywhere)):
                    losses[n] += everywhere[c] * ((largest[row] - z[n, c]) + log_sum)


@jit
def _gradient(share, first, last, z, labels, at_label, everywhere, g, gz):
    classes = z.shape[1]
    rows = 1 + BLOCK // (classes + 1)
    e, work = np.empty(rows * classes, z.dtype), np.empty(LANES + rows * classes, z.dtype)
    largest = np.empty(rows, z.dtype)
    total = everywhere.sum()
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        _exponentials(z, start, stop, largest, e, work)
        for n in range(start, stop):
            if labels[n] < 0:
                gz[n] = 0
                continue
            place, g_n = (n - start) * classes, g[n if len(g) > 1 else 0]
            factor = g_n * (at_label[labels[n]] + total) / _sum(e, place, classes, work)
            for c in range(classes):
                gz[n, index(c)] = factor * e[index(place + c)]
            for c in range(len(everywhere)):
                gz[n, index(c)] -= g_n * everywhere[index(c)]
            gz[n, labels[n]] -= g_n * at_label[labels[n]]


@inlined
def _exponentials(z, start, stop, largest, e, work):
    """e = exp(z − largest) for the rows start ≤ n < stop."""
    classes = z.shape[1]
    for n in range(start, stop):
        row = n - start
        largest[row] = _max(z, n, work)
        for c in range(classes):
            e[index(row * classes + c)] = z[n, index(c)] - largest[row]
    _exp(e, (stop - start) * classes, work)


@inlined
def _max(z, n, lanes):
    """The largest of row n; NaN are passed over, as they show in the sum."""
    largest = z.dtype.type(-np.inf)
    whole = z.shape[1] // LANES * LANES
    if whole:
        lanes[:LANES] = -np.inf
        for start in range(0, whole, LANES):
            for lane in range(LANES):
                x = z[n, index(start + lane)]
                lanes[index(lane)] = x if x > lanes[index(lane)] else lanes[index(lane)]
        for lane in range(LANES):
            largest = max(largest, lanes[lane])
    for c in range(whole, z.shape[1]):
        largest = z[n, c] if z[n, c] > largest else largest
    return largest


@inlined
def _sum(e, start, count, lanes):
    total = e.dtype.type(0)
    whole = count // LANES * LANES
    if whole:
        lanes[:LANES] = 0
        for place in range(start, start + whole, LANES):
            for lane in range(LANES):
                lanes[index(lane)] += e[index(place + lane)]
        for lane in range(LANES):
            total += lanes[lane]
    for place in range(start + whole, start + count):
        total += e[place]
    return total


# e^x = 2^k·e^r with k = round(x / ln 2) and r = x − k·ln 2, so |r| ≤ ln 2 / 2, where Taylor's polynomial of degree 7 is
# right to 1e-8. A float plus ROUND has k in its last bits; moved to the exponent's place, they are 2^k. ln 2 is given
# in two parts, since k·HIGH is exact.
ROUND, ONE = np.float32(1.5 * 2**23), np.int32(127 << 23)
PER_LN2, HIGH, LOW = np.float32(1 / np.log(2)), np.float32(0.693359375), np.float32(np.log(2) - 0.693359375)
LEAST = np.float32(-87)  # e^x for smaller x is 0: it has no exponent
TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(8))


@inlined
def _exp(e, count, power):
    """e = e^e for count numbers ≤ 0, in place."""
    if e.itemsize == 8:
        for i in range(count):
            e[i] = np.exp(e[i])
    else:
        bits = power.view(np.int32)
        for i in range(count):
            x = LEAST if e[index(i)] < LEAST else e[index(i)]
            power[index(i)] = x * PER_LN2 + ROUND
        for i in range(count):
            bits[index(i)] = (bits[index(i)] << 23) + ONE
        for i in range(count):
            x = LEAST if e[index(i)] < LEAST else e[index(i)]
            k = (x * PER_LN2 + ROUND) - ROUND
            r = (x - k * HIGH) - k * LOW
            y = TAYLOR[7]
            y = y * r + TAYLOR[6]
            y = y * r + TAYLOR[5]
            y = y * r + TAYLOR[4]
            y = y * r + TAYLOR[3]
            y = y * r + TAYLOR[2]
            y = y * r + TAYLOR[1]
            y = y * r + TAYLOR[0]
            e[index(i)] = 0 if e[index(i)] < LEAST else y * power[index(i)]
