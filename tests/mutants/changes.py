"""The mutants of a file: its syntax tree with one node changed.

Not changed: documentation, annotations, what errors say (the tests of bad input read it), and thresholds of speed.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
NEIGHBOURS = {"min": "max", "maximum": "minimum", "any": "all", "floor": "ceil", "zeros": "ones", "argmax": "argmin",
              "zeros_like": "ones_like", "amax": "amin", "before": "after", "rows": "columns",
              "low": "high"}  # fmt: skip
NEIGHBOURS |= {b: a for a, b in NEIGHBOURS.items()}
SYMMETRIC = {"min", "max", "maximum", "minimum", "add", "mul", "multiply", "broadcast_shapes", "promote_types"}
WORDS = {"remedy", "given"}  # variables that hold parts of what an error says
SPEED = {"SMALL", "FEW", "PART", "ROOM"}  # thresholds between two ways to the same result
ONE_SIDED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)


def variants(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    match node:
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
            if value == 1:
                yield ast.Constant(0)
        case ast.Constant(float(value)):
            yield from (ast.Constant(other) for other in (value + 1, -value) if other != value)
        case ast.Constant(str(value)) if isinstance(parent, ast.Compare) and value:
            yield ast.Constant(value[:-1])
        case ast.BinOp(a, op, b):
            if isinstance(op, ONE_SIDED):
                yield ast.BinOp(b, op, a)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.IfExp(_, a, b):
            yield from (a, b)
        case ast.If(_, body, otherwise):
            yield from (ast.If(ast.Constant(decided), body, otherwise) for decided in (False, True))
        case ast.Expr() | ast.AugAssign() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Return(ast.Tuple([a, b, *rest])):
            yield ast.Return(ast.Tuple([b, a, *rest], ast.Load()))
        case ast.Slice(lower, upper, step):
            if lower:
                yield ast.Slice(None, upper, step)
            if upper:
                yield ast.Slice(lower, None, step)
        case ast.comprehension(target, iterated, [_, *rest]):
            yield ast.comprehension(target, iterated, rest, 0)
        case ast.Call(function, arguments, keywords):
            called = getattr(function, "id", getattr(function, "attr", ""))
            starred = any(isinstance(argument, ast.Starred) for argument in arguments[:2])
            if len(arguments) > 1 and not starred and called not in SYMMETRIC:
                yield ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
            if len(arguments) == 1 and not starred and not keywords and called != "needs_grad":
                yield arguments[0]
            if not arguments and not keywords and isinstance(function, ast.Attribute):
                yield function.value
            for left_out in (k for k in keywords if k.arg != "strict"):
                yield ast.Call(function, arguments, [k for k in keywords if k is not left_out])
        case ast.Attribute(value, name, context) if name in NEIGHBOURS:
            yield ast.Attribute(value, NEIGHBOURS[name], context)
        case ast.Name(name, ast.Load()) if name in NEIGHBOURS:
            yield ast.Name(NEIGHBOURS[name], ast.Load())
    if type(node) in SWAPS:
        yield SWAPS[type(node)]()


@dataclass
class Mutant:
    """One change, in words and as code."""

    line: int
    before: str
    name: str  # where: what the statement has become
    code: CodeType  # of the class, function or constant that has it
    lines: range  # a test that runs none of these cannot notice
    runs: bool  # in a function, when it is called; else once


@functools.cache
def source(path: Path) -> str:
    """As it was when first asked for: somebody may be writing."""
    return path.read_text("utf-8")


def mutants_of(path: Path) -> Iterator[Mutant]:
    body = ast.parse(source(path)).body
    for top in body:
        if not isinstance(top, ast.Import | ast.ImportFrom | ast.Expr) and not _is_speed(top):
            again = [top] if _defines(top) else body  # a constant may have gone into a default already
            yield from _inside(top, top, top, top.__class__.__name__, range(0), again, path)


def _inside(
    node: ast.AST, top: ast.stmt, statement: ast.stmt, where: str, lines: range, again: list[ast.stmt], path: Path
) -> Iterator[Mutant]:
    """The mutants of what stands in a node."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = node.name if where[0].isupper() and node is top else f"{where}.{node.name}"
        lines = range(node.lineno, node.end_lineno + 1)
    for name, values in ast.iter_fields(node):
        for position, child in enumerate(values if isinstance(values, list) else [values]):
            if not isinstance(child, ast.AST) or _is_no_behaviour(child, name, node):
                continue
            inner = child if isinstance(child, ast.stmt) else statement
            runs = where.count(".") > 0 or isinstance(top, ast.FunctionDef)  # when a function does, not at import
            reach = _header(inner) if runs and not _defines(inner) else lines if runs else range(0)
            for variant in variants(child, node):
                before = _text(inner)
                _put(node, name, position, ast.fix_missing_locations(ast.copy_location(variant, child)))
                after = _told(child, variant) or _text(variant if child is inner else inner)
                if after != before:
                    with warnings.catch_warnings(action="ignore"):  # some are odd even to the compiler
                        code = compile(ast.Module(again, []), str(path), "exec")
                    yield Mutant(inner.lineno, before, f"{where}: {after}", code, reach, runs and not _defines(inner))
                _put(node, name, position, child)
            yield from _inside(child, top, inner, where, lines, again, path)


def _told(old: ast.AST, new: ast.AST) -> str:
    """What the changed statement would not tell by itself."""
    match old, new:
        case _, ast.Pass():
            return "no " + ast.unparse(old)
        case ast.If(test), ast.If(ast.Constant(decided)):
            return f"{'always' if decided else 'never'} {ast.unparse(test)}"
    return ""


def _put(node: ast.AST, name: str, position: int, child: ast.AST) -> None:
    values = getattr(node, name)
    if isinstance(values, list):
        values[position] = child
    else:
        setattr(node, name, child)


def _defines(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


def _header(statement: ast.stmt) -> range:
    body = getattr(statement, "body", None)
    return range(statement.lineno, (body[0].lineno if body else statement.end_lineno + 1) or 0)


def _text(statement: ast.stmt) -> str:
    return ast.unparse(statement).split("\n")[0] if not _defines(statement) else ast.unparse(statement.args).strip()


def _is_no_behaviour(node: ast.AST, name: str, parent: ast.AST) -> bool:
    return (
        name in ("annotation", "returns", "decorator_list", "bases", "exc", "cause", "ctx")
        or (isinstance(node, ast.keyword) and node.arg == "strict")
        or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in WORDS)
        or isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))  # documentation
        or (isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "str")
    )


def _is_speed(top: ast.stmt) -> bool:
    names = [t.id for t in getattr(top, "targets", []) if isinstance(t, ast.Name)]
    return any(name in SPEED or name == "__all__" for name in names)
