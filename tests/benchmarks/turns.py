"""Processes that take turns, so that two engines can be compared on a machine that changes its speed.

Each side runs in a process of its own (two OpenMP runtimes in one process spin against each other) and works only when
asked, one burst after the other, while the other sides' threads sleep:

    ours      ████        ████        ████
    theirs          ████        ████        ████       time →
                 a ratio compares two neighbours

Reported is the median of the ratios, and their quartiles as its spread.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAUSE = 0.02  # seconds in which the other side's threads fall asleep
BURST = 200  # milliseconds


class Server:
    """A side in a process of its own: server.ask("time", steps=3) calls time(steps=3) of an object made there.

    side: "module:Class", made of the settings (what JSON can hold) as a namespace. It has `facts`, a dictionary.
    """

    def __init__(self, side: str, *, threads: int = 0, **settings: Any):
        wish = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.turns", side, json.dumps({"threads": threads, **settings})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path, "MINICNN_QUIET": "1", **wish},
        )  # fmt: skip
        self.facts = self._answer()

    def ask(self, what: str, **request: Any) -> Any:
        """The result of a method there."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, **request}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the benchmarked process ended with code {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process, which frees its memory."""
        self.process.communicate()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def serve(side: str, settings: dict[str, Any]) -> None:
    """In the process of a side: make it, then do what each line asks for."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what anything else prints is no answer
    module, _, name = side.partition(":")
    runner = getattr(importlib.import_module(module), name)(SimpleNamespace(**settings))
    print(json.dumps(runner.facts), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(runner, request.pop("what"))(**request)), file=answers, flush=True)


# --- measuring --------------------------------------------------------------------------------------------------------


def median_ms(work: Callable[[], Any], most: int, limit: float = 10.0) -> float:
    """The median of the milliseconds that `work` takes, of `most` times, or as many as begin within `limit` seconds."""
    times: list[float] = []
    begun = time.perf_counter()
    while not times or (len(times) < most and time.perf_counter() - begun < limit):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def take_turns(servers: Sequence[Server], repeats: int, **request: Any) -> list[list[float]]:
    """The milliseconds of each side in each round. How many steps a burst has is decided by the first side."""
    steps = max(1, min(200, round(BURST / max(servers[0].ask("time", steps=1, **request)["ms"], 0.01))))
    for server in servers[1:]:
        server.ask("time", steps=1, **request)
    rounds: list[list[float]] = []
    for _ in range(repeats):
        rounds.append([])
        for server in servers:
            time.sleep(PAUSE)
            rounds[-1].append(server.ask("time", steps=steps, **request)["ms"])
    return [list(times) for times in zip(*rounds, strict=True)]


def compared(ours: Sequence[float], theirs: Sequence[float], name: str = "") -> dict[str, float]:
    """The median of their time, and the median and quartiles of the ratios theirs / ours: above 1 we are faster."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    name = f"{name}_" if name else ""
    return {f"{name}ms": statistics.median(theirs), f"{name}ratio": middle, f"{name}ratio_low": low,
            f"{name}ratio_high": high}  # fmt: skip


def resident_mb(peak: bool = False) -> float:
    """The physical memory of this process in MB (10⁶ bytes), now or at most since forget_peak()."""
    name = "VmHWM:" if peak else "VmRSS:"
    return next(int(line.split()[1]) for line in _status() if line.startswith(name)) * 1024 / 1e6


def forget_peak() -> None:
    """From now on the peak is that of what follows."""
    Path("/proc/self/clear_refs").write_text("5")


def _status() -> list[str]:
    try:
        return Path("/proc/self/status").read_text().splitlines()
    except OSError:
        raise SystemExit("the peak of a process's memory is read from /proc/self/status: this needs Linux") from None


# --- what all commands share ------------------------------------------------------------------------------------------


def parser(about: str | None, models: str, repeats: int = 15) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--models", default=models, help="names, separated by commas")
    made.add_argument("--threads", type=int, default=0, help="of all sides; default: each one's own choice")
    made.add_argument("--against", choices=["torch"])
    made.add_argument("--repeats", type=int, default=repeats, help="rounds of bursts")
    made.add_argument("--json", type=Path, help="write the rows to this file, as one array")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; and says on which machine this is."""
    args = made.parse_args()
    if args.against and not installed("torch"):
        raise SystemExit("--against torch needs PyTorch: pip install torch==2.13.0")
    print(", ".join(str(fact) for fact in facts().values()), flush=True)
    return args


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The rows as JSON, if that was asked for."""
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


@functools.cache
def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it here."""
    return importlib.util.find_spec(package) is not None


def facts() -> dict[str, Any]:
    """Date, machine and versions."""
    found = {"date": str(datetime.date.today()), "cpu": _cpu(), "cores": f"{os.cpu_count()} cores",
             "python": f"Python {platform.python_version()}"}  # fmt: skip
    for package in ("numpy", "numba", "torch", "onnxruntime"):
        if installed(package):
            found[package] = f"{package} {importlib.metadata.version(package)}"
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
