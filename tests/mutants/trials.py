"""What may notice a mutant: the properties of the op table on a few cases, and the ordinary tests."""

from __future__ import annotations

import builtins
import itertools
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from _pytest.runner import runtestprotocol

from ..op_table import TABLE
from ..properties import PROPERTIES
from ..strategies import Case, Seeded, examples

CASES = 4  # of each row, besides its edges
MORE = range(4, 24)  # where these notice nothing
MANY = 120  # trials, of which some will do
SECONDS = 4  # of them for one mutant
PROBES = ("dtype_is_kept", "equals_its_composition", "second_derivative")  # run all that a row runs
NAMESAKES = 8  # of rows that a mutant names
REFUSALS = 8  # that the lines of a mutant lead to


@dataclass(eq=False)
class Trial:
    """A property of a row of the op table, or a test: whether it holds, which lines it runs, how long that takes."""

    name: str
    kind: str  # by properties, by tests
    holds: Callable[[], bool]
    still_holds: Callable[[], bool] = lambda: True  # on more cases
    lines: dict[int, set[int]] = field(default_factory=dict)
    seconds: float = 0.0

    @cached_property
    def check(self) -> str:
        """The property or the test, of whatever row or parameter."""
        return self.name.split("[")[0]

    @cached_property
    def row(self) -> str:
        """The op that a property is tried on, in lower case."""
        return plain(self.name[len(self.check) + 1 :].split(" ")[0].rstrip("]")) if self.kind == "by properties" else ""

    @property
    def cost(self) -> float:
        """Seconds for each mutant that it may be expected to notice."""
        return self.seconds * (2 + TRIED[self.check]) / (1 + NOTICED[self.check])


TRIED: Counter[str] = Counter()  # on how many mutants a check has been tried so far
NOTICED: Counter[str] = Counter()  # and how many of them it has noticed


def plain(name: str) -> str:
    """BatchNorm as batch_norm."""
    return name.replace("_", "").lower()


def property_trials(device: str) -> Iterator[Trial]:
    def trial(op: Any, holds: Any, cases: Callable[[], list[Case]]) -> Callable[[], bool]:
        def run() -> bool:
            try:
                for case in cases():
                    with warnings.catch_warnings(action="error"):
                        holds.check(op, case, device)
            except Exception:
                return False
            return True

        return run

    for holds, op in itertools.product(PROPERTIES, TABLE):
        if holds.applies(op):
            edges = op.edges if holds.at_edges else ()
            few = trial(op, holds, lambda op=op, edges=edges: [*examples(op.inputs, CASES), *edges])
            more = trial(op, holds, lambda op=op: [op.inputs(Seeded(seed)) for seed in MORE])
            yield Trial(f"{holds.name}[{op.name}]", "by properties", few, more)


class Session:
    """A plugin of pytest: it collects the tests as always, but instead of running them it hunts."""

    def __init__(self, hunt: Callable[[list[Trial]], int]):
        self.hunt, self.survivors = hunt, 1

    def pytest_runtestloop(self, session: Any) -> bool:
        def trial(item: Any) -> Callable[[], bool]:
            return lambda: not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))

        self.survivors = self.hunt([Trial(item.nodeid, "by tests", trial(item)) for item in session.items])
        return True


def concerned(trials: list[Trial]) -> Iterator[Trial]:
    """Without those of rows that run nothing of the files, forward or backward: most rows, if it is one file."""
    for trial in trials:
        if trial.check in PROBES:
            traced(trial)
    rows = {trial.row for trial in trials if trial.lines}
    return (trial for trial in trials if trial.kind == "by tests" or trial.row in rows)


def traced(trial: Trial) -> bool:
    """Run a trial, and note what runs."""
    seen: set[tuple[int, int]] = set()
    builtins.__hit__ = seen.add
    started = time.process_time()
    holds = trial.holds()
    trial.seconds = time.process_time() - started
    trial.lines = {}
    for number, line in seen:
        trial.lines.setdefault(number, set()).add(line)
    builtins.__hit__ = id
    return holds


def chosen(trials: list[Trial], first: list[Trial], all_rows: bool) -> list[Trial]:
    """The order in which to try, best value first; of code that all rows share, some rows for each property."""
    if len(trials) > MANY and not all_rows:
        some = []
        for _, same in itertools.groupby(trials, key=lambda t: t.check):
            same = list(same)
            some += same[:: max(1, len(same) // 8)] if same[0].kind == "by properties" else same
        trials = some
    trials = sorted(trials, key=lambda t: t.seconds)
    until = itertools.accumulate(t.seconds for t in trials)
    within = [t for t, total in zip(trials, until, strict=True) if total < SECONDS or "bad_input" in t.name]
    return first + sorted((t for t in within if t not in first), key=lambda t: t.cost)


def learnt(found: str, trials: list[Trial]) -> Trial | None:
    """The trial of this name, which noticed a mutant after all before it had not; what that says of them is kept."""
    for trial in trials if found else ():
        TRIED[trial.check] += 1
        if trial.name == found:
            NOTICED[trial.check] += 1
            return trial
    return None


def refused(line: int, number: int, trials: list[Trial]) -> list[Trial]:
    """Trials in which this line of the file raises an error, the best ones."""
    return sorted((t for t in trials if line in t.lines.get(number, ())), key=lambda t: t.cost)[:REFUSALS]


def namesakes(text: str, trials: list[Trial]) -> list[Trial]:
    """Trials of the rows that the text names, the best ones: an alias has no lines that would say who runs it."""
    words = {plain(word) for word in re.findall(r"\w+", text)}
    return sorted((t for t in trials if t.row in words), key=lambda t: t.cost)[:NAMESAKES]
