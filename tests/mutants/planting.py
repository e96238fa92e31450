"""Other code for live functions: that of a mutant, or their own, saying which lines run."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from .changes import source


def plant(code: CodeType, module: Any) -> None:
    """The functions and classes of a live module get the code of others of their names, wherever they are known."""
    space = dict(vars(module))
    exec(code, space)
    for name, new in space.items():
        old = vars(module).get(name)
        if new is not old and name != "__builtins__":
            _transplant(module, name, old, new)


def _transplant(owner: Any, name: str, old: Any, new: Any) -> None:
    if isinstance(old, staticmethod | classmethod):
        old, new = old.__func__, new.__func__
    if isinstance(old, property):
        old, new = old.fget, new.fget
    if callable(old) and hasattr(old, "cache_clear"):
        old.cache_clear()
    function, replacement = (inspect.unwrap(thing) if callable(thing) else thing for thing in (old, new))
    if inspect.isfunction(function) and inspect.isfunction(replacement):
        for part in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(function, part, getattr(replacement, part))
    elif inspect.isclass(old) and inspect.isclass(new):
        for key, value in vars(new).items():
            if key not in ("__dict__", "__weakref__", "__doc__", "__module__") and vars(old).get(key) is not value:
                _transplant(old, key, vars(old).get(key), value)
    elif isinstance(old, dict):
        for key, value in new.items():
            if value is not old.get(key):
                _transplant(None, "", old[key], value) if inspect.isfunction(value) else old.__setitem__(key, value)
    elif inspect.isclass(owner):
        setattr(owner, name, new)
    else:  # a constant, also of those who imported it
        for known in list(sys.modules.values()):
            if getattr(known, "__name__", "").startswith("minicnn") and vars(known).get(name) is old:
                setattr(known, name, new)


# --- which lines run --------------------------------------------------------------------------------------------------


class Hits(ast.NodeTransformer):
    """Every statement of every function says that it runs, before it does."""

    def __init__(self, number: int):
        self.number = number

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        for block in ast.walk(node):
            for name in ("body", "orelse", "finalbody"):
                statements = getattr(block, name, None)
                if isinstance(statements, list) and not isinstance(block, ast.ClassDef):
                    setattr(block, name, [part for one in statements for part in (self.hit(one), one) if part])
        return node

    def hit(self, statement: ast.stmt) -> ast.stmt | None:
        if hasattr(statement, "said"):
            return None
        statement.said = True
        call = ast.Expr(ast.Call(ast.Name("__hit__", ast.Load()), [ast.Constant((self.number, statement.lineno))], []))
        call.said = True
        return ast.fix_missing_locations(ast.copy_location(call, statement))


def instrument(path: Path, module: Any, number: int) -> None:
    """Let a live module say what it runs, to builtins.__hit__."""
    for top in ast.parse(source(path)).body:
        if isinstance(top, ast.FunctionDef | ast.ClassDef):
            plant(compile(ast.Module([Hits(number).visit(top)], []), str(path), "exec"), module)
