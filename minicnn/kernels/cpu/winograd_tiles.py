"""The transforms of Winograd's convolution F(4 × 4, 3 × 3), as micro-kernels on vectors of 16 channels.

    Y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A        x 6 × 6, w 3 × 3, Y 4 × 4

Each matrix is applied twice, to the columns and to the rows of a small square whose elements are vectors, so a
transform is a list of sums with constant factors. Squares of 6 × 6 vectors do not fit into the registers; LLVM keeps
what is left in L1.

Source: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.2; the points 0, ±1, ±2, ∞.
"""

from __future__ import annotations

from llvmlite import ir

BLOCK = 16
TILE = 4  # outputs along each axis
SQUARE = TILE + 2  # inputs along each axis

BT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
AT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def transposed(matrix):
    return tuple(zip(*matrix, strict=True))


def transform_inputs(code, tiles, x, x_row, v, v_step):
    """v[i, j] of each tile = (Bᵀ x B)[i, j]: tiles are 4 pixels apart in x, and neighbours in v.

    Rows of x are x_row bytes apart, the 36 places of v v_step.
    """
    _for_tiles(code, tiles, x, TILE, x_row, v, v_step, BT)


def transform_gradients(code, tiles, gy, gy_row, v, v_step):
    """v[i, j] of each tile = (A gy Aᵀ)[i, j], from 4 × 4 pixels: what gy is to the products."""
    _for_tiles(code, tiles, gy, TILE, gy_row, v, v_step, transposed(AT))


def _for_tiles(code, tiles, x, pixels, x_row, v, v_step, matrix):
    size = len(matrix[0])

    def step(t: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        for part in range(BLOCK // code.lanes):
            start = code.at(code.plus(x, code.times(t, pixels * 64)), vector=part)
            square = [
                [code.load(code.plus(code.at(start, row=i, row_bytes=x_row), 64 * j)) for j in range(size)]
                for i in range(size)
            ]
            target = code.at(code.plus(v, code.times(t, 64)), vector=part)
            for place, value in enumerate(_sandwich(code, matrix, square)):
                code.store(value, code.at(target, row=place, row_bytes=v_step))
        return nothing

    code.loop(tiles, [], step)


def transform_products(code, tiles, m, m_step, y, y_row, bias, *, cap=None):
    """4 × 4 pixels of y = bias + Aᵀ m A of each tile, or min(max(·, 0), cap): the opposite way."""

    def step(t: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        for part in range(BLOCK // code.lanes):
            start = code.at(code.plus(m, code.times(t, 64)), vector=part)
            square = [
                [code.load(code.at(start, row=SQUARE * i + j, row_bytes=m_step)) for j in range(SQUARE)]
                for i in range(SQUARE)
            ]
            addend = code.load(code.at(bias, vector=part))
            target = code.at(code.plus(y, code.times(t, TILE * 64)), vector=part)
            for place, value in enumerate(_sandwich(code, AT, square)):
                value = code.builder.fadd(value, addend)
                pixel = code.plus(code.at(target, row=place // TILE, row_bytes=y_row), 64 * (place % TILE))
                code.store(value if cap is None else code.clip(value, cap), pixel)
        return nothing

    code.loop(tiles, [], step)


def transform_weights(code, lines, a, a_row, a_col, u, u_step, flipped):
    """u[i, j] of each line of 16 outputs = (G w Gᵀ)[i, j], where tap (r, s) of w stands at a + r·a_row + s·a_col.

    `flipped` is not 0 if taps are to be taken in the opposite order, (2, 2) first.
    """
    backwards = code.builder.icmp_signed("!=", flipped, flipped.type(0))
    end = code.plus(code.times(a_row, 2), code.times(a_col, 2))
    first = code.plus(a, code.builder.select(backwards, end, end.type(0)))
    sign = code.builder.select(backwards, end.type(-1), end.type(1))
    row, col = code.builder.mul(a_row, sign), code.builder.mul(a_col, sign)

    def step(t: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        for part in range(BLOCK // code.lanes):
            start = code.at(code.plus(first, code.times(t, 64)), vector=part)
            square = [
                [code.load(code.at(code.at(start, row=i, row_bytes=row), row=j, row_bytes=col)) for j in range(3)]
                for i in range(3)
            ]
            target = code.at(code.plus(u, code.times(t, 64)), vector=part)
            for place, value in enumerate(_sandwich(code, G, square)):
                code.store(value, code.at(target, row=place, row_bytes=u_step))
        return nothing

    code.loop(lines, [], step)


def gradient_of_weights(code, lines, u, u_step, a, a_row, a_col):
    """tap (r, s) of each line = (Gᵀ u G)[r, s]: what the sums of products are to w."""

    def step(t: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
        for part in range(BLOCK // code.lanes):
            start = code.at(code.plus(u, code.times(t, 64)), vector=part)
            square = [
                [code.load(code.at(start, row=SQUARE * i + j, row_bytes=u_step)) for j in range(SQUARE)]
                for i in range(SQUARE)
            ]
            target = code.at(code.plus(a, code.times(t, 64)), vector=part)
            for place, value in enumerate(_sandwich(code, transposed(G), square)):
                code.store(
                    value, code.at(code.at(target, row=place // 3, row_bytes=a_row), row=place % 3, row_bytes=a_col)
                )
        return nothing

    code.loop(lines, [], step)


def _sandwich(code, matrix, square):
    """matrix · square · matrixᵀ, row by row in one list."""
    columns = [_times(code, matrix, column) for column in zip(*square, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in _times(code, matrix, row)]


def _times(code, matrix, vector):
    """matrix · vector, where the elements of vector are vectors: zeros are left out, and ones not multiplied."""
    results = []
    for row in matrix:
        total = None
        for factor, value in sorted(zip(row, vector, strict=True), key=lambda term: abs(term[0]) != 1):
            if factor == 0:
                continue
            if total is None:
                total = value if factor == 1 else code.times_number(value, factor)
            elif abs(factor) == 1:
                total = code.builder.fadd(total, value) if factor == 1 else code.builder.fsub(total, value)
            else:
                total = code.fma(code.number(factor), value, total)
        results.append(total)
    return results
