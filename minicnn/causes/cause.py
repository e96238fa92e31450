"""A mistake that people make, and how it is planted: Cause.plant(op) is the op with the mistake in it.

    gradient(x=..., weight=...)   some gradients come from another formula; output and other gradients stay right
    arguments(padding=...)        the op is called with another argument: output and gradients follow
    result(...)                   another result: output and gradients follow

A formula is given the call c, its arguments by name: c.x, c.weight, c.stride. That of a gradient sees NumPy arrays, and
besides them the output c.y, its gradient c.gy, and the right gradients c.gx, c.gweight; the other two see Tensors, and
the last one the right result, c.y.

Nothing of the engine is changed: what is planted is a new function, so any number of them live side by side, in all
threads. One can be planted on top of another, whose gradients are then the "right" ones.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import autograd
from ..function import Function, enable_grad, is_grad_enabled, no_grad
from ..tensor import Tensor

Op = Callable[..., Tensor]
Formula = Callable[[SimpleNamespace], Any]


@dataclass(frozen=True, eq=False)
class Cause:
    """What a mistake is called, in which op it shows, where it was seen, and what it changes."""

    name: str
    op: str
    seen_in: str
    change: Change

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"

    def plant(self, op: Op) -> Op:
        """The op with the mistake in it."""
        signature = inspect.signature(op)

        def call(given: dict[str, Any]) -> Tensor:
            bound = inspect.BoundArguments(signature, OrderedDict(given))
            return op(*bound.args, **bound.kwargs)

        @functools.wraps(op)
        def wrong(*positional: Any, **named: Any) -> Tensor:
            bound = signature.bind(*positional, **named)
            bound.apply_defaults()
            return self.change(call, dict(bound.arguments))

        return wrong


@dataclass(frozen=True, eq=False)
class Change:
    """What a mistake changes ("gradient", "arguments" or "result"), and the formulas that are there instead."""

    what: str
    formulas: dict[str, Formula]

    def __call__(self, op: Callable[[dict[str, Any]], Tensor], given: dict[str, Any]) -> Tensor:
        """op(given), changed; given are the arguments by name."""
        if self.what == "result":
            return self.formulas["y"](SimpleNamespace(**given, y=op(given)))
        if self.what == "arguments":
            call = SimpleNamespace(**given)
            return op({**given, **{name: formula(call) for name, formula in self.formulas.items()}})
        tensors = {name: v for name, v in given.items() if isinstance(v, Tensor) and v.dtype.kind in "fc"}

        def right(*arrays: Tensor) -> Tensor:
            return op({**given, **dict(zip(tensors, arrays, strict=True))})

        return Planted.apply(*tensors.values(), right=right, given=given, names=[*tensors], formulas=self.formulas)


def gradient(**formulas: Formula) -> Change:
    """The gradients in the named arrays are those of the formulas."""
    return Change("gradient", formulas)


def arguments(**formulas: Formula) -> Change:
    """The named arguments are those of the formulas."""
    return Change("arguments", formulas)


def result(formula: Formula) -> Change:
    """The result is that of the formula."""
    return Change("result", {"y": formula})


class Planted(Function):
    """right(*tensors), but with the gradients of the formulas."""

    def forward(self, *arrays, right, given, names, formulas):
        self.save(*arrays)
        self.right, self.names, self.formulas = right, names, formulas
        self.call = {name: value.data if isinstance(value, Tensor) else value for name, value in given.items()}
        with no_grad():
            self.call["y"] = right(*(Tensor(array, device=self.device) for array in arrays)).data
        return self.call["y"]

    def backward(self, gy):
        recorded = is_grad_enabled()
        active = [k for k in range(len(self.names)) if self.needs_grad(k)]
        tensors = self.saved if recorded else [x.detach() for x in self.saved]
        with enable_grad():
            leaves = [tensors[k] if recorded else tensors[k].requires_grad_() for k in active]
            found = autograd.grad(self.right(*tensors), leaves, gy, create_graph=recorded, allow_unused=True)
        right = [x.detach() * 0.0 if g is None else g for x, g in zip(leaves, found, strict=True)]
        names = [self.names[k] for k in active]
        known = {f"g{name}": g.data for name, g in zip(names, right, strict=True)}
        call = SimpleNamespace(**self.call, gy=gy.data, **known)
        returned: list[Tensor | None] = [None] * len(tensors)
        for k, name, g in zip(active, names, right, strict=True):
            formula = self.formulas.get(name)
            returned[k] = Tensor(np.asarray(formula(call), g.dtype), device=self.device) if formula else g
        return tuple(returned)
