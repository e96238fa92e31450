"""How kernels are simulated: which build, and in which order the threads run.

MINICNN_SIMULATOR=fast                      run, and little more (the default)
MINICNN_SIMULATOR=check                     watch every access: twenty to a hundred times slower
MINICNN_SIMULATOR_ORDER=forward             threads and blocks one after the other (the default)
MINICNN_SIMULATOR_ORDER=reverse             the last one first
MINICNN_SIMULATOR_ORDER=random:7            in an order drawn with seed 7 (0 if none is given)

with simulator.using(build="check", order="random:7"):      the same for a block
    ...
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ArgumentError

BUILDS = ("fast", "check")
ORDERS = ("forward", "reverse", "random")


class Settings(NamedTuple):
    """The build ("": nobody has chosen one), and the order with its seed."""

    build: str
    order: str
    seed: int


_current: Settings | None = None


def current() -> Settings:
    """The settings in force."""
    global _current
    if _current is None:
        order = os.environ.get("MINICNN_SIMULATOR_ORDER") or "forward"
        _current = _checked(os.environ.get("MINICNN_SIMULATOR") or "", order)
    return _current


def build(default: str = "fast") -> str:
    """The build in force, `default` if nobody has chosen one."""
    return current().build or default


def configure(build: str | None = None, order: str | None = None) -> None:
    """Choose a build, an order, or both from now on. Raises ArgumentError for names that do not exist."""
    global _current
    before = current()
    same_order = f"{before.order}:{before.seed}"
    _current = _checked(before.build if build is None else build, order or same_order)


@contextlib.contextmanager
def using(build: str | None = None, order: str | None = None) -> Iterator[None]:
    """configure() for a block."""
    global _current
    before = current()
    configure(build, order)
    try:
        yield
    finally:
        _current = before


def _checked(build: str, order: str) -> Settings:
    if build and build not in BUILDS:
        raise ArgumentError(f'the simulator has no build "{build}": choose one of {", ".join(BUILDS)}')
    name, _, seed = order.partition(":")
    if name not in ORDERS or not (seed or "0").isdecimal():
        raise ArgumentError(
            f'threads cannot run in the order "{order}": choose forward, reverse, random or random:SEED'
        )
    return Settings(build, name, int(seed or "0"))
