"""Time of one training step (zero_grad, forward, loss, backward, SGD with momentum), beside PyTorch's.

    python tests/benchmarks/train_step.py                                          this engine alone
    python tests/benchmarks/train_step.py --against torch --threads 2 --json FILE  side by side

Each side runs in a process of its own (two OpenMP runtimes in one process spin against each other). The two take turns,
one burst of steps each, while the other's threads sleep: a ratio compares neighbours in time, so a machine that
changes its speed changes both. Reported is the median of the ratios, and their quartiles as its spread.

PyTorch's network does the same ops in the same order with the same weights (translate.py); before anything is timed,
both sides' loss and gradients are compared, in float64. PyTorch runs eager, zero_grad(set_to_none=True), in the faster
of NCHW and channels-last. Dropout and stochastic depth are off on both sides; auxiliary heads are left out.

    --device cuda      on a GPU: time between two synchronisations; --capture replays both sides' steps as CUDA graphs
    --precision        float32 (no TF32 on either side), tf32, float16 or bfloat16 (autocast on both sides)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BATCH = {
    "lenet5": 64, "lenet5_1998": 64, "alexnet_2012": 16, "vgg16": 2, "googlenet_2014": 8, "resnet20_cifar": 64,
    "resnet18": 8, "resnet50": 4, "densenet121": 4, "mobilenet_v2": 8, "efficientnet_b0": 8,
}  # fmt: skip
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
TOLERANCE = 1e-7  # of loss and gradients in float64
GPU_BATCH = {"resnet18": 16, "resnet50": 64}
LR, MOMENTUM = 1e-3, 0.9


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


def data(name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's own images for LeNet; for others, numbers as normalised photographs have: no benchmark on zeros."""
    import models
    from minicnn.data import MNIST

    if name.startswith("lenet"):
        return MNIST.test()[:batch].batch(np.arange(batch))
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *models.input_shape(name)), np.float32)
    return x, random.integers(0, 10, batch)


class Ours:
    """One training step of this engine."""

    def __init__(self, args: argparse.Namespace):
        import minicnn
        from minicnn import nn, optim

        minicnn.use(args.device)
        if args.threads:
            minicnn.set_num_threads(args.threads)
        self.args, self.minicnn = args, minicnn
        self.network = network(args.models).train()
        self.x, self.labels = data(args.models, args.batch)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(self.network.parameters(), lr=LR, momentum=MOMENTUM)
        self.captured = None
        if args.device != "cpu":
            from minicnn import device

            self.cupy = device.array_library(args.device)
            if args.precision == "tf32":
                minicnn.amp.use_tf32(True, products=True)

    def gradients(self) -> tuple[float, list[np.ndarray]]:
        self.network.to("float64")
        loss = self.update(self.minicnn.Tensor(self.x.astype(np.float64)), self.labels, step=False)[0]
        return loss.item(), [p.grad.to("cpu").numpy() for p in self.network.parameters()]

    def update(self, x: Any, labels: Any, step: bool = True) -> tuple[Any, Any]:
        self.optimizer.zero_grad()
        low = self.args.precision in ("float16", "bfloat16")
        with self.minicnn.autocast(self.args.precision) if low else contextlib.nullcontext():
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
        from minicnn.train.capture import Capture

        self.captured = Capture(self.network, self.optimizer, self.update, self.args.device)

    def synchronize(self) -> None:
        self.cupy.cuda.runtime.deviceSynchronize()


class Theirs:
    """The same step in PyTorch."""

    def __init__(self, args: argparse.Namespace):
        import torch

        from tests.benchmarks.translate import to_torch

        if args.threads:
            torch.set_num_threads(args.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
        self.args, self.torch = args, torch
        x, labels = data(args.models, args.batch)
        device = "cuda" if args.device == "cuda" else "cpu"
        self.network = to_torch(network(args.models), x).to(device)
        self.x, self.labels = torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=LR, momentum=MOMENTUM)
        self.graph: Any = None
        self.layout = "NCHW"
        if not args.file:
            self._choose_layout()

    def _choose_layout(self) -> None:
        """Channels-last, if a few steps of it are faster."""

        def seconds() -> float:
            for _ in range(3):
                self.step()
            return statistics.median(timed(self, 1) for _ in range(7))

        before, plain = {name: value.clone() for name, value in self.network.state_dict().items()}, self.x
        nchw = seconds()
        self.network.to(memory_format=self.torch.channels_last)
        self.x = plain.to(memory_format=self.torch.channels_last)
        self.layout = "channels-last"
        if seconds() > nchw:
            self.network.to(memory_format=self.torch.contiguous_format)
            self.x, self.layout = plain, "NCHW"
        self.network.load_state_dict(before)
        self.optimizer.state.clear()

    def loss(self) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        low = {"float16": self.torch.float16, "bfloat16": self.torch.bfloat16}.get(self.args.precision)
        with self.torch.autocast(self.x.device.type, low) if low else contextlib.nullcontext():
            loss = self.torch.nn.functional.cross_entropy(self.network(self.x), self.labels)
        loss.backward()
        return loss

    def gradients(self) -> tuple[float, list[np.ndarray]]:
        self.network.double()
        self.x = self.x.double()
        loss = self.loss()
        return loss.item(), [p.grad.cpu().numpy() for p in self.network.parameters()]

    def step(self) -> None:
        if self.graph is not None:
            self.graph.replay()
            return
        self.loss()
        self.optimizer.step()

    def capture(self) -> None:
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


def timed(runner: Any, steps: int) -> float:
    """Milliseconds of a step: on the CPU the median of `steps`, on a GPU their mean between two synchronisations."""
    if runner.args.device == "cuda":
        runner.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            runner.step()
        runner.synchronize()
        return 1e3 * (time.perf_counter() - start) / steps
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        runner.step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def serve(args: argparse.Namespace) -> None:
    """In a process of its own: either write loss and gradients to a file, or time a burst of steps whenever a line with
    their number comes."""
    runner = {"ours": Ours, "theirs": Theirs}[args.serve](args)
    if args.file:
        loss, gradients = runner.gradients()
        np.savez(args.file, loss, *gradients)
        return
    if args.capture:
        runner.capture()
    for _ in range(5):
        runner.step()
    print(json.dumps({"layout": getattr(runner, "layout", "")}), flush=True)
    for line in sys.stdin:
        milliseconds = timed(runner, int(line))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"ms": milliseconds, "peak_mb": peak}), flush=True)


def process(side: str, args: argparse.Namespace, model: str, batch: int, *more: str) -> subprocess.Popen:
    threads = {"OMP_NUM_THREADS": str(args.threads)} if args.threads else {}
    command = [sys.executable, __file__, "--serve", side, "--models", model, "--batch", str(batch), *more]
    command += ["--device", args.device, "--threads", str(args.threads), "--precision", args.precision]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, "MINICNN_QUIET": "1", **threads},
    )  # fmt: skip


def first_gradients(side: str, args: argparse.Namespace, model: str, batch: int, folder: Path) -> list[np.ndarray]:
    """Loss and gradients, from a process that ends then: it would hold memory that a step does not need."""
    file = folder / f"{side}.npz"
    ended = process(side, args, model, batch, "--file", str(file))
    ended.communicate()
    if ended.returncode:
        raise SystemExit(f"{model}: the process that compares gradients ended with code {ended.returncode}")
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


class Server:
    """A side in its own process, which computes a burst of steps when asked."""

    def __init__(self, side: str, args: argparse.Namespace, model: str, batch: int):
        self.process = process(side, args, model, batch, *(["--capture"] if args.capture else []))
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the benchmarked process ended with code {self.process.wait()}")
        return json.loads(line)

    def burst(self, steps: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.communicate()


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest relative difference between loss and gradients of the two sides."""
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        raise SystemExit("the two sides have different parameters: they do not do the same work")
    return max(float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1)) for a, b in zip(ours, theirs, strict=True))


def compare(model: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row of the result."""
    batch = args.batch or (GPU_BATCH if args.device == "cuda" else {}).get(model) or BATCH.get(model, 8)
    if args.against:
        worst = difference(*(first_gradients(side, args, model, batch, folder) for side in ("ours", "theirs")))
        if not worst < TOLERANCE:
            raise SystemExit(f"{model}: loss or gradients differ by {worst:.1e}: the sides do not do the same work")
    ours = Server("ours", args, model, batch)
    theirs = Server("theirs", args, model, batch) if args.against else None
    steps = max(3, round(200 / max(ours.burst(3)["ms"], 0.1)))  # bursts of about 0.2 s
    pairs = []
    for _ in range(args.repeats):
        time.sleep(0.02)  # lets the other side's threads stop spinning
        a = ours.burst(steps)
        time.sleep(0.02)
        pairs.append((a, theirs.burst(steps) if theirs is not None else None))
    shape = list(data(model, 1)[0].shape[1:])
    row = {"model": model, "batch": batch, "input": shape, "ours_ms": statistics.median(a["ms"] for a, _ in pairs),
           "ours_peak_mb": pairs[-1][0]["peak_mb"]}  # fmt: skip
    if theirs is not None:
        ratios = [b["ms"] / a["ms"] for a, b in pairs if b is not None]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        row |= {"theirs_ms": statistics.median(b["ms"] for _, b in pairs if b is not None), "ratio": middle,
                "ratio_low": low, "ratio_high": high, "theirs_peak_mb": pairs[-1][1]["peak_mb"],
                "theirs_layout": theirs.facts["layout"], "difference": worst}  # fmt: skip
        theirs.close()
    ours.close()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="lenet5", help="names, separated by commas")
    parser.add_argument("--batch", type=int, help="default: each network's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of both sides; default: each one's own choice")
    parser.add_argument("--against", choices=["torch"])
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--capture", action="store_true", help="on a GPU: both sides as CUDA graphs")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of bursts")
    parser.add_argument("--json", type=Path, help="write the rows to this file, as one array")
    parser.add_argument("--serve", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args)
        return
    if args.against:
        try:
            import torch  # noqa: F401
        except ImportError:
            raise SystemExit("--against torch needs PyTorch: pip install torch==2.13.0") from None
    import tempfile

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models.split(","):
            row = compare(model, args, Path(folder))
            rows.append(row)
            text = f"{model}, batch {row['batch']}: ours {row['ours_ms']:.2f} ms"
            if args.against:
                text += (f", PyTorch ({row['theirs_layout']}) {row['theirs_ms']:.2f} ms, ratio {row['ratio']:.2f} "
                         f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})")  # fmt: skip
            print(text)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
