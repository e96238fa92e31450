"""How a fault is planted into a .cu file, and how it is found out who notices."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicnn import simulator
from minicnn.kernels.cuda import launch
from minicnn.simulator import compiler

from .catalogue import Mutant

TESTS = Path(__file__).parent.parent.parent / "kernels" / "cuda"
ROUNDS = (("fast", "forward"), ("fast", "random:1"), ("check", "forward"))  # builds and orders


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Inside of the block kernels are compiled with the fault."""
    right = launch.unit
    headers = _changed_headers(mutant)

    def wrong(file: str, dtype: str, constants: tuple = ()) -> tuple[str, tuple[str, ...]]:
        code, options = right(file, dtype, constants)
        if file == mutant.file:
            code = mutant.applied_to(code)
        return code, tuple(f"-I{headers}" if option == f"-I{launch.FOLDER}" else option for option in options)

    launch.unit = wrong
    _forget()
    try:
        yield
    finally:
        launch.unit = right
        _forget()


def _forget() -> None:
    launch._kernel.cache_clear()
    launch._module.cache_clear()


def _changed_headers(mutant: Mutant) -> Path:
    """A folder with the headers, in a place that is the same each time: compiled kernels are cached by their text."""
    if not mutant.file.endswith(".cuh"):
        return launch.FOLDER
    folder = compiler.cache_folder() / "faults" / re.sub(r"\W+", "_", mutant.name)
    folder.mkdir(parents=True, exist_ok=True)
    for path in launch.FOLDER.glob("*.cuh"):
        text = path.read_text("utf-8")
        (folder / path.name).write_text(mutant.applied_to(text) if path.name == mutant.file else text, "utf-8")
    return folder


class _First:
    """A plugin of pytest: the first test that fails, and what it says."""

    found = ""
    ran = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call" and report.outcome == "passed"
        if report.failed and not self.found:
            text = report.longrepr.reprcrash.message if hasattr(report.longrepr, "reprcrash") else str(report.longrepr)
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            said = " ".join(lines[: 2 if lines[0].endswith("AssertionError:") else 1])
            said = said.removeprefix("minicnn.simulator.errors.")
            self.found = f"{report.nodeid.rsplit('::', 1)[-1]}: {said}"


def caught_by(mutant: Mutant, first: bool = False) -> dict[str, str]:
    """For each round that notices, or only the first of them, the test and the first line of its complaint."""
    found = {}
    for build, order in ROUNDS:
        said = _in_a_child(mutant, build, order)
        if said:
            found[f"{build}, {order}"] = said
            if first:
                break
    return found


def _in_a_child(mutant: Mutant, build: str, order: str, seconds: int = 240) -> str:
    """Run the tests in a process of their own, which a fault may crash."""
    reading, writing = os.pipe()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of threads that the child lacks:
        child = os.fork()  # they are those of NumPy's BLAS, which it does not need
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a crash is told by its signal
        signal.alarm(seconds)  # a fault may make a kernel run for ever
        with os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(_run(mutant, build, order)))
            pipe.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if not text:
        assert os.WIFSIGNALED(status), f"{mutant.name}: the tests could not be run"
        return f"the process was ended by signal {signal.Signals(os.WTERMSIG(status)).name}"
    found, ran = json.loads(text)
    assert found or ran, f"{mutant.name}: no test was run"
    return found


def _run(mutant: Mutant, build: str, order: str) -> tuple[str, int]:
    first = _First()
    options = ["--device", "cuda-sim", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pytest is not the first to be imported here
    if mutant.select:
        options += ["-k", mutant.select]
    with planted(mutant), simulator.using(build, order), contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, str(TESTS / f"test_{mutant.tests}.py")], plugins=[first])
    return first.found, first.ran
