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

Numba's own loops use registers of half the width and reload the tile in each step, three times slower; so these two
are written as LLVM instructions and compiled straight through llvmlite: about 15 ms each, when first asked for, and
called by address (`call_tile`). The machine decides lanes and tile: we ask LLVM which registers it would use. All
multiply-adds are `fmuladd`: fused where the CPU can, else a multiplication and an addition, never a library call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

INT = ir.IntType(64)  # addresses, counts and offsets in bytes
ARGUMENTS = 7  # of every micro-kernel


class Machine(NamedTuple):
    """What the CPU can keep in registers. `bits` of a vector register; shapes of the tiles that fit without spilling."""

    bits: int
    tile_rows: int
    tile_vectors: int
    dot_products: int

    def lanes(self, dtype: Any) -> int:
        return self.bits // 8 // np.dtype(dtype).itemsize


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
    if "zmm" in assembly:  # AVX-512: 32 registers
        return Machine(bits=512, tile_rows=8, tile_vectors=3, dot_products=24)
    if "ymm" in assembly:  # AVX, AVX2: 16 registers
        return Machine(bits=256, tile_rows=6, tile_vectors=2, dot_products=12)
    if "xmm" in assembly:  # SSE: 16 registers, and a product needs one to itself
        return Machine(bits=128, tile_rows=4, tile_vectors=2, dot_products=8)
    return Machine(bits=128, tile_rows=8, tile_vectors=3, dot_products=24)  # NEON: 32 registers


@functools.cache
def fma_tiles(dtype: str, rows: int) -> np.ndarray:
    """Addresses of the fma_tiles with `rows` rows and 1, 2, ... machine().tile_vectors vectors."""
    emitters = {
        f"fma_{rows}x{vectors}": functools.partial(fma_tile, rows=rows, vectors=vectors)
        for vectors in range(1, machine().tile_vectors + 1)
    }
    return np.array(_compile(emitters, dtype), np.int64)


@functools.cache
def dot_tile_address(dtype: str, rows: int, columns: int) -> int:
    """Address of the dot_tile with rows × columns products."""
    return _compile({f"dot_{rows}x{columns}": functools.partial(dot_tile, rows=rows, columns=columns)}, dtype)[0]


@functools.cache
def row_mover(dtype: str) -> int:
    """Address of move_rows."""
    return _compile({"move_rows": move_rows}, dtype)[0]


@intrinsic
def call_tile(typing: Any, address: Any, args: Any) -> Any:
    """call_tile(address, (7 integers)), for use in compiled kernels."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], _signature().as_pointer())
        builder.call(pointer, [builder.extract_value(values[1], i) for i in range(ARGUMENTS)])
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, ARGUMENTS)), emit


# --- the two micro-kernels --------------------------------------------------------------------------------------------


def fma_tile(code: Code, rows: int, vectors: int, args: list[ir.Value]) -> None:
    """C[i, j] = Σ_k A[k, i] · B[offset[k] + j]  for i < rows, j < vectors · lanes; added to C if `accumulate` is not 0.

    A: `depth` × rows, contiguous. offset: bytes, one for each k. Rows of C are c_row bytes apart.
    """
    depth, a, offset, b, c, c_row, accumulate = args
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


def dot_tile(code: Code, rows: int, columns: int, args: list[ir.Value]) -> None:
    """C[i, j] += Σ_t A[i, t] · B[offset[j] + t]  for i < rows, j < columns, over t < count · lanes.

    Rows of A are a_row bytes apart, rows of C c_row bytes; offset is in bytes.
    """
    count, a, a_row, b, offset, c, c_row = args
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


def move_rows(code: Code, args: list[ir.Value]) -> None:
    """target[i, j] = source[i, j] + addend  for i < rows, j < width: short rows from anywhere to anywhere.

    Rows are source_step and target_step bytes apart; addend is the address of one element. A row is moved by whole
    vectors, the last of which overlaps the one before, so that nothing beyond `width` is touched; rows shorter than
    a vector take the widest part of one that they fill.
    """
    rows, source, source_step, target, target_step, width, addend = args
    value = code.load_one(addend)
    while code.lanes:
        fits, narrower = code.branch(">=", width, code.lanes)
        code.builder.position_at_end(fits)
        whole = code.builder.sdiv(code.plus(width, -1), INT(code.lanes))
        last = code.times(code.plus(width, -code.lanes), code.size)
        addends = code.splat(value)

        def move_row(i: ir.Value, carried: list[ir.Value], whole=whole, last=last, addends=addends, code=code):
            source, target = carried

            def move(place: ir.Value) -> None:
                moved = code.builder.fadd(code.load(code.plus(source, place)), addends)
                code.store(moved, code.plus(target, place))

            def step(j: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                move(code.times(j, code.bytes))
                return []

            code.loop(whole, [], step)
            move(last)
            return [code.plus(source, source_step), code.plus(target, target_step)]

        code.loop(rows, [source, target], move_row)
        code.builder.ret_void()
        code.builder.position_at_end(narrower)
        code = code.narrower()


# --- the vocabulary they are written in -------------------------------------------------------------------------------


class Code:
    """Emits instructions on vectors of `lanes` elements at addresses that are plain integers."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, lanes: int | None = None):
        self.builder, self.dtype = builder, dtype
        self.size = np.dtype(dtype).itemsize
        self.element = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.lanes = machine().lanes(dtype) if lanes is None else lanes
        self.vector = ir.VectorType(self.element, self.lanes)
        self.bytes = self.lanes * self.size
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def narrower(self) -> Code:
        """The same for vectors of half the size; `lanes` is 0 after 1."""
        return Code(self.builder, self.dtype, self.lanes // 2)

    def plus(self, a: ir.Value, b: ir.Value | int) -> ir.Value:
        return self.builder.add(a, INT(b) if isinstance(b, int) else b)

    def times(self, a: ir.Value, b: int) -> ir.Value:
        return self.builder.mul(a, INT(b))

    def at(self, start: ir.Value, row: int = 0, row_bytes: ir.Value | None = None, vector: int = 0) -> ir.Value:
        """The address of a vector in a row."""
        if row_bytes is not None:
            start = self.plus(start, self.times(row_bytes, row))
        return self.plus(start, vector * self.bytes)

    def _load(self, kind: ir.Type, address: ir.Value, align: int) -> ir.Value:
        return self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=align)

    def load(self, address: ir.Value) -> ir.Value:
        return self._load(self.vector, address, self.size)  # anywhere an element may be: nothing else is promised

    def load_one(self, address: ir.Value) -> ir.Value:
        return self._load(self.element, address, self.size)

    def load_int(self, address: ir.Value) -> ir.Value:
        return self._load(INT, address, 8)

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=self.size)

    def add_one(self, value: ir.Value, address: ir.Value) -> None:
        self.store(self.builder.fadd(self.load_one(address), value), address)

    def splat(self, value: ir.Value) -> ir.Value:
        """One element in all lanes."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self._builtin("llvm.fmuladd", self.vector, [a, b, c])

    def sum_lanes(self, value: ir.Value) -> ir.Value:
        """The sum of all lanes, as a tree: `reassoc` leaves its order to LLVM, which fixes it when it compiles."""
        return self._builtin("llvm.vector.reduce.fadd", self.element, [self.element(-0.0), value], ("reassoc",))

    def _builtin(self, name: str, result: ir.Type, args: list[ir.Value], flags: tuple[str, ...] = ()) -> ir.Value:
        module = self.builder.module
        full = f"{name}.v{self.lanes}f{8 * self.size}"
        function = module.globals.get(full)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), full)
        return self.builder.call(function, args, fastmath=flags)

    def branch(self, comparison: str, a: ir.Value, b: int) -> tuple[ir.Block, ir.Block]:
        """Ends the block by a branch; returns the blocks where it goes if the comparison holds, and if not."""
        yes, no = (self.builder.function.append_basic_block() for _ in range(2))
        self.builder.cbranch(self.builder.icmp_signed(comparison, a, INT(b)), yes, no)
        return yes, no

    def load_if(self, condition: ir.Value, addresses: list[ir.Value]) -> list[ir.Value]:
        """The vectors at the addresses if condition is not 0, else zeros without reading them."""
        before = self.builder.block
        load, go_on = self.branch("!=", condition, 0)
        self.builder.position_at_end(load)
        loaded = [self.load(address) for address in addresses]
        self.builder.branch(go_on)
        self.builder.position_at_end(go_on)
        return [self._phi([(self.zero, before), (value, load)]) for value in loaded]

    def loop(
        self, count: ir.Value, initial: list[ir.Value], step: Callable[[ir.Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """values = initial; for i in range(count): values = step(i, values); returns values."""
        before = self.builder.block
        body, after = self.branch(">", count, 0)
        self.builder.position_at_end(body)
        i = self._phi([(INT(0), before)])
        values = [self._phi([(value, before)]) for value in initial]
        new = step(i, values)
        following, end = self.builder.add(i, INT(1)), self.builder.block
        self.builder.cbranch(self.builder.icmp_signed("<", following, count), body, after)
        for phi, value in zip([i, *values], [following, *new], strict=True):
            phi.add_incoming(value, end)
        self.builder.position_at_end(after)
        return [self._phi([(a, before), (b, end)]) for a, b in zip(initial, new, strict=True)]

    def _phi(self, incoming: list[tuple[ir.Value, ir.Block]]) -> ir.PhiInstr:
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi


# --- compilation ------------------------------------------------------------------------------------------------------

_engines: list[Any] = []  # own the machine code: it lives as long as the process


def _signature() -> ir.FunctionType:
    return ir.FunctionType(ir.VoidType(), [INT] * ARGUMENTS)


def _compile(emitters: dict[str, Callable[..., None]], dtype: str) -> list[int]:
    """Machine code of the micro-kernels: their addresses."""
    module = ir.Module("minicnn")
    for name, emit in emitters.items():
        function = ir.Function(module, _signature(), name)
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block())
        emit(Code(builder, dtype), args=list(function.args))
        builder.ret_void()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), _target_machine())
    engine.finalize_object()
    _engines.append(engine)
    return [engine.get_function_address(name) for name in emitters]


def _target_machine() -> Any:
    """This CPU, or the one that NUMBA_CPU_NAME (and NUMBA_CPU_FEATURES) names, so that every path is testable here."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else llvm.get_host_cpu_features().flatten()
    cpu = config.CPU_NAME or llvm.get_host_cpu_name()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2, jit=True)
