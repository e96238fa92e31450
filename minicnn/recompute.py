"""Recompute: `checkpoint(fn, *inputs)` keeps what goes into fn and nothing of its inside; backward runs fn again.

    forward    x ──[ conv relu conv relu ]──> y        not recorded; kept: x, and the parameters that fn met
    backward   x ──conv──relu──conv──relu──> y         once more, recorded, and the walk goes on through these nodes

A network in k segments keeps k inputs and, during backward, the inside of one segment, for one more forward pass.
The nodes of the second run are the newest there are, so the walk takes them next, in the order in which it would have
taken those of a recorded first run: all gradients, hooks and sums are the same to the byte.
Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", section 4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import device as devices
from .device import generator
from .errors import ArgumentError, GraphError
from .function import (
    Function,
    autocast_in_force,
    enable_grad,
    install,
    is_grad_enabled,
    no_grad,
    remove,
    set_autocast,
    set_recomputing,
)  # fmt: skip
from .tensor import Tensor

SAMPLE = 1024  # so many numbers of each result tell whether the second run gave the same


def checkpoint(fn: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """fn(*inputs, **options), the inside of which backward() computes again instead of keeping it.

    fn: a module or function that returns a Tensor, or a tuple or list of Tensors. It may use parameters and other
    tensors besides its inputs, draw from minicnn's random stream (dropout has the same masks again) and update running
    statistics (once: layers ask function.is_recomputing()). Whatever else it does, it does twice.
    All gradients are those of fn(*inputs), first derivatives to the byte. create_graph works, and keeps the inside.
    Raises ArgumentError if fn cannot be called, GraphError if it returns something else; and in backward GraphError if
    what fn met was changed in place since, or if it gives another result now.
    """
    if not callable(fn):
        raise ArgumentError(f"checkpoint takes a function or module and its inputs, got {type(fn).__name__} as fn")
    if not is_grad_enabled():
        return fn(*inputs, **options)
    met, stream, place = _Met(inputs), (generator.seed, generator.calls), (devices.current(), autocast_in_force())
    install(met)
    try:
        with no_grad():
            result = fn(*inputs, **options)
    finally:
        remove(met)
    results = _tensors(fn, result)
    # What only passes through has its place in the graph already. A tensor that is returned twice is still one.
    made = {id(y): y for y in results if not y.requires_grad and not any(y is x for x in inputs)}
    if not made or not any(x.requires_grad for x in met.sources.values()):
        return result
    again = functools.partial(fn, *inputs, **options)
    positions = [list(map(id, results)).index(key) for key in made]
    sources = met.sources.values()
    outputs = Recompute.apply(
        *sources, *made.values(), n=len(made), fn=again, positions=positions, stream=stream, place=place
    )
    for y, output in zip(list(made.values()), outputs, strict=True):
        output.device, output.version = y.device, y.version
        made[id(y)] = output
    results = [made.get(id(y), y) for y in results]
    return results[0] if isinstance(result, Tensor) else type(result)(results)


class Recompute(Function):
    """y = fn(sources): its inputs are the sources and then the y that fn computed, which it hands on.

    It has no backward: where the walk comes to it, it calls again(), and goes on from there (Walk.go_inside).
    """

    name = "checkpoint"
    any_dtype = True

    def forward(self, *arrays, n, fn, positions, stream, place):
        self.save(*arrays[:-n])
        self.fn, self.positions, self.stream, self.place = fn, positions, stream, place
        self.samples = [_sample(y) for y in arrays[-n:]]
        return arrays[-n:]

    def again(self) -> list[Tensor]:
        """The results, recorded this time. fn finds what it found before: inputs, parameters, random numbers."""
        _unchanged = self.saved  # GraphError if one was changed
        now = generator.seed, generator.calls
        generator.seed, generator.calls = self.stream
        fn = self.fn.func
        try:
            device, casting = self.place
            with enable_grad(), set_recomputing(True), devices.use(device), set_autocast(casting):
                results = _tensors(fn, self.fn())
        except Exception as error:
            error.add_note(f"(in backward, where a checkpoint ran {_name(fn)} for the second time)")
            raise
        finally:
            generator.seed, generator.calls = now
        outputs = [results[position] for position in self.positions if position < len(results)]
        if [_sample(y.data) for y in outputs] != self.samples:
            shapes = ", ".join(str(shape) for shape, _ in self.outputs)
            raise GraphError(
                f"checkpoint ran {_name(fn)} again for backward, and its result of shape {shapes} was another one: "
                "it may depend on its inputs, on parameters and on minicnn's random numbers, and on nothing else"
            )
        return outputs

    def _check_dtypes(self, inputs: Sequence[Tensor | None]) -> None:
        """fn may take what it likes."""


class _Met:
    """An op hook that collects what fn depends on: its inputs, and the tensors from outside that its ops met."""

    def __init__(self, inputs: Sequence[Any]):
        self.sources = {id(x): x for x in inputs if isinstance(x, Tensor)}
        self.inside: set[int] = set()  # ids of nodes

    def before(self, function: Function, inputs: Sequence[Tensor | None]) -> None:
        for x in inputs:  # what fn makes does not require a gradient, unless it says enable_grad()
            if x is not None and x.requires_grad and id(x.grad_fn) not in self.inside:
                self.sources[id(x)] = x

    def after(self, function: Function, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> None:
        self.inside.add(id(function))


def _tensors(fn: Callable, result: Any) -> list[Tensor]:
    results = list(result) if type(result) in (tuple, list) else [result]
    for y in results:
        if not isinstance(y, Tensor):
            raise GraphError(
                f"checkpoint needs {_name(fn)} to return a Tensor, or a tuple or list of Tensors, got "
                f"{type(y).__name__}" + ("" if y is result else f" in a {type(result).__name__}")
            )
    return results


def _name(fn: Callable) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _sample(array: Any) -> tuple:
    """Shape, dtype, and a hash of numbers from all over the array."""
    step = max(1, array.size // SAMPLE)
    return array.shape, array.dtype, hash(devices.to_host(array.reshape(-1)[::step]).tobytes())
