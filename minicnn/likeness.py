"""Is a function the op it is meant to be, and if not, which mistake is in it?

    forward    in every call, the outputs of the op: judged first, since a backward can be right for a wrong forward
    backward   in every call, the gradients of the op
    cause      the known mistake that gives the same numbers in every call, when it is planted in the op (causes/)
    guess      if there is none: what the difference looks like (diagnose.py)
    smallest   the smallest call that shows it, as Python (smallest.py)

The calls are chosen here, not by who wrote the function (causes/subject.py says which tell); inputs that are given are
tried too, and choose the ranks.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import ops
from .candidate import Candidate
from .causes import CAUSES, SUBJECTS
from .causes.naming import Result, Together, close, explanations, gives, result_of, result_of_op, same_result
from .causes.subject import Case, Subject, Wanted
from .derivative import Settings, check_derivatives
from .diagnose import look_of, table, where_wrong
from .errors import ArgumentError, GradcheckError
from .probing import array_of
from .smallest import smallest, snippet

CALLS = 12
MORE = 16  # to confirm a name; half of them with equal sizes, where a gradient of the wrong shape can be read


def check_likeness(function: Any, like: Any, inputs: Sequence[Any] | None, settings: Settings) -> None:
    """GradcheckError if function is not the op that `like` names, with the cause if that is known."""
    subject, fixed = _subject(like)
    candidate = Candidate.of(function, subject.options)
    wanted = _wanted(subject, candidate, fixed, inputs)
    subject = _without_refused(subject, candidate, wanted, settings.seed)
    cases = subject.cases(wanted, CALLS, settings.seed)
    if inputs is not None:
        cases.append(_given(subject, wanted, inputs, settings.seed))
    if not cases:
        raise ArgumentError(f"gradcheck found no call of {subject.op} that {candidate.name} could be tried with")
    Judgement(subject, candidate, wanted, settings, cases).run()


class Judgement(NamedTuple):
    """One function, judged in some calls."""

    subject: Subject
    candidate: Candidate
    wanted: Wanted
    settings: Settings
    cases: list[Case]

    def run(self) -> None:
        mine = [result_of(self.candidate, case) for case in self.cases]
        right = [result_of_op(self.subject, case) for case in self.cases]
        if not same_result(mine[0], result_of(self.candidate, self.cases[0]), 0.0):
            raise GradcheckError(
                f"{self.candidate.name}: two calls with the same inputs give different results: "
                "restart its random numbers in each call"
            )
        for number, case in enumerate(self.cases):
            if self.is_wrong(mine[number], right[number], None):
                self.fail(case, mine, None)
        for number, case in enumerate(self.cases):
            for place in range(len(case.differentiated)):
                if self.is_wrong(mine[number], right[number], place):
                    self.fail(case, mine, place)
        self.refuse_itself(mine[0], right[0])
        for case in self.cases:
            check_derivatives(_bound(self.candidate, case), case.arrays, self.settings)

    def refuse_itself(self, mine: Result, right: Result) -> None:
        """What an op gives is what it gives: that it passes proves nothing."""
        ends_in_it = type(mine.last_op) is type(right.last_op) and getattr(right.last_op, "name", "") == self.subject.op
        if ends_in_it or self.candidate.inner in (self.subject.function, getattr(ops, self.subject.op, None)):
            raise ArgumentError(
                f"{self.candidate.name} is ops.{self.subject.op}, which would be judged by itself, and that proves "
                "nothing: leave `like` out to compare its gradients with differences"
            )

    def is_wrong(self, mine: Result, right: Result, place: int | None) -> bool:
        """Whether the output (place None), or the gradient at a place, is not that of the op."""
        return not close(mine.at(place), right.at(place), self.settings.rtol, self.settings.atol)

    def is_wrong_in_numbers(self, case: Case, mine: Result) -> bool:
        read = mine.error is None or mine.gradients is not None
        return read and not same_result(mine, result_of_op(self.subject, case), self.settings.rtol)

    def fails(self, place: int | None, crashed: bool, found: list[Together], case: Case) -> bool:
        """Whether this call goes wrong in the same way, for the same reason."""
        mine, right = result_of(self.candidate, case), result_of_op(self.subject, case)
        if place is not None and (self.is_wrong(mine, right, None) or _tells_nothing(right.at(place))):
            return False
        if not self.is_wrong(mine, right, place) or (mine.error is not None) != crashed:
            return False
        return not found or any(gives(self.subject, mistakes, (case, mine), place is None) for mistakes in found)

    # --- what to say ---

    def fail(self, case: Case, mine: list[Result], place: int | None) -> NoReturn:
        """Raise the error: what is wrong, why or a guess, and the smallest call that shows it."""
        calls = sorted(zip(self.cases, mine, strict=True), key=lambda call: call[0] is not case)
        more = self.more()
        found: list[Together] = []
        if any(self.is_wrong_in_numbers(*call) for call in calls + more):  # else the error says more than a name
            found = explanations(self.subject, CAUSES[self.subject.op], calls, more, place is None)
        crashed = calls[0][1].error is not None
        small = smallest(self.subject, case, self.wanted, functools.partial(self.fails, place, crashed, found))
        why = self.named(found) if found else self.guess(case, place)
        wrong = None if place is None else case.differentiated[place]
        code = snippet(self.subject, self.candidate, small, wrong, crashed)
        error = GradcheckError(
            f"{self.candidate.name}: {self.what(small, place, crashed)}.\n{why}{self.numbers(small, place)}"
            + "The smallest call that shows it:\n\n"
            + "".join(f"    {line}".rstrip() + "\n" for line in code.splitlines())
        )
        error.causes, error.snippet = [tuple(cause.name for cause in pair) for pair in found], code
        error.guess = "" if found else why
        raise error

    def more(self) -> list[tuple[Case, Result]]:
        """Other calls than those that were judged."""
        cases = self.subject.cases(self.wanted, MORE, self.settings.seed + 1, equal=2)
        return [(case, result_of(self.candidate, case)) for case in cases]

    def what(self, case: Case, place: int | None, crashed: bool) -> str:
        shapes = [f"{name} {a.shape}" for name, a in zip(self.subject.arrays, case.arrays, strict=False)]
        call = ", ".join(shapes + [f"{name}={value!r}" for name, value in case.options.items()])
        if place is None:
            return f"{'no' if crashed else 'wrong'} output for {call}"
        if crashed:
            return f"no gradients for {call}; the output is right"
        mine, right = result_of(self.candidate, case), result_of_op(self.subject, case)
        wrong = [k for at, k in enumerate(case.differentiated) if self.is_wrong(mine, right, at)]
        return (
            f"wrong gradient in {' and '.join(self.subject.arrays[k] for k in wrong)} for {call}; the output is right"
        )

    def named(self, found: list[Together]) -> str:
        either = " or else ".join(" together with ".join(f'"{cause.name}"' for cause in pair) for pair in found)
        cause = "The cause is" if len(found) == 1 else "The cause, which these calls cannot tell apart, is"
        seen = dict.fromkeys(cause.seen_in for pair in found for cause in pair)
        return (
            f"{cause} {either} (seen in: {'; '.join(seen)}).\nPlanted in ops.{self.subject.op}, it gives exactly what "
            f"{self.candidate.name} gives, in each of {len(self.cases) + MORE} calls."
        )

    def guess(self, case: Case, place: int | None) -> str:
        """What a call that went wrong looks like, if no cause can be named."""
        mine, right = result_of(self.candidate, case), result_of_op(self.subject, case)
        given, wanted = mine.at(place), right.at(place)
        if mine.error is not None or given is None or wanted is None:
            return f"{type(mine.error).__name__}: {mine.error}"
        known = len(CAUSES[self.subject.op])
        none = f"None of the {known} mistakes known in ops.{self.subject.op}, nor two of them, gives these numbers"
        look = look_of(given, wanted) if place is None else where_wrong(given, wanted)
        try:
            if place is not None:
                check_derivatives(_bound(self.candidate, case), case.arrays, self.settings)
        except GradcheckError as error:
            if not error.guess:
                return error.message
            look = error.guess
        return f"{none}; {look}."

    def numbers(self, case: Case, place: int | None) -> str:
        """The worst elements of the smallest call."""
        given, right = result_of(self.candidate, case).at(place), result_of_op(self.subject, case).at(place)
        if given is None or right is None or given.shape != right.shape:
            return "\n"
        return f"\n{table(given, right, ('given', 'right'))}\n"


def _tells_nothing(gradient: np.ndarray | None) -> bool:
    """A gradient of 0, as that of batch norm over two values."""
    return gradient is not None and float(np.abs(gradient).max(initial=0)) < 1e-9


def _subject(like: Any) -> tuple[Subject, dict[str, Any]]:
    """The op that is meant, and the options it is given: "conv2d", ops.conv2d, or partial(ops.conv2d, stride=2)."""
    fixed: dict[str, Any] = {}
    while isinstance(like, functools.partial):
        if like.args:
            raise ArgumentError(f"gradcheck takes like=partial(op, option=value), got positional {like.args}")
        fixed, like = {**like.keywords, **fixed}, like.func
    for subject in SUBJECTS.values():
        if like == subject.op or like in (subject.function, getattr(ops, subject.op, None)):
            return subject, fixed
    name = like if isinstance(like, str) else getattr(like, "__name__", repr(like))
    nearest = difflib.get_close_matches(name, SUBJECTS, 1)
    raise ArgumentError(
        f'gradcheck knows no op "{name}" that a function could be like'
        + (f': is it "{nearest[0]}"?' if nearest else f": choose one of {', '.join(sorted(SUBJECTS))}")
    )


def _wanted(subject: Subject, candidate: Candidate, fixed: dict[str, Any], inputs: Sequence[Any] | None) -> Wanted:
    """Which calls both can take. Raises ArgumentError if there are none."""
    fixed = {**candidate.fixed, **fixed}
    known = inspect.signature(subject.function).parameters
    if unknown := [name for name in fixed if name not in known]:
        raise ArgumentError(f"gradcheck: {subject.op} has no option {unknown[0]}, it takes {', '.join(known)}")
    if missing := [name for name in subject.required if name not in fixed and not candidate.takes(name)]:
        raise ArgumentError(
            f"{subject.op} needs {missing[0]}, which {candidate.name} does not name: give it a parameter of that name, "
            f"or say what it has built in, with like=partial(ops.{subject.op}, {missing[0]}=...)"
        )
    most = len(subject.arrays)
    taken = most if candidate.arrays is None else min(most, len(candidate.arrays))
    arrays = taken if inputs is None else len(inputs)
    if not most - subject.optional <= arrays <= taken:
        raise ArgumentError(
            f"{subject.op} takes {', '.join(subject.arrays)}, {candidate.name} "
            + (f"({', '.join(candidate.arrays)})" if candidate.arrays is not None else "any number")
            + ("" if inputs is None else f", and {arrays} inputs are given")
        )
    ranks = None if inputs is None else tuple(np.ndim(array_of(x)) for x in inputs)
    options = None if candidate.options is None else tuple(o for o in candidate.options if o not in fixed)
    return Wanted(arrays, ranks, options, fixed)


def _without_refused(subject: Subject, candidate: Candidate, wanted: Wanted, seed: int) -> Subject:
    """The op without values of options, such as pairs and "same", for which the function raises: it does not have them.

    Numbers are not left out: a stride of 2 that crashes is a mistake.
    """

    def takes(name: str, value: Any) -> bool:
        plain = Wanted(wanted.arrays, wanted.ranks, tuple(subject.required), {**wanted.fixed, name: value})
        return all(result_of(candidate, case).y is not None for case in subject.cases(plain, 1, seed))

    options = {
        name: tuple(v for v in values if v is values[0] or isinstance(v, int | float) or takes(name, v))
        for name, values in subject.options.items()
        if name not in wanted.fixed and (wanted.options is None or name in wanted.options)
    }
    return replace(subject, options={**subject.options, **options})


def _given(subject: Subject, wanted: Wanted, inputs: Sequence[Any], seed: int) -> Case:
    """The call that the user gave, with the plainest options: defaults may differ."""
    arrays = tuple(np.asarray(array_of(x)) for x in inputs)
    arrays = tuple(array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays)
    named = subject.options if wanted.options is None else wanted.options
    options = {**{name: subject.options[name][0] for name in named}, **wanted.fixed}
    cotangent = subject.cotangent(arrays, options, np.random.default_rng(seed))
    if cotangent is None:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ArgumentError(f"ops.{subject.op} does not take inputs of shapes {shapes}, or gives nothing for them")
    return Case(arrays, cotangent, options)


def _bound(candidate: Candidate, case: Case) -> Callable[..., Any]:
    """The function with the options of a call, under its own name."""

    def function(*arrays: Any) -> Any:
        return candidate(*arrays, **case.options)

    function.__name__ = candidate.name
    return function
