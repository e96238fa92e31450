"""Naming the cause: a mistake is named only if planting it in the right op gives exactly what was given.

The function under judgement and the op are called with the same arrays; then each known mistake is planted in the op,
alone and with each other one, and the op is called again. What gives the same outputs and gradients, to the rounding of
float64, in every call, is the cause: not what looks like it. If nothing does, no name is given.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..device import use
from ..errors import GradcheckError
from ..function import Function, enable_grad, no_grad
from ..probing import array_of, floating, pull
from ..tensor import Tensor
from .cause import Cause
from .subject import Case, Subject, as_argument

EXACT = 1e-9  # of the largest number: the same formula, summed in another order
ZERO = 1e-12  # what rounding leaves of a difference of numbers near 1
MOST = 2  # names that cannot be told apart: with more it is a guess


Together = tuple[Cause, ...]  # one mistake, or two in one function


class Result(NamedTuple):
    """What a call gave: its output, its gradients, and what it raised instead."""

    y: np.ndarray | None = None
    gradients: tuple[np.ndarray, ...] | None = None
    error: Exception | None = None
    last_op: Function | None = None

    def at(self, place: int | None) -> np.ndarray | None:
        """The gradient at a place, or the output (None), if there is one."""
        if place is None:
            return self.y
        return None if self.gradients is None else self.gradients[place]


Call = tuple[Case, Result]


def result_of(function: Callable[..., Any], case: Case) -> Result:
    """Output and gradients of a call, as arrays; whatever it raises is part of the result."""
    arguments = [as_argument(array) for array in case.arrays]
    leaves = [arguments[k].requires_grad_() for k in case.differentiated]
    result = Result()
    try:
        with enable_grad(), np.errstate(all="ignore"):
            (output,) = floating(function(*arguments, **case.options))[:1] or [Tensor(np.zeros(0))]
            result = Result(array_of(output), last_op=output.grad_fn)
            if output.shape != case.cotangent.shape:
                return result
            cotangent = Tensor(case.cotangent.astype(output.dtype), device=output.device)
            found: list[Tensor | None] | None
            try:
                found = pull("gradcheck", [output], leaves, [cotangent])
            except GradcheckError as error:  # a shape does not fit
                result = result._replace(error=error)
                found = _as_returned(output, leaves, cotangent)
    except Exception as error:  # a student's code may raise anything
        return result._replace(error=error)
    if found is None:
        return result
    gradients = (np.zeros(x.shape) if g is None else array_of(g) for x, g in zip(leaves, found, strict=True))
    return result._replace(gradients=tuple(gradients))


def _as_returned(output: Tensor, leaves: list[Tensor], cotangent: Tensor) -> list[Tensor | None] | None:
    """The gradients of a single op as its backward returns them, in shapes that autograd refuses."""
    node = output.grad_fn
    edges = node.edges if node is not None else []
    reached = [edge.leaf for edge in edges if edge is not None and edge.leaf is not None]
    if node is None or [id(leaf) for leaf in reached] != [id(leaf) for leaf in leaves]:
        return None
    with no_grad():
        returned = node.backward(cotangent)
    returned = returned if isinstance(returned, tuple | list) else (returned,)
    return [g for edge, g in zip(edges, returned, strict=True) if edge is not None]


def result_of_op(subject: Subject, case: Case, *causes: Cause) -> Result:
    """What the op itself gives, right or with mistakes planted in it."""
    function = functools.reduce(lambda op, cause: cause.plant(op), causes, subject.function)
    with use("reference"):
        return result_of(function, case)


def close(a: np.ndarray | None, b: np.ndarray | None, within: float, zero: float = ZERO) -> bool:
    """Equal shapes, and numbers that differ by no more than this part of the largest, or less than `zero`."""
    if a is None or b is None or a.shape != b.shape:
        return a is None and b is None
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
        return False
    largest = max(float(np.abs(x[finite]).max(initial=0)) for x in (a, b))
    return float(np.abs(a[finite] - b[finite]).max(initial=0)) <= within * largest + zero


def same_gradients(a: Result, b: Result) -> bool:
    return a.error is b.error and same_result(a._replace(y=None), b._replace(y=None), EXACT)


def same_result(a: Result, b: Result, within: float, outputs_only: bool = False) -> bool:
    """Whether two calls gave the same: outputs and gradients, or the same complaint about a shape."""
    if not close(a.y, b.y, within):
        return False
    if outputs_only and a.y is not None:
        return True
    if a.gradients is None or b.gradients is None:
        same_error = a.error is b.error or (a.error and b.error and _shapes(a.error) == _shapes(b.error))
        return a.gradients is b.gradients and bool(same_error)
    return all(close(g, h, within) for g, h in zip(a.gradients, b.gradients, strict=True))


def _shapes(error: Exception) -> tuple:
    """The shapes that the engine says do not fit; who raised another error does not matter."""
    return tuple(re.findall(r"shape \(([^)]*)\)", str(error))) if isinstance(error, GradcheckError) else ()


def gives(subject: Subject, mistakes: Together, call: Call, outputs_only: bool) -> bool:
    """Whether the op with these mistakes gives the result of a call."""
    case, result = call
    return same_result(result_of_op(subject, case, *mistakes), result, EXACT, outputs_only)


def explanations(
    subject: Subject, causes: Sequence[Cause], calls: Sequence[Call], more: Sequence[Call], forward: bool
) -> list[Together]:
    """The mistakes, or pairs of them, that reproduce all results; [] if none does, or too many to tell.

    calls: one that went wrong first. more: further calls, which confirm what is found. forward: outputs went wrong, so
    they are what is reproduced; gradients only choose among the mistakes that do, or add a second one.
    """
    alone: list[Together] = [(cause,) for cause in causes]

    def reproducing(candidates: Sequence[Together], calls: Sequence[Call], outputs_only: bool) -> list[Together]:
        return [one for one in candidates if all(gives(subject, one, call, outputs_only) for call in calls)]

    outputs_only = forward
    found = reproducing(alone, calls, outputs_only)
    if not found:
        found = _unordered(reproducing(_possible_pairs(subject, causes, calls[0]), calls, outputs_only))
    elif forward and not all(same_gradients(given, result_of_op(subject, case)) for case, given in calls):
        wholly = reproducing(found, calls, False)
        if not wholly:
            with_another = [
                pair for pair in _possible_pairs(subject, causes, calls[0]) if {*found} & {(c,) for c in pair}
            ]
            wholly = _unordered(reproducing(with_another, calls, False))
        if 1 <= len(wholly) <= MOST:
            found, outputs_only = wholly, False
    found = reproducing(found, more, outputs_only)
    return found if len(found) <= MOST else []


def _possible_pairs(subject: Subject, causes: Sequence[Cause], call: Call) -> list[Together]:
    """Those that one call does not rule out: what only one of the two changes must be as that one alone makes it."""
    case, given = call
    right = result_of_op(subject, case)
    by_itself = {cause: result_of_op(subject, case, cause) for cause in causes}
    places = [None, *range(len(case.differentiated))]
    changes = {
        cause: [place for place in places if not close(result.at(place), right.at(place), EXACT)]
        for cause, result in by_itself.items()
    }

    def possible(pair: Together) -> bool:
        for place in places:
            by = [cause for cause in pair if place in changes[cause]]
            expected = by_itself[by[0]] if by else right
            if len(by) < 2 and not close(given.at(place), expected.at(place), EXACT):
                return False
        return True

    return [pair for pair in itertools.permutations(causes, 2) if possible(pair)]


def _unordered(pairs: list[Together]) -> list[Together]:
    """Each pair once, though it was planted in either order."""
    return list({frozenset(pair): pair for pair in pairs}.values())
