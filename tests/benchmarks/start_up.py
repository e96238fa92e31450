"""How long a newcomer waits: seconds from typing the example's command to its first training step.

    python tests/benchmarks/start_up.py           cold (nothing compiled yet), then warm, three times each

Each run is a process of its own, stopped after its first step; cold runs get an empty cache for compiled kernels.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, runpy, sys
from minicnn.train import Trainer
step = Trainer._step
def first_step(self, *batch):
    step(self, *batch)
    print("first step", flush=True)
    os._exit(0)
Trainer._step = first_step
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def seconds(cache: str) -> float:
    """From the start of the process to the line it prints after its first step."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", CODE, str(ROOT / "examples" / "train_lenet_mnist.py"), "--out", out]
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT), "MINICNN_QUIET": "1"}
        start = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "first step\n", done.stderr
        return time.perf_counter() - start


def main() -> None:
    cold, warm = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds(cache))
            warm.append(seconds(cache))
    for name, times in (("cold", cold), ("warm", warm)):
        print(f"{name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
