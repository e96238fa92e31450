"""Drivers: the loops around micro-kernels, written in a small part of Python and compiled straight through LLVM.

    @driver
    def body(share, first, last, plan, x, y):     source → syntax tree → LLVM instructions → machine code, on disk
        p = plan[0]                                                 20 to 60 ms, where Numba takes 300 to 3500
        for row in range(first, last): ...

Numba finds out the type of everything and compiles a library of helpers, since it understands most of Python and NumPy.
A driver only counts, looks up and calls, so that every type is plain to see, one statement after the other:

    numbers      integers of 64 bits; floats as they stand in arrays; Booleans, which count as 0 and 1
    arrays       in C order: a[i], a[i, j], a[i:j], rows a[i] of several axes, len, .shape, .size, .itemsize, .dtype; an
                 index counts from the start and is not checked. a[i:j] = a number, or an array of that length. Records:
                 p.name, read only
    statements   =, += and the like, if, while, for in range (with a step above 0), return, break, continue
    functions    min, max, len, place, call_tile, np.exp, np.log, np.zeros and np.empty (outside of loops),
                 a.view(dtype), and other drivers, each copied to where it is called

Anything else is refused when it is compiled. As Python, without @driver, a function gives the same numbers.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .arguments import RECORD, Fixed, address_of, unpacked
from .flow import INT, Flow
from .microkernels import compiled
from .translation import Body
from .values import Array

Part = tuple[int, int, int]  # share, first, last
Compiled = tuple[int, Callable[..., None]]  # address of body(share, first, last, words), and a function that calls it


class Driver:
    """A body for parallel_for, compiled for the kinds of its arguments when it is first called with them."""

    def __init__(self, function: Callable[..., Any]):
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.entries: dict[Any, Compiled] = {}

    def entry(self, args: Sequence[Any]) -> tuple[Compiled, list[int]]:
        """The machine code for arguments of these kinds, and the words that they are for it."""
        words: list[int] = []
        kinds: list[Any] = []
        for a in args:
            if type(a) is np.ndarray:  # all of brief(a) and kind(a), but for the calls
                words.append(address_of(a) if a.size else 0)
                words += a.shape
                number = a.dtype.num
                kinds.append(number if number != RECORD else a.dtype)
                kinds.append(a.ndim)
            elif type(a) is Fixed:
                words += a.brief
                kinds.append(a.kind)
            else:
                words.append(a)
                kinds.append(None)
        key = tuple(kinds)
        return self.entries.get(key) or self._compile(key, args), words

    def run(self, parts: Sequence[Part], args: Sequence[Any]) -> None:
        """The body on each part, one after the other."""
        (_, function), words = self.entry(args)
        memory = array("q", words)
        address, _ = memory.buffer_info()
        for part in parts:
            function(*part, address)

    def __call__(self, share: int, first: int, last: int, *args: Any) -> None:
        self.run([(share, first, last)], args)

    def _compile(self, key: Any, args: Sequence[Any]) -> Compiled:
        kinds = [(a.dtype, a.ndim) if isinstance(a, np.ndarray) else None for a in unpacked(args)]
        described = repr([k and (k[0].descr if k[0].names else k[0].str, k[1]) for k in kinds])

        def emit(module: ir.Module, symbol: str) -> None:
            _emit(module, symbol, self, kinds)

        address = compiled(self.__name__, described, emit, self, Body, _emit, optimised=True)
        found = self.entries[key] = address, ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)
        return found


def driver(function: Callable[..., Any]) -> Any:
    """A body that is compiled; or, called by another driver, a part of that one."""
    return Driver(function)


def _emit(module: ir.Module, symbol: str, body: Driver, kinds: Sequence[Any]) -> None:
    """symbol(share, first, last, words): the other arguments are read from the words."""
    code = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 4), symbol)
    code.attributes.add("nounwind")
    memory, begin = code.append_basic_block(), code.append_basic_block()
    flow = Flow(ir.IRBuilder(begin))
    *values, words = code.args
    read = (
        flow.load_int(flow.plus(words, 8 * i))
        for i in range(sum(1 if k is None else 1 + k[1] for k in kinds))
    )  # fmt: skip
    for k in kinds:
        values.append(next(read) if k is None else Array(k[0], next(read), tuple(next(read) for _ in range(k[1]))))
    Body(flow, ir.IRBuilder(memory)).call(body, values)
    flow.builder.ret_void()
    ir.IRBuilder(memory).branch(begin)
