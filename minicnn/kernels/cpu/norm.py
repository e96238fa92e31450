"""Normalisation on CPU: one channel after the other, and what was just read is read again while it is near.

    batch_norm            x ─┬─ sums ──→ mean, var              for each channel c: its planes x[0, c], x[1, c], ...
                             └─ (x − mean)·scale + shift ──→ y  go through the core twice, the second time from L2

    batch_norm_gradient   gy, x ─┬─ Σ g, Σ g·x̂ ──→ gb, gw       likewise, and gx is a·g + b·(x − mean) + c with three
                                 └─ a·g + b·(x − mean) + c ──→ gx      numbers a channel

A thread owns its channels, so sums have one order whatever the number of threads, and no result depends on it.

Sums are kept in vector registers over a block of at most 4096 numbers, and from block to block in double precision.
The squares are those of x − centre, where centre is the mean of the channel's first block: near the true mean, so that
the variance is no difference of large numbers. It is part of the data, so at worst the rounding error grows by the
number of blocks.

    operations   forward 4 for the sums and 2 to 5 for y; backward 4 and 5, for each number: less than its loads take
    bytes        forward  reads x, writes y                  8 a number in float32, 12 with the residual
                 backward reads gy, x (and y), writes gx     12 a number, 16 with an activation
    predicted    the speed of a copy, which is 30 GB/s for one thread of the machine of NOTES.md
    measured     25 to 27 GB/s, both ways, with residual and ReLU or without (8 images of 64 × 56 × 56); two threads
                 1.7 times that. NumPy in float32 takes 7 times as long forward, 7 to 13 times backward

local_response_norm takes 256 pixels of all channels at a time, so that the rows of a window lie in L1. Powers are two
square roots and a division, for β = ½, ¾ and 1; other β are left to NumPy, which has a vector power.

    operations   forward 2·size + 5, backward 3·size + 12, among them two square roots and a division: some 17 cycles
                 for a vector of 8, as many as all the rest
    bytes        forward reads x, writes y; backward reads gy and x, writes gx twice: no bottleneck
    predicted    ½ ns a number, by its multiplications and additions
    measured     1.0 ns forward, 1.7 backward (4 images of 64 × 56 × 56, one thread), two threads half of it: roots and
                 division were not free. NumPy 3.6 and 7
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from .compile import jit
from .threads import get_num_threads, parallel_for, scratch

index = np.uintp  # see pool.py
BLOCK = 4096  # numbers that are summed up in their own precision
TILE = 256  # pixels of local_response_norm
SMALL = 1 << 17  # numbers that one thread has dealt with before a second has woken up


# --- the kernels ------------------------------------------------------------------------------------------------------


def batch_norm(
    x: np.ndarray, mean: Any, var: Any, w: Any, b: Any, residual: Any, eps: float, cap: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = w·(x − mean)/√(var + eps) + b + residual, between 0 and cap unless that is None; and mean and var (C,)."""
    y = np.empty(x.shape, x.dtype)
    given = mean is not None
    if not given:
        mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    options = {"given": given, "added": residual is not None, "clipped": cap is not None}
    flat = _flat(x)
    residual = flat if residual is None else _flat(residual)
    numbers = np.array([eps, math.inf if cap is None else cap])
    _for_channels(x, _normalise, options, numbers, flat, residual, *_affine(x, w, b), mean, var, y.reshape(-1))
    return y, mean, var


def batch_norm_gradient(
    gy: np.ndarray, x: np.ndarray, y: Any, w: Any, mean: np.ndarray, var: np.ndarray, eps: float, cap: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """gx (N, C, ...), gw, gb (C,), from gy where 0 < y < cap; from all of it if cap is None."""
    gx, gw, gb = np.empty(x.shape, x.dtype), np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    flat = _flat(gy)
    y = flat if cap is None else _flat(y)
    numbers = np.array([eps, math.inf if cap is None else cap])
    scale = _affine(x, w, None)[0]
    arrays = (flat, _flat(x), y, scale, mean, var, gx.reshape(-1), gw, gb)
    _for_channels(x, _normalise_back, {"clipped": cap is not None}, numbers, *arrays)
    return gx, gw, gb


def _for_channels(x: np.ndarray, body: Callable[..., None], options: dict[str, bool], *args: Any) -> None:
    if x.size:
        size = np.array([len(x), x.shape[1], math.prod(x.shape[2:]), *options.values()])
        threads = 1 if x.size < SMALL else get_num_threads()
        parallel_for(x.shape[1], body, size, *args, threads=threads)


def _affine(x: np.ndarray, w: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel in double precision: 1 and 0 where there are none."""
    channels = x.shape[1]
    return (
        np.ones(channels) if w is None else w.astype(np.float64),
        np.zeros(channels) if b is None else b.astype(np.float64),
    )


def _flat(x: np.ndarray) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable, as a vector: one type for Numba to compile for."""
    return (x if x.flags.carray else x.copy(order="C")).reshape(-1)


def local_response_norm(x: np.ndarray, before: int, after: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """x·s^−beta with s = k + alpha·Σ x² over the channels c − before to c + after."""
    if beta not in (0.5, 0.75, 1):
        return reference.local_response_norm(x, before, after, alpha, beta, k)
    y = np.empty(x.shape, x.dtype)
    _for_tiles(x, _respond, before, after, beta, np.array([alpha, k]), _flat(x), y.reshape(-1))
    return y


def local_response_norm_gradient(
    gy: np.ndarray, x: np.ndarray, before: int, after: int, alpha: float, beta: float, k: float
) -> np.ndarray:
    """gx = gy·s^−beta − 2·alpha·beta·x·Σ gy·x·s^(−beta−1) over the channels whose window has this one."""
    if beta not in (0.5, 0.75, 1):
        return reference.local_response_norm_gradient(gy, x, before, after, alpha, beta, k)
    gx = np.empty(x.shape, x.dtype)
    terms = scratch(get_num_threads(), x.shape[1] * TILE, x.dtype)
    numbers = np.array([alpha, k, 2 * alpha * beta])
    _for_tiles(x, _respond_back, before, after, beta, numbers, _flat(gy), _flat(x), terms, gx.reshape(-1))
    return gx


def _for_tiles(x: np.ndarray, body: Callable[..., None], before: int, after: int, beta: float, *args: Any) -> None:
    if x.size:
        size = np.array([x.shape[1], math.prod(x.shape[2:]), before, after, round(4 * beta)])
        threads = 1 if 4 * x.size < SMALL else get_num_threads()
        parallel_for(len(x) * -(-size[1] // TILE), body, size, *args, threads=threads)


# --- compiled: batch norm ---------------------------------------------------------------------------------------------


adding = jit(fastmath={"reassoc"})  # a sum in as many parts as there are lanes: LLVM fixes an order when it compiles
dividing = jit(error_model="numpy")  # x / 0 is ∞; else Numba looks at every divisor, and makes no vectors of the loop


@adding
def _sums(x, start, count, centre):
    """Σ d and Σ d² with d = x − centre."""
    total = square = x.dtype.type(0)
    for i in range(count):
        d = x[index(start + i)] - centre
        total += d
        square += d * d
    return total, square


@jit
def _moments(x, c, size):
    """Mean and variance of channel c."""
    images, channels, pixels = size[0], size[1], size[2]
    first = min(pixels, BLOCK)
    rough, _ = _sums(x, c * pixels, first, x.dtype.type(0))
    centre = rough / x.dtype.type(first)
    total = square = 0.0
    for n in range(images):
        for start in range(0, pixels, BLOCK):
            s, q = _sums(x, (n * channels + c) * pixels + start, min(BLOCK, pixels - start), centre)
            total += s
            square += q
    shift = total / (images * pixels)
    var = square / (images * pixels) - shift * shift
    return centre + shift, 0.0 if var < 0 else var  # NaN stays


@jit
def _normalise(share, first, last, size, numbers, x, residual, w, b, mean, var, y):
    images, channels, pixels, given, added, clipped = size
    own, zero = np.zeros(4, x.dtype), x.dtype.type(0)  # own: numbers on their way to the precision of x
    for c in range(first, last):
        if not given:
            mean[c], var[c] = _moments(x, c, size)
        scale = w[c] / np.sqrt(var[c] + numbers[0])
        own[0], own[1], own[3] = mean[c], scale, numbers[1]
        own[2] = b[c] - (mean[c] - own[0]) * scale  # what is left of the mean when it is rounded
        centre, factor, shift, cap = own
        for n in range(images):
            start = (n * channels + c) * pixels
            for j in range(start, start + pixels):
                i = index(j)
                z = (x[i] - centre) * factor + shift
                if added:
                    z += residual[i]
                if clipped:
                    z = zero if z < zero else z  # NaN stays
                    z = cap if z > cap else z
                y[i] = z


@adding
def _gradient_sums(gy, x, y, start, count, centre, cap, clipped):
    """Σ g and Σ g·(x − centre), with g = gy where 0 < y < cap."""
    zero = x.dtype.type(0)
    total = product = zero
    for j in range(start, start + count):
        i = index(j)
        g = gy[i]
        if clipped:
            g = g if (y[i] > 0) & (y[i] < cap) else zero
        total += g
        product += g * (x[i] - centre)
    return total, product


@jit
def _normalise_back(share, first, last, size, numbers, gy, x, y, w, mean, var, gx, gw, gb):
    images, channels, pixels, clipped = size
    own, zero = np.zeros(5, x.dtype), x.dtype.type(0)
    for c in range(first, last):
        own[0], own[1] = mean[c], numbers[1]
        centre, cap = own[0], own[1]
        total = product = 0.0
        for n in range(images):
            for start in range(0, pixels, BLOCK):
                begin, count = (n * channels + c) * pixels + start, min(BLOCK, pixels - start)
                s, p = _gradient_sums(gy, x, y, begin, count, centre, cap, clipped)
                total += s
                product += p
        inv_std, rest = 1 / np.sqrt(var[c] + numbers[0]), mean[c] - centre
        product = inv_std * (product - rest * total)
        gw[c], gb[c] = product, total
        scale, share_of_each = w[c] * inv_std, 1 / (images * pixels)
        slope = -scale * inv_std * product * share_of_each
        own[2], own[3], own[4] = scale, slope, -scale * total * share_of_each - slope * rest
        a, b, shift = own[2], own[3], own[4]
        for n in range(images):
            start = (n * channels + c) * pixels
            for j in range(start, start + pixels):
                i = index(j)
                g = gy[i]
                if clipped:
                    g = g if (y[i] > 0) & (y[i] < cap) else zero
                gx[i] = a * g + b * (x[i] - centre) + shift


# --- compiled: local response norm ------------------------------------------------------------------------------------


@jit
def _window_sizes(x, image, c, count, size, alpha, k, s):
    """s[i] = k + alpha·Σ x², over the window of channel c, for a tile of `count` pixels that begins at x[image]."""
    channels, pixels, before, after = size[0], size[1], size[2], size[3]
    s[:count] = 0
    for j in range(max(0, c - before), min(channels, c + after + 1)):
        start = image + j * pixels
        for i in range(count):
            s[index(i)] += x[index(start + i)] * x[index(start + i)]
    for i in range(count):
        s[index(i)] = k + alpha * s[index(i)]


@dividing
def _roots(s, count, quarters, inverse, power):
    """inverse = 1/s and power = s^(−quarters/4), for 2, 3 or 4 quarters."""
    one = s.dtype.type(1)
    for j in range(count):
        i = index(j)
        root = np.sqrt(s[i])
        if quarters == 3:
            root = np.sqrt(root)
        elif quarters == 4:
            root = one
        inverse[i] = one / s[i]
        power[i] = root * inverse[i] if inverse[i] != 0 else inverse[i]  # s = ∞


@jit
def _respond(share, first, last, size, numbers, x, y):
    channels, pixels, _, _, quarters = size
    tiles = -(-pixels // TILE)
    own = numbers.astype(x.dtype)
    s, inverse, power = np.empty(TILE, x.dtype), np.empty(TILE, x.dtype), np.empty(TILE, x.dtype)
    for item in range(first, last):
        place = item % tiles * TILE
        image, count = item // tiles * channels * pixels + place, min(TILE, pixels - place)
        for c in range(channels):
            _window_sizes(x, image, c, count, size, own[0], own[1], s)
            _roots(s, count, quarters, inverse, power)
            start = image + c * pixels
            for i in range(count):
                y[index(start + i)] = x[index(start + i)] * power[index(i)]


@jit
def _respond_back(share, first, last, size, numbers, gy, x, terms, gx):
    channels, pixels, before, after, quarters = size
    tiles = -(-pixels // TILE)
    own = numbers.astype(x.dtype)
    s, inverse, power = np.empty(TILE, x.dtype), np.empty(TILE, x.dtype), np.empty(TILE, x.dtype)
    e = terms[share]  # gy·x·s^(−β−1) of this tile, channel by channel
    for item in range(first, last):
        place = item % tiles * TILE
        image, count = item // tiles * channels * pixels + place, min(TILE, pixels - place)
        for c in range(channels):
            _window_sizes(x, image, c, count, size, own[0], own[1], s)
            _roots(s, count, quarters, inverse, power)
            start = image + c * pixels
            for i in range(count):
                g = gy[index(start + i)] * power[index(i)]
                gx[index(start + i)] = g
                e[index(c * TILE + i)] = g * x[index(start + i)] * inverse[index(i)]
        for c in range(channels):
            s[:count] = 0
            for j in range(max(0, c - after), min(channels, c + before + 1)):
                for i in range(count):
                    s[index(i)] += e[index(j * TILE + i)]
            start = image + c * pixels
            for i in range(count):
                gx[index(start + i)] -= own[2] * x[index(start + i)] * s[index(i)]
