"""Softmax and cross-entropy in one: the probabilities are neither stored nor kept.

    softmax_cross_entropy             z → a few rows at a time, in L1: e = exp(z − max) and Σe → one loss for each row
    softmax_cross_entropy_gradient    the same again, then gz = g·(e / Σe · Σq − q): computing e twice costs less than
                                      writing it to memory and reading it back

A row is the classes of one image, or of one pixel. Its targets q (see class_targets) are a number at its label plus,
with label smoothing, a number for each class. Rows are shared out among the threads; the losses of all rows are added
up at the end, in one order. The C library's exp takes some nanoseconds for each number; for float32 it is written out
below as arithmetic without branches, of which the compiler makes vectors. So it does of sums and maxima, as there are
LANES of each.

    operations   about 20 for each logit, most of them of exp's polynomial
    bytes        z read once (forward); z read and gz written (backward)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .drivers import driver
from .threads import get_num_threads, parallel_for

SMALL = 1 << 14  # logits that one thread has dealt with before a second has woken up
FEW = 1 << 12  # logits up to which exp by exp is quick enough, and compiles in a fifth of the time: LeNet's first step
BLOCK = 1 << 11  # logits whose exponentials are computed in one go
LANES = 16


def softmax_cross_entropy(
    z: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, smoothing: float, divisor: float | None
) -> np.ndarray:
    """z (N, C, ...), labels (N, ...), weight (C,) | None -> losses (N, ...), or their sum if divided by a divisor."""
    losses = np.empty(labels.shape, z.dtype)
    parts = _parts_of_targets(z, weight, smoothing, divisor)
    body = _few_losses if z.size <= FEW else _losses
    _for_positions(z, body, labels.reshape(-1), *parts, losses.reshape(-1))
    return losses if divisor is None else np.asarray(losses.sum())


def softmax_cross_entropy_gradient(
    g: np.ndarray, z: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, smoothing: float,
    divisor: float | None,
) -> np.ndarray:  # fmt: skip
    """g (N, ...) or (), z (N, C, ...), labels (N, ...), weight (C,) | None -> gz (N, C, ...)."""
    gz = np.empty(z.shape, z.dtype)
    parts = _parts_of_targets(z, weight, smoothing, divisor)
    body = _few_gradients if z.size <= FEW else _gradient
    _for_positions(z, body, labels.reshape(-1), *parts, _plain(g).reshape(-1), _three_axes(gz))
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


def _for_positions(z: np.ndarray, body: Callable[..., None], labels: np.ndarray, *args: Any) -> None:
    threads = 1 if z.size < SMALL else get_num_threads()
    parallel_for(labels.size, body, _three_axes(_plain(z)), labels, *args, threads=threads)


def _plain(x: np.ndarray) -> np.ndarray:
    """x, or a copy, in plain order, as drivers read it."""
    return x if x.flags.carray else x.copy(order="C")


def _three_axes(z: np.ndarray) -> np.ndarray:
    """(N, C, ...) as (N, C, all the rest)."""
    return z.reshape(*z.shape[:2], math.prod(z.shape[2:]))


# --- compiled, for few logits -----------------------------------------------------------------------------------------


@driver
def _largest_and_sum(z, n, place):
    """The largest logit of a position, NaN passed over, and Σ exp(z − largest)."""
    largest, total = z.dtype.type(-np.inf), z.dtype.type(0)
    for c in range(z.shape[1]):
        largest = z[n, c, place] if z[n, c, place] > largest else largest
    for c in range(z.shape[1]):
        total += np.exp(z[n, c, place] - largest)
    return largest, total


@driver
def _few_losses(share, first, last, z, labels, at_label, everywhere, losses):
    for i in range(first, last):
        losses[i] = 0
        if labels[i] >= 0:
            n, place = i // z.shape[2], i % z.shape[2]
            largest, total = _largest_and_sum(z, n, place)
            log_sum = np.log(total)
            losses[i] = at_label[labels[i]] * ((largest - z[n, labels[i], place]) + log_sum)
            for c in range(len(everywhere)):
                losses[i] += everywhere[c] * ((largest - z[n, c, place]) + log_sum)


@driver
def _few_gradients(share, first, last, z, labels, at_label, everywhere, g, gz):
    total_everywhere = _sum(everywhere, 0, len(everywhere), np.empty(LANES, z.dtype))
    for i in range(first, last):
        n, place = i // z.shape[2], i % z.shape[2]
        if labels[i] < 0:
            for c in range(z.shape[1]):
                gz[n, c, place] = 0
            continue
        g_i = g[i if len(g) > 1 else 0]
        largest, total = _largest_and_sum(z, n, place)
        factor = g_i * (at_label[labels[i]] + total_everywhere) / total
        for c in range(z.shape[1]):
            gz[n, c, place] = factor * np.exp(z[n, c, place] - largest)
        for c in range(len(everywhere)):
            gz[n, c, place] -= g_i * everywhere[c]
        gz[n, labels[i], place] -= g_i * at_label[labels[i]]


# --- compiled, for many -----------------------------------------------------------------------------------------------


@driver
def _losses(share, first, last, z, labels, at_label, everywhere, losses):
    classes, area = z.shape[1], z.shape[2]
    rows = 1 + BLOCK // (classes + 1)
    e, work = np.empty(rows * classes, z.dtype), np.empty(LANES + rows * classes, z.dtype)
    largest = np.empty(rows, z.dtype)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        _exponentials(z, start, stop, largest, e, work)
        for i in range(start, stop):
            losses[i] = 0
            if labels[i] >= 0:
                n, place, row = i // area, i % area, i - start
                log_sum = np.log(_sum(e, row * classes, classes, work))
                losses[i] = at_label[labels[i]] * ((largest[row] - z[n, labels[i], place]) + log_sum)
                for c in range(len(everywhere)):
                    losses[i] += everywhere[c] * ((largest[row] - z[n, c, place]) + log_sum)


@driver
def _gradient(share, first, last, z, labels, at_label, everywhere, g, gz):
    classes, area = z.shape[1], z.shape[2]
    rows = 1 + BLOCK // (classes + 1)
    e, work = np.empty(rows * classes, z.dtype), np.empty(LANES + rows * classes, z.dtype)
    largest = np.empty(rows, z.dtype)
    total = _sum(everywhere, 0, len(everywhere), work)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        _exponentials(z, start, stop, largest, e, work)
        for i in range(start, stop):
            n, place, own = i // area, i % area, (i - start) * classes
            if labels[i] < 0:
                for c in range(classes):
                    gz[n, c, place] = 0
                continue
            g_i = g[i if len(g) > 1 else 0]
            factor = g_i * (at_label[labels[i]] + total) / _sum(e, own, classes, work)
            for c in range(classes):
                gz[n, c, place] = factor * e[own + c]
            for c in range(len(everywhere)):
                gz[n, c, place] -= g_i * everywhere[c]
            gz[n, labels[i], place] -= g_i * at_label[labels[i]]


@driver
def _exponentials(z, start, stop, largest, e, work):
    """Rows of e: exp(z − largest) over the classes, for the positions start ≤ i < stop of all images."""
    classes, area = z.shape[1], z.shape[2]
    for i in range(start, stop):
        n, place, own = i // area, i % area, (i - start) * classes
        for c in range(classes):
            e[own + c] = z[n, c, place]
        largest[i - start] = _max(e, own, classes, work)
        for c in range(classes):
            e[own + c] -= largest[i - start]
    _exp(e, (stop - start) * classes, work)


@driver
def _max(x, start, count, lanes):
    """The largest; NaN are passed over, as they show in the sum."""
    largest = x.dtype.type(-np.inf)
    whole = count // LANES * LANES
    if whole:
        lanes[:LANES] = -np.inf
        for place in range(start, start + whole, LANES):
            for lane in range(LANES):
                y = x[place + lane]
                lanes[lane] = y if y > lanes[lane] else lanes[lane]
        for lane in range(LANES):
            largest = lanes[lane] if lanes[lane] > largest else largest
    for place in range(start + whole, start + count):
        largest = x[place] if x[place] > largest else largest
    return largest


@driver
def _sum(e, start, count, lanes):
    total = e.dtype.type(0)
    whole = count // LANES * LANES
    if whole:
        lanes[:LANES] = 0
        for place in range(start, start + whole, LANES):
            for lane in range(LANES):
                lanes[lane] += e[place + lane]
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


@driver
def _exp(e, count, power):
    """e = e^e for count numbers ≤ 0, in place."""
    if e.itemsize == 8:
        for i in range(count):
            e[i] = np.exp(e[i])
    else:
        bits = power.view(np.int32)
        for i in range(count):
            x = LEAST if e[i] < LEAST else e[i]
            power[i] = x * PER_LN2 + ROUND
        for i in range(count):
            bits[i] = (bits[i] << 23) + ONE
        for i in range(count):
            x = LEAST if e[i] < LEAST else e[i]
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
            e[i] = 0 if e[i] < LEAST else y * power[i]
