"""Local response normalisation in blocks of channels: the neighbours of 16 channels are the same vector, shifted.

    squares of a pixel       block b − 1            block b              block b + 1
                       [ ... q12 q13 q14 q15 ][ q0 q1 ... q14 q15 ][ q0 q1 q2 q3 ... ]
    of c − 2 to c + 2        └───── shifted by −2 ──────┘  ...  └────── by +2 ──────┘     4 shuffles, 4 additions

A pixel's blocks are taken one after the other, each loaded once; of those before and behind only the squares stay in
registers. Backward the same with the terms gy·x·s^(−β−1), one block behind the squares they need.

Powers s^(−β) for β = ½, ¾ and 1 without roots or divisions, which were most of the time of norm.py. v ≈ s^(−¼) comes
from the bits of s, whose exponent makes them nearly a logarithm: M − bits/4, within 3.2 %. What is missing is
e = 1 − s·v⁴, and (1 − e)^(−q/4) = 1 + q/4·e + q/4·(q/4 + 1)/2·e² + ... makes it up, once for v (then e < 0.001),
and once for v^q = s^(−q/4). Worst error 3·10⁻⁷ of the result. Where an s of 16 is no ordinary number (0, ∞, NaN, < 0,
beyond 2^±100), the pixel takes the roots and the division instead. Other β are left to norm.py.

    operations   for each vector 32 forward, 60 backward, two a cycle
    bytes        forward x read, y written, 8 a number; backward x and gy read, gx written, 12
    predicted    the speed of memory, some 20 GB/s: 1.9 ms forward, 2.8 back for 16 images of 96 × 55 × 55, 1 thread
    measured     2.2 and 3.5 (AVX2 3.6 and 10, SSE 18 and 30, on a busy machine), PyTorch 210 and 270; 256 × 27 × 27
                 1.8 and 3.8 (99 and 149); 8 images of 192 × 56 × 56 2.5 and 12 (230 and 300), both on a busy machine
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from . import norm
from .blocked import BLOCK, Blocked, blocked, plain
from .code import INT, Code
from .passes import run

PIXEL = 4 * BLOCK  # bytes
MAGIC = 0x4F586000  # minus a quarter of the bits of s: s^(−¼), with the least worst error
ORDINARY = 27 << 23, 227 << 23  # bits of 2^−100 and 2^100: in between, s and v⁴ are far from the ends of float32


# --- the kernels ------------------------------------------------------------------------------------------------------


def local_response_norm(x: Any, before: int, after: int, alpha: float, beta: float, k: float) -> Any:
    """x·s^−beta with s = k + alpha·Σ x² over the channels c − before to c + after."""
    if not _is_fast(before, after, beta):
        return norm.local_response_norm(plain(x), before, after, alpha, beta, k)
    x, y = blocked(x), Blocked.empty(x.shape)
    _for_rows(respond, [x, y], [alpha, k], before, after, beta)
    return y


def local_response_norm_gradient(gy: Any, x: Any, before: int, after: int, alpha: float, beta: float, k: float) -> Any:
    """gx = gy·s^−beta − 2·alpha·beta·x·Σ gy·x·s^(−beta−1) over the channels whose window has this one."""
    if not _is_fast(before, after, beta):
        return norm.local_response_norm_gradient(plain(gy), plain(x), before, after, alpha, beta, k)
    gy, x, gx = blocked(gy), blocked(x), Blocked.empty(x.shape)
    _for_rows(respond_back, [x, gx, gy], [alpha, k, -2 * alpha * beta], before, after, beta)
    return gx


def _is_fast(before: int, after: int, beta: float) -> bool:
    return max(before, after) <= BLOCK and beta in (0.5, 0.75, 1)


def _for_rows(kernel: Any, images: list[Blocked], numbers: list[float], before: int, after: int, beta: float) -> None:
    arrays = [image.blocks() for image in images]
    n, blocks, height, width, _ = arrays[0].shape
    words = [*arrays, np.array(numbers, np.float32), _lanes(images[0].shape[1]), blocks, height, width]
    shape = {"before": before, "after": after, "quarters": round(4 * beta)}
    run(n * height, arrays[0].nbytes, kernel, words, **shape)


@functools.lru_cache(maxsize=256)
def _lanes(channels: int) -> np.ndarray:
    """Which lanes are channels, as bits: of a whole block, of the last, and of one after the last."""
    bits = np.full((3, BLOCK), -1, np.int32)
    bits[1, (channels - 1) % BLOCK + 1 :] = 0
    bits[2] = 0
    return bits


# --- micro-kernels ----------------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """The window and the constants, as vectors; how many blocks there are, and bytes from one to the next."""

    before: int
    after: int
    alpha: ir.Value
    k: ir.Value
    lanes: ir.Value  # the table of _lanes
    blocks: ir.Value
    plane: ir.Value  # bytes


def respond(code, share, first, last, words, *, before, after, quarters):
    """y of rows first ≤ i < last of all images. words: as _for_rows lays them out."""
    code = code.of_lanes(BLOCK)
    x, y, numbers, lanes, blocks, height, width = code.load_ints(words, 7)
    alpha, k = _splats(code, numbers, 2)
    plane = code.times(code.times(height, width), PIXEL)
    form = Form(before, after, alpha, k, lanes, blocks, plane)

    def pixel(at: ir.Value) -> None:
        def block(b: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            at, squares_before, value, squares = carried
            following, squares_after = _next(code, form, code.plus(x, at), b)
            sizes = _sizes(code, form, squares_before, squares, squares_after)
            (power,) = _powers(code, sizes, [quarters])
            code.store(code.keep_bits(code.times_vector(value, power), _channels(code, form, b)), code.plus(y, at))
            return [code.plus(at, plane), squares, following, squares_after]

        value = code.load(code.plus(x, at))
        code.loop(blocks, [at, code.zero, value, code.times_vector(value, value)], block)

    _for_pixels(code, first, last, form, height, width, pixel)


def respond_back(code, share, first, last, words, *, before, after, quarters):
    """gx of rows first ≤ i < last of all images. words: as _for_rows lays them out."""
    code = code.of_lanes(BLOCK)
    x, gx, gy, numbers, lanes, blocks, height, width = code.load_ints(words, 8)
    alpha, k, slope = _splats(code, numbers, 3)
    plane = code.times(code.times(height, width), PIXEL)
    form = Form(before, after, alpha, k, lanes, blocks, plane)

    def ahead(b: ir.Value, at: ir.Value, squares_before: ir.Value, value: ir.Value, squares: ir.Value) -> Any:
        """Of block b: x and x² of the next one, gy·s^−β, and the terms gy·x·s^(−β−1)."""
        following, squares_after = _next(code, form, code.plus(x, at), b)
        sizes = _sizes(code, form, squares_before, squares, squares_after)
        power, inverse = _powers(code, sizes, [quarters, 4])
        own = code.times_vector(code.load(code.plus(gy, at)), power)
        terms = code.times_vector(code.times_vector(own, value), inverse)
        return following, squares_after, own, code.keep_bits(terms, _channels(code, form, b))

    def finish(b: Any, at: Any, own: ir.Value, value: ir.Value, low: Any, here: Any, high: Any) -> None:
        """gx of block b from the terms of three blocks, over the window turned around."""
        others = _window(code, low, here, high, after, before)
        result = code.fma(code.times_vector(slope, value), others, own)
        code.store(code.keep_bits(result, _channels(code, form, b)), code.plus(gx, at))

    def pixel(at: ir.Value) -> None:
        def block(b: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            at, squares_before, value, squares, previous, own, terms_before, terms = carried
            here = code.plus(at, plane)
            following, squares_after, new_own, new_terms = ahead(code.plus(b, 1), here, squares_before, value, squares)
            finish(b, at, own, previous, terms_before, terms, new_terms)
            return [here, squares, following, squares_after, value, new_own, terms, new_terms]

        value = code.load(code.plus(x, at))
        squares = code.times_vector(value, value)
        following, squares_after, own, terms = ahead(INT(0), at, code.zero, value, squares)
        carried = [at, squares, following, squares_after, value, own, code.zero, terms]
        at, _, _, _, value, own, terms_before, terms = code.loop(code.plus(blocks, -1), carried, block)
        finish(code.plus(blocks, -1), at, own, value, terms_before, terms, code.zero)

    _for_pixels(code, first, last, form, height, width, pixel)


def _for_pixels(code: Code, first: Any, last: Any, form: Form, height: Any, width: Any, pixel: Any) -> None:
    """pixel(where it is in its image array) for all pixels of rows first ≤ i < last."""

    def row(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        image, h = code.divided(code.plus(first, i), height)
        start = code.plus(
            code.times(code.times(image, form.blocks), form.plane), code.times(code.times(h, width), PIXEL)
        )

        def along(w: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            pixel(code.plus(start, code.times(w, PIXEL)))
            return nothing

        return code.loop(width, nothing, along)

    code.loop(code.builder.sub(last, first), [], row)


def _splats(code: Code, numbers: ir.Value, count: int) -> list[ir.Value]:
    return [code.splat(code.load_one(code.plus(numbers, 4 * i))) for i in range(count)]


def _next(code: Code, form: Form, at: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Block b + 1 and its squares, zeros after the last; at: where block b is."""
    is_last = code.builder.icmp_signed("==", code.plus(b, 1), form.blocks)
    value = code.load(code.builder.select(is_last, code.plus(form.lanes, 2 * PIXEL), code.plus(at, form.plane)))
    return value, code.times_vector(value, value)


def _channels(code: Code, form: Form, b: ir.Value) -> ir.Value:
    """Which lanes of block b are channels."""
    is_last = code.builder.icmp_signed("==", code.plus(b, 1), form.blocks)
    return code.load_places(code.plus(form.lanes, code.builder.select(is_last, INT(PIXEL), INT(0))))


def _window(code: Code, low: ir.Value, here: ir.Value, high: ir.Value, before: int, after: int) -> ir.Value:
    """For each channel of a block the sum over its window, from the block and its two neighbours."""
    total = None
    for shift in range(-before, after + 1):
        pair, start = ((low, here), BLOCK + shift) if shift < 0 else ((here, high), shift)
        shifted = code.shuffle(*pair, range(start, start + BLOCK))
        total = shifted if total is None else code.add(total, shifted)
    return total


def _sizes(code: Code, form: Form, low: ir.Value, here: ir.Value, high: ir.Value) -> ir.Value:
    return code.fma(form.alpha, _window(code, low, here, high, form.before, form.after), form.k)


def _powers(code: Code, s: ir.Value, quarters: list[int]) -> list[ir.Value]:
    """s^(−q/4) for each q."""
    lowest, highest = ORDINARY
    above = code.builder.sub(code.bits(s), code.constant_bits(lowest))
    ordinary = code.builder.icmp_unsigned("<", above, code.constant_bits(highest - lowest))
    return code.choose(
        code.everywhere(ordinary), lambda: _quick_powers(code, s, quarters), lambda: _slow_powers(code, s, quarters)
    )


def _quick_powers(code: Code, s: ir.Value, quarters: list[int]) -> list[ir.Value]:
    quarter = code.builder.lshr(code.bits(s), code.constant_bits(2))
    v = code.from_bits(code.builder.sub(code.constant_bits(MAGIC), quarter))
    v = _corrected(code, v, _missing(code, s, v), 1)
    e = _missing(code, s, v)
    return [_corrected(code, _whole_power(code, v, q), e, q) for q in quarters]


def _missing(code: Code, s: ir.Value, v: ir.Value) -> ir.Value:
    """e = 1 − s·v⁴"""
    return code.fma(code.builder.fneg(s), _whole_power(code, v, 4), code.all_lanes(1))


def _corrected(code: Code, power: ir.Value, e: ir.Value, q: int) -> ir.Value:
    """power·(1 − e)^(−q/4), up to e²"""
    a = q / 4
    series = code.fma(e, code.all_lanes(a * (a + 1) / 2), code.all_lanes(a))
    return code.fma(code.times_vector(power, e), series, power)


def _slow_powers(code: Code, s: ir.Value, quarters: list[int]) -> list[ir.Value]:
    v, inverse = (code.over(code.all_lanes(1), root) for root in (code.root(code.root(s)), s))
    return [inverse if q == 4 else _whole_power(code, v, q) for q in quarters]


def _whole_power(code: Code, v: ir.Value, q: int) -> ir.Value:
    if q == 1:
        return v
    square = code.times_vector(v, v)
    return square if q == 2 else code.times_vector(square, v if q == 3 else square)
