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
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

INT32 = ir.IntType(32)
INT = ir.IntType(64)  # addresses, counts and offsets in bytes
ARGUMENTS = 7  # of every micro-kernel


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
    engine = llvm.create_mcjit_compiler(_module(dtype, micro_kernel, shape), _target_machine())
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(micro_kernel.__name__)


def _call_tile(typing: Any, address: Any, args: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], _signature().as_pointer())
        builder.call(pointer, [builder.extract_value(values[1], i) for i in range(ARGUMENTS)])
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, ARGUMENTS)), emit


call_tile: Any = intrinsic(_call_tile)  # call_tile(address, (7 integers)), for use in compiled kernels


# --- the micro-kernels ------------------------------------------------------------------------------------------------


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

    Rows are source_step and target_step bytes apart; addend is the address of one element.
    """
    rows, source, source_step, target, target_step, width, addend = args
    value = code.load_one(addend)

    def move(code: Code, row: list[ir.Value], j: ir.Value) -> None:
        source, target = (code.plus(start, code.times(j, code.size)) for start in row)
        code.store(code.builder.fadd(code.load(source), code.splat(value)), target)

    code.cover_rows(rows, width, [source, target], [source_step, target_step], move)


def max_2x2(code: Code, args: list[ir.Value]) -> None:
    """y[p, q] = the largest of x[2p : 2p+2, 2q : 2q+2], and indices[p, q] its place in x, for p < rows, q < cols.

    The first of equals; NaN is larger than all. x has rows of `width` elements, y and indices (int32) of `cols`.
    """
    rows, cols, x, width, y, indices, _ = args
    x_step, y_step = code.times(width, 2 * code.size), code.times(cols, code.size)

    def pools(code: Code, row: list[ir.Value], q: ir.Value) -> None:
        x, y, indices, place = row
        below = code.splat(code.builder.trunc(width, INT32))
        upper = code.plus(x, code.times(q, 2 * code.size))
        best, value = code.load_pairs(upper)
        step = code.splat(INT32(0))
        best, step = code.larger(best, step, value, code.splat(INT32(1)))
        for right, value in enumerate(code.load_pairs(code.plus(upper, code.times(width, code.size)))):
            best, step = code.larger(best, step, value, code.plus(below, code.splat(INT32(right))))
        code.store(best, code.plus(y, code.times(q, code.size)))
        corner = code.splat(code.builder.trunc(code.plus(place, code.times(q, 2)), INT32))
        lanes = ir.Constant(step.type, [2 * lane for lane in range(code.lanes)])
        code.store(code.plus(code.plus(corner, lanes), step), code.plus(indices, code.times(q, 4)))

    steps = [x_step, y_step, code.times(cols, 4), code.times(width, 2)]
    code.cover_rows(rows, cols, [x, y, indices, INT(0)], steps, pools)


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
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=4)

    def add_one(self, value: ir.Value, address: ir.Value) -> None:
        self.store(self.builder.fadd(self.load_one(address), value), address)

    def splat(self, value: ir.Value) -> ir.Value:
        """One number in all lanes."""
        nothing = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(nothing, value, INT32(0))
        return self.builder.shuffle_vector(first, nothing, self._places([0] * self.lanes))

    def load_pairs(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Of 2 · lanes elements: those at even places, and those at odd places."""
        two = self.load(address), self.load(self.at(address, vector=1))
        even, odd = (self._places(range(start, 2 * self.lanes, 2)) for start in (0, 1))
        return self.builder.shuffle_vector(*two, even), self.builder.shuffle_vector(*two, odd)

    def _places(self, lanes: Iterable[int]) -> ir.Constant:
        return ir.Constant(ir.VectorType(INT32, self.lanes), list(lanes))

    def larger(self, best: ir.Value, place: ir.Value, value: ir.Value, new: ir.Value) -> tuple[ir.Value, ir.Value]:
        """In each lane: value and its place where it is larger than best or the first NaN, else best and place."""
        larger_or_nan = self.builder.fcmp_unordered(">", value, best)
        take = self.builder.and_(larger_or_nan, self.builder.fcmp_ordered("ord", best, best))
        return self.builder.select(take, value, best), self.builder.select(take, new, place)

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

    def cover_rows(
        self, rows: ir.Value, width: ir.Value, start: list[ir.Value], step: list[ir.Value],
        emit: Callable[[Code, list[ir.Value], ir.Value], None],
    ) -> None:  # fmt: skip
        """For each row: emit(code, row, j) for vectors that start at element j and together cover j < width, exactly.

        `row` are numbers that begin as `start` and grow by `step` from row to row. The last vector of a row overlaps
        the one before, so nothing beyond `width` is touched; rows shorter than a vector take the widest half,
        quarter ... of one that they fill. Ends the micro-kernel.
        """
        code = self
        while code.lanes:
            fits, narrower = code.branch(">=", width, code.lanes)
            code.builder.position_at_end(fits)
            code.loop(rows, start, functools.partial(code._cover_row, width=width, step=step, emit=emit))
            code.builder.ret_void()
            code.builder.position_at_end(narrower)
            code = code.narrower()

    def _cover_row(self, i: Any, row: list[ir.Value], width: ir.Value, step: list[ir.Value], emit: Any) -> Any:
        def cover(j: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            emit(self, row, self.times(j, self.lanes))
            return nothing

        self.loop(self.builder.sdiv(self.plus(width, -1), INT(self.lanes)), [], cover)
        emit(self, row, self.plus(width, -self.lanes))
        return [self.plus(a, b) for a, b in zip(row, step, strict=True)]

    def _phi(self, incoming: list[tuple[ir.Value, ir.Block]]) -> ir.PhiInstr:
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi


# --- compilation ------------------------------------------------------------------------------------------------------

_engines: list[Any] = []  # own the machine code: it lives as long as the process


def _signature() -> ir.FunctionType:
    return ir.FunctionType(ir.VoidType(), [INT] * ARGUMENTS)


def _module(dtype: str, micro_kernel: Callable[..., None], shape: dict[str, int]) -> Any:
    module = ir.Module("minicnn")
    function = ir.Function(module, _signature(), micro_kernel.__name__)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    micro_kernel(Code(builder, dtype), args=list(function.args), **shape)
    builder.ret_void()
    return llvm.parse_assembly(str(module))


def _target_machine() -> Any:
    """This CPU, or the one that NUMBA_CPU_NAME (and NUMBA_CPU_FEATURES) names, so that every path is testable here."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    numba_config: Any = config
    cpu, features = numba_config.CPU_NAME, numba_config.CPU_FEATURES
    if features is None:
        features = "" if cpu else llvm.get_host_cpu_features().flatten()
    cpu = cpu or llvm.get_host_cpu_name()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2, jit=True)
