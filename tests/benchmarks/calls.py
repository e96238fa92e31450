"""Which ops a network calls: each call with its inputs, options and results, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from minicnn import Tensor
from minicnn.function import Function


class Call(NamedTuple):
    """One op that ran: its class's name, its inputs, what else it was given, and its outputs."""

    op: str
    inputs: tuple[Tensor | None, ...]
    attributes: dict[str, Any]
    outputs: tuple[Tensor, ...]


@contextlib.contextmanager
def watched() -> Iterator[list[Call]]:
    """Lists every call of an op inside."""
    calls: list[Call] = []
    original = Function.__dict__["apply"]

    def apply(cls: type[Function], *inputs: Tensor | None, **attributes: Any) -> Any:
        result = original.__get__(None, cls)(*inputs, **attributes)
        calls.append(Call(cls.__name__, inputs, attributes, result if isinstance(result, tuple) else (result,)))
        return result

    Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield calls
    finally:
        Function.apply = original  # type: ignore[method-assign]
