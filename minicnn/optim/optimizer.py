"""Optimizer: parameters in groups, each with its own settings, and the state that a resumed run needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import device as devices
from ..errors import ArgumentError, CheckpointError
from ..tensor import Tensor


class Optimizer:
    """Base of SGD and Adam. A subclass names its per-parameter arrays in `slots` and writes update().

    params: Tensors, or groups such as {"params": [...], "lr": 0.01} that override the defaults.
    Raises ArgumentError if there are no parameters, or one appears twice.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], **defaults: Any):
        given = list(params)
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
            if not group["lr"] >= 0:
                raise ArgumentError(f"a learning rate must be at least 0, got {group['lr']}")
            group["initial_lr"] = group["lr"]
        self.state: dict[int, dict[str, np.ndarray]] = {}  # position of the parameter -> its arrays
        self.steps = 0

    @property
    def lr(self) -> float:
        """The learning rate of the first group."""
        return self.param_groups[0]["lr"]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        self.steps += 1
        position = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state.setdefault(position, {})
                    with devices.computing(p.device):
                        self.update(p.data, p.grad.data, state, group)
                    p.version[0] += 1
                position += 1

    def update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that steps have built up, as named arrays: "steps", "lr.<group>", "<slot>.<parameter>"."""
        arrays = {"steps": np.array(self.steps, np.int64)}
        for number, group in enumerate(self.param_groups):
            arrays[f"lr.{number}"] = np.array(group["lr"], np.float64)
        for position, state in self.state.items():
            for slot, array in state.items():
                arrays[f"{slot}.{position}"] = np.array(array)
        return arrays

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave. Raises CheckpointError, changing nothing, if it does not fit."""
        shapes = [p.shape for group in self.param_groups for p in group["params"]]
        loaded: dict[int, dict[str, np.ndarray]] = {}
        for name, value in state.items():
            slot, _, number = name.partition(".")
            if slot in self.slots and number.isdigit() and int(number) < len(shapes):
                array = np.array(value)
                if array.ndim and array.shape != shapes[int(number)]:
                    raise CheckpointError(
                        f"{name} of the optimizer's state has shape {array.shape}, its parameter {shapes[int(number)]}"
                    )
                loaded.setdefault(int(number), {})[slot] = array
            elif name != "steps" and not (slot == "lr" and number.isdigit() and int(number) < len(self.param_groups)):
                raise CheckpointError(f"{type(self).__name__} has no {name}: the state is another optimizer's")
        if "steps" not in state:
            raise CheckpointError(f"the state of {type(self).__name__} has no steps: it is not an optimizer's")
        self.steps, self.state = int(state["steps"]), loaded
        for which, group in enumerate(self.param_groups):
            if f"lr.{which}" in state:
                group["lr"] = float(state[f"lr.{which}"])
