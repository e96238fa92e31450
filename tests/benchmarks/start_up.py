"""How long a newcomer waits: seconds from typing a command to the end of its first training step.

    python tests/benchmarks/start_up.py                          the example of LeNet-5, and ResNet-18 with 8 images
    python tests/benchmarks/start_up.py --models resnet50 --runs 1

Each run is a process of its own, stopped after its first step: cold ones with an empty cache for compiled kernels, warm
ones with what the cold one left. Beside the time on the clock stands the processor time of the process and all that it
started, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

EXAMPLE = """
import os, runpy, sys
from minicnn.train import Trainer
step = Trainer._step
def first_step(self, *batch):
    step(self, *batch)
    print("first step", flush=True)
    os._exit(0)
Trainer._step = first_step
sys.argv[1:] = ["--model", sys.argv[1], "--out", sys.argv[2]]
runpy.run_path("examples/train_lenet_mnist.py", run_name="__main__")
"""

NETWORK = """
import os, sys
import minicnn, models
from tests.benchmarks.sides import BATCH, data, network
from minicnn.nn import CrossEntropyLoss
from minicnn.optim import SGD
model = network(sys.argv[1])
optimizer = SGD(model.parameters(), 1e-3, momentum=0.9)
x, labels = data(sys.argv[1], BATCH[sys.argv[1]])
optimizer.zero_grad()
CrossEntropyLoss()(model(minicnn.Tensor(x)), labels).backward()
optimizer.step()
print("first step", flush=True)
os._exit(0)
"""


def first_step(model: str, cache: str) -> tuple[float, float]:
    """Seconds from the start of the process to its end, right after its first step; and of processor time."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", EXAMPLE if model.startswith("lenet") else NETWORK, model, out]
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT), "MINICNN_QUIET": "1"}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.stdout == "first step\n", done.stderr
        return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="lenet5,resnet18", help="by their names, with commas between")
    parser.add_argument("--runs", type=int, default=3, help="cold runs, each followed by a warm one; default: 3")
    args = parser.parse_args()
    for model in args.models.split(","):
        cold, warm = [], []
        for _ in range(args.runs):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(first_step(model, cache))
                warm.append(first_step(model, cache))
        for name, times in (("cold", cold), ("warm", warm)):
            seconds, processor = zip(*times, strict=True)
            print(f"{model:<16}{name}: {statistics.median(seconds):5.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
                  f"processor {statistics.median(processor):5.2f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
