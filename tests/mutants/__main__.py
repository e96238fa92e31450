"""The hunt: `python -m tests.mutants [FILES]`."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMPILED = any("cpu" in name for name in sys.argv[1:])  # said before Numba is imported
os.environ |= {"MINICNN_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HYPOTHESIS_PROFILE": "ci"}
os.environ |= {"NUMBA_DISABLE_JIT": "1"} if COMPILED else {}

import pytest  # noqa: E402

from .changes import Mutant, mutants_of, source  # noqa: E402
from .equivalent import EQUIVALENT, why_equivalent  # noqa: E402
from .planting import instrument, plant  # noqa: E402
from .trials import (  # noqa: E402
    Session,
    Trial,
    chosen,
    concerned,
    learnt,
    namesakes,
    property_trials,
    refused,
    traced,
)

ROOT = Path(__file__).parent.parent.parent
USUAL = ("minicnn/ops", "minicnn/kernels/reference")
TESTS = ("test_bad_input.py", "ops", "nn", "explain", "kernels/test_reference.py", "kernels/test_window.py",
         "test_autograd.py", "test_memories.py", "optim")  # fmt: skip
LATE = ("tests/nn/", "tests/explain/", "tests/optim/", "test_autograd.py", "test_memories.py")  # if all else fails
PINNED = ("test_defaults", "test_methods")  # these say what is said outside of functions
COLUMNS = ("mutants", "by properties", "by tests", "at once", "equivalent", "survived")
HANGS = 12  # seconds of computing after which a mutant does not end
LONGER = 2  # of more cases, for one that nothing has noticed
MEMORY = 4 << 30


def killer(mutant: Mutant, module: Any, trials: list[Trial]) -> str:
    """What noticed the mutant, "" if nothing did."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (HANGS, HANGS))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            found = "it cannot be imported"
            with contextlib.suppress(Exception):
                plant(mutant.code, module)
                found = next((trial.name for trial in trials if not trial.holds()), "")
                enough = time.process_time() + LONGER
                more = (trial for trial in trials if time.process_time() < enough and not trial.still_holds())
                found = found or next((trial.name for trial in more), "-")
            os.write(writer, found.encode())
        os._exit(0)
    os.close(writer)
    found = os.read(reader, 10_000).decode()  # nothing, if it died
    os.waitpid(child, 0)
    os.close(reader)
    return "" if found == "-" else found or "it crashes or hangs"


def hunt(paths: list[Path], trials: list[Trial]) -> int:
    """Judge all mutants of the files, print what was found, and say how many survived."""
    modules = {path: importlib.import_module(dotted(path)) for path in paths}
    for number, path in enumerate(paths):
        instrument(path, modules[path], number)
    late = [trial for trial in trials if any(name in trial.name for name in LATE)]
    rounds = Rounds([list(concerned([trial for trial in trials if trial not in late])), late])
    found = {named(path): judged(path, modules[path], number, rounds) for number, path in enumerate(paths)}
    found["all of them"] = {what: sum(counts[what] for counts in found.values()) for what in COLUMNS}
    print_table(found)
    return found["all of them"]["survived"]


class Rounds:
    """Trials in the order in which they are asked. Those of a round are traced when a mutant comes to it."""

    def __init__(self, rounds: list[list[Trial]]):
        self.waiting, self.ready = rounds, []

    def __iter__(self) -> Iterator[list[Trial]]:
        yield from self.ready
        while self.waiting:
            self.ready.append(self.prepared(self.waiting.pop(0)))
            gc.freeze()
            yield self.ready[-1]

    def prepared(self, trials: list[Trial]) -> list[Trial]:
        """Those that run something of the files, with what they run."""
        started = time.perf_counter()
        failing = [trial for trial in trials if not traced(trial) and not traced(trial)]
        for trial in failing:
            print(f"left out, since it fails anyway: {trial.name}")
        ready = [trial for trial in trials if (trial.lines or pins(trial)) and trial not in failing]
        print(f"{len(ready)} trials, traced in {time.perf_counter() - started:.0f} s", flush=True)
        return ready


def print_table(found: dict[str, dict[str, int]]) -> None:
    print(f"\n{'':<32}" + "".join(f"{what:>15}" for what in COLUMNS))
    for file, counts in found.items():
        print(f"{file:<32}" + "".join(f"{counts[what]:>15}" for what in COLUMNS))


def judged(path: Path, module: Any, number: int, rounds: Rounds) -> dict[str, int]:
    """The same for one file."""
    file = named(path)
    near: dict[str, list[Trial]] = {}  # what noticed others of the same function goes first
    counts = dict.fromkeys(COLUMNS, 0)
    raises = {node.lineno for node in ast.walk(ast.parse(source(path))) if isinstance(node, ast.Raise)}
    names = set()
    for mutant in mutants_of(path):
        names.add(mutant.name)
        counts["mutants"] += 1
        if why_equivalent(file, mutant.name):
            counts["equivalent"] += 1
            continue
        where = mutant.name.split(":")[0]
        lines = set(mutant.lines or range(10_000))
        tried = 0
        for trials in rounds:
            chances = [t for t in trials if t.lines.get(number, set()) & lines or (not mutant.runs and pins(t))]
            first = [t for t in near.get(where, []) if t in chances]
            first += refused(min((line for line in raises if line >= mutant.line), default=0), number, chances)
            first += namesakes(f"{where} {mutant.before}", chances)
            chances = chosen(chances, list(dict.fromkeys(first)), not mutant.runs)
            tried += len(chances)
            found = killer(mutant, module, chances)
            if found:
                break
        killing = learnt(found, chances)
        if killing:
            near[where] = [killing, *[t for t in near.get(where, []) if t is not killing]][:6]
        counts[killing.kind if killing else "at once" if found else "survived"] += 1
        if not found:
            print(f"  {file}:{mutant.line}  {mutant.before}  →  {mutant.name}   ({tried} trials)", flush=True)
    for name in EQUIVALENT.get(file, {}).keys() - names:
        print(f"  no longer a mutant: {name}")
    print(f"{file}: " + ", ".join(f"{n} {what}" for what, n in counts.items()), flush=True)
    return counts


def pins(trial: Trial) -> bool:
    return any(name in trial.name for name in PINNED)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT / "minicnn"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def main(names: list[str]) -> int:
    given = [ROOT / name for name in names or USUAL]
    paths = [path for one in given for path in (sorted(one.glob("*.py")) if one.is_dir() else [one])]
    for path in paths:
        source(path)
    session = Session(lambda tests: hunt(paths, [*property_trials("cpu" if COMPILED else "reference"), *tests]))
    tests = [str(ROOT / "tests" / name) for name in (*TESTS, *(["kernels/cpu"] if COMPILED else []))]
    quiet = ["-s", "-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider"]
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis has been imported by the op table
    pytest.main([*tests, *quiet], [session])
    return session.survivors


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
