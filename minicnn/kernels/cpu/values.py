"""Values of a driver, and the instructions on them: numbers, and arrays in memory.

A value is an integer, a float or a Boolean of LLVM, an Array or a Record (where it lies, and its sizes), a tuple of
values, or something known now: a function, a module, a dtype.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ...errors import ArgumentError
from .flow import INT, Flow

BIT = ir.IntType(1)
FLOATS = {4: ir.FloatType(), 8: ir.DoubleType()}


class Array(NamedTuple):
    """In C order, at an address."""

    dtype: np.dtype
    start: ir.Value
    shape: tuple[ir.Value, ...]


class Record(NamedTuple):
    """One element of an array of records; nobody writes to it."""

    dtype: np.dtype
    start: ir.Value


class Values:
    """Emits instructions where `flow` stands; memory goes to the function's first block, where `memory` stands."""

    def __init__(self, flow: Flow, memory: ir.IRBuilder):
        self.flow, self.memory = flow, memory

    @property
    def builder(self) -> ir.IRBuilder:
        return self.flow.builder

    def new_block(self) -> ir.Block:
        return self.builder.function.append_basic_block()

    def go_to(self, block: ir.Block) -> None:
        if not self.builder.block.is_terminated:
            self.builder.branch(block)

    def constant(self, value: Any) -> Any:
        if isinstance(value, bool):
            return BIT(value)
        if isinstance(value, int | np.integer):
            return INT(int(value))
        if isinstance(value, float):
            return FLOATS[8](value)
        if isinstance(value, np.floating):
            return FLOATS[value.itemsize](float(value))
        if isinstance(value, tuple):
            return tuple(map(self.constant, value))
        return value  # a function or a module: whoever uses it knows which

    # --- types --------------------------------------------------------------------------------------------------------

    def truth(self, value: ir.Value) -> ir.Value:
        return value if value.type == BIT else self.builder.icmp_signed("!=", value, INT(0))

    def integer(self, value: ir.Value) -> ir.Value:
        return self.as_type(value, INT, None)

    def as_type(self, value: ir.Value, kind: ir.Type, node: ast.AST | None) -> ir.Value:
        """The same number as another type: Booleans become integers, integers floats, floats wider or narrower."""
        if value.type == kind:
            return value
        if isinstance(value, ir.Constant) and not isinstance(kind, ir.IntType):
            return kind(float(value.constant))
        if value.type == BIT:
            return self.as_type(self.builder.zext(value, INT), kind, node)
        if value.type == INT and not isinstance(kind, ir.IntType):
            return self.builder.sitofp(value, kind)
        if is_float(value) and not isinstance(kind, ir.IntType):
            return self.builder.fpext(value, kind) if kind == FLOATS[8] else self.builder.fptrunc(value, kind)
        raise refused(node)

    def alike(self, a: ir.Value, b: ir.Value, node: ast.AST) -> tuple[ir.Value, ir.Value]:
        """Both as floats of one kind."""
        kind = self.float_of(a, b, node)
        return self.as_type(a, kind, node), self.as_type(b, kind, node)

    def float_of(self, a: ir.Value, b: ir.Value, node: ast.AST) -> ir.Type:
        """The kind of two numbers, one of them a float; a constant takes that of the other."""
        floats = [v for v in (a, b) if is_float(v)]
        kinds = {v.type for v in floats if not isinstance(v, ir.Constant)} or {floats[0].type}
        if len(kinds) > 1:
            raise refused(node)
        return kinds.pop()

    # --- arrays -------------------------------------------------------------------------------------------------------

    def number(self, array: Array, indices: Sequence[ir.Value]) -> ir.Value:
        """How many elements stand before this one, or before a row if there are fewer indices than axes."""
        number: ir.Value = INT(0)
        for axis, size in enumerate(array.shape):
            number = self.flow.times(number, size)
            if axis < len(indices):
                number = self.flow.plus(number, indices[axis])
        return number

    def element(self, array: Array, indices: Sequence[ir.Value]) -> Any:
        if len(indices) == len(array.shape) and not array.dtype.names:
            return self.read(self.pointer(array, indices), array.dtype)
        start = self.flow.plus(array.start, self.flow.times(self.number(array, indices), array.dtype.itemsize))
        if len(indices) < len(array.shape):
            return Array(array.dtype, start, array.shape[len(indices) :])
        return Record(array.dtype, start)

    def pointer(self, array: Array, indices: Sequence[ir.Value]) -> ir.Value:
        """To an element. From the start of the array on, which LLVM sees to be the same all the time: only so does it
        make vectors of a loop."""
        start = self.builder.inttoptr(array.start, kind_of(array.dtype).as_pointer())
        return self.builder.gep(start, [self.number(array, indices)], source_etype=kind_of(array.dtype))

    def read(self, pointer: ir.Value, dtype: np.dtype) -> ir.Value:
        value = self.builder.load(pointer, align=dtype.itemsize)
        if dtype.kind == "f" or dtype.itemsize == 8:
            return value
        return self.builder.sext(value, INT) if dtype.kind == "i" else self.builder.zext(value, INT)

    def write(self, array: Array, indices: Sequence[ir.Value], value: ir.Value) -> None:
        kind = kind_of(array.dtype)
        if array.dtype.kind == "f":
            value = self.as_type(value, kind, None)
        else:
            value = self.integer(value)
            value = value if kind == INT else self.builder.trunc(value, kind)
        self.builder.store(value, self.pointer(array, indices), align=array.dtype.itemsize)

    def fill(self, target: Array, value: Any) -> None:
        """All elements with a number, or with those of an array."""
        length = self.flow.times(target.shape[0], target.dtype.itemsize)
        if isinstance(value, Array):
            if value.dtype != target.dtype:
                raise refused(None)
            self.library("memmove", INT, [target.start, value.start, length])
        elif isinstance(value, ir.Constant) and value.constant == 0:
            self.library("memset", INT, [target.start, ir.IntType(32)(0), length])
        else:

            def one(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
                self.write(target, [i], value)
                return nothing

            self.flow.loop(target.shape[0], [], one)

    def library(self, name: str, kind: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
        """A function of the C library, which the process has anyway."""
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(kind, [a.type for a in arguments]), name)
        return self.builder.call(function, arguments)


def is_float(value: ir.Value) -> bool:
    return value.type in FLOATS.values()


def kind_of(dtype: np.dtype) -> ir.Type:
    """What a number of an array is in memory."""
    return FLOATS[dtype.itemsize] if dtype.kind == "f" else ir.IntType(8 * dtype.itemsize)


def refused(node: ast.AST | None) -> ArgumentError:
    """What is to be raised for a piece of the program that is not in the language."""
    where = f"{getattr(node, 'driver', '')}, line {getattr(node, 'lineno', '')}"
    what = ast.unparse(node).splitlines()[0] if node else "a number of another type"
    return ArgumentError(f"driver {where}: `{what}` is not in the language of drivers.py; @jit (Numba) takes more")
