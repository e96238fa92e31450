"""How the CPU kernels are compiled: on first use, once per machine, and never silently.

    @jit                       Numba compiles on the first call with new types ...
    def kernel(...): ...       ... and keeps the machine code on disk: __pycache__ beside the source, or the user's
                               cache folder if that one is read-only; NUMBA_CACHE_DIR overrides both

Without a message the first training step would look like a hang of some seconds. Numba fires an event around every
true compilation, and none when it loads a kernel from its cache; so we listen to that and report on stderr.
MINICNN_QUIET=1 silences the reports.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from .machine_code import say


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """Compile a kernel: without the interpreter lock, so that threads run side by side; cached on disk.

    No fastmath: the compiler may not reorder sums, so the same input gives the same bytes, NaN and ∞ included. Where
    reordering pays (the tiles of microkernels.py) it is written out. No parallel=True: it multiplies compile time.
    options: Numba's, where a kernel needs others: @jit(error_model="numpy").
    """
    decorate = numba.njit(nogil=True, cache=True, **options)
    return decorate if function is None else decorate(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A helper that Numba copies into each place that calls it, so that constant arguments are constants there."""
    return numba.njit(nogil=True, inline="always")(function)


class _Reporter(event.Listener):
    """Prints one line for each kernel compiled; a kernel's own helpers are counted in its time."""

    def __init__(self) -> None:
        self.depth = 0
        self.kernels = 0
        self.seconds = 0.0
        self.started = 0.0

    def on_start(self, e: event.Event) -> None:
        self.depth += 1
        if self.depth == 1:
            self.started = time.perf_counter()
            if self.kernels == 0 and _ours(e):
                say("minicnn: compiling kernels for this CPU (first run only; they are cached)")

    def on_end(self, e: event.Event) -> None:
        self.depth -= 1
        if self.depth == 0 and _ours(e):
            seconds = time.perf_counter() - self.started
            self.kernels += 1
            self.seconds += seconds
            say(f"minicnn:   {_name(e):<28}{seconds:5.1f} s   total {self.seconds:4.1f} s")


def _name(e: event.Event) -> str:
    return e.data["dispatcher"].py_func.__name__.lstrip("_")


def _ours(e: event.Event) -> bool:
    return e.data["dispatcher"].py_func.__module__.startswith(__name__.split(".")[0])


event.register("numba:compile", _Reporter())
