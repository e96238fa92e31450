"""A PyTorch network that does what a network of this project does: the same ops in the same order, the same weights.

One forward pass of ours is watched, and each op (Function) that it records becomes an instruction with PyTorch's
function for it: a line program instead of a module tree, so no network needs a translation of its own. A fused op is
written as the functions it stands for, as PyTorch's users would: F.batch_norm, then +, then relu in place. An array
that no later instruction reads is forgotten at once, as in a forward written by hand.

What the two sides compute is compared before anything is timed (train_step.py), so a wrong row shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minicnn import Tensor, nn
from minicnn import device as devices
from tests.benchmarks.calls import Call, watched

# --- PyTorch's function for each op -----------------------------------------------------------------------------------
# A row makes from the attributes (and the call) a function of the inputs.

Made = Callable[..., torch.Tensor]


def _window(window: Any, x: Tensor) -> tuple[dict[str, Any], tuple[int, ...] | None]:
    """Stride, padding and dilation, and what F.pad must add first where two opposite sides differ."""
    (top, bottom), (left, right) = window.pad
    options = {"stride": window.stride, "dilation": window.dilation, "padding": (top, left)}
    if (top, left) == (bottom, right):
        return options, None
    return {**options, "padding": 0}, (left, right, top, bottom)


def _clipped(y: torch.Tensor, cap: float | None) -> torch.Tensor:
    """The activation of a fused op, in place: y is nobody else's."""
    if cap is None:
        return y
    return F.relu_(y) if cap == math.inf else F.hardtanh_(y, 0.0, cap)


def conv2d(call: Call, window: Any, groups: int, cap: float | None = None) -> Made:
    options, padding = _window(window, call.inputs[0])

    def run(x, w, b):
        x = x if padding is None else F.pad(x, padding)
        return _clipped(F.conv2d(x, w, b, groups=groups, **options), cap)

    return run


def max_pool2d(call: Call, window: Any, return_indices: bool = False) -> Made:
    (top, bottom), (left, right) = window.pad
    if (top, left) != (bottom, right):
        options, padding = {"stride": window.stride, "dilation": window.dilation}, (left, right, top, bottom)
        return lambda x: F.max_pool2d(F.pad(x, padding, value=-math.inf), window.kernel, **options)
    return lambda x: F.max_pool2d(x, window.kernel, window.stride, (top, left), window.dilation, window.ceil_mode)


def conv2d_relu_max_pool2d(call: Call, window: Any, groups: int, pool: Any, flat: bool) -> Made:
    convolved, pooled = conv2d(call, window, groups, math.inf), max_pool2d(call, pool)

    def run(x, w, b):
        y = pooled(convolved(x, w, b))
        return y.flatten(1) if flat else y

    return run


def batch_norm(call: Call, eps: float, cap: float | None, running: Any) -> Made:
    momentum = running[2] if running is not None else 0.0
    statistics = [torch.from_numpy(array.copy()) for array in running[:2]] if running is not None else [None, None]

    def run(x, w, b, residual):
        if statistics[0] is not None and (statistics[0].device != x.device or x.dtype == torch.float64):
            statistics[:] = [s.to(x.device, torch.promote_types(s.dtype, x.dtype)) for s in statistics]
        y = F.batch_norm(x, *statistics, w, b, True, momentum, eps)
        return _clipped(y if residual is None else y + residual, cap)

    return run


def fixed_norm(call: Call, statistics: Any, eps: float, cap: float | None) -> Made:
    mean, var = (torch.from_numpy(np.array(array)) for array in statistics)

    def run(x, w, b, residual):
        y = F.batch_norm(x, mean.to(x.dtype), var.to(x.dtype), w, b, False, 0.0, eps)
        return _clipped(y if residual is None else y + residual, cap)

    return run


def avg_pool2d(call: Call, window: Any, count_include_pad: bool) -> Made:
    padding = window.pad[0][0], window.pad[1][0]
    return lambda x: F.avg_pool2d(x, window.kernel, window.stride, padding, window.ceil_mode, count_include_pad)


def local_response_norm(call: Call, form: Any) -> Made:
    size = form.before + form.after + 1
    return lambda x: F.local_response_norm(x, size, form.alpha * size, form.beta, form.k)


def add_at(call: Call, index: Any, shape: Any) -> Made:
    places = tuple(torch.from_numpy(np.asarray(part)) for part in index)
    return lambda v: v.new_zeros(shape).index_put(tuple(p.to(v.device) for p in places), v)


def linear(call: Call, relu: bool = False) -> Made:
    return lambda x, w, b: _clipped(F.linear(x, w, b), math.inf if relu else None)


def getitem(call: Call, index: Any) -> Made:
    return lambda x: x[index]


def pad(call: Call, widths: Any, value: float) -> Made:
    amounts = [amount for pair in reversed(widths) for amount in pair]  # PyTorch begins with the last axis
    return lambda x: F.pad(x, amounts, value=value)


ROWS: dict[str, Callable[..., Made]] = {
    "Conv2d": conv2d,
    "Conv2dAct": conv2d,
    "Conv2dReLUMaxPool2d": conv2d_relu_max_pool2d,
    "Linear": linear,
    "MaxPool2d": max_pool2d,
    "ReLUMaxPool2d": lambda call, window: lambda x: max_pool2d(call, window)(F.relu(x)),
    "AvgPool2d": avg_pool2d,
    "AdaptiveAvgPool2d": lambda call, size: lambda x: F.adaptive_avg_pool2d(x, size),
    "BatchNorm": batch_norm,
    "FixedNorm": fixed_norm,
    "LocalResponseNorm": local_response_norm,
    "ReLU": lambda call: F.relu,
    "ReLU6": lambda call: F.relu6,
    "SiLU": lambda call: F.silu,
    "Sigmoid": lambda call: torch.sigmoid,
    "HardSigmoid": lambda call: F.hardsigmoid,
    "HardSwish": lambda call: F.hardswish,
    "ScaledTanh": lambda call: lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "Add": lambda call: torch.add,
    "Sub": lambda call: torch.sub,
    "Mul": lambda call: torch.mul,
    "Neg": lambda call: torch.neg,
    "Sum": lambda call, axes, keepdims: lambda x: x.sum(axes, keepdim=keepdims),
    "Mean": lambda call, axes, keepdims: lambda x: x.mean(axes, keepdim=keepdims),
    "Concat": lambda call, axis: lambda *parts: torch.cat(parts, axis),
    "Reshape": lambda call, shape: lambda x: x.reshape(shape),
    "AddAt": add_at,
    "GetItem": getitem,
    "Pad": pad,
}


# --- the program ------------------------------------------------------------------------------------------------------


class Program(torch.nn.Module):
    """Instructions (function, slots it reads, slot it writes, slots nobody reads afterwards)."""

    def __init__(self, model: nn.Module, x: Tensor, output: Any, calls: list[Call]):
        super().__init__()
        self.weights = torch.nn.ParameterList(torch.from_numpy(np.array(p.numpy())) for p in model.parameters())
        self.weight_slots = {id(p): n for n, p in enumerate(model.parameters())}
        self.slots = {**self.weight_slots, id(x): len(self.weight_slots)}
        self.constants: dict[int, torch.Tensor] = {}
        self.steps: list[tuple[Made, list[int | None], int, list[int]]] = []
        for call in calls:
            if call.op not in ROWS:
                raise SystemExit(f"translate.py does not know {call.op} yet: add a row to ROWS")
            reads = [None if t is None else self._slot(t) for t in call.inputs]
            self.steps.append(
                (ROWS[call.op](call, **call.attributes), reads, self._slot(call.outputs[0], new=True), [])
            )
        self.result = self._slot(output)
        last = {slot: n for n, (_, reads, _, _) in enumerate(self.steps) for slot in reads if slot is not None}
        for slot, n in last.items():
            if slot != self.result and slot >= len(self.weight_slots) and slot not in self.constants:
                self.steps[n][3].append(slot)

    def _slot(self, tensor: Tensor, new: bool = False) -> int:
        if id(tensor) not in self.slots:
            self.slots[id(tensor)] = len(self.slots)
            if not new:  # made by nothing that was watched
                self.constants[self.slots[id(tensor)]] = torch.from_numpy(np.array(tensor.numpy()))
        return self.slots[id(tensor)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: dict[int | None, Any] = dict(enumerate(self.weights))
        values |= {None: None, len(self.weight_slots): x}
        values |= {slot: constant.to(x.device) for slot, constant in self.constants.items()}
        for function, reads, writes, forgotten in self.steps:
            values[writes] = function(*[values[slot] for slot in reads])
            for slot in forgotten:
                del values[slot]
        return values[self.result]


def to_torch(model: nn.Module, x: np.ndarray, training: bool = True) -> Program:
    """The whole network, for inputs of the shape of x, in training or evaluation; parameters come in the same order."""
    tensor = Tensor(x)
    with devices.shapes_only(), watched() as calls:  # which op runs with what follows from shapes alone
        output = model.train(training)(tensor)
    return Program(model, tensor, output, calls)
