"""The two sides of a comparison: a training step of this engine, and the same step in PyTorch.

PyTorch's network does the same ops in the same order with the same weights (translate.py). It runs in its fastest
honest form: the faster of NCHW and channels-last, the fastest of SGD's three implementations (one loop, foreach,
fused), zero_grad(set_to_none=True), and with compiled=True through torch.compile. Dropout and stochastic depth are off
on both sides; auxiliary heads are left out.

Settings: model, batch, size (of the image, None for its own), threads, device, precision; on PyTorch's side also
layout and optimizer (None: whatever is fastest here) and compiled.
"""

from __future__ import annotations

import contextlib
import gc
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.benchmarks.turns import forget_peak, median_ms, resident_mb

BATCH = {
    "lenet5": 64, "lenet5_1998": 64, "alexnet_2012": 16, "vgg16": 2, "googlenet_2014": 8, "resnet20_cifar": 64,
    "resnet18": 8, "resnet50": 4, "densenet121": 4, "mobilenet_v2": 8, "efficientnet_b0": 8,
}  # fmt: skip
SIDES = {"ours": "tests.benchmarks.sides:Ours", "theirs": "tests.benchmarks.sides:Theirs"}
LR, MOMENTUM = 1e-3, 0.9
LAYOUTS = ("NCHW", "channels-last")
OPTIMIZERS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def settings_of(model: str, batch: int | None = None, threads: int = 0, size: int | None = None) -> dict[str, Any]:
    """What a side on the CPU is made of, with everything as usual that is not given."""
    return {"model": model, "batch": batch or BATCH.get(model, 8), "size": size, "threads": threads, "device": "cpu",
            "precision": "float32", "layout": None, "optimizer": None}  # fmt: skip


def network(name: str) -> Any:
    """The network as both sides train it, with the same weights every time."""
    import minicnn
    import models
    from minicnn import nn

    minicnn.manual_seed(0)
    with contextlib.suppress(minicnn.MinicnnError):
        return _without_noise(models.create_model(name, aux_logits=False), nn)
    minicnn.manual_seed(0)
    return _without_noise(models.create_model(name), nn)


def _without_noise(model: Any, nn: Any) -> Any:
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d | nn.StochasticDepth):
            module.p = 0.0
    return model


def image_shape(name: str, size: int | None = None) -> tuple[int, ...]:
    """(C, H, W) of the images of a network, as published or of another size."""
    import models

    shape = models.input_shape(name)
    return shape if size is None else (shape[0], size, size)


def data(name: str, batch: int, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's own images for LeNet; for others, numbers as normalised photographs have: no benchmark on zeros."""
    from minicnn.data import MNIST

    if name.startswith("lenet"):
        return MNIST.test()[:batch].batch(np.arange(batch))
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *image_shape(name, size)), np.float32)
    return x, random.integers(0, 10, batch)


class Side:
    """What both sides share: step() and the measurement of it."""

    settings: Any
    facts: dict[str, Any]

    def step(self) -> None:
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait for the GPU, if there is one."""

    def time(self, steps: int) -> dict[str, float]:
        """Milliseconds of a step: on the CPU the median of `steps`, on a GPU their mean between two
        synchronisations."""
        if self.settings.device == "cuda":
            self.synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                self.step()
            self.synchronize()
            return {"ms": 1e3 * (time.perf_counter() - start) / steps}
        return {"ms": median_ms(self.step, steps)}

    def peak(self, steps: int = 3) -> dict[str, float]:
        """Physical memory in MB before the first step, and at most during the first ones. For a fresh process."""
        small = vars(self.settings) | {"model": "lenet5", "batch": 1, "size": None}
        type(self)(SimpleNamespace(**small)).step()  # libraries, compilers and threads are there from now on
        gc.collect()
        before = resident_mb()
        forget_peak()
        for _ in range(steps):
            self.step()
        return {"before_mb": before, "peak_mb": resident_mb(peak=True)}

    def warm_up(self) -> None:
        """Compiles what is compiled, and fills caches."""
        median_ms(self.step, 5, limit=2.0)


class Ours(Side):
    """One training step of this engine."""

    def __init__(self, settings: Any):
        import minicnn
        from minicnn import nn, optim

        minicnn.use(settings.device)
        if settings.threads:
            minicnn.set_num_threads(settings.threads)
        self.settings, self.minicnn = settings, minicnn
        self.network = network(settings.model).train()
        self.x, self.labels = data(settings.model, settings.batch, settings.size)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(self.network.parameters(), lr=LR, momentum=MOMENTUM)
        self.captured = None
        if settings.device != "cpu":
            from minicnn import device

            self.cupy = device.array_library(settings.device)
            if settings.precision == "tf32":
                minicnn.amp.use_tf32(True, products=True)
        self.facts = {"threads": minicnn.get_num_threads()}

    def gradients(self, file: str) -> None:
        """Loss and gradients in float64, into a file."""
        self.network.to("float64")
        loss = self.update(self.minicnn.Tensor(self.x.astype(np.float64)), self.labels, step=False)[0]
        np.savez(file, loss.item(), *[p.grad.to("cpu").numpy() for p in self.network.parameters()])

    def update(self, x: Any, labels: Any, step: bool = True) -> tuple[Any, Any]:
        self.optimizer.zero_grad()
        low = self.settings.precision in ("float16", "bfloat16")
        with self.minicnn.autocast(self.settings.precision) if low else contextlib.nullcontext():
            logits = self.network(x)
            loss = self.loss(logits, labels)
        loss.backward()
        if step:
            self.optimizer.step()
        return loss, logits

    def step(self) -> None:
        if self.captured is None or self.captured.step(self.x, self.labels, (self.x, self.labels)) is None:
            self.update(self.minicnn.Tensor(self.x), self.labels)

    def capture(self) -> None:
        """From now on replay the step as a CUDA graph."""
        from minicnn.train.capture import Capture

        self.captured = Capture(self.network, self.optimizer, self.update, self.settings.device)

    def synchronize(self) -> None:
        self.cupy.cuda.runtime.deviceSynchronize()


class Theirs(Side):
    """The same step in PyTorch."""

    def __init__(self, settings: Any):
        import torch

        from tests.benchmarks.translate import to_torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.precision == "tf32"
        self.settings, self.torch = settings, torch
        x, labels = data(settings.model, settings.batch, settings.size)
        device = "cuda" if settings.device == "cuda" else "cpu"
        self.network = self.program = to_torch(network(settings.model), x).to(device)
        self.plain, self.labels = torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)
        self.graph: Any = None
        self.facts = {"threads": torch.get_num_threads()}
        self._arrange(settings.layout or "NCHW")
        self._optimize_with(settings.optimizer or "plain")

    def _arrange(self, layout: str) -> None:
        formats = {"NCHW": self.torch.contiguous_format, "channels-last": self.torch.channels_last}
        self.program.to(memory_format=formats[layout])
        self.x = self.plain.to(memory_format=formats[layout])
        self.facts["layout"] = layout

    def _optimize_with(self, implementation: str) -> None:
        self.optimizer = self.torch.optim.SGD(
            self.program.parameters(), lr=LR, momentum=MOMENTUM, **OPTIMIZERS[implementation]
        )
        self.facts["optimizer"] = implementation

    def choose(self) -> dict[str, Any]:
        """The fastest layout and optimizer, by some steps of each; then the weights are what they were."""
        before = {name: value.clone() for name, value in self.program.state_dict().items()}

        def finish(work: Any) -> None:
            work()
            if self.settings.device == "cuda":
                self.synchronize()

        def fastest(options: Any, set_to: Any, work: Any) -> None:
            times = {}
            for option in options:
                set_to(option)
                median_ms(lambda: finish(self.step), 3, limit=1.0)
                times[option] = median_ms(lambda: finish(work), 7, limit=3.0)
            set_to(min(times, key=times.__getitem__))

        def change_weights() -> None:
            self.optimizer.step()

        if not self.settings.layout:
            fastest(LAYOUTS, self._arrange, self.step)
        if not self.settings.optimizer:
            fastest(OPTIMIZERS, self._optimize_with, change_weights)
        self.program.load_state_dict(before)
        self._optimize_with(self.facts["optimizer"])
        return self.facts

    def compile(self) -> dict[str, Any]:
        """From now on run what torch.compile makes of the network. Where it fails, the reason is in "failed"."""
        start = time.perf_counter()
        try:
            self.network = self.torch.compile(self.program)
            self.step()
        except Exception as error:  # of whatever kind: it is no error of this benchmark
            self.network = self.program
            return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        return {"compile_s": time.perf_counter() - start}

    def loss(self) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        low = {"float16": self.torch.float16, "bfloat16": self.torch.bfloat16}.get(self.settings.precision)
        with self.torch.autocast(self.x.device.type, low) if low else contextlib.nullcontext():
            loss = self.torch.nn.functional.cross_entropy(self.network(self.x), self.labels)
        loss.backward()
        return loss

    def gradients(self, file: str) -> None:
        """Loss and gradients in float64, into a file."""
        self.program.double()
        self.x = self.x.double()
        loss = self.loss()
        np.savez(file, loss.item(), *[p.grad.cpu().numpy() for p in self.program.parameters()])

    def step(self) -> None:
        if self.graph is not None:
            self.graph.replay()
            return
        self.loss()
        self.optimizer.step()

    def capture(self) -> None:
        """From now on replay the step as a CUDA graph."""
        side = self.torch.cuda.Stream()
        with self.torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        self.torch.cuda.current_stream().wait_stream(side)
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            self.step()
        self.graph = graph

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()
