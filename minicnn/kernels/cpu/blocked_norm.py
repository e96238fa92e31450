"""Batch norm of images in blocks of channels: every number of a channel is a lane, and all work is on whole vectors.

                 x ──moments──→ n, mean, Σ (x − mean)² of each piece ──merge──→ mean, var ─→ centre, factor, shift
    forward      └───────────── (x − centre)·factor + shift ( + residual, clipped ) ──→ y        of each block of 16

                 gy, x, y ──sums──→ Σ g, Σ g·(x − centre) of each piece ──→ gw, gb ─→ factor, slope, shift
    backward     │       └────────→ a bit for each number: 0 < y < cap
                 gy, x, bits ────── factor·g + slope·(x − centre) + shift ──→ gx

A piece is at most 512 pixels of a block (stages.py). Its squares are those of x − centre, where centre is the mean of
its first 16 pixels. They are part of it: (centre − mean)² ≤ Σ (x − mean)²/16 over them, so Σ (x − centre)² is at most
512/16 + 1 = 33 times Σ (x − mean)², whatever the data, and near it if pixels are alike: no difference of large numbers.
Pieces are merged in double precision, in their order (Chan, Golub and LeVeque 1983, "Algorithms for computing the
sample variance", equation 2.1). So no result depends on the number of threads.

    operations   less than the loads take, as in norm.py
    bytes        forward reads x twice and writes y; backward reads gy and x twice, y and bits once, writes gx. Most of
                 what is read for the second time is in L2, if the pixels of a block fit: 8 images of 64 × 56 × 56 do
                 forward (1.6 MB), and backward a part (4.8 MB)
    predicted    of these images, where a copy takes 0.48 ms and reading alone 0.25, one thread: forward 0.75 ms,
                 backward 1.4 ms
    measured     0.83 and 1.4; PyTorch 1.5 and 2.6. Two threads 0.54 and 1.0
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir

from . import norm
from .blocked import BLOCK, Blocked, blocked, plain
from .code import Code, mask_bytes
from .microkernels import address, machine
from .stages import NUMBER, Geometry, Operand, Plan, Stage, geometry_of, image_operand
from .threads import scratch

# What each channel has of its own: rows in double precision; and for the pixels in float32, block by block.
W, B, MEAN, VAR, EPS, SHARE, GW, GB = range(8)
CENTRE, FACTOR, SHIFT, SLOPE = range(4)
WIDE_ROW, ROW = 8 * BLOCK, 4 * BLOCK  # bytes of a block in such a row
NUMBERS = 4 * ROW  # bytes of a block
SAMPLE = 16  # pixels
FOUND = 3 * WIDE_ROW  # bytes that a piece leaves behind


def batch_norm(
    x: Any, mean: Any, var: Any, w: Any, b: Any, residual: Any, eps: float, cap: float | None
) -> tuple[Any, np.ndarray, np.ndarray]:
    """y = w·(x − mean)/√(var + eps) + b + residual, between 0 and cap unless that is None; and mean and var (C,)."""
    if not x.size:
        return norm.batch_norm(plain(x), mean, var, w, b, plain(residual), eps, cap)
    images = [blocked(a).images() for a in (x, residual) if a is not None]
    y, given, channels, geometry = Blocked.empty(x.shape), mean is not None, x.shape[1], geometry_of(x.shape)
    plan = _forward_plan(geometry, given, residual is not None, cap)
    own = _own(geometry, channels, w, eps)
    if b is not None:
        own[B, :channels] = b
    if given:
        own[MEAN, :channels], own[VAR, :channels] = mean, var
    plan.run(own, _found(geometry, masked=False), y.blocks(), *images)
    return (y, mean, var) if given else (y, own[MEAN, :channels].copy(), own[VAR, :channels].copy())


def batch_norm_gradient(
    gy: Any, x: Any, y: Any, w: Any, mean: np.ndarray, var: np.ndarray, eps: float, cap: float | None
) -> tuple[Any, np.ndarray, np.ndarray]:
    """gx (N, C, H, W), gw, gb (C,), from gy where 0 < y < cap; from all of it if cap is None."""
    if not x.size:
        return norm.batch_norm_gradient(plain(gy), plain(x), plain(y), w, mean, var, eps, cap)
    images = [blocked(a).images() for a in ((gy, x) if cap is None else (gy, x, y))]
    gx, channels, geometry = Blocked.empty(x.shape), x.shape[1], geometry_of(x.shape)
    plan = _backward_plan(geometry, cap)
    own, of_w = _own(geometry, channels, w, eps), x.dtype if w is None else w.dtype
    own[MEAN, :channels], own[VAR, :channels], own[SHARE] = mean, var, 1 / (geometry.images * geometry.pixels)
    plan.run(own, _found(geometry, masked=cap is not None), gx.blocks(), *images)
    gw, gb = (own[row, :channels].astype(of_w) for row in (GW, GB))
    return gx, gw, gb


# --- plans: arrays are own, found, result, x, residual; or own, found, result, gy, x, y -------------------------------


@functools.cache
def _forward_plan(geometry: Geometry, given: bool, added: bool, cap: float | None) -> Plan:
    numbers, of_piece, _ = _places(geometry)
    y, *images = (image_operand(array, geometry) for array in range(2, 5 if added else 4))
    looks = [] if given else [Stage(address("float32", moments), (images[0], of_piece))]
    finish = address("float64", moments_to_affine, given=given)
    apply = address("float32", normalise_and_add if added else normalise, cap=cap)
    return Plan(
        geometry,
        *looks,
        Stage(finish, (Operand(0, block=WIDE_ROW), numbers, *_all_of_block(geometry)), once=True),
        Stage(apply, (numbers, y, *images), backwards=not given),
    )


@functools.cache
def _backward_plan(geometry: Geometry, cap: float | None) -> Plan:
    numbers, of_piece, bits = _places(geometry)
    gx, gy, x, y = (image_operand(array, geometry) for array in range(2, 6))
    if cap is None:
        look, apply = address("float32", gradient_sums), address("float32", gradient)
        of_y: tuple[tuple[Operand, ...], ...] = ((), ())
    else:
        look, apply = address("float32", masked_gradient_sums, cap=cap), address("float32", masked_gradient)
        of_y = ((y, bits), (bits,))
    own = Operand(0, block=WIDE_ROW)
    mean = own._replace(offset=MEAN * geometry.blocks * WIDE_ROW)
    return Plan(
        geometry,
        Stage(look, (mean, of_piece, gy, x, *of_y[0])),
        Stage(address("float64", sums_to_gradient), (own, numbers, *_all_of_block(geometry)), once=True),
        Stage(apply, (numbers, gx, gy, x, *of_y[1]), backwards=True),
    )


# --- what is kept for each channel, block and piece, during a call ----------------------------------------------------


def _own(geometry: Geometry, channels: int, w: Any, eps: float) -> np.ndarray:
    """(8, channels), and past C 0 for w, b, mean and var: so are the results there, and the gradients."""
    own = np.zeros((8, geometry.blocks * BLOCK))
    own[W, :channels], own[EPS] = 1 if w is None else w, eps
    return own


@functools.cache
def _places(geometry: Geometry) -> tuple[Operand, Operand, Operand]:
    """In found: numbers of a block, what a piece has found, and bits for numbers."""
    pieces = geometry.blocks * NUMBERS
    bits = pieces + geometry.blocks * geometry.pieces() * FOUND
    return (
        Operand(1, block=NUMBERS),
        Operand(1, piece=FOUND, offset=pieces),
        image_operand(1, geometry, pixel=_bits_of_a_pixel(), offset=bits),
    )


@functools.cache
def _bits_of_a_pixel() -> int:
    lanes = machine().lanes("float32")
    return BLOCK // lanes * mask_bytes(lanes)


def _found(geometry: Geometry, masked: bool) -> np.ndarray:
    bits = _places(geometry)[2].offset
    pixels = geometry.images * geometry.blocks * geometry.pixels
    return scratch(1, bits + (pixels * _bits_of_a_pixel() if masked else 0), np.uint8)


def _all_of_block(geometry: Geometry) -> tuple[Operand, ...]:
    """What the pieces of a block have found: where the first is, how many, and bytes from one to the next; and bytes
    from one row of what channels have to the next."""
    first = Operand(1, block=FOUND, offset=_places(geometry)[1].offset)
    numbers = geometry.pieces(), geometry.blocks * FOUND, geometry.blocks * WIDE_ROW
    return first, *(Operand(NUMBER, offset=number) for number in numbers)


# --- micro-kernels: statistics ----------------------------------------------------------------------------------------


def moments(code, count, x, found):
    """found: n, mean and Σ (x − mean)² of these pixels, in double precision."""
    wide, few = code.wider(), code.at_most_int(count, SAMPLE)
    for v in range(BLOCK // code.lanes):
        start = [(code.at(x, vector=v), ROW)]
        (total,) = code.stream(few, start, 1, lambda at, sums: [code.add(code.load(at[0]), sums[0])])
        centre = code.over(total, code.count(few))

        def squares(at, sums, centre=centre):
            d = code.minus(code.load(at[0]), centre)
            return [code.add(d, sums[0]), code.fma(d, d, sums[1])]

        offset, square = map(code.widen, code.stream(count, start, 2, squares))
        shift = wide.over(offset, wide.count(count))  # from centre to mean
        square = wide.at_least(wide.minus(square, wide.times_vector(offset, shift)), 0)
        for row, value in enumerate((wide.count(count), wide.add(code.widen(centre), shift), square)):
            wide.store(value, code.plus(wide.at(found, vector=v), row * WIDE_ROW))


def moments_to_affine(code, _, own, numbers, found, pieces, step, row_bytes, *, given):
    """mean and var of all pieces (unless they are given); and of them, w, b and eps: (x − centre)·factor + shift."""
    for v in range(BLOCK // code.lanes):
        row = functools.partial(code.at, own, row_bytes=row_bytes, vector=v)
        if given:
            mean, var = code.load(row(MEAN)), code.load(row(VAR))
        else:
            mean, var = _merge(code, code.at(found, vector=v), pieces, step)
            code.store(mean, row(MEAN))
            code.store(var, row(VAR))
        factor = code.over(code.load(row(W)), code.root(code.add(var, code.load(row(EPS)))))
        shift = code.minus(code.load(row(B)), code.times_vector(_lost(code, mean), factor))
        _store_numbers(code, numbers, v, {CENTRE: mean, FACTOR: factor, SHIFT: shift})


def _merge(code, found, pieces, step):
    """Mean and biased variance of all pieces together."""

    def count(i, carried):
        at, n, total = carried
        many, mean = code.load(at), code.load(code.plus(at, WIDE_ROW))
        return [code.plus(at, step), code.add(n, many), code.fma(many, mean, total)]

    def square(i, carried):
        at, total = carried
        d = code.minus(code.load(code.plus(at, WIDE_ROW)), mean)
        inside, between = code.load(code.plus(at, 2 * WIDE_ROW)), code.times_vector(code.load(at), d)
        return [code.plus(at, step), code.fma(between, d, code.add(inside, total))]

    _, n, total = code.loop(pieces, [found, code.zero, code.zero], count)
    mean = code.over(total, n)
    _, squares = code.loop(pieces, [found, code.zero], square)
    return mean, code.over(squares, n)


def sums_to_gradient(code, _, own, numbers, found, pieces, step, row_bytes):
    """gw and gb, and gx = factor·g + slope·(x − centre) + shift.

    With σ⁻¹ = 1/√(var + eps) and the means over all n: gx = w·σ⁻¹·(g − mean(g) − (x − mean)·σ⁻¹·mean(g·x̂)).
    """
    for v in range(BLOCK // code.lanes):

        def add(i, carried):
            at, total, product = carried
            here = code.load(at), code.load(code.plus(at, WIDE_ROW))
            return [code.plus(at, step), code.add(total, here[0]), code.add(product, here[1])]

        row = functools.partial(code.at, own, row_bytes=row_bytes, vector=v)
        _, total, product = code.loop(pieces, [code.at(found, vector=v), code.zero, code.zero], add)
        mean, var, eps, share = (code.load(row(place)) for place in (MEAN, VAR, EPS, SHARE))
        inv_std = code.over(code.all_lanes(1), code.root(code.add(var, eps)))
        lost = _lost(code, mean)
        gw = code.times_vector(inv_std, code.minus(product, code.times_vector(lost, total)))
        code.store(gw, row(GW))
        code.store(total, row(GB))
        factor = code.times_vector(code.load(row(W)), inv_std)
        mean_g, mean_gx = (code.times_vector(share, a) for a in (total, gw))
        minus_slope = code.times_vector(code.times_vector(factor, inv_std), mean_gx)
        shift = code.minus(code.times_vector(minus_slope, lost), code.times_vector(factor, mean_g))
        slope = code.minus(code.zero, minus_slope)
        _store_numbers(code, numbers, v, {CENTRE: mean, FACTOR: factor, SLOPE: slope, SHIFT: shift})


def _lost(code: Code, mean: ir.Value) -> ir.Value:
    """mean − centre: what is lost when it is rounded to float32."""
    return code.minus(mean, code.widen(code.narrow(mean)))


def _store_numbers(code: Code, numbers: ir.Value, v: int, rows: dict[int, ir.Value]) -> None:
    for place, value in rows.items():
        code.store(code.narrow(value), code.plus(numbers, place * ROW + 4 * v * code.lanes))


# --- micro-kernels: all pixels ----------------------------------------------------------------------------------------


def normalise(code, count, numbers, y, x, *, cap):
    _normalise(code, count, numbers, y, [x], cap)


def normalise_and_add(code, count, numbers, y, x, residual, *, cap):
    _normalise(code, count, numbers, y, [x, residual], cap)


def _normalise(code, count, numbers, y, images, cap):
    """y = (x − centre)·factor + shift + residual, clipped unless cap is None."""
    own = _vectors(code, numbers, (CENTRE, FACTOR, SHIFT))

    def emit(at, sums):
        for v, (centre, factor, shift) in enumerate(own):
            x, *residual = (code.load(code.at(image, vector=v)) for image in at[1:])
            z = code.fma(code.minus(x, centre), factor, shift)
            for addend in residual:
                z = code.add(z, addend)
            code.store(z if cap is None else code.clip(z, cap), code.at(at[0], vector=v))
        return sums

    code.stream(count, [(image, ROW) for image in (y, *images)], 0, emit)


def gradient_sums(code, count, mean, found, gy, x):
    _gradient_sums(code, count, mean, found, gy, x, None, None, None)


def masked_gradient_sums(code, count, mean, found, gy, x, y, bits, *, cap):
    _gradient_sums(code, count, mean, found, gy, x, y, bits, cap)


def _gradient_sums(code, count, mean, found, gy, x, y, bits, cap):
    """found: Σ g and Σ g·(x − centre) of these pixels. bits: where g is gy, and not 0."""
    wide = code.wider()
    for v in range(BLOCK // code.lanes):
        centre = code.narrow(wide.load(wide.at(mean, vector=v)))

        def emit(at, sums, centre=centre):
            g = code.load(at[0])
            if cap is not None:
                mask = code.between(code.load(at[2]), 0, cap)
                code.store_mask(mask, at[3])
                g = code.where(mask, g)
            return [code.add(g, sums[0]), code.fma(g, code.minus(code.load(at[1]), centre), sums[1])]

        starts = [(code.at(image, vector=v), ROW) for image in ((gy, x) if cap is None else (gy, x, y))]
        if cap is not None:
            starts += [(code.plus(bits, v * mask_bytes(code.lanes)), _bits_of_a_pixel())]
        for place, total in enumerate(code.stream(count, starts, 2, emit)):
            wide.store(code.widen(total), code.plus(wide.at(found, vector=v), place * WIDE_ROW))


def gradient(code, count, numbers, gx, gy, x):
    _gradient(code, count, numbers, gx, gy, x, None)


def masked_gradient(code, count, numbers, gx, gy, x, bits):
    _gradient(code, count, numbers, gx, gy, x, bits)


def _gradient(code, count, numbers, gx, gy, x, bits):
    """gx = factor·g + slope·(x − centre) + shift."""
    own = _vectors(code, numbers, (CENTRE, FACTOR, SLOPE, SHIFT))

    def emit(at, sums):
        for v, (centre, factor, slope, shift) in enumerate(own):
            g, x = (code.load(code.at(image, vector=v)) for image in at[1:3])
            if bits is not None:
                g = code.where(code.load_mask(code.plus(at[3], v * mask_bytes(code.lanes))), g)
            line = code.fma(slope, code.minus(x, centre), shift)
            code.store(code.fma(factor, g, line), code.at(at[0], vector=v))
        return sums

    starts = [(image, ROW) for image in (gx, gy, x)]
    code.stream(count, starts if bits is None else [*starts, (bits, _bits_of_a_pixel())], 0, emit)


def _vectors(code: Code, numbers: ir.Value, places: tuple[int, ...]) -> list[list[ir.Value]]:
    """For each vector of a pixel those rows of its block."""
    starts = [code.at(numbers, vector=v) for v in range(BLOCK // code.lanes)]
    return [[code.load(code.plus(start, place * ROW)) for place in places] for start in starts]
