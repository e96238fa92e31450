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

# What each block has of its own, in rows of 16: in double precision, and in float32 for the pixels.
W, B, MEAN, VAR, EPS, SHARE, GW, GB = range(8)
CENTRE, FACTOR, SHIFT, SLOPE = range(4)
WIDE_ROW, ROW = 8 * BLOCK, 4 * BLOCK  # bytes
OWN, NUMBERS = 8 * WIDE_ROW, 4 * ROW  # bytes of a block
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
    memory, own, _ = _memory(geometry, masked=False)
    _set(own, channels, {W: w, B: b, EPS: eps})
    if given:
        _set(own, channels, {MEAN: mean, VAR: var})
    plan.run(memory, y.blocks(), *images)
    return (y, mean, var) if given else (y, _get(own, channels, MEAN), _get(own, channels, VAR))


def batch_norm_gradient(
    gy: Any, x: Any, y: Any, w: Any, mean: np.ndarray, var: np.ndarray, eps: float, cap: float | None
) -> tuple[Any, np.ndarray, np.ndarray]:
    """gx (N, C, H, W), gw, gb (C,), from gy where 0 < y < cap; from all of it if cap is None."""
    if not x.size:
        return norm.batch_norm_gradient(plain(gy), plain(x), plain(y), w, mean, var, eps, cap)
    images = [blocked(a).images() for a in ((gy, x) if cap is None else (gy, x, y))]
    gx, channels, geometry = Blocked.empty(x.shape), x.shape[1], geometry_of(x.shape)
    plan = _backward_plan(geometry, cap)
    memory, own, numbers = _memory(geometry, masked=cap is not None)
    _set(own, channels, {W: w, MEAN: mean, VAR: var, EPS: eps, SHARE: 1 / (geometry.images * geometry.pixels)})
    numbers[:, CENTRE] = own[:, MEAN]
    plan.run(memory, gx.blocks(), *images)
    gw, gb = (_get(own, channels, row).astype(x.dtype if w is None else w.dtype, copy=False) for row in (GW, GB))
    return gx, gw, gb


# --- plans: arrays are memory, result, x, residual; or memory, result, gy, x, y ---------------------------------------


@functools.cache
def _forward_plan(geometry: Geometry, given: bool, added: bool, cap: float | None) -> Plan:
    own, numbers, found, _ = _places(geometry)
    y, *images = (image_operand(array, geometry) for array in range(1, 4 if added else 3))
    looks = [] if given else [Stage(address("float32", moments), (images[0], _each(found)))]
    finish = address("float64", moments_to_affine, given=given)
    apply = address("float32", normalise_and_add if added else normalise, cap=cap)
    return Plan(
        geometry,
        *looks,
        Stage(finish, (own, numbers, *_all(geometry, found)), once=True),
        Stage(apply, (numbers, y, *images), backwards=not given),
    )


@functools.cache
def _backward_plan(geometry: Geometry, cap: float | None) -> Plan:
    own, numbers, found, bits = _places(geometry)
    gx, gy, x, y = (image_operand(array, geometry) for array in range(1, 5))
    if cap is None:
        look, apply = address("float32", gradient_sums), address("float32", gradient)
        of_y: tuple[tuple[Operand, ...], ...] = ((), ())
    else:
        look, apply = address("float32", masked_gradient_sums, cap=cap), address("float32", masked_gradient)
        of_y = ((y, bits), (bits,))
    return Plan(
        geometry,
        Stage(look, (numbers, _each(found), gy, x, *of_y[0])),
        Stage(address("float64", sums_to_gradient), (own, numbers, *_all(geometry, found)), once=True),
        Stage(apply, (numbers, gx, gy, x, *of_y[1]), backwards=True),
    )


# --- what is kept for each block and piece, during a call -------------------------------------------------------------


@functools.cache
def _places(geometry: Geometry) -> tuple[Operand, Operand, int, Operand]:
    """In memory: both kinds of what a block has, where what the pieces found begins, and bits for numbers."""
    numbers = geometry.blocks * OWN
    found = numbers + geometry.blocks * NUMBERS
    bits = found + geometry.blocks * geometry.pieces() * FOUND
    return (
        Operand(0, block=OWN),
        Operand(0, block=NUMBERS, offset=numbers),
        found,
        image_operand(0, geometry, pixel=_bits_of_a_pixel(), offset=bits),
    )


@functools.cache
def _bits_of_a_pixel() -> int:
    lanes = machine().lanes("float32")
    return BLOCK // lanes * mask_bytes(lanes)


def _memory(geometry: Geometry, masked: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All of it, and its beginning: own (blocks, 8, 16) in double precision, numbers (blocks, 4, 16) in float32."""
    _, numbers, _, bits = _places(geometry)
    pixels = geometry.images * geometry.blocks * geometry.pixels
    memory = scratch(1, bits.offset + (pixels * _bits_of_a_pixel() if masked else 0), np.uint8)[0]
    own = memory[: numbers.offset].view(np.float64).reshape(-1, 8, BLOCK)
    rest = memory[numbers.offset : numbers.offset + geometry.blocks * NUMBERS]
    return memory, own, rest.view(np.float32).reshape(-1, 4, BLOCK)


def _each(found: int) -> Operand:
    """Where a piece puts what it found."""
    return Operand(0, piece=FOUND, offset=found)


def _all(geometry: Geometry, found: int) -> tuple[Operand, ...]:
    """What the pieces of a block have found: where the first is, how many, how far from one to the next."""
    many, step = geometry.pieces(), geometry.blocks * FOUND
    return Operand(0, block=FOUND, offset=found), Operand(NUMBER, offset=many), Operand(NUMBER, offset=step)


def _set(own: np.ndarray, channels: int, rows: dict[int, Any]) -> None:
    """Rows from (C,) arrays or numbers, no w being 1 and no b 0. Past C w, b and mean are 0: so are the results there,
    and the gradients."""
    full, rest = divmod(channels, BLOCK)
    for row, value in rows.items():
        if type(value) is np.ndarray:
            own[:full, row] = value[: full * BLOCK].reshape(full, BLOCK)
            if rest:
                own[full, row, :rest] = value[full * BLOCK :]
        else:
            own[:, row] = float(row == W) if value is None else value
        if rest and row not in (EPS, SHARE):
            own[full, row, rest:] = 0


def _get(own: np.ndarray, channels: int, row: int) -> np.ndarray:
    return own[:, row].flatten()[:channels]  # a copy always: reshape makes none of a single block


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


def moments_to_affine(code, _, own, numbers, found, pieces, step, *, given):
    """mean and var of all pieces (unless they are given); and of them, w, b and eps: (x − centre)·factor + shift."""
    for v in range(BLOCK // code.lanes):
        row = functools.partial(_wide_row, code, own, v)
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


def sums_to_gradient(code, _, own, numbers, found, pieces, step):
    """gw and gb, and gx = factor·g + slope·(x − centre) + shift.

    With σ⁻¹ = 1/√(var + eps) and the means over all n: gx = w·σ⁻¹·(g − mean(g) − (x − mean)·σ⁻¹·mean(g·x̂)).
    """
    for v in range(BLOCK // code.lanes):

        def add(i, carried):
            at, total, product = carried
            here = code.load(at), code.load(code.plus(at, WIDE_ROW))
            return [code.plus(at, step), code.add(total, here[0]), code.add(product, here[1])]

        row = functools.partial(_wide_row, code, own, v)
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
        _store_numbers(code, numbers, v, {FACTOR: factor, SLOPE: code.minus(code.zero, minus_slope), SHIFT: shift})


def _lost(code: Code, mean: ir.Value) -> ir.Value:
    """mean − centre: what is lost when it is rounded to float32."""
    return code.minus(mean, code.widen(code.narrow(mean)))


def _wide_row(code: Code, own: ir.Value, v: int, place: int) -> ir.Value:
    return code.plus(code.at(own, vector=v), place * WIDE_ROW)


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


def gradient_sums(code, count, numbers, found, gy, x):
    _gradient_sums(code, count, numbers, found, gy, x, None, None, None)


def masked_gradient_sums(code, count, numbers, found, gy, x, y, bits, *, cap):
    _gradient_sums(code, count, numbers, found, gy, x, y, bits, cap)


def _gradient_sums(code, count, numbers, found, gy, x, y, bits, cap):
    """found: Σ g and Σ g·(x − centre) of these pixels. bits: where g is gy, and not 0."""
    wide = code.wider()
    for v, (centre,) in enumerate(_vectors(code, numbers, (CENTRE,))):

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
