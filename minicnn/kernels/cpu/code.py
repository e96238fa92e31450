"""The vocabulary that micro-kernels are written in: LLVM instructions on vectors, with the names of what they do."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import ir

from .flow import INT, INT32, Flow


class Code(Flow):
    """Emits instructions on vectors of `lanes` elements at addresses that are plain integers."""

    def __init__(self, builder: ir.IRBuilder, dtype: str, lanes: int):
        super().__init__(builder)
        self.dtype, self.lanes = dtype, lanes
        self.size = np.dtype(dtype).itemsize
        self.element = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.element, self.lanes)
        self.bytes = self.lanes * self.size
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def narrower(self) -> Code:
        """The same for vectors of half the size; `lanes` is 0 after 1."""
        return Code(self.builder, self.dtype, self.lanes // 2)

    def of_lanes(self, lanes: int) -> Code:
        """The same for vectors of so many lanes: LLVM takes several registers where one is too short."""
        return Code(self.builder, self.dtype, lanes)

    def wider(self) -> Code:
        """The same for vectors of as many lanes in double precision."""
        return Code(self.builder, "float64", self.lanes)

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

    def load_int32(self, address: ir.Value) -> ir.Value:
        return self._load(INT32, address, 4)

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer()), align=4)

    def add_one(self, value: ir.Value, address: ir.Value) -> None:
        self.store(self.builder.fadd(self.load_one(address), value), address)

    def splat(self, value: ir.Value) -> ir.Value:
        """One number in all lanes."""
        nothing = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(nothing, value, INT32(0))
        return self.builder.shuffle_vector(first, nothing, self._places([0] * self.lanes))

    def transpose(self, rows: list[ir.Value]) -> list[ir.Value]:
        """Of `lanes` vectors: the vector of their first elements, that of their second ones, ...

        As the blocks of a 2 × 2 matrix of vectors change places, then those of each block, down to single elements.
        """
        rows = list(rows)
        distance = 1
        while distance < self.lanes:
            keep = [lane if not lane & distance else self.lanes + lane - distance for lane in range(self.lanes)]
            swap = [lane + distance if not lane & distance else self.lanes + lane for lane in range(self.lanes)]
            for i in range(self.lanes):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (
                        self.builder.shuffle_vector(*pair, self._places(lanes)) for lanes in (keep, swap)
                    )
            distance *= 2
        return rows

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: Iterable[int]) -> ir.Value:
        """For each lane which one it is of the 2 · lanes of a and b."""
        return self.builder.shuffle_vector(a, b, self._places(lanes))

    def load_pairs(self, address: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Of 2 · lanes elements: those at even places, and those at odd places."""
        two = self.load(address), self.load(self.at(address, vector=1))
        even, odd = (self._places(range(start, 2 * self.lanes, 2)) for start in (0, 1))
        return self.builder.shuffle_vector(*two, even), self.builder.shuffle_vector(*two, odd)

    def store_pairs(self, even: ir.Value, odd: ir.Value, address: ir.Value) -> None:
        """The opposite: 2 · lanes elements, even[0], odd[0], even[1], ..."""
        lanes = [start + lane for lane in range(self.lanes) for start in (0, self.lanes)]
        places = ir.Constant(ir.VectorType(INT32, 2 * self.lanes), lanes)
        self.store(self.builder.shuffle_vector(even, odd, places), address)

    def count_by(self, step: int) -> ir.Constant:
        """0, step, 2·step, ... in the lanes."""
        return self._places(range(0, step * self.lanes, step))

    def load_places(self, address: ir.Value) -> ir.Value:
        return self._load(ir.VectorType(INT32, self.lanes), address, 4)

    def where_equal(self, a: ir.Value, b: ir.Value, value: ir.Value) -> ir.Value:
        """value in the lanes where the integers a and b are equal, else 0."""
        return self.builder.select(self.builder.icmp_signed("==", a, b), value, self.zero)

    def clip(self, value: ir.Value, cap: float) -> ir.Value:
        """min(max(value, 0), cap); NaN stays NaN."""
        return self.at_most(self.at_least(value, 0), cap)

    def at_least(self, value: ir.Value, low: float) -> ir.Value:
        """max(value, low); NaN stays NaN."""
        bound = self.all_lanes(low)
        return self.builder.select(self.builder.fcmp_ordered("<=", value, bound), bound, value)

    def at_most(self, value: ir.Value, high: float) -> ir.Value:
        """min(value, high); NaN stays NaN."""
        if high == math.inf:
            return value
        bound = self.all_lanes(high)
        return self.builder.select(self.builder.fcmp_ordered(">", value, bound), bound, value)

    def between(self, y: ir.Value, low: Any, high: Any) -> ir.Value:
        """In each lane whether low < y < high (numbers, or vectors): a mask of bits."""
        inside = self.builder.fcmp_ordered(">", y, self.all_lanes(low))
        if isinstance(high, float) and high == math.inf:
            return inside
        return self.builder.and_(inside, self.builder.fcmp_ordered("<", y, self.all_lanes(high)))

    def at_or_above(self, value: ir.Value, low: float) -> ir.Value:
        """In each lane whether value ≥ low: a mask of bits."""
        return self.builder.fcmp_ordered(">=", value, self.all_lanes(low))

    def where(self, mask: ir.Value, value: ir.Value, other: ir.Value | None = None) -> ir.Value:
        """value in the lanes whose bit is set, else the other, or 0."""
        return self.builder.select(mask, value, self.zero if other is None else other)

    def store_mask(self, mask: ir.Value, address: ir.Value) -> None:
        bits = self.builder.bitcast(mask, ir.IntType(self.lanes))
        kind = ir.IntType(8 * mask_bytes(self.lanes))
        bits = bits if bits.type == kind else self.builder.zext(bits, kind)
        self.builder.store(bits, self.builder.inttoptr(address, kind.as_pointer()), align=1)

    def load_mask(self, address: ir.Value) -> ir.Value:
        bits = self._load(ir.IntType(8 * mask_bytes(self.lanes)), address, 1)
        kind = ir.IntType(self.lanes)
        bits = bits if bits.type == kind else self.builder.trunc(bits, kind)
        return self.builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.lanes))

    def keep_positive(self, value: ir.Value, place: ir.Value) -> tuple[ir.Value, ir.Value]:
        """In each lane: value and place where value > 0; else 0 (NaN stays NaN) and −1."""
        kept = self.builder.select(self.builder.fcmp_ordered("<=", value, self.zero), self.zero, value)
        minus_one = ir.Constant(place.type, [-1] * self.lanes)
        return kept, self.builder.select(self.builder.fcmp_ordered(">", value, self.zero), place, minus_one)

    def larger_places(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger of two vectors of integers, in each lane."""
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def largest_lane(self, places: ir.Value) -> ir.Value:
        return self._call(f"llvm.vector.reduce.smax.v{self.lanes}i32", INT32, [places])

    def _places(self, lanes: Iterable[int]) -> ir.Constant:
        return ir.Constant(ir.VectorType(INT32, self.lanes), list(lanes))

    def larger(self, best: ir.Value, place: ir.Value, value: ir.Value, new: ir.Value) -> tuple[ir.Value, ir.Value]:
        """In each lane: value and its place where it is larger than best or the first NaN, else best and place."""
        larger_or_nan = self.builder.fcmp_unordered(">", value, best)
        take = self.builder.and_(larger_or_nan, self.builder.fcmp_ordered("ord", best, best))
        return self.builder.select(take, value, best), self.builder.select(take, new, place)

    def keep_bits(self, value: ir.Value, mask: ir.Value) -> ir.Value:
        """value, of 4 bytes, where the mask (integers) is −1; 0 where it is 0, instead of NaN too."""
        bits = self.builder.and_(self.builder.bitcast(value, mask.type), mask)
        return self.builder.bitcast(bits, value.type)

    def bits(self, value: ir.Value) -> ir.Value:
        """What numbers of 4 bytes look like as integers."""
        return self.builder.bitcast(value, ir.VectorType(INT32, self.lanes))

    def from_bits(self, bits: ir.Value) -> ir.Value:
        return self.builder.bitcast(bits, self.vector)

    def constant_bits(self, value: int) -> ir.Constant:
        return self._places([value] * self.lanes)

    def everywhere(self, condition: ir.Value) -> ir.Value:
        """Whether a comparison holds in all lanes, one bit."""
        return self._call(f"llvm.vector.reduce.and.v{self.lanes}i1", ir.IntType(1), [condition])

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self._builtin("llvm.fmuladd", self.vector, [a, b, c])

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b)

    def number(self, value: float) -> ir.Constant:
        """The same number in all lanes."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def times_number(self, a: ir.Value, factor: float) -> ir.Value:
        return self.builder.fmul(a, self.number(factor))

    def times_vector(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b)

    def minus(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b)

    def negated(self, value: ir.Value) -> ir.Value:
        return self.builder.fneg(value)

    def over(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fdiv(a, b)

    def root(self, value: ir.Value) -> ir.Value:
        return self._builtin("llvm.sqrt", self.vector, [value])

    def all_lanes(self, number: Any) -> ir.Value:
        """A number known now in all lanes; a vector as it is."""
        return number if isinstance(number, ir.Value) else ir.Constant(self.vector, [float(number)] * self.lanes)

    def times_power(self, value: ir.Value, power: ir.Value) -> ir.Value:
        """value·2ᵏ in float32, where k is whole, −127 to 128, and power = k + 1.5·2²³: 0 and ∞ at the ends.

        So large a number has k in its last bits; they go where a float has its exponent.
        """
        kind = ir.VectorType(INT32, self.lanes)
        exponent = self.builder.add(self.builder.bitcast(power, kind), ir.Constant(kind, [127] * self.lanes))
        shifted = self.builder.shl(exponent, ir.Constant(kind, [23] * self.lanes))
        return self.builder.fmul(value, self.builder.bitcast(shifted, self.vector))

    def count(self, number: ir.Value) -> ir.Value:
        """An integer as a number in all lanes."""
        return self.splat(self.builder.sitofp(number, self.element))

    def widen(self, value: ir.Value) -> ir.Value:
        """float32 in double precision: a vector of wider()."""
        return self.builder.fpext(value, ir.VectorType(ir.DoubleType(), self.lanes))

    def narrow(self, value: ir.Value) -> ir.Value:
        """Double precision rounded to float32."""
        return self.builder.fptrunc(value, ir.VectorType(ir.FloatType(), self.lanes))

    def sum_lanes(self, value: ir.Value) -> ir.Value:
        """The sum of all lanes, as a tree: `reassoc` leaves its order to LLVM, which fixes it when it compiles."""
        return self._builtin("llvm.vector.reduce.fadd", self.element, [self.element(-0.0), value], ("reassoc",))

    def _builtin(self, name: str, result: ir.Type, args: list[ir.Value], flags: tuple[str, ...] = ()) -> ir.Value:
        return self._call(f"{name}.v{self.lanes}f{8 * self.size}", result, args, flags)

    def _call(self, name: str, result: ir.Type, args: list[ir.Value], flags: tuple[str, ...] = ()) -> ir.Value:
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
        return self.builder.call(function, args, fastmath=flags)

    def call(self, address: ir.Value, args: list[ir.Value]) -> None:
        """The micro-kernel at an address."""
        kind = ir.FunctionType(ir.VoidType(), [INT] * len(args))
        self.builder.call(self.builder.inttoptr(address, kind.as_pointer()), args)

    def load_if(self, condition: ir.Value, addresses: list[ir.Value]) -> list[ir.Value]:
        """The vectors at the addresses if condition is not 0, else zeros without reading them."""
        return self.load_either(condition, addresses, [None] * len(addresses))

    def load_either(
        self, condition: ir.Value, addresses: list[ir.Value], others: list[ir.Value | None]
    ) -> list[ir.Value]:
        """The vectors at the addresses if condition is not 0, else those at the others, zeros for None. An address
        that stands there several times is read once."""
        yes, no = self.branch("!=", condition, 0)
        after = self.builder.function.append_basic_block()
        found = []
        for block, places in ((yes, addresses), (no, others)):
            self.builder.position_at_end(block)
            read = {place: self.zero if place is None else self.load(place) for place in dict.fromkeys(places)}
            found.append([read[place] for place in places])
            self.builder.branch(after)
        self.builder.position_at_end(after)
        return [self._phi([(a, yes), (b, no)]) for a, b in zip(*found, strict=True)]

    def stream(
        self, count: ir.Value, at: list[tuple[ir.Value, int]], sums: int,
        emit: Callable[[list[ir.Value], list[ir.Value]], list[ir.Value]], ways: int = 4,
    ) -> list[ir.Value]:  # fmt: skip
        """totals = emit(addresses, totals), `count` times; returns the totals. at: where each address begins, and how
        many bytes it moves each time.

        There are `sums` totals, vectors that begin as 0. They are taken in `ways` ways at once, as an addition would
        else wait for the one before, and added up at the end, in a fixed order.
        """
        steps = [step for _, step in at]

        def several(ways: int) -> Callable[[ir.Value, list[ir.Value]], list[ir.Value]]:
            def body(i: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                here, totals = carried[: len(at)], carried[len(at) :]
                for way in range(ways):
                    own = slice(way * sums, (way + 1) * sums)
                    moved = [self.plus(address, way * step) for address, step in zip(here, steps, strict=True)]
                    totals[own] = emit(moved, totals[own])
                moved = [self.plus(address, ways * step) for address, step in zip(here, steps, strict=True)]
                return moved + totals

            return body

        rounds = self.builder.sdiv(count, INT(ways))
        rest = self.builder.sub(count, self.times(rounds, ways))
        carried = self.loop(rounds, [*(start for start, _ in at), *[self.zero] * (sums * ways)], several(ways))
        totals = self.loop(rest, carried, several(1))[len(at) :]
        while len(totals) > sums:
            half = len(totals) // 2
            totals = [self.add(a, b) for a, b in zip(totals[:half], totals[half:], strict=True)]
        return totals

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

    def cover_once(self, count: ir.Value, start: list[ir.Value], emit: Callable[[Code, list[ir.Value]], None]) -> None:
        """emit(code, addresses) for whole vectors of `count` elements, then for the rest one by one."""

        def cover(code: Code) -> Callable[[ir.Value, list[ir.Value]], list[ir.Value]]:
            def step(i: ir.Value, at: list[ir.Value]) -> list[ir.Value]:
                emit(code, at)
                return [code.plus(address, code.bytes) for address in at]

            return step

        whole = self.builder.sdiv(count, INT(self.lanes))
        rest = self.builder.sub(count, self.times(whole, self.lanes))
        at = self.loop(whole, start, cover(self))
        self.loop(rest, at, cover(Code(self.builder, self.dtype, 1)))

    def _cover_row(self, i: Any, row: list[ir.Value], width: ir.Value, step: list[ir.Value], emit: Any) -> Any:
        def cover(j: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            emit(self, row, self.times(j, self.lanes))
            return nothing

        self.loop(self.builder.sdiv(self.plus(width, -1), INT(self.lanes)), [], cover)
        emit(self, row, self.plus(width, -self.lanes))
        return [self.plus(a, b) for a, b in zip(row, step, strict=True)]


def mask_bytes(lanes: int) -> int:
    """Bytes that a mask of so many bits takes in memory."""
    return max(1, lanes // 8)
