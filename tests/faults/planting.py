"""How a fault is planted: for as long as a `with` block lasts, one thing is another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from minicnn.function import Function
from minicnn.kernels import reference, window
from minicnn.kernels.window import Window


@dataclass(frozen=True)
class Fault:
    """One planted bug: in which op it shows, where such a thing was seen, how it is planted, what must reject it."""

    name: str
    op: str  # a row of the op table
    seen_in: str
    plant: Callable[[], AbstractContextManager]
    caught_by: str  # at least by this property; the table shows all that do
    device: str = "reference"  # whose book computes


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """owner.name is `value` inside of the block. Windows are cached: those computed on the other side are forgotten."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    forget_geometry()
    try:
        yield
    finally:
        setattr(owner, name, before)
        forget_geometry()


def forget_geometry() -> None:
    for thing in (*vars(window).values(), *vars(Window).values()):
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()


def kernel(name: str, wrong: Callable[..., Callable], book: Any = reference) -> Callable[[], AbstractContextManager]:
    """The kernel `name` is wrong(the right one)."""
    return lambda: replaced(book, name, wrong(getattr(book, name)))


def backward(cls: type[Function], wrong: Callable[..., Any]) -> Callable[[], AbstractContextManager]:
    return lambda: replaced(cls, "backward", wrong)


def after_backward(cls: type[Function], change: Callable[..., Any]) -> Callable[[], AbstractContextManager]:
    """backward is right, but then change(self, gy, *gradients) is made of what it returns."""
    right = cls.backward

    def wrong(self, gy):
        returned = right(self, gy)
        return change(self, gy, *(returned if isinstance(returned, tuple) else (returned,)))

    return backward(cls, wrong)


def forward(cls: type[Function], wrong: Callable[..., Callable]) -> Callable[[], AbstractContextManager]:
    """forward is wrong(the right one)."""
    return lambda: replaced(cls, "forward", wrong(cls.forward))


def attribute(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager]:
    return lambda: replaced(owner, name, value)
