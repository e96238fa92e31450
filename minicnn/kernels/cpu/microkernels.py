"""Micro-kernels: the two innermost loops of convolution, kept in vector registers.

fma_tile: outer products. Each step takes one number from each of `rows` rows of A and a few vectors of B:

                      B[k]  ▒▒▒▒ ▒▒▒▒ ▒▒▒▒      vectors of `lanes` pixels, wherever the table of offsets says
                              ↓    ↓    ↓
        A[k]   a0 ─→        ████ ████ ████
        splat  a1 ─→        ████ ████ ████      the tile of C: all of it in registers
               ..             ..               (8 × 3 vectors of 16 floats on AVX-512)
               a7 ─→        ████ ████ ████

    rows + vectors loads feed rows · vectors multiply-adds: 11 loads for 24, where a plain dot product needs 2 for 1.

dot_tile: inner products of `rows` rows of A with `columns` rows of B, both read along the pixels; one register per
    product collects `lanes` partial sums, which are added up at the end. No operand has to be transposed.

Loops that a compiler makes vectors of use registers of half the width and reload the tile in each step, three times
slower; so these two are written as LLVM instructions and compiled straight through llvmlite, when first asked for:
about 15 ms each, after that one to read it from disk (machine_code.py). Drivers call them by address (`call_tile`). The
machine decides lanes and tile: we ask LLVM which registers it would use. All multiply-adds are `fmuladd`: fused where
the CPU can, else a multiplication and an addition, never a library call.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from . import machine_code
from .code import INT, INT32, Code
from .versions import version_of


class Machine(NamedTuple):
    """Size and number of the vector registers, and the shape of the fma_tile that makes best use of them."""

    bits: int
    registers: int
    tile_rows: int
    tile_vectors: int

    def dot_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of the dot_tiles that fit: registers for all products, all rows, and one column."""
        return [(rows, min(12, (self.registers - 1) // rows - 1)) for rows in range(1, 9) if self.registers > 2 * rows]

    def lanes(self, dtype: Any) -> int:
        return self.bits // 8 // np.dtype(dtype).itemsize


AVX512 = Machine(bits=512, registers=32, tile_rows=8, tile_vectors=3)
AVX2 = Machine(bits=256, registers=16, tile_rows=6, tile_vectors=2)
SSE = Machine(bits=128, registers=15, tile_rows=4, tile_vectors=2)  # 16, but each product passes through one
NEON = Machine(bits=128, registers=32, tile_rows=8, tile_vectors=3)


# --- what the rest of the book asks for -------------------------------------------------------------------------------


@functools.cache
def machine() -> Machine:
    """The CPU we compile for. LLVM itself is asked: it compiles one addition, and we look at the registers it took."""
    module = ir.Module("probe")
    vector = ir.VectorType(ir.FloatType(), 16)
    function = ir.Function(module, ir.FunctionType(vector, [vector, vector]), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fadd(*function.args))
    assembly = _target_machine().emit_assembly(llvm.parse_assembly(str(module)))
    if "zmm" in assembly:
        return AVX512
    if "ymm" in assembly:
        return AVX2
    return SSE if "xmm" in assembly else NEON


@functools.cache
def address(dtype: str, micro_kernel: Callable[..., None], **shape: int) -> int:
    """Where the machine code of a micro-kernel is: address("float32", dot_tile, rows=4, columns=6)."""

    def emit(module: ir.Module, symbol: str) -> None:
        _emit(module, dtype, micro_kernel, shape, symbol)

    described = f"{dtype} {sorted(shape.items())} {machine()}"
    return compiled(micro_kernel.__name__, described, emit, micro_kernel, Code)


def compiled(
    name: str, described: str, emit: Callable[[ir.Module, str], None], *made_of: Any, optimised: bool = False
) -> int:
    """Where the machine code of a function is: on disk, or emit(module, symbol) writes its instructions.

    The name with what is described tells functions apart; made_of: the functions and classes that write instructions.
    """
    made_for = (described, *_cpu(), sys.implementation.cache_tag)
    symbol = f"{name.lstrip('_')}-{hashlib.sha256(repr(made_for).encode()).hexdigest()[:24]}"

    def compile(symbol: str) -> bytes:
        module, target = ir.Module("minicnn"), _target_machine()
        emit(module, symbol)
        parsed = llvm.parse_assembly(str(module))
        if optimised:
            options = llvm.create_pipeline_tuning_options(speed_level=2)
            passes = llvm.create_pass_builder(target, options)
            passes.getModulePassManager().run(parsed, passes)
        return target.emit_object(parsed)

    return machine_code.address(symbol, version_of(*made_of), compile)


def place(array: np.ndarray, i: int) -> int:
    """The address of element i of an array in C order: in drivers, whose language has it."""
    return array.ctypes.data + i * array.itemsize


def call_tile(address: int, args: Sequence[int]) -> None:
    """The micro-kernel at an address: in drivers."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(args))(address)(*args)


# --- the micro-kernels ------------------------------------------------------------------------------------------------


def fma_tile(code, depth, a, offset, b, c, c_row, accumulate, *, rows, vectors):
    """C[i, j] = Σ_k A[k, i] · B[offset[k] + j]  for i < rows, j < vectors · lanes; added to C if `accumulate` is not 0.

    A: `depth` × rows, contiguous. offset: bytes, one for each k. Rows of C are c_row bytes apart.
    """
    c_address = [code.at(c, row=r, row_bytes=c_row, vector=v) for r in range(rows) for v in range(vectors)]
    tile = code.load_if(accumulate, c_address)

    def step(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        a, offset, *tile = carried
        b_row = code.plus(b, code.load_int(offset))
        pixels = [code.load(code.at(b_row, vector=v)) for v in range(vectors)]
        for r in range(rows):
            weight = code.splat(code.load_one(code.plus(a, r * code.size)))
            for v in range(vectors):
                tile[r * vectors + v] = code.fma(weight, pixels[v], tile[r * vectors + v])
        return [code.plus(a, rows * code.size), code.plus(offset, 8), *tile]

    _, _, *tile = code.loop(depth, [a, offset, *tile], step)
    for value, address in zip(tile, c_address, strict=True):
        code.store(value, address)


def dot_tile(code, count, a, a_row, b, offset, c, c_row, *, rows, columns):
    """C[i, j] += Σ_t A[i, t] · B[offset[j] + t]  for i < rows, j < columns, over t < count · lanes.

    Rows of A are a_row bytes apart, rows of C c_row bytes; offset is in bytes.
    """
    a_rows = [code.at(a, row=r, row_bytes=a_row) for r in range(rows)]
    b_rows = [code.plus(b, code.load_int(code.plus(offset, 8 * j))) for j in range(columns)]

    def step(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        sums = list(sums)
        place = code.times(t, code.bytes)
        left = [code.load(code.plus(row, place)) for row in a_rows]
        for j in range(columns):
            right = code.load(code.plus(b_rows[j], place))
            for i in range(rows):
                sums[i * columns + j] = code.fma(left[i], right, sums[i * columns + j])
        return sums

    sums = code.loop(count, [code.zero] * (rows * columns), step)
    for i in range(rows):
        c_start = code.at(c, row=i, row_bytes=c_row)
        for j in range(columns):
            code.add_one(code.sum_lanes(sums[i * columns + j]), code.plus(c_start, j * code.size))


def move_rows(code, rows, source, source_step, target, target_step, width, addend, *, cap=None):
    """target[i, j] = source[i, j] + addend  for i < rows, j < width: short rows from anywhere to anywhere.

    Rows are source_step and target_step bytes apart; addend is the address of one element. cap: min(max(·, 0), cap).
    """
    value = code.load_one(addend)

    def move(code: Code, row: list[ir.Value], j: ir.Value) -> None:
        source, target = (code.plus(start, code.times(j, code.size)) for start in row)
        moved = code.builder.fadd(code.load(source), code.splat(value))
        code.store(moved if cap is None else code.clip(moved, cap), target)

    code.cover_rows(rows, width, [source, target], [source_step, target_step], move)


def max_2x2(code, rows, cols, x, x_step, width, place, y, indices, bias, *, relu):
    """y[p, q] = bias + the largest of x[2p : 2p+2, 2q : 2q+2], and indices[p, q] its place, for p < rows, q < cols.

    The first of equals; NaN is larger than all. Rows of x are x_step bytes apart, those of y and indices (int32)
    contiguous. A place is counted from `place`, in rows of `width`. bias: the address of one element.
    relu: what is not above 0 becomes 0 (NaN stays), with index −1.
    """
    y_step, below, addend = code.times(cols, code.size), code.builder.trunc(width, INT32), code.load_one(bias)

    def pools(code: Code, row: list[ir.Value], q: ir.Value) -> None:
        x, y, indices, place = row
        upper = code.plus(x, code.times(q, 2 * code.size))
        best, value = code.load_pairs(upper)
        step = code.splat(INT32(0))
        best, step = code.larger(best, step, value, code.splat(INT32(1)))
        for right, value in enumerate(code.load_pairs(code.plus(upper, x_step))):
            best, step = code.larger(best, step, value, code.plus(code.splat(below), code.splat(INT32(right))))
        corner = code.splat(code.builder.trunc(code.plus(place, code.times(q, 2)), INT32))
        winner = code.plus(code.plus(corner, code.count_by(2)), step)
        best = code.builder.fadd(best, code.splat(addend))
        if relu:
            best, winner = code.keep_positive(best, winner)
        code.store(best, code.plus(y, code.times(q, code.size)))
        code.store(winner, code.plus(indices, code.times(q, 4)))

    steps = [code.times(x_step, 2), y_step, code.times(cols, 4), code.times(width, 2)]
    code.cover_rows(rows, cols, [x, y, indices, place], steps, pools)


def unpool_2x2(code, rows, cols, gy, indices, width, place, gx, gx_step):
    """gx[2p : 2p+2, 2q : 2q+2] = gy[p, q] where indices[p, q] says so, else 0, for p < rows, q < cols.

    The opposite of max_2x2: gy and indices are contiguous, rows of gx gx_step bytes apart.
    """
    below = code.builder.trunc(width, INT32)

    def spreads(code: Code, row: list[ir.Value], q: ir.Value) -> None:
        gy, indices, place, gx = row
        value = code.load(code.plus(gy, code.times(q, code.size)))
        winner = code.load_places(code.plus(indices, code.times(q, 4)))
        corner = code.splat(code.builder.trunc(code.plus(place, code.times(q, 2)), INT32))
        here = code.plus(corner, code.count_by(2))
        target = code.plus(gx, code.times(q, 2 * code.size))
        for lower in (0, 1):
            if lower:
                here, target = code.plus(here, code.splat(below)), code.plus(target, gx_step)
            right = code.plus(here, code.splat(INT32(1)))
            code.store_pairs(code.where_equal(winner, here, value), code.where_equal(winner, right, value), target)

    steps = [code.times(cols, code.size), code.times(cols, 4), code.times(width, 2), code.times(gx_step, 2)]
    code.cover_rows(rows, cols, [gy, indices, place, gx], steps, spreads)


def winners_tile(code, count, gy, winners, places, x, sums, kept, *, rows, lanes):
    """sums[i] += Σ_j gy[j] · x[places[winners[j]] + rows[i]], each a vector, over j < count with winners[j] ≥ 0.

    The last of sums is Σ_j gy[j], in all lanes. places: bytes, int64, the first for winner −1. rows: bytes from what a
    place says to each row of taps. kept: memory for 16 · (count + 1) bytes, where (place, gy) of those that won
    are gathered first: to jump over the others would cost as much as the jumps that were not foreseen.
    A call's sum is complete before it is added: two levels of sums round less.
    """
    code = Code(code.builder, code.dtype, lanes)

    def gather(j, found):
        winner = code.builder.sext(code.load_int32(code.plus(winners, code.times(j, 4))), INT)
        to = code.plus(kept, code.times(found[0], 16))
        code.store(code.load_int(code.plus(places, code.times(code.plus(winner, 1), 8))), to)
        code.store(code.load_one(code.plus(gy, code.times(j, code.size))), code.plus(to, 8))
        return [code.plus(found[0], code.builder.zext(code.builder.icmp_signed(">=", winner, INT(0)), INT))]

    def multiply(j, tile):
        at = code.plus(kept, code.times(j, 16))
        start, factor = code.plus(x, code.load_int(at)), code.splat(code.load_one(code.plus(at, 8)))
        taps = [code.load(code.plus(start, row)) for row in rows]
        *tile, bias = tile
        return [*(code.fma(factor, *both) for both in zip(taps, tile, strict=True)), code.builder.fadd(bias, factor)]

    (found,) = code.loop(count, [INT(0)], gather)
    tile = code.loop(found, [code.zero] * (len(rows) + 1), multiply)
    for i, total in enumerate(tile):
        address = code.plus(sums, i * code.bytes)
        code.store(code.builder.fadd(code.load(address), total), address)


def sgd_tile(code, count, p, g, v, numbers, *, momentum, nesterov, decay):
    """g += decay·p;  v = momentum·v + kept·g;  p −= lr·v, or lr·(g + look·v) for Nesterov; each of `count` once.

    numbers: the address of lr, momentum, kept, decay, look.
    """
    lr, inertia, kept, shrink, look = (code.load_one(code.plus(numbers, i * code.size)) for i in range(5))

    def step(code: Code, at: list[ir.Value]) -> None:
        p, g, v = at
        weight, gradient = code.load(p), code.load(g)
        if decay:
            gradient = code.fma(code.splat(shrink), weight, gradient)
        move = gradient
        if momentum:
            gain = code.times_vector(code.splat(kept), gradient)
            move = code.fma(code.splat(inertia), code.load(v), gain)
            code.store(move, v)
            if nesterov:
                move = code.fma(code.splat(look), move, gradient)
        code.store(code.minus(weight, code.times_vector(code.splat(lr), move)), p)

    code.cover_once(count, [p, g, v], step)


# --- compilation ------------------------------------------------------------------------------------------------------


def _signature(arguments: int) -> ir.FunctionType:
    return ir.FunctionType(ir.VoidType(), [INT] * arguments)


def _emit(module: ir.Module, dtype: str, micro_kernel: Callable[..., None], shape: dict[str, int], symbol: str) -> None:
    parameters = inspect.signature(micro_kernel).parameters.values()
    arguments = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) - 1  # all but `code` and what is shape
    function = ir.Function(module, _signature(arguments), symbol)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    micro_kernel(Code(builder, dtype, machine().lanes(dtype)), *function.args, **shape)
    builder.ret_void()


def _module(dtype: str, micro_kernel: Callable[..., None], shape: dict[str, int]) -> Any:
    module = ir.Module("minicnn")
    _emit(module, dtype, micro_kernel, shape, "micro_kernel")
    return llvm.parse_assembly(str(module))


def _cpu() -> tuple[str, str]:
    """Name and features of this CPU, or of the one that NUMBA_CPU_NAME (and NUMBA_CPU_FEATURES) names, so that every
    path is testable here."""
    cpu, features = os.environ.get("NUMBA_CPU_NAME", ""), os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if cpu else llvm.get_host_cpu_features().flatten()
    return cpu or llvm.get_host_cpu_name(), features


def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _cpu()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2, jit=True)
