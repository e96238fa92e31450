"""A training step as a CUDA graph: recorded once, then replayed as one launch.

A small network's step is some fifty kernels of a few microseconds each, and what costs is launching them from Python. A
graph holds them all, with their arguments: where the images lie, the parameters, the gradients. So nothing may move:

    pinned ──copy stream──> staging ──> x, labels ──[ zero_grad, forward, loss, backward, update ]──> loss, hits
    the next batch is on its way                     recorded once, replayed; memory is a pool of its own, which
    while this step computes                         nobody else touches

Numbers that change from step to step, such as the learning rate or how often dropout has drawn, lie on the device, and
are written there before a replay (kernels/cuda/recording.py).

What cannot be recorded is computed step by step as without capture; `Capture.why_not` and a line on stderr say why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import device as devices
from .. import kernels
from ..device import generator
from ..errors import MinicnnError
from ..kernels.cuda.recording import Recording
from ..nn import Module
from ..ops.loss import CheckedLabels
from ..optim import Optimizer
from ..tensor import Tensor

Batch = tuple[np.ndarray, np.ndarray]  # images, labels
WARM_UP = 2  # steps before recording: they compile kernels, and make what an optimizer remembers


class Capture:
    """Steps of one model and optimizer on a GPU, as graphs: one for each shape of a batch and setting of the optimizer.

    update(x, labels) -> (loss, logits) is the whole step: it must not look at a number on the way.
    """

    def __init__(self, model: Module, optimizer: Optimizer, update: Callable[..., tuple[Tensor, Tensor]], device: str):
        self.model, self.optimizer, self.update, self.device = model, optimizer, update, device
        self.graphs: dict[Any, _Graph] = {}
        self.steps: dict[Any, int] = {}  # by shape: how many have been computed without a graph
        self.why_not = ""
        if devices.DEVICES[device].memory == "host":
            self._give_up(f"device {device} has no graphs of kernels: it is for cuda")

    def step(self, x: np.ndarray, labels: np.ndarray, following: Batch | None = None) -> tuple[float, int] | None:
        """The loss and the number of right answers of one step; None if the caller must compute it step by step.

        following: the batch of the next step, which is copied onto the device meanwhile.
        """
        shape = x.shape, x.dtype, labels.shape
        if self.why_not or self.steps.setdefault(shape, 0) < WARM_UP:
            self.steps[shape] = self.steps.get(shape, 0) + 1
            return None
        key = (*shape, tuple(module.training for module in self.model.modules()))
        graph = self.graphs.get(key)
        if graph is not None and not graph.is_current():  # a parameter was given another array since
            graph = None
        if graph is None:
            graph = self._recorded(x, labels)
            if graph is None:
                return None
            self.graphs = {key: graph for key, graph in self.graphs.items() if graph.is_current()} | {key: graph}
        if labels.size and not 0 <= labels.min() <= labels.max() < graph.classes:
            return None  # which tells what is wrong with them
        return graph.replay((x, labels), following)

    def _recorded(self, x: np.ndarray, labels: np.ndarray) -> _Graph | None:
        try:
            return _Graph(self, x, labels)
        except (MinicnnError, NotImplementedError, RuntimeError, TypeError) as error:
            self._give_up(str(error))
            return None

    def _give_up(self, why: str) -> None:
        self.why_not = why
        print(f"minicnn: steps are computed one kernel at a time, not as a graph: {why}", file=sys.stderr)


class _Graph:
    """One recorded step, and the arrays that it reads and writes."""

    def __init__(self, capture: Capture, x: np.ndarray, labels: np.ndarray):
        self.capture, self.optimizer = capture, capture.optimizer
        self.xp = xp = devices.array_library(capture.device)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.arrays = [p.data for p in self.parameters]
        self.stream = xp.cuda.Stream()
        self.x, self.labels = xp.asarray(x), xp.asarray(labels.astype(np.int64))
        self.staging = _Staging(xp, x, self.labels)
        self.numbers, self.written = Recording(capture.device), ""
        self.pool = xp.cuda.MemoryPool()
        self.first_call, before = generator.calls, _counted(self.optimizer)
        try:
            with xp.cuda.using_allocator(self.pool.malloc), self.stream, self.numbers.recorded():
                self.stream.begin_capture()
                try:
                    self.loss, self.hits, self.classes = self._record()
                finally:
                    self.graph = self.stream.end_capture()
            self.calls = generator.calls - self.first_call
            self.gradients = [p.grad for p in self.parameters]
        finally:  # nothing has been computed yet
            generator.calls = self.first_call
            self.optimizer.steps, counts = before
            for state, count in zip(self.optimizer.state.values(), counts, strict=True):
                state.update(count)

    def _record(self) -> tuple[Any, Any, int]:
        device = self.capture.device
        loss, logits = self.capture.update(Tensor._made(self.x, device), CheckedLabels(self.labels))
        with devices.computing(device):
            right = kernels.compare(kernels.argmax(logits.data, 1), self.labels, "equal")
            hits = kernels.sum(kernels.cast(right, np.dtype(np.float32)), (0,), False)
        return loss.data, hits, logits.shape[1]

    def is_current(self) -> bool:
        """Whether the parameters are where they were."""
        return all(p.data is array for p, array in zip(self.parameters, self.arrays, strict=True))

    def replay(self, batch: Batch, following: Batch | None) -> tuple[float, int]:
        self.staging.fetch(batch)
        with self.stream:
            self.staging.deliver(self.stream, self.x, self.labels)
            self._renew()
            self.graph.launch(self.stream)
            if following is not None and following[0].shape == batch[0].shape:
                self.staging.fetch(following)
            loss, hits = self.loss.get(), self.hits.get()
        return float(loss), int(hits)

    def _renew(self) -> None:
        """Write what this step computes with, unless it is what the last one did."""
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
        settings = repr([[v for k, v in group.items() if k != "params"] for group in self.optimizer.param_groups])
        if self.optimizer.steady and not self.calls and settings == self.written:
            self.optimizer.steps += 1
            return
        with devices.computing(self.capture.device), self.numbers.renewed(generator.calls - self.first_call):
            self.optimizer.step()
        self.numbers.write(self.stream)
        self.written = settings
        generator.calls += self.calls


def _counted(optimizer: Optimizer) -> tuple[int, list[dict[str, Any]]]:
    """How often an optimizer has stepped: what is no array of the device."""
    counts = [{slot: state[slot] for slot in optimizer.counters if slot in state} for state in optimizer.state.values()]
    return optimizer.steps, counts


class _Staging:
    """The way of a batch onto the device: through pinned memory, on a stream of its own."""

    def __init__(self, xp: Any, x: np.ndarray, labels: Any):
        self.stream = xp.cuda.Stream(non_blocking=True)
        self.pinned = [_pinned(xp, array) for array in (x, labels)]
        self.on_device = [xp.empty(array.shape, array.dtype) for array in (x, labels)]
        self.arrived, self.free = xp.cuda.Event(), xp.cuda.Event()
        self.fetched: np.ndarray | None = None  # the images on their way

    def fetch(self, batch: Batch) -> None:
        """Begin to copy a batch, unless it is on its way already."""
        if self.fetched is batch[0]:
            return
        self.fetched = batch[0]
        self.stream.synchronize()  # the last one has left pinned memory
        self.stream.wait_event(self.free)
        for pinned, array, target in zip(self.pinned, batch, self.on_device, strict=True):
            pinned[...] = array
            target.set(pinned, stream=self.stream)
        self.arrived.record(self.stream)

    def deliver(self, stream: Any, x: Any, labels: Any) -> None:
        """Put it, once it has arrived, where the graph reads."""
        stream.wait_event(self.arrived)
        for target, source in zip((x, labels), self.on_device, strict=True):
            target[...] = source
        self.fetched = None
        self.free.record(stream)


def _pinned(xp: Any, array: Any) -> np.ndarray:
    """Host memory that a GPU can read by itself, for an array like this."""
    memory = xp.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
