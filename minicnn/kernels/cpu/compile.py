"""Kernels that Numba compiles: on first use, once per machine, and never silently.

Drivers (drivers.py) are compiled thirty times as fast. Numba is for loops that compute with floats in ways which their
language has no words for: activations, batch norm, LRN, pooling, resizing of planes.

    @jit                       Numba compiles on the first call with new types ...
    def kernel(...): ...       ... and keeps the machine code on disk: __pycache__ beside the source, or the user's
                               cache folder if that one is read-only; NUMBA_CACHE_DIR overrides both

Without a message the first training step would look like a hang of some seconds. Numba fires an event around every
true compilation, and none when it loads a kernel from its cache; so we listen to that and report on stderr.
MINICNN_QUIET=1 silences the reports.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from .machine_code import announce, say


class Jit:
    """What @jit makes of a function: Numba's dispatcher of it, made when first asked for, since to import Numba takes
    longer than the first step of a small network otherwise does."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]):
        self.function, self.options = function, options
        self.__name__ = function.__name__

    def __call__(self, *args: Any) -> Any:
        return self.dispatcher(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        return _numba().njit(nogil=True, **self.options)(self.function)

    def __getattr__(self, name: str) -> Any:
        """Numba's own attributes; _numba_type_ makes it what compiled callers take for the dispatcher."""
        return getattr(self.dispatcher, name)


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a kernel: without the interpreter lock, so that threads run side by side; cached on disk.

    No fastmath: the compiler may not reorder sums, so the same input gives the same bytes, NaN and ∞ included. Where
    reordering pays (the tiles of microkernels.py) it is written out. No parallel=True: it multiplies compile time.
    options: Numba's, where a kernel needs others: @jit(error_model="numpy").
    """
    options = {"cache": True, **options}
    return (lambda function: Jit(function, options)) if function is None else Jit(function, options)


def inlined(function: Callable[..., Any]) -> Any:
    """A helper that Numba copies into each place that calls it, so that constant arguments are constants there."""
    return Jit(function, {"inline": "always"})


@functools.cache
def _numba() -> Any:
    import numba
    from numba.core import event

    class Listener(_Reporter, event.Listener):
        pass

    event.register("numba:compile", Listener())
    return numba


class _Reporter:
    """Prints one line for each kernel compiled; a kernel's own helpers are counted in its time."""

    def __init__(self) -> None:
        self.depth = 0
        self.seconds = 0.0
        self.started = 0.0

    def on_start(self, e: Any) -> None:
        self.depth += 1
        if self.depth == 1:
            self.started = time.perf_counter()
            if _ours(e):
                announce()

    def on_end(self, e: Any) -> None:
        self.depth -= 1
        if self.depth == 0 and _ours(e):
            seconds = time.perf_counter() - self.started
            self.seconds += seconds
            say(f"minicnn:   {_name(e):<28}{seconds:5.1f} s   total {self.seconds:4.1f} s")


def _name(e: Any) -> str:
    return e.data["dispatcher"].py_func.__name__.lstrip("_")


def _ours(e: Any) -> bool:
    return e.data["dispatcher"].py_func.__module__.startswith(__name__.split(".")[0])
