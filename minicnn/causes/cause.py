"""A mistake that people make, and how it is planted: Cause.plant(op) is the op with the mistake in it.

    gradient(x=..., weight=...)   another formula for some of the gradients; the others stay right
    output(...)                   another formula for the output; the gradients stay those of the right one
    instead(...)                  the op, called with something else: output and gradients follow

A formula is a function of the call c in plain NumPy: the arguments by their names (c.x, c.weight, c.stride), the output
c.y, its gradient c.gy, and the right gradients (c.gx, c.gweight). Nothing of the engine is changed: what is planted is
a new function, so any number of them live side by side, in all threads; and one can be planted on top of another, whose
gradients are then the "right" ones.
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
Formula = Callable[[SimpleNamespace], np.ndarray]


@dataclass(frozen=True)
class Cause:
    """What a mistake is called, in which op it shows, where it was seen, and how it is planted."""

    name: str
    op: str
    seen_in: str
    plant: Callable[[Op], Op]

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"


def gradient(**formulas: Formula) -> Callable[[Op], Op]:
    """The gradients in the named arrays are those of the formulas."""
    return functools.partial(_wrong, formulas=formulas)


def output(formula: Formula) -> Callable[[Op], Op]:
    """The output is that of the formula."""
    return functools.partial(_wrong, formulas={"y": formula})


def instead(call: Callable[..., Tensor]) -> Callable[[Op], Op]:
    """call(op, *arrays, **options) instead of op(*arrays, **options)."""

    def plant(op: Op) -> Op:
        @functools.wraps(op)
        def wrong(*arguments: Any, **options: Any) -> Tensor:
            return call(op, *arguments, **options)

        return wrong

    return plant


def _wrong(op: Op, formulas: dict[str, Formula]) -> Op:
    signature = inspect.signature(op)

    @functools.wraps(op)
    def wrong(*arguments: Any, **options: Any) -> Tensor:
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        given = bound.arguments
        names = [name for name, value in given.items() if isinstance(value, Tensor) and value.dtype.kind in "fc"]

        def right(*tensors: Tensor) -> Tensor:
            again = inspect.BoundArguments(signature, OrderedDict({**given, **dict(zip(names, tensors, strict=True))}))
            return op(*again.args, **again.kwargs)

        return Planted.apply(*(given[name] for name in names), right=right, given=given, names=names, formulas=formulas)

    return wrong


class Planted(Function):
    """An op with wrong formulas: forward and backward are those of the op, but for what the formulas say."""

    def forward(self, *arrays, right, given, names, formulas):
        self.save(*arrays)
        self.right, self.names, self.formulas = right, names, formulas
        self.known = {name: value.data if isinstance(value, Tensor) else value for name, value in given.items()}
        with no_grad():
            self.known["y"] = right(*map(Tensor, arrays)).data
        return np.asarray(formulas["y"](SimpleNamespace(**self.known)) if "y" in formulas else self.known["y"])

    def backward(self, gy):
        recorded = is_grad_enabled()
        active = [k for k in range(len(self.names)) if self.needs_grad(k)]
        tensors = self.saved if recorded else [x.detach() for x in self.saved]
        with enable_grad():
            leaves = [tensors[k] if recorded else tensors[k].requires_grad_() for k in active]
            y = self.right(*tensors)
            found = autograd.grad(y, leaves, gy, create_graph=recorded, allow_unused=True)
        right = [x.detach() * 0.0 if g is None else g for x, g in zip(leaves, found, strict=True)]
        gradients = {f"g{self.names[k]}": g.data for k, g in zip(active, right, strict=True)}
        call = SimpleNamespace(**self.known, gy=gy.data, **gradients)
        returned: list[Tensor | None] = [None] * len(tensors)
        for k, g in zip(active, right, strict=True):
            formula = self.formulas.get(self.names[k])
            returned[k] = Tensor(np.asarray(formula(call), g.dtype), device=self.device) if formula else g
        return tuple(returned)
