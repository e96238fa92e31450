"""The two micro-kernels that convolve images in blocks of 16 channels; blocked_conv.py says what they are for.

convolve_tile     for each term (tap and 4 channels c):   14 pixels × 2 blocks of 16 outputs stay in registers

                      x, 14 pixels apart by `step`        ● ● ● ● ● ● ● ● ● ● ● ● ● ●    one number each, in all lanes
                      a, 2 × 16 weights of channel c      ████ ████                       loaded once for 14 pixels

    16 loads feed 28 multiply-adds of 16 lanes.

gradient_tile     for each pixel of some rows:            8 channels × 2 blocks of 16 outputs stay in registers

                      x, 8 channels of the pixel          ● ● ● ● ● ● ● ●
                      gy, 2 × 16 gradients of the pixel   ████ ████

    10 loads feed 16.

On narrower machines a block is two vectors, or four, and the tiles are smaller: see shapes() below. x may be planes as
well as blocks: then a term is a tap of one channel, and what stood for channels of a pixel are taps along a row.
"""

from __future__ import annotations

from llvmlite import ir

from .microkernels import Machine, machine

BLOCK = 16


def vectors_of_a_block(cpu: Machine) -> int:
    return BLOCK // cpu.lanes("float32")


def group_size() -> int:
    """How many blocks of outputs a tile has: so many that pixels can be broadcast less often than multiplied."""
    return 2 if vectors_of_a_block(machine()) == 1 else 1


def most_pixels(blocks: int) -> int:
    """Of a convolve_tile: registers for all its sums, the weights of one channel, and one pixel."""
    cpu = machine()
    vectors = blocks * vectors_of_a_block(cpu)
    return min(24, (cpu.registers - 2 - vectors) // vectors)


def most_channels(blocks: int) -> int:
    """Of a gradient_tile: registers for all its sums, the gradients of one pixel, and one number of x."""
    return most_pixels(blocks)


def convolve_tile(
    code, terms, offsets, x, a, y, y_step, y_block, bias, accumulate, *, pixels, blocks, step, channels, cap=None
):
    """y[u, k] = start[u, k] + Σ_t Σ_c x[offsets[t] + u·step + c] · a[t, c, k]  for u < pixels, k < 16 · blocks.

    start is y itself if `accumulate` is not 0, else bias[k]. offsets: bytes, `terms` of them; c < `channels`; pixels
    of x are `step` bytes apart, those of y y_step bytes, its blocks y_block. cap: the result is min(max(·, 0), cap).
    """
    parts = [(block, part) for block in range(blocks) for part in range(BLOCK // code.lanes)]
    targets = [
        code.at(code.plus(code.at(y, row=u, row_bytes=y_step), code.times(y_block, block)), vector=part)
        for u in range(pixels)
        for block, part in parts
    ]
    starts = [code.at(bias, vector=v) for v in range(len(parts))]
    tile = code.load_either(accumulate, targets, starts * pixels)

    def step_on(t: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        offset, a, *tile = carried
        first = code.plus(x, code.load_int(offset))
        for c in range(channels):
            weights = [code.load(code.at(a, vector=c * len(parts) + v)) for v in range(len(parts))]
            for u in range(pixels):
                pixel = code.splat(code.load_one(code.plus(first, u * step + c * code.size)))
                for v, weight in enumerate(weights):
                    tile[u * len(parts) + v] = code.fma(pixel, weight, tile[u * len(parts) + v])
        return [code.plus(offset, 8), code.at(a, vector=channels * len(parts)), *tile]

    _, _, *tile = code.loop(terms, [offsets, a, *tile], step_on)
    for value, target in zip(tile, targets, strict=True):
        code.store(value if cap is None else code.clip(value, cap), target)


def gradient_tile(
    code, rows, pixels, x, x_row, x_line, gy, gy_row, gy_block, gw, gw_line, accumulate,
    *, step, lines, channels, blocks,
):  # fmt: skip
    """gw[i, c, k] = Σ x[row, u, i, c] · gy[row, u, k]  over rows, pixels u; i < lines, c < channels, k < 16 · blocks.

    Added to gw if `accumulate` is not 0. x[row, u, i, c] stands x_row·row + step·u + x_line·i bytes and c elements
    behind x; lines of gw are gw_line bytes apart.
    """
    parts = [(block, part) for block in range(blocks) for part in range(BLOCK // code.lanes)]
    gradients = [code.at(code.plus(gy, code.times(gy_block, block)), vector=part) for block, part in parts]
    targets = [
        code.at(code.at(gw, row=i, row_bytes=gw_line), vector=c * len(parts) + v)
        for i in range(lines)
        for c in range(channels)
        for v in range(len(parts))
    ]
    tile = code.load_if(accumulate, targets)

    def next_row(row: ir.Value, tile: list[ir.Value]) -> list[ir.Value]:
        x_start, gy_shift = code.plus(x, code.builder.mul(row, x_row)), code.builder.mul(row, gy_row)

        def next_pixel(u: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            pixel, shift, *tile = carried
            vectors = [code.load(code.plus(gradient, shift)) for gradient in gradients]
            for i in range(lines):
                line = code.plus(pixel, code.times(x_line, i))
                for c in range(channels):
                    number = code.splat(code.load_one(code.plus(line, c * code.size)))
                    for v, vector in enumerate(vectors):
                        place = (i * channels + c) * len(parts) + v
                        tile[place] = code.fma(number, vector, tile[place])
            return [code.plus(pixel, step), code.plus(shift, BLOCK * code.size), *tile]

        return code.loop(pixels, [x_start, gy_shift, *tile], next_pixel)[2:]

    tile = code.loop(rows, tile, next_row)
    for value, target in zip(tile, targets, strict=True):
        code.store(value, target)


def copy_padded(code, rows, cols, source, source_row, begin, end, top, height, target, target_row):
    """target[i, j] = source[top + i, j] where 0 ≤ top + i < height and begin ≤ j < end, else 0: rows of pixels.

    Rows are source_row and target_row bytes apart. source is the address that pixel (0, 0) has, or would have.
    """

    def clear(code, to, count):
        def step(j: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            for part in range(BLOCK // code.lanes):
                code.store(code.zero, code.at(code.plus(to, code.times(j, 4 * BLOCK)), vector=part))
            return nothing

        code.loop(count, [], step)

    def next_row(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        h = code.plus(top, i)
        inside = code.builder.icmp_unsigned("<", h, height)
        first, last = (code.builder.select(inside, edge, cols) for edge in (begin, end))
        here = code.plus(target, code.builder.mul(i, target_row))
        there = code.plus(source, code.builder.mul(h, source_row))
        clear(code, here, first)

        def move(j: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            pixel = code.times(code.plus(first, j), 4 * BLOCK)
            for part in range(BLOCK // code.lanes):
                code.store(code.load(code.at(code.plus(there, pixel), vector=part)),
                           code.at(code.plus(here, pixel), vector=part))  # fmt: skip
            return nothing

        code.loop(code.builder.sub(last, first), [], move)
        clear(code, code.plus(here, code.times(last, 4 * BLOCK)), code.builder.sub(cols, last))
        return nothing

    code.loop(rows, [], next_row)
