"""A model as a table: what each layer makes, how much it holds, computes, and keeps in memory for backward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import device as devices
from ..errors import ArgumentError, ShapeError
from ..function import Function, enable_grad, install, no_grad, remove
from ..table import format_bytes, format_table
from ..tensor import Tensor
from .memory import TrainingMemory, training_memory, undisturbed
from .module import Module


@dataclass
class Row:
    """One layer. params: those that no layer before it has; activation_bytes: arrays it keeps from forward until
    backward, each counted once."""

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    params: int = 0
    macs: int = 0
    activation_bytes: int = 0
    depth: int = 0


@dataclass
class Summary:
    """The rows in the order of the modules, and their sums."""

    model: str
    input_shape: tuple[int, ...]
    rows: list[Row]
    trainable_params: int
    walk: Callable[[], TrainingMemory]

    @functools.cached_property
    def training(self) -> TrainingMemory:
        """What a training step on such a batch needs at most; found when first asked for. Errors as training_memory."""
        return self.walk()

    @property
    def params(self) -> int:
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    def __str__(self) -> str:
        head = ["layer", "", "output shape", "parameters", "multiply-adds", "activations"]
        body = [
            [
                "  " * row.depth + (row.name.rpartition(".")[2] or self.model),
                row.kind,
                " × ".join(map(str, row.output_shape)),
                f"{row.params:,}" if row.params else "",
                f"{row.macs:,}" if row.macs else "",
                format_bytes(row.activation_bytes) if row.activation_bytes else "",
            ]
            for row in self.rows
        ]
        total = ["total", "", "", f"{self.params:,}", f"{self.macs:,}", format_bytes(self.activation_bytes)]
        shape = " × ".join(map(str, self.input_shape))
        frozen = self.params - self.trainable_params
        foot = f"input {shape}; {self.trainable_params:,} trainable parameters"
        foot += f", {frozen:,} frozen" if frozen else ""
        return format_table(head, body, "<<<>>>", total) + "\n" + foot + "\n" + self._training_step()

    def _training_step(self) -> str:
        try:
            return str(self.training)
        except (ArgumentError, ShapeError) as error:  # all is frozen, or a batch norm gets one value a channel
            return f"training step, batch {self.input_shape[0]}: impossible, since {error}"


class _Meter:
    """Watches one forward pass: credits each op's work to the innermost module that is running."""

    def __init__(self, model: Module):
        counted: set[int] = set()  # parameters that several modules share belong to the first
        self.rows = {id(m): _row(name, m, counted) for name, m in model.named_modules()}
        self.running: list[Module] = []
        self.seen = {id(p.data) for p in model.parameters()}  # arrays that are there anyway
        self.alive: list[np.ndarray] = []  # keeps ids from being used again

    def enter(self, module: Module, inputs: Any) -> None:
        self.running.append(module)

    def leave(self, module: Module, inputs: Any, output: Any) -> None:
        self.running.pop()
        row = self.rows[id(module)]
        if isinstance(output, Tensor):
            row.output_shape = output.shape
            if hasattr(module, "count_macs"):  # a module whose ops do more than its definition asks for
                row.macs = module.count_macs(output.shape)

    def before(self, function: Function, inputs: Any) -> None:
        pass

    def after(self, function: Function, inputs: Any, outputs: Any) -> None:
        row = self.rows[id(self.running[-1])]
        row.macs += function.macs
        recorded = any(y.grad_fn is function for y in outputs)  # else it keeps nothing
        for array in function.kept_arrays() if recorded else ():
            owner = array.base if isinstance(array.base, np.ndarray) else array
            if id(owner) not in self.seen:
                self.seen.add(id(owner))
                self.alive.append(owner)
                row.activation_bytes += owner.nbytes


def _row(name: str, module: Module, counted: set[int]) -> Row:
    own = {id(p): p.size for p in module._parameters.values() if id(p) not in counted}
    counted.update(own)
    kind = module.describe() if not module._modules else type(module).__name__
    return Row(name, kind, params=sum(own.values()), depth=name.count(".") + 1 if name else 0)


def summarize(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """Run the model once on zeros, in evaluation mode but recording, and read off every layer.

    Nothing is computed but shapes, so that the largest networks take a fraction of a second (device.shapes_only). Each
    layer is run by itself; where Sequential computes two neighbours together, less is kept than the table says. Its
    last line, the memory of a training step, knows that: it is from a step walked through as it will run (memory.py).

    Raises ShapeError if input_shape is not (C, H, W), (N, C, H, W) or another shape the model takes.
    """
    shape = tuple(input_shape)
    if not shape or min(shape) < 1:
        raise ShapeError(f"summary needs the shape of an input, such as (1, 32, 32), got {shape}")
    shape = (1, *shape) if len(shape) == 3 else shape
    first = next(model.parameters(), None)
    dtype, device = (np.float32, None) if first is None else (first.dtype, first.device)
    meter = _Meter(model)
    handles = [h for m in model.modules() for h in (
        m.register_forward_pre_hook(meter.enter), m.register_forward_hook(meter.leave))]  # fmt: skip
    modes = [(module, module.training) for module in model.modules()]
    install(meter)
    try:
        model.eval()
        with devices.shapes_only(), enable_grad():
            model(Tensor(np.zeros(shape, dtype), device=device))
    finally:
        remove(meter)
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    trainable = sum(p.size for p in model.parameters() if p.requires_grad)
    walk = functools.partial(training_memory, model, shape)
    return Summary(type(model).__name__, shape, list(meter.rows.values()), trainable, walk)


def trace_shapes(model: Module, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """{path: shape of the output} of every module that runs on (N, C, H, W) and gives a Tensor, in the order in which
    they begin; of others, (). Only shapes are computed, in the mode the model is in, and nothing of it changes: hooks
    are not called, statistics not tracked, no random numbers used up.

    Raises what forward raises, such as ShapeError for an image that is too small.
    """
    found: dict[str, tuple[int, ...]] = {}
    first = next(model.parameters(), None)
    dtype, device = (np.float32, None) if first is None else (first.dtype, first.device)
    x = Tensor(np.zeros(input_shape, dtype), device=device)
    with undisturbed(model), no_grad():
        for path, module in model.named_modules():
            module._forward_pre_hooks = [_begins(found, path)]
            module._forward_hooks = [_ends(found, path)]
        Module.__call__(model, x)  # a network's own __call__ would explain an error by tracing shapes
    return found


def _begins(found: dict[str, tuple[int, ...]], path: str) -> Any:
    return lambda module, inputs: found.setdefault(path, ()) and None


def _ends(found: dict[str, tuple[int, ...]], path: str) -> Any:
    def hook(module: Module, inputs: Any, output: Any) -> None:
        found[path] = output.shape if isinstance(output, Tensor) else ()

    return hook


Module.summary = summarize  # attached here, since a summary runs a module: module.py stays below
