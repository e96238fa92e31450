"""Statements of a driver: how its syntax tree becomes LLVM instructions, one statement after the other.

A variable is memory for a value of the type that it first gets (values.py says what values there are); LLVM makes
registers of these. A driver that is called is copied to where it is called, with variables of its own.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .expressions import Expressions
from .flow import INT, Flow
from .values import Array, Record, refused

POINTER = ir.IntType(8).as_pointer()


class Body(Expressions):
    """Emits the instructions of a driver, and of those that it calls."""

    def __init__(self, flow: Flow, memory: ir.IRBuilder):
        super().__init__(flow, memory)
        self.variables: dict[str, Any] = {}
        self.loops: list[tuple[ir.Block, ir.Block]] = []  # where continue and break go
        self.result: Any = None
        self.end: Any = None

    def call(self, driver: Any, arguments: Sequence[Any]) -> Any:
        """Copy a driver to here, with its own variables; returns the value that it returns."""
        function = driver.__wrapped__
        tree = _tree(function)
        outer = self.variables, self.names, self.loops, self.result, self.end, self.inside_loop
        self.variables, self.names, self.loops, self.result = {}, vars(builtins) | function.__globals__, [], None
        self.end, self.inside_loop = self.new_block(), False
        place = self.library("llvm.stacksave", POINTER, []) if outer[4] and _needs_memory(tree) else None
        parameters = [parameter.arg for parameter in tree.args.args]
        for name, value in zip(parameters, arguments, strict=True):
            self.assign_name(name, value)
        self.run(tree.body)
        self.go_to(self.end)
        self.builder.position_at_end(self.end)
        result = self.value_of(self.result)
        if place is not None:  # its memory is gone when it returns
            self.library("llvm.stackrestore", ir.VoidType(), [place])
        self.variables, self.names, self.loops, self.result, self.end, self.inside_loop = outer
        return result

    # --- statements ---------------------------------------------------------------------------------------------------

    def run(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            emit = getattr(self, f"do_{type(statement).__name__}", None)
            if emit is None:
                raise refused(statement)
            emit(statement)

    def do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.value(node.value)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        self.assign(target, self.value(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        before = self.value(ast.copy_location(_reading(node.target), node.target))
        self.assign(node.target, self.operation(node.op, before, self.value(node.value), node))

    def do_If(self, node: ast.If) -> None:
        condition = self.truth(self.value(node.test))
        if isinstance(condition, ir.Constant):  # known now, as the size of a dtype is
            self.run(node.body if condition.constant else node.orelse)
            return
        yes, no, after = (self.new_block() for _ in range(3))
        self.builder.cbranch(condition, yes, no)
        for block, statements in ((yes, node.body), (no, node.orelse)):
            self.builder.position_at_end(block)
            self.run(statements)
            self.go_to(after)
        self.builder.position_at_end(after)

    def do_While(self, node: ast.While) -> None:
        test, body, after = (self.new_block() for _ in range(3))
        self.go_to(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self.truth(self.value(node.test)), body, after)
        self.repeat(node.body, body, test, after)

    def do_For(self, node: ast.For) -> None:
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise refused(node)
        bounds = [self.integer(self.value(a)) for a in call.args]
        first, last, step = {1: [INT(0), *bounds, INT(1)], 2: [*bounds, INT(1)], 3: bounds}[len(bounds)]
        counter = self.memory.alloca(INT)
        self.builder.store(first, counter)
        test, body, following, after = (self.new_block() for _ in range(4))
        self.go_to(test)
        self.builder.position_at_end(test)
        i = self.builder.load(counter)
        self.builder.cbranch(self.builder.icmp_signed("<", i, last), body, after)
        self.builder.position_at_end(body)
        self.assign(node.target, i)
        self.repeat(node.body, body, following, after)
        self.builder.position_at_end(following)
        self.builder.store(self.builder.add(self.builder.load(counter), step), counter)
        self.builder.branch(test)
        self.builder.position_at_end(after)

    def repeat(self, statements: Sequence[ast.stmt], body: ir.Block, again: ir.Block, after: ir.Block) -> None:
        self.builder.position_at_end(body)
        outer, self.inside_loop = self.inside_loop, True
        self.loops.append((again, after))
        self.run(statements)
        self.loops.pop()
        self.inside_loop = outer
        self.go_to(again)
        self.builder.position_at_end(after)

    def do_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def do_Break(self, node: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def do_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.result = self.stored(self.result, self.value(node.value), node)
        self.builder.branch(self.end)

    # --- variables ---------------------------------------------------------------------------------------

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.assign_name(target.id, value, target)
        elif isinstance(target, ast.Tuple):
            if isinstance(value, Array):
                value = tuple(self.element(value, [INT(i)]) for i in range(len(target.elts)))
            for name, part in zip(target.elts, value, strict=True):
                self.assign(name, part)
        elif isinstance(target, ast.Subscript):
            array = self.value(target.value)
            if isinstance(target.slice, ast.Slice):
                self.fill(self.piece(array, target.slice), value)
            else:
                self.write(array, self.indices(target.slice), value)
        else:
            raise refused(target)

    def assign_name(self, name: str, value: Any, node: ast.AST | None = None) -> None:
        self.variables[name] = self.stored(self.variables.get(name), value, node)

    def stored(self, variable: Any, value: Any, node: ast.AST | None) -> Any:
        """The variable, or a new one, with this value. Memory stands for numbers; other values are made of those."""
        if isinstance(value, ir.Value):
            if variable is None:
                variable = self.memory.alloca(value.type)
            self.builder.store(self.as_type(value, variable.type.pointee, node), variable)
            return variable
        if isinstance(value, Array | Record):
            parts = (value.start, *value.shape) if isinstance(value, Array) else (value.start,)
            before = [None] * len(parts) if variable is None else variable[1]
            return value, [self.stored(b, part, node) for b, part in zip(before, parts, strict=True)]
        if isinstance(value, tuple):
            before = [None] * len(value) if variable is None else variable
            return tuple(self.stored(b, part, node) for b, part in zip(before, value, strict=True))
        raise refused(node)

    def value_of(self, variable: Any) -> Any:
        if variable is None:
            return None
        if isinstance(variable, ir.Value):
            return self.builder.load(variable)
        if isinstance(variable[1], list):
            start, *shape = map(self.value_of, variable[1])
            dtype = variable[0].dtype
            return Record(dtype, start) if isinstance(variable[0], Record) else Array(dtype, start, tuple(shape))
        return tuple(map(self.value_of, variable))

    def variable(self, name: str) -> Any:
        return self.value_of(self.variables.get(name))


def _reading(target: ast.expr) -> ast.expr:
    """The variable or element on the left of +=, as something to be read."""
    return ast.parse(ast.unparse(target), mode="eval").body


@functools.cache
def _tree(function: Callable[..., Any]) -> ast.FunctionDef:
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    ast.increment_lineno(tree, first - 1)
    for node in ast.walk(tree):
        node.driver = f"{function.__module__}.{function.__name__}"  # type: ignore[attr-defined]
    return tree


def _needs_memory(tree: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr in ("empty", "zeros") for node in ast.walk(tree))
