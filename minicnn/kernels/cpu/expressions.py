"""Expressions of a driver: how they become LLVM instructions. values.py says what values there are."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ...errors import ArgumentError
from .flow import INT, Flow
from .microkernels import call_tile, place
from .values import BIT, FLOATS, Array, Record, Values, is_float, kind_of, refused

COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}
INTEGER = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor",
           ast.LShift: "shl", ast.RShift: "ashr"}  # fmt: skip
FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}


class Expressions(Values):
    """value(node) emits the instructions of an expression, and returns what it gives."""

    def __init__(self, flow: Flow, memory: ir.IRBuilder):
        super().__init__(flow, memory)
        self.names: dict[str, Any] = {}  # what the driver's names stand for, if they are no variables
        self.inside_loop = False

    def variable(self, name: str) -> Any:
        """The value of a variable, None if there is none of that name."""
        raise NotImplementedError

    def call(self, driver: Any, arguments: Sequence[Any]) -> Any:
        """What a driver returns."""
        raise NotImplementedError

    def value(self, node: ast.expr) -> Any:
        emit = getattr(self, f"of_{type(node).__name__}", None)
        if emit is None:
            raise refused(node)
        return emit(node)

    def of_Constant(self, node: ast.Constant) -> Any:
        return self.constant(node.value)

    def of_Name(self, node: ast.Name) -> Any:
        value = self.variable(node.id)
        if value is not None:
            return value
        if node.id not in self.names:
            raise refused(node)
        return self.constant(self.names[node.id])

    def of_Tuple(self, node: ast.Tuple) -> tuple:
        return tuple(map(self.value, node.elts))

    def of_Attribute(self, node: ast.Attribute) -> Any:
        owner = self.value(node.value)
        if isinstance(owner, Record):
            dtype, offset = owner.dtype.fields[node.attr][:2]  # type: ignore[index]
            one = Array(dtype, self.flow.plus(owner.start, offset), ())
            return self.element(one, [])
        if isinstance(owner, Array):
            if node.attr == "size":
                return functools.reduce(self.flow.times, owner.shape)
            known = {"dtype": owner.dtype, "itemsize": INT(owner.dtype.itemsize), "shape": owner.shape}
            if node.attr in known:
                return known[node.attr]
        elif not isinstance(owner, ir.Value | tuple) and hasattr(owner, node.attr):  # a module or a dtype
            return self.constant(getattr(owner, node.attr))
        raise refused(node)

    def of_Subscript(self, node: ast.Subscript) -> Any:
        owner = self.value(node.value)
        if isinstance(owner, tuple) and not isinstance(owner, Array):
            return owner[ast.literal_eval(node.slice)]
        if isinstance(node.slice, ast.Slice):
            return self.piece(owner, node.slice)
        return self.element(owner, self.indices(node.slice))

    def of_BinOp(self, node: ast.BinOp) -> ir.Value:
        return self.operation(node.op, self.value(node.left), self.value(node.right), node)

    def operation(self, op: ast.operator, a: ir.Value, b: ir.Value, node: ast.AST) -> ir.Value:
        if a.type == BIT and b.type == BIT and isinstance(op, ast.BitAnd | ast.BitOr):
            return getattr(self.builder, INTEGER[type(op)])(a, b)
        if is_float(a) or is_float(b):
            a, b = self.alike(a, b, node)
            names = FLOAT
        else:
            a, b = self.integer(a), self.integer(b)
            if isinstance(op, ast.FloorDiv | ast.Mod):
                return self.divided(a, b, isinstance(op, ast.Mod))
            names = INTEGER
        if type(op) not in names:
            raise refused(node)
        return getattr(self.builder, names[type(op)])(a, b)

    def divided(self, a: ir.Value, b: ir.Value, remainder: bool) -> ir.Value:
        """Python's // and %: rounded down, the remainder with the sign of b."""
        quotient, rest = self.builder.sdiv(a, b), self.builder.srem(a, b)
        differ = self.builder.icmp_signed("<", self.builder.xor(rest, b), INT(0))
        down = self.builder.and_(differ, self.builder.icmp_signed("!=", rest, INT(0)))
        if remainder:
            return self.builder.add(rest, self.builder.select(down, b, INT(0)))
        return self.builder.sub(quotient, self.builder.zext(down, INT))

    def of_UnaryOp(self, node: ast.UnaryOp) -> ir.Value:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return self.builder.not_(self.truth(value))
        if not isinstance(node.op, ast.USub):
            raise refused(node)
        if isinstance(value, ir.Constant):
            return value.type(-value.constant)
        return self.builder.fneg(value) if is_float(value) else self.builder.neg(self.integer(value))

    def of_Compare(self, node: ast.Compare) -> ir.Value:
        values = [self.value(part) for part in (node.left, *node.comparators)]
        results = []
        for op, a, b in zip(node.ops, values, values[1:], strict=False):
            pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
            results += [self.compare(op, *pair, node) for pair in pairs]
        return functools.reduce(self.builder.and_, results)

    def compare(self, op: ast.cmpop, a: ir.Value, b: ir.Value, node: ast.AST) -> ir.Value:
        if type(op) not in COMPARISONS:
            raise refused(node)
        symbol = COMPARISONS[type(op)]
        if is_float(a) or is_float(b):
            compare = self.builder.fcmp_unordered if symbol == "!=" else self.builder.fcmp_ordered
            return compare(symbol, *self.alike(a, b, node))
        if isinstance(a, ir.Constant) and isinstance(b, ir.Constant):
            return BIT(ORDER[symbol](a.constant, b.constant))
        return self.builder.icmp_signed(symbol, self.integer(a), self.integer(b))

    def of_BoolOp(self, node: ast.BoolOp) -> ir.Value:
        """As a truth value; what follows is looked at only if it matters."""
        outcome = self.memory.alloca(BIT)
        after = self.new_block()
        for number, part in enumerate(node.values):
            value = self.truth(self.value(part))
            self.builder.store(value, outcome)
            if number < len(node.values) - 1:
                following = self.new_block()
                ways = (following, after) if isinstance(node.op, ast.And) else (after, following)
                self.builder.cbranch(value, *ways)
                self.builder.position_at_end(following)
        self.go_to(after)
        self.builder.position_at_end(after)
        return self.builder.load(outcome)

    def of_IfExp(self, node: ast.IfExp) -> Any:
        """Only one of the two is computed."""
        condition = self.truth(self.value(node.test))
        yes, no, after = (self.new_block() for _ in range(3))
        self.builder.cbranch(condition, yes, no)
        found, ends = [], []
        for block, part in ((yes, node.body), (no, node.orelse)):
            self.builder.position_at_end(block)
            found.append(self.value(part))
            ends.append(self.builder.block)
        tuples = isinstance(found[0], tuple)
        pairs = list(zip(*found, strict=True)) if tuples else [(found[0], found[1])]
        pairs = [self.in_their_blocks(pair, ends, node) for pair in pairs]
        for end in ends:
            self.builder.position_at_end(end)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        results = []
        for pair in pairs:
            results.append(self.builder.phi(pair[0].type))
            for value, end in zip(pair, ends, strict=True):
                results[-1].add_incoming(value, end)
        return tuple(results) if tuples else results[0]

    def in_their_blocks(self, values: Any, ends: Sequence[ir.Block], node: ast.AST) -> tuple[Any, ...]:
        """Two values of one type, each made where the way that it belongs to ends."""
        if values[0].type == values[1].type:
            return tuple(values)
        kind = self.float_of(values[0], values[1], node) if any(map(is_float, values)) else INT
        made = []
        for value, end in zip(values, ends, strict=True):
            self.builder.position_at_end(end)
            made.append(self.as_type(value, kind, node))
        return tuple(made)

    def of_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "view":
            return self.view(self.value(node.func.value), *map(self.value, node.args))
        function = self.value(node.func)
        arguments = [self.value(a) for a in node.args]
        if node.keywords:
            raise refused(node)
        if hasattr(function, "entries"):  # a driver
            return self.call(function, arguments)
        emit = CALLS.get(function)
        if emit is None:
            raise refused(node)
        return emit(self, *arguments)

    def indices(self, node: ast.expr) -> list[ir.Value]:
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        indices = [self.integer(self.value(part)) for part in parts]
        if any(isinstance(i, ir.Constant) and i.constant < 0 for i in indices):
            raise refused(node)
        return indices

    def piece(self, array: Array, part: ast.Slice) -> Array:
        """array[first:last] of one axis."""
        (size,) = array.shape
        first = INT(0) if part.lower is None else self.integer(self.value(part.lower))
        last = size if part.upper is None else self.integer(self.value(part.upper))
        length = self.builder.sub(last, first)
        length = self.builder.select(self.builder.icmp_signed("<", length, INT(0)), INT(0), length)
        start = self.flow.plus(array.start, self.flow.times(first, array.dtype.itemsize))
        return Array(array.dtype, start, (length,))

    # --- functions ----------------------------------------------------------------------------------------------------

    def least(self, *values: ir.Value, comparison: str = "<") -> ir.Value:
        def better(a: ir.Value, b: ir.Value) -> ir.Value:
            return self.builder.select(self.builder.icmp_signed(comparison, b, a), b, a)

        return functools.reduce(better, map(self.integer, values))

    def most(self, *values: ir.Value) -> ir.Value:
        return self.least(*values, comparison=">")

    def length(self, array: Array) -> ir.Value:
        return array.shape[0]

    def view(self, array: Array, dtype: Any) -> Array:
        """The same bits as numbers of another dtype, of one size."""
        return Array(np.dtype(dtype), array.start, array.shape)

    def place(self, array: Array, i: ir.Value) -> ir.Value:
        """The address of element i, counted through all axes."""
        return self.flow.plus(array.start, self.flow.times(self.integer(i), array.dtype.itemsize))

    def call_tile(self, address: ir.Value, arguments: tuple[Any, ...]) -> None:
        numbers = [a.start if isinstance(a, Array) else self.integer(a) for a in arguments]
        kind = ir.FunctionType(ir.VoidType(), [INT] * len(numbers))
        self.builder.call(self.builder.inttoptr(address, kind.as_pointer()), numbers)

    def empty(self, size: ir.Value, dtype: Any) -> Array:
        """Memory of the function, which is gone when it ends: a loop would ask for more and more."""
        dtype, known = np.dtype(dtype), isinstance(size, ir.Constant)
        if self.inside_loop and not known:
            raise ArgumentError(
                "np.empty and np.zeros of a driver need a size that is known, or a place outside of loops"
            )
        builder = self.memory if known else self.builder
        memory = builder.alloca(kind_of(dtype), self.integer(size))
        memory.align = 64
        return Array(dtype, self.builder.ptrtoint(memory, INT), (self.integer(size),))

    def zeros(self, size: ir.Value, dtype: Any) -> Array:
        array = self.empty(size, dtype)
        self.fill(array, INT(0))
        return array

    def exp(self, x: ir.Value) -> ir.Value:
        return self.library("exp" if x.type == FLOATS[8] else "expf", x.type, [x])

    def log(self, x: ir.Value) -> ir.Value:
        return self.library("log" if x.type == FLOATS[8] else "logf", x.type, [x])


CALLS: dict[Any, Callable[..., Any]] = {
    min: Expressions.least,
    max: Expressions.most,
    len: Expressions.length,
    int: Expressions.integer,
    np.uintp: Expressions.integer,
    np.float32: lambda self, x: self.as_type(x, FLOATS[4], None),
    np.float64: lambda self, x: self.as_type(x, FLOATS[8], None),
    np.exp: Expressions.exp,
    np.log: Expressions.log,
    np.empty: Expressions.empty,
    np.zeros: Expressions.zeros,
    place: Expressions.place,
    call_tile: Expressions.call_tile,
}
