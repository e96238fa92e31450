"""What a function is made of, as a digest: its own code, and that of all it calls within this package.

    move_rows ──→ Code.cover_rows ──→ Code.branch ──→ ...          functions and classes: their bytecode
              └─→ INT32, BLOCK ...                                 numbers and strings: how they look

It is taken of what is loaded, not of files: a function that somebody has replaced or patched has another digest.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

PACKAGE = __name__.split(".")[0]


def version_of(*functions: Any) -> bytes:
    """A digest that changes with anything that these can reach by the names that they use, here or in their package."""
    digest = hashlib.sha256()
    seen: set[Any] = set()
    packages = {PACKAGE, *(_package(getattr(f, "__wrapped__", f)) for f in functions)}
    waiting = [*functions]
    while waiting:
        thing = waiting.pop()
        thing = getattr(thing, "__wrapped__", thing)  # of what functools.cache made
        if isinstance(thing, int | float | str | np.generic):
            digest.update(repr(thing).encode())
        elif isinstance(thing, tuple | list):
            waiting += thing
        elif isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, property):
            waiting.append(thing.fget)
        elif isinstance(thing, staticmethod | classmethod):
            waiting.append(thing.__func__)
        elif isinstance(thing, FunctionType | type) and _package(thing) in packages and thing not in seen:
            seen.add(thing)
            if isinstance(thing, type):
                waiting += [*vars(thing).values(), *thing.__bases__]
            else:
                digest.update(_own(thing.__code__))
                waiting += [thing.__defaults__, thing.__kwdefaults__, *_named(thing)]
                waiting += [cell.cell_contents for cell in thing.__closure__ or ()]
    return digest.digest()


def _package(thing: Any) -> str:
    return thing.__module__.split(".")[0]


@functools.cache
def _own(code: CodeType) -> bytes:
    """Its instructions, the names they use, and its constants."""
    constants = [_own(c).hex() if isinstance(c, CodeType) else _text(c) for c in code.co_consts]
    return hashlib.sha256(repr([code.co_code, code.co_names, constants]).encode()).digest()


def _text(constant: Any) -> str:
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _named(function: FunctionType) -> Iterator[Any]:
    """What its global names stand for, and its names in modules of this package that are among those."""
    names = _names(function.__code__)
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    yield from found
    for module in found:
        if isinstance(module, ModuleType) and module.__name__.startswith(PACKAGE):
            yield from (vars(module)[name] for name in names if name in vars(module))


@functools.cache
def _names(code: CodeType) -> tuple[str, ...]:
    inner = (name for c in code.co_consts if isinstance(c, CodeType) for name in _names(c))
    return tuple(dict.fromkeys([*code.co_names, *inner]))
