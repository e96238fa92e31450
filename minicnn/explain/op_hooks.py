"""Op hooks: watch every op as it runs, forward and backward (a backward is made of ops too).

    with TimerHook() as timer, MemoryHook() as memory:
        loss = model(x) ...
        loss.backward()
    print(timer)          # where the time went, op by op
    print(memory)         # what each op made, and what it kept for backward

A hook sees the ops of the thread it was entered in. It remembers numbers, never tensors. Entered again, it goes on
counting.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TextIO

import numpy as np

from ..function import Function, install, remove
from ..nn.module import Parameter
from ..table import format_bytes, format_table
from ..tensor import Tensor

Inputs = Sequence[Tensor | None]


class _Hook:
    """An OpHook that installs itself for the length of a `with` block."""

    depth = 0  # of blocks that it is entered in

    def before(self, function: Function, inputs: Inputs) -> None:
        """An op is about to run. If it raises, there will be no after()."""

    def after(self, function: Function, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        """An op has run, and is tied into the graph if it was recorded."""

    def __enter__(self) -> Self:
        self.depth += 1
        if self.depth == 1:
            install(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self.depth -= 1
        if self.depth == 0:
            remove(self)


# --- time -------------------------------------------------------------------------------------------------------------


@dataclass
class TimerRow:
    """One op: its calls, their time, and their multiply-adds (0 for ops that do not count them)."""

    name: str
    calls: int = 0
    seconds: float = 0.0
    macs: int = 0

    @property
    def gflops(self) -> float:
        """10⁹ floating-point operations a second; a multiply-add is two."""
        return 2e-9 * self.macs / self.seconds if self.seconds else 0.0


class TimerHook(_Hook):
    """How long each op took, from its inputs to its place in the graph; `str(timer)` is a table, slowest op first.

    The first call of an op may include compiling its kernel: run the model once before you measure.
    """

    def __init__(self) -> None:
        self._rows: dict[str, TimerRow] = {}
        self._started: weakref.WeakKeyDictionary[Function, float] = weakref.WeakKeyDictionary()
        self._entered = self._elapsed = 0.0

    @property
    def rows(self) -> list[TimerRow]:
        """One row an op, the slowest first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    @property
    def seconds(self) -> float:
        """Time in ops."""
        return sum(row.seconds for row in self._rows.values())

    @property
    def wall_seconds(self) -> float:
        """Time in `with` blocks, in ops or not."""
        return self._elapsed + (time.perf_counter() - self._entered if self.depth else 0.0)

    def __enter__(self) -> Self:
        if self.depth == 0:
            self._entered = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if self.depth == 0:
            self._elapsed += time.perf_counter() - self._entered

    def before(self, function: Function, inputs: Inputs) -> None:
        self._started[function] = time.perf_counter()

    def after(self, function: Function, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        now = time.perf_counter()
        started = self._started.pop(function, None)
        if started is not None:  # None: entered while this op was running
            row = self._rows.setdefault(function.name, TimerRow(function.name))
            row.calls += 1
            row.seconds += now - started
            row.macs += function.macs

    def __str__(self) -> str:
        wall, inside = self.wall_seconds, self.seconds
        body = [
            [
                row.name,
                f"{row.calls:,}",
                f"{row.seconds * 1e3:,.2f} ms",
                f"{row.seconds / row.calls * 1e3:,.3f} ms",
                f"{row.seconds / inside:.1%}",
                f"{row.macs:,}" if row.macs else "",
                f"{row.gflops:,.1f}" if row.macs else "",
            ]
            for row in self.rows
        ]
        calls, macs = sum(row.calls for row in self.rows), sum(row.macs for row in self.rows)
        total = TimerRow("total", calls, inside, macs)
        last = ["total", f"{calls:,}", f"{inside * 1e3:,.2f} ms", "", "", f"{macs:,}", f"{total.gflops:,.1f}"]
        head = ["op", "calls", "time", "per call", "share", "multiply-adds", "GFLOP/s"]
        outside = max(wall - inside, 0.0)
        share = f" ({outside / wall:.1%})" if wall else ""
        foot = f"{wall * 1e3:,.2f} ms in all, of which {outside * 1e3:,.2f} ms{share} outside of ops"
        return format_table(head, body, "<>>>>>>", last) + "\n" + foot


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclass
class MemoryRow:
    """One op: the memory of its results (a view of an input has none), and what it keeps from forward to backward."""

    name: str
    calls: int = 0
    result_bytes: int = 0
    kept_bytes: int = 0


class MemoryHook(_Hook):
    """What each op makes, and what it keeps for backward; `str(memory)` is a table, the greediest op first.

    Kept memory is credited once, to the first op that keeps it: an array and all its views are one. A view keeps the
    whole array that an op made; of arrays that came from outside (a batch, cut from a data set) only the part in use
    counts. Parameters are there anyway and do not count.
    live_bytes: kept memory that is not freed yet, be it held by the graph or by anyone else; it goes on falling after
    the `with` block, as the loss and the rest of the graph die. peak_bytes: the most there ever was of it.
    """

    def __init__(self) -> None:
        self.live_bytes = self.peak_bytes = 0
        self._rows: dict[str, MemoryRow] = {}
        self._known: dict[int, weakref.ref] = {}  # id of an owner of memory -> the owner, while it is alive

    @property
    def rows(self) -> list[MemoryRow]:
        """One row an op, in the order of what they keep, then of what they make."""
        return sorted(self._rows.values(), key=lambda row: (-row.kept_bytes, -row.result_bytes))

    @property
    def kept_bytes(self) -> int:
        """All that was kept, be it freed since or not."""
        return sum(row.kept_bytes for row in self._rows.values())

    @property
    def result_bytes(self) -> int:
        """The memory of all results."""
        return sum(row.result_bytes for row in self._rows.values())

    def after(self, function: Function, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        row = self._rows.setdefault(function.name, MemoryRow(function.name))
        row.calls += 1
        given = [tensor for tensor in inputs if tensor is not None]
        viewed = {id(_owner(tensor.stored)) for tensor in given}
        row.result_bytes += sum(y.stored.nbytes for y in outputs if id(_owner(y.stored)) not in viewed)
        if any(y.grad_fn is function for y in outputs):  # else it was not recorded, and keeps nothing
            leaves = [tensor for tensor in given if tensor.is_leaf]
            for leaf in leaves:
                if leaf.requires_grad or isinstance(leaf, Parameter):
                    self._count(_owner(leaf.stored), 0)
            outside = {id(_owner(leaf.stored)) for leaf in leaves}
            for array in function.kept_arrays():
                if isinstance(array, np.generic):  # a number, of a forward that returned one in place of an array
                    continue
                owner = _owner(array)
                nbytes = min(array.nbytes, owner.nbytes) if id(owner) in outside else owner.nbytes
                row.kept_bytes += self._count(owner, nbytes)

    def _count(self, owner: Any, nbytes: int) -> int:
        """Add nbytes to what is alive until `owner` dies, and return it; 0 if the owner is known already."""
        key, this = id(owner), weakref.ref(self)
        if key in self._known:
            return 0

        def forget(dead: weakref.ref) -> None:
            hook = this()  # a weak one, lest the hook be part of a cycle
            if hook is not None:
                del hook._known[key]
                hook.live_bytes -= nbytes

        self._known[key] = weakref.ref(owner, forget)
        self.live_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return nbytes

    def __str__(self) -> str:
        body = [[row.name, f"{row.calls:,}", _nonzero(row.result_bytes), _nonzero(row.kept_bytes)] for row in self.rows]
        calls = sum(row.calls for row in self.rows)
        total = ["total", f"{calls:,}", format_bytes(self.result_bytes), format_bytes(self.kept_bytes)]
        foot = f"kept at once: {format_bytes(self.peak_bytes)} at most, {format_bytes(self.live_bytes)} now"
        head = ["op", "calls", "results", "kept for backward"]
        return format_table(head, body, "<>>>", total) + "\n" + foot + "; parameters not counted"


def _nonzero(n: int) -> str:
    return format_bytes(n) if n else ""


def _owner(array: Any) -> Any:
    """The array whose memory this one is a view of; itself if it has memory of its own."""
    owner, base = array, array.base
    while base is not None:
        if hasattr(base, "nbytes"):  # as_strided and files put objects in between that are no arrays
            owner = base
        base = getattr(base, "base", None)
    return owner


# --- print ------------------------------------------------------------------------------------------------------------


class PrintHook(_Hook):
    """Print a line for each op as it runs: name, shapes of its inputs -> shapes of its results, dtype.

        conv2d             (64, 1, 32, 32), (6, 1, 5, 5), (6,) -> (64, 6, 28, 28)  float32

    "-" stands for an input that was left out, such as a bias. An op that raises an error has a line as well, which
    says so. stream: where to print; by default stderr.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream
        self._running = ""

    def before(self, function: Function, inputs: Inputs) -> None:
        self._finish()
        shapes = ", ".join("-" if tensor is None else str(tensor.shape) for tensor in inputs)
        self._running = f"{function.name:<18} {shapes} -> "

    def after(self, function: Function, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        shapes = ", ".join(str(y.shape) for y in outputs)
        dtypes = ", ".join(dict.fromkeys(str(y.dtype) for y in outputs))  # each once
        self._print(f"{shapes}  {dtypes}")

    def __exit__(self, *exc: object) -> None:
        self._finish()
        super().__exit__(*exc)

    def _finish(self) -> None:
        if self._running:
            self._print("error")

    def _print(self, result: str) -> None:
        print(self._running + result, file=self.stream or sys.stderr, flush=True)
        self._running = ""
