"""The smallest call that still fails, written down as Python.

Sizes and options are made smaller and plainer, one at a time, as long as the call fails in the same way and the op says
that it still tells something; then the numbers are rounded. What is left is printed as code that runs by itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .candidate import Candidate
from .causes.subject import Case, Subject, Wanted, smooth

WIDTH = 100


def smallest(subject: Subject, case: Case, wanted: Wanted, fails: Callable[[Case], bool]) -> Case:
    """The smallest call, from this one on, for which fails(call) holds."""
    if case.sizes:
        smaller: Case | None = case
        while smaller is not None:
            case = smaller
            smaller = next((c for c in _smaller(subject, case, wanted) if fails(c)), None)
    for decimals in (1, 2):
        arrays = (np.round(a, decimals) + 0.0 if a.dtype.kind == "f" else a for a in case.arrays)  # + 0.0: no −0.0
        rounded = replace(case, arrays=tuple(arrays), cotangent=np.round(case.cotangent, 1) + 0.0)
        if (subject.values is smooth or _as_far_apart(case, rounded)) and fails(rounded):
            return rounded
    return case


def _smaller(subject: Subject, case: Case, wanted: Wanted) -> Iterator[Case]:
    """Calls that are smaller or plainer in one thing; the plainest first."""

    def made(sizes: dict[str, int], options: dict[str, Any]) -> Iterator[Case]:
        smaller = subject.case(sizes, options, case.form, case.seed, wanted)
        if smaller:
            yield smaller

    for name, values in subject.options.items():
        if name in case.options and name not in wanted.fixed and case.options[name] in values:
            for value in values[: values.index(case.options[name])]:
                yield from made(case.sizes, {**case.options, name: value})
    for letter, (least, _, _) in subject.sizes.items():
        for size in dict.fromkeys((least, case.sizes[letter] - 1)):
            if least <= size < case.sizes[letter]:
                yield from made({**case.sizes, letter: size}, case.options)


def _as_far_apart(case: Case, rounded: Case) -> bool:
    """Rounding makes no two numbers equal, and none 0, if all differed before: else it could make a kink."""
    before, after = (np.concatenate([a.ravel() for a in c.arrays if a.dtype.kind == "f"]) for c in (case, rounded))
    return len(np.unique(after)) == len(np.unique(before)) and (after != 0).all()


# --- as Python --------------------------------------------------------------------------------------------------------


def snippet(subject: Subject, candidate: Candidate, case: Case, wrong: int | None, crashed: bool) -> str:
    """Code that calls both alike, prints what they give, and fails where that differs: outputs, or one gradient."""
    names = subject.arrays[: len(case.arrays)]
    options = {name: value for name, value in case.options.items() if candidate.takes(name)}
    mine = candidate.written_call(list(names), _keywords(options))
    right = subject.spelled.format(
        op=subject.op,
        first=names[0],
        rest="".join(f", {name}" for name in names[1:]),
        named="".join(f", {name}={name}" for name in names[1:]),
        options=_keywords(case.options),
    )
    lines = ["import numpy as np", f"from minicnn import Tensor, {'grad, ' if wrong is not None else ''}ops"]
    lines += [candidate.imported, ""]
    for name, array in zip(names, case.arrays, strict=True):
        numbers = f"np.array({array.tolist()!r})"
        requires = ", requires_grad=True" if wrong is not None else ""
        lines.append(f"{name} = " + (f"Tensor({numbers}{requires})" if array.dtype.kind == "f" else numbers))
    lines += [f"mine = {mine}", f"right = {right}"]
    if wrong is not None:
        lines.append(f"gy = Tensor(np.array({np.asarray(case.cotangent).tolist()!r}))")
        tracked = [names[k] for k in case.differentiated]
        for which in ("mine", "right"):
            left, asked = (f"{which}, *_", f"[{', '.join(tracked)}]") if crashed else (f"{which},", names[wrong])
            lines.append(f"({left}) = grad({which}, {asked}, gy)")
    lines += ['print(mine.numpy(), "but right is", right.numpy(), sep="\\n")']
    lines += ["np.testing.assert_allclose(mine.numpy(), right.numpy(), rtol=1e-6, atol=1e-9)"]
    return "\n".join(part for line in lines for whole in line.split("\n") for part in _wrapped(whole))


def _keywords(options: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False) or [""]
