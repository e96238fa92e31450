"""Time of one training step (zero_grad, forward, loss, backward, SGD with momentum), beside PyTorch's.

    python tests/benchmarks/train_step.py                                          this engine alone
    python tests/benchmarks/train_step.py --against torch --threads 2 --json FILE  side by side

Each side runs in a process of its own (two OpenMP runtimes in one process spin against each other). The two take turns,
one burst of steps each, while the other's threads sleep: a ratio compares neighbours in time, so a machine that
changes its speed changes both. Reported is the median of the ratios, and their quartiles as its spread.

PyTorch's network is translated from the same module tree and gets the same weights; before anything is timed, both
sides' loss and gradients are compared. PyTorch runs eager, zero_grad(set_to_none=True), in the faster of NCHW and
channels-last.
"""

from __future__ import annotations

import argparse
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
BATCH = {"lenet5": 64, "lenet5_1998": 64}  # each network's own
LR, MOMENTUM = 0.01, 0.9


def data(model: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's own images: no benchmark on zeros."""
    from minicnn.data import MNIST

    return MNIST.test()[:batch].batch(np.arange(batch))


class Ours:
    """One training step of this engine."""

    def __init__(self, model: str, batch: int, device: str, threads: int):
        import minicnn
        import models
        from minicnn import nn, optim

        minicnn.use(device)
        if threads:
            minicnn.set_num_threads(threads)
        minicnn.manual_seed(0)
        self.network = models.create_model(model)
        self.x, self.labels = data(model, batch)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(self.network.parameters(), lr=LR, momentum=MOMENTUM)
        self.tensor = minicnn.Tensor

    def gradients(self) -> tuple[float, list[np.ndarray]]:
        self.optimizer.zero_grad()
        loss = self.loss(self.network(self.tensor(self.x)), self.labels)
        loss.backward()
        return loss.item(), [p.grad.numpy() for p in self.network.parameters()]

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss(self.network(self.tensor(self.x)), self.labels).backward()
        self.optimizer.step()


class Theirs:
    """The same step in PyTorch, on a translation of the same module tree with the same weights."""

    def __init__(self, model: str, batch: int, device: str, threads: int):
        import torch

        import minicnn
        import models
        from tests.benchmarks.translate import to_torch

        if threads:
            torch.set_num_threads(threads)
        minicnn.manual_seed(0)
        self.torch = torch
        self.network = to_torch(models.create_model(model))
        x, labels = data(model, batch)
        self.x, self.labels = torch.from_numpy(x), torch.from_numpy(labels)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=LR, momentum=MOMENTUM)
        self._choose_layout()

    def _choose_layout(self) -> None:
        """Channels-last, if a few steps of it are faster."""

        def seconds() -> float:
            for _ in range(3):
                self.step()
            times = []
            for _ in range(10):
                start = time.perf_counter()
                self.step()
                times.append(time.perf_counter() - start)
            return statistics.median(times)

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

    def gradients(self) -> tuple[float, list[np.ndarray]]:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.network(self.x), self.labels)
        loss.backward()
        return loss.item(), [p.grad.numpy() for p in self.network.parameters()]

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.torch.nn.functional.cross_entropy(self.network(self.x), self.labels).backward()
        self.optimizer.step()


def serve(side: str, model: str, batch: int, device: str, threads: int, file: str) -> None:
    """In a process of its own: compare once, then time a burst of steps whenever a line with their number comes."""
    runner = (Ours if side == "ours" else Theirs)(model, batch, device, threads)
    loss, gradients = runner.gradients()
    np.savez(file, loss, *gradients)
    for _ in range(5):
        runner.step()
    print(json.dumps({"layout": getattr(runner, "layout", "")}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            runner.step()
            times.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"ms": 1e3 * statistics.median(times), "peak_mb": peak}), flush=True)


class Process:
    """A side in its own process."""

    def __init__(self, side: str, args: argparse.Namespace, model: str, batch: int, file: Path):
        threads = {"OMP_NUM_THREADS": str(args.threads)} if args.threads else {}
        command = [sys.executable, __file__, "--serve", side, "--models", model, "--batch", str(batch)]
        command += ["--device", args.device, "--threads", str(args.threads), "--file", str(file)]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path, "MINICNN_QUIET": "1", **threads},
        )  # fmt: skip
        self.facts = self._answer()
        with np.load(file) as arrays:
            self.first = [arrays[name] for name in arrays.files]

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
    batch = args.batch or BATCH[model]
    ours = Process("ours", args, model, batch, folder / "ours.npz")
    theirs = Process("theirs", args, model, batch, folder / "theirs.npz") if args.against else None
    if theirs is not None:
        worst = difference(ours.first, theirs.first)
        if not worst < 1e-3:
            raise SystemExit(f"{model}: loss or gradients differ by {worst:.1e}: the sides do not do the same work")
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
    parser.add_argument("--repeats", type=int, default=15, help="pairs of bursts")
    parser.add_argument("--json", type=Path, help="write the rows to this file, as one array")
    parser.add_argument("--serve", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.models, args.batch, args.device, args.threads, args.file)
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
