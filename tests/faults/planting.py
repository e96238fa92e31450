"""How a fault is planted: for as long as a `with` block lasts, one thing is another."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from minicnn import Tensor, autograd, enable_grad, ops
from minicnn.causes.cause import Cause
from minicnn.function import Function
from minicnn.kernels import reference, window
from minicnn.kernels.window import Window
from minicnn.ops import arguments


@dataclass(frozen=True)
class Fault:
    """One planted bug: in which op it shows, where such a thing was seen, how it is planted, what must reject it."""

    name: str
    op: str  # a row of the op table
    seen_in: str
    plant: Callable[[], AbstractContextManager]
    caught_by: str  # at least by this property; the table shows all that do
    device: str = "reference"  # whose book computes
    cause: Cause | None = None  # of gradcheck's catalogue: then nothing is replaced, and the op is another function

    def into(self, row: Any) -> Any:
        """A row of the op table with the fault in it, if it is one of a function."""
        if self.cause is None:
            return row
        op = getattr(ops, self.cause.op)
        wrong = self.cause.plant(op)
        within = wrong if row.function is op else _with_another(row.function, op, wrong)

        def function(*arguments: Any, **options: Any) -> Any:
            with replaced(ops, self.cause.op, wrong):  # a row may call the op in its own way
                return within(*arguments, **options)

        return dataclasses.replace(row, function=function)

    def function(self, op: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The op as a function that has the fault whenever it is called, while the engine around it has not."""
        return self.cause.plant(op) if self.cause else Sandbox(self, op)


def _with_another(function: Any, op: Any, wrong: Any) -> Any:
    """The function with `wrong` where its closure holds `op`."""
    cells = [types.CellType(wrong) if cell.cell_contents is op else cell for cell in function.__closure__ or ()]
    again = types.FunctionType(function.__code__, function.__globals__, function.__name__, None, tuple(cells))
    again.__defaults__, again.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return again


@dataclass(frozen=True)
class Sandbox:
    """An op that runs with a fault planted, forward and backward, and is right outside."""

    fault: Fault
    op: Callable[..., Tensor]

    @property
    def __name__(self) -> str:
        return self.op.__name__

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.op)

    def __call__(self, *arguments: Any, **options: Any) -> Tensor:
        bound = inspect.signature(self.op).bind(*arguments, **options)
        tensors = [name for name, value in bound.arguments.items() if isinstance(value, Tensor)]
        return Sandboxed.apply(*(bound.arguments[name] for name in tensors), sandbox=self, bound=bound, tensors=tensors)


class Sandboxed(Function):
    """One call of it: a graph inside of a node of the graph."""

    def forward(self, *arrays, sandbox, bound, tensors):
        self.plant = sandbox.fault.plant
        self.leaves = [Tensor(array, requires_grad=True, device=self.device) for array in arrays]
        bound.arguments.update(zip(tensors, self.leaves, strict=True))
        with self.plant(), enable_grad():
            self.y = sandbox.op(*bound.args, **bound.kwargs)
        return self.y.data

    def backward(self, gy):
        with self.plant():
            return autograd.grad(self.y, self.leaves, gy, retain_graph=True, allow_unused=True)


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


GEOMETRY = [thing for place in (window, Window, arguments) for thing in vars(place).values()
            if hasattr(thing, "cache_clear")]  # fmt: skip


def forget_geometry() -> None:
    for cached in GEOMETRY:
        cached.cache_clear()


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


def op(function: Callable[..., Any], wrong: Callable[..., Callable]) -> Callable[[], AbstractContextManager]:
    """The op itself is wrong(the right one), for all who have it: the op table, other ops, the methods of Tensor."""
    right = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    right.__defaults__, right.__kwdefaults__ = function.__defaults__, function.__kwdefaults__

    def elsewhere(*arguments: Any, _wrong: Callable, **options: Any) -> Any:
        return _wrong(*arguments, **options)

    @contextlib.contextmanager
    def plant() -> Iterator[None]:
        function.__code__, function.__defaults__ = elsewhere.__code__, None
        function.__kwdefaults__ = {"_wrong": wrong(right)}
        try:
            yield
        finally:
            function.__code__, function.__defaults__ = right.__code__, right.__defaults__
            function.__kwdefaults__ = right.__kwdefaults__

    return plant


def attribute(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager]:
    return lambda: replaced(owner, name, value)
