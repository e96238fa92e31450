"""How much memory a training step will need, from one that is walked through with shapes alone.

    live        ▁▂▃▄▅▆▇▇█▇▆▅▄▄▄▃          parameters, buffers and the batch are there all the time; activations pile up
    bytes       forward  backward         in forward; backward lets go of them, layer by layer, and leaves gradients

Nothing is computed (device.shapes_only), but every array is made, kept and let go of by the same code that trains: so
the moment at which most is alive is found, not assumed. A device whose book of kernels stores images in another layout
says what they take there, and what its kernels need while they run: kernels/cpu/footprint.py.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import device as devices
from ..autograd import Walk
from ..device import generator
from ..errors import ArgumentError
from ..function import Function, enable_grad, install, remove, set_recomputing
from ..table import format_bytes
from ..tensor import Tensor
from .module import Module


@dataclass
class TrainingMemory:
    """What is alive at the worst moment of forward and backward, in bytes.

    state_bytes: parameters and buffers. gradient_bytes: those of parameters that exist at that moment.
    activation_bytes: everything else: the batch (batch_bytes), what is kept for backward, what is soon forgotten, and
    what kernels need while they run.
    all_gradient_bytes: of all trainable parameters; an optimizer's state is a multiple of it (SGD with momentum: one
    time, Adam: twice), and comes on top of the rest.
    """

    batch: int
    batch_bytes: int
    state_bytes: int
    gradient_bytes: int
    activation_bytes: int
    all_gradient_bytes: int

    @property
    def peak_bytes(self) -> int:
        """All of it, without the state of an optimizer."""
        return self.state_bytes + self.gradient_bytes + self.activation_bytes

    def __str__(self) -> str:
        parts = {"parameters": self.state_bytes, "gradients": self.gradient_bytes, "activations": self.activation_bytes}
        listed = ", ".join(f"{name} {format_bytes(count)}" for name, count in parts.items())
        state = self.all_gradient_bytes
        return (
            f"training step, batch {self.batch}: about {format_bytes(self.peak_bytes)}: {listed}\n"
            f"an optimizer adds its state: momentum {format_bytes(state)}, Adam {format_bytes(2 * state)}"
        )


def training_memory(model: Module, input_shape: tuple[int, ...]) -> TrainingMemory:
    """What a training step on a batch of shape input_shape (N, ...) will need: zero_grad, forward, backward.

    The model stays as it is: gradients, statistics, hooks and the random stream. The loss counts as one array like the
    output of the network. Where the network computes two neighbours at once (Sequential), that is what is counted.
    Raises ArgumentError if no parameter is trainable, and what forward raises, such as ShapeError for a batch norm that
    gets one value a channel.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError(f"{type(model).__name__} has no trainable parameter, so there is no training step")
    state = [*model.parameters(), *model.buffers()]
    x = Tensor(np.zeros(input_shape, parameters[0].dtype), device=parameters[0].device)
    with devices.computing(devices.resolve_one(x.device)):
        footprint = getattr(devices.book(), "footprint", None)
    ledger = _Ledger([tensor.stored for tensor in (*state, x)], len(x), footprint)
    with undisturbed(model, training=True), enable_grad():
        install(ledger)
        try:
            outputs = [y for y in _tensors(model(x)) if y.requires_grad]
            cotangents = [Tensor(np.zeros(y.shape, y.dtype), device=y.device) for y in outputs]
            ledger.enter([gradient.stored for gradient in cotangents])
            walk = Walk(outputs, cotangents, None, retain=False, create_graph=False)
        finally:
            remove(ledger)
    reached = [ledger.made_at(gradient.stored) for _, gradient, _ in walk.leaf_gradients.values()]
    held = sum(nbytes for made, nbytes in reached if made <= ledger.peak_at)
    return TrainingMemory(
        batch=len(x),
        batch_bytes=x.nbytes,
        state_bytes=sum(tensor.nbytes for tensor in state),
        gradient_bytes=held,
        activation_bytes=ledger.peak - held + x.nbytes,
        all_gradient_bytes=sum(p.nbytes for p in parameters),
    )


@contextlib.contextmanager
def undisturbed(model: Module, training: bool | None = None) -> Iterator[None]:
    """Inside, the model runs on shapes alone, in training or not (None: as it is), and nothing of it changes: hooks are
    not called, statistics not tracked, no random numbers used up."""
    modules = list(model.modules())
    hooks = [(m, m._forward_pre_hooks, m._forward_hooks, m.training) for m in modules]
    calls = generator.calls
    try:
        for module in modules:
            module._forward_pre_hooks, module._forward_hooks = [], []
            module.training = module.training if training is None else training
        with devices.shapes_only(), set_recomputing(True):
            yield
    finally:
        generator.calls = calls
        for module, before, after, mode in hooks:
            module._forward_pre_hooks, module._forward_hooks, module.training = before, after, mode


@dataclass
class _Room:
    """Memory in which results of concat stand, each with all of the one before in it."""

    nbytes: int
    filled: int  # channels
    capacity: int
    tenants: int = 0


class _Ledger:
    """An op hook that knows at each moment how many bytes are alive of what ops have made or keep."""

    def __init__(self, there_anyway: Sequence[Any], batch: int, footprint: Any):
        self.batch, self.footprint = batch, footprint
        self.known: dict[int, weakref.ref] = {}  # id of an owner of memory -> the owner, while it is alive
        self.made: dict[int, int] = {}  # id of an owner -> the number of the op that made it
        self.rooms: dict[int, _Room] = {}  # id of an owner -> where it stands, if concat has made it
        self.live = self.peak = self.peak_at = self.time = 0
        for array in there_anyway:
            self._enter(array, 0)

    def enter(self, arrays: Sequence[Any]) -> None:
        """Count arrays that no op has made."""
        for array in arrays:
            self._enter(array, self._bytes(_owner(array)))

    def before(self, function: Function, inputs: Any) -> None:
        pass

    def after(self, function: Function, inputs: Any, outputs: Sequence[Tensor]) -> None:
        self.time += 1
        if function.name == "concat" and self._is_image(outputs[0].stored):
            self._join([x.stored for x in inputs], outputs[0].stored)
        kept = [array for array in function.kept_arrays() if not isinstance(array, np.generic)]  # numbers of reductions
        self.enter([*[y.stored for y in outputs], *kept])
        now = self.live + self._working(function, inputs, outputs)
        if now > self.peak:
            self.peak, self.peak_at = now, self.time

    def made_at(self, array: Any) -> tuple[int, int]:
        """(the number of the op that made an array, its bytes)."""
        owner = _owner(array)
        return self.made[id(owner)], owner.nbytes

    def _is_image(self, owner: Any) -> bool:
        """Whether the device may store it in a layout of its own. Images are what has as many of them as the batch."""
        return self.footprint is not None and owner.ndim == 4 and len(owner) == self.batch

    def _bytes(self, owner: Any) -> int:
        """What an array takes on the device."""
        return self.footprint.image_bytes(owner.shape, owner.dtype) if self._is_image(owner) else owner.nbytes

    def _join(self, parts: Sequence[Any], joined: Any) -> None:
        """Find a place for what concat has made: behind its first part, if there is room."""
        room = self.rooms.get(id(_owner(parts[0])))
        filled = None if room is None else (room.filled, room.capacity)
        channels = self.footprint.room_for([part.shape for part in parts], filled)
        if channels or room is None:
            shape = (len(joined), channels, *joined.shape[2:])
            room = _Room(self.footprint.image_bytes(shape, joined.dtype), joined.shape[1], channels)
            self.live += room.nbytes
        room.filled = joined.shape[1]
        room.tenants += 1
        self.rooms[id(joined)] = room
        self._enter(joined, 0)

    def _working(self, function: Function, inputs: Any, outputs: Sequence[Tensor]) -> int:
        """What the kernel of this op needs while it runs."""
        if self.footprint is None:
            return 0
        window = getattr(function, "window", None)
        shapes = _of_convolution(function.name, window, [None if x is None else x.shape for x in inputs], outputs)
        needed = self.footprint.scratch_bytes()
        if shapes is not None:
            groups = function.groups  # type: ignore[attr-defined]
            needed += self.footprint.convolution_bytes(function.name, *shapes, window, groups, outputs[0].dtype)
        return needed

    def _enter(self, array: Any, nbytes: int) -> None:
        owner = _owner(array)
        key = id(owner)
        if key in self.known:
            return

        def forget(dead: weakref.ref) -> None:
            del self.known[key]
            self.live -= nbytes
            room = self.rooms.pop(key, None)
            if room is not None:
                room.tenants -= 1
                self.live -= 0 if room.tenants else room.nbytes

        self.known[key] = weakref.ref(owner, forget)
        self.made[key] = self.time
        self.live += nbytes


def _of_convolution(name: str, window: Any, inputs: list[Any], outputs: Sequence[Tensor]) -> Any:
    """The shapes of images, weights and results of a convolution, if the op is one or a gradient of one."""
    if name == "conv_transpose2d":
        return outputs[0].shape, inputs[1], inputs[0]
    if name == "conv2d_weight":
        return inputs[0], outputs[0].shape, inputs[1]
    if name not in ("conv2d", "conv2d_act", "conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_gradient"):
        return None
    x, w = (inputs[1], inputs[2] or outputs[0].shape) if name.endswith("gradient") else inputs[:2]
    return x, w, (x[0], w[0], *window.output_size(x[2:]))


def _owner(array: Any) -> Any:
    """The array whose memory this one is a view of; itself if it has memory of its own."""
    owner, base = array, array.base
    while base is not None:
        if hasattr(base, "nbytes") and not isinstance(base, memoryview):
            owner = base
        base = getattr(base, "base", None)
    return owner


def _tensors(result: Any) -> list[Tensor]:
    """All tensors that a network has returned, be it one, a tuple or list, or a dictionary of them."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    return [y for part in result for y in _tensors(part)] if isinstance(result, list | tuple) else []
