"""Optimizer: parameters in groups, each with its own settings, and the state that a resumed run needs."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import device as devices
from ..errors import ArgumentError, CheckpointError, ShapeError
from ..tensor import Tensor

NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "eps")


def number(name: str, value: Any) -> None:
    """ArgumentError unless value is a number, and not NaN."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or math.isnan(value):
        raise ArgumentError(f"{name} must be a number, got {value!r}")


def _what(gradient: Any) -> str:
    if not isinstance(gradient, Tensor):
        return f"a {type(gradient).__name__}: it must be a Tensor"
    return f"of shape {gradient.shape}, {gradient.dtype}: they must be equal"


def _alike(p: Any, g: Any) -> bool:
    return g.shape == p.shape and g.dtype == p.dtype


class Optimizer:
    """Base of SGD and Adam. A subclass names its per-parameter arrays in `slots` and writes update().

    update gets the arrays of all parameters of a group that have a gradient, their gradients' and their states.

    params: Tensors, or groups such as {"params": [...], "lr": 0.01} that override the defaults.
    Raises ArgumentError if there are no parameters, or one appears twice.
    """

    slots: tuple[str, ...] = ()
    steady = True  # whether a step computes with the same numbers as the one before, if no setting has changed
    counters: tuple[str, ...] = ()  # those of the slots that are whole numbers, on the host

    def __init__(self, params: Iterable[Any], **defaults: Any):
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise ArgumentError(f"{type(self).__name__} takes a list of Tensors: pass model.parameters()")
        given = list(params)
        if any(isinstance(group, dict) and "params" not in group for group in given):
            raise ArgumentError(f'a group of {type(self).__name__} needs "params"')
        groups = given if given and all(isinstance(group, dict) for group in given) else [{"params": given}]
        self.param_groups: list[dict[str, Any]] = [
            {**defaults, **group, "params": list(group["params"])} for group in groups
        ]
        tensors = [p for group in self.param_groups for p in group["params"]]
        if not tensors:
            raise ArgumentError(f"{type(self).__name__} got no parameters: pass model.parameters()")
        if any(not isinstance(p, Tensor) for p in tensors):
            raise ArgumentError(f"{type(self).__name__} takes Tensors to optimise: pass model.parameters()")
        if len({id(p) for p in tensors}) < len(tensors):
            raise ArgumentError(f"{type(self).__name__} got a parameter twice: it would be updated twice a step")
        for group in self.param_groups:
            for name, value in group.items():
                number(f"{type(self).__name__}'s {name}", value) if name in NUMBERS else None
            if not 0 <= group["lr"] < math.inf:
                raise ArgumentError(f"a learning rate must be at least 0 and finite, got {group['lr']}")
            group["initial_lr"] = group["lr"]
        self.state: dict[int, dict[str, np.ndarray]] = {}  # position of the parameter -> its arrays
        self.steps = 0

    @property
    def lr(self) -> float:
        """The learning rate of the first group."""
        return self.param_groups[0]["lr"]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; they become None, whatever set_to_none says."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        self.steps += 1
        position = 0
        for group in self.param_groups:
            ready: dict[str, tuple[list, list, list]] = {}  # device -> parameters, gradients, states
            for p in group["params"]:
                gradient = p.grad
                if gradient is not None:
                    if not isinstance(gradient, Tensor) or not _alike(p.data, gradient.data):
                        raise ShapeError(
                            f"the gradient of a parameter of shape {p.shape}, {p.dtype} is {_what(gradient)}"
                        )
                    params, grads, states = ready.setdefault(p.device, ([], [], []))
                    params.append(p.data)
                    grads.append(gradient.data)
                    states.append(self.state.setdefault(position, {}))
                    p.version[0] += 1
                position += 1
            for device, (params, grads, states) in ready.items():
                with devices.computing(device):
                    self.update(params, grads, states, group)

    def update(self, params: list[Any], grads: list[Any], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that steps have built up, as named arrays: "steps", "lr.<group>", "<slot>.<parameter>"."""
        arrays = {"steps": np.array(self.steps, np.int64)}
        for number, group in enumerate(self.param_groups):
            arrays[f"lr.{number}"] = np.array(group["lr"], np.float64)
        for position, state in self.state.items():
            for slot, array in state.items():
                arrays[f"{slot}.{position}"] = np.array(devices.to_host(array))
        return arrays

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave. Raises CheckpointError, changing nothing, if it does not fit."""
        shapes = [p.shape for group in self.param_groups for p in group["params"]]
        where = [p.device for group in self.param_groups for p in group["params"]]
        loaded: dict[int, dict[str, np.ndarray]] = {}
        for name, value in state.items():
            slot, _, number = name.partition(".")
            if slot in self.slots and number.isdigit() and int(number) < len(shapes):
                array = np.array(value)
                if array.ndim and array.shape != shapes[int(number)]:
                    raise CheckpointError(
                        f"{name} of the optimizer's state has shape {array.shape}, its parameter {shapes[int(number)]}"
                    )
                if slot not in self.counters:
                    array = devices.move(array, where[int(number)])
                loaded.setdefault(int(number), {})[slot] = array
            elif name != "steps" and not (slot == "lr" and number.isdigit() and int(number) < len(self.param_groups)):
                raise CheckpointError(f"{type(self).__name__} has no {name}: the state is another optimizer's")
        if "steps" not in state:
            raise CheckpointError(f"the state of {type(self).__name__} has no steps: it is not an optimizer's")
        self.steps, self.state = int(state["steps"]), loaded
        for which, group in enumerate(self.param_groups):
            if f"lr.{which}" in state:
                group["lr"] = float(state[f"lr.{which}"])
