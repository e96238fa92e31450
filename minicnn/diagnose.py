"""diagnose: from the residual of a wrong gradient, guess what is missing in the backward that made it.

Given the analytic gradient and a numeric one, element by element, each rule below knows one classic mistake and the
trace it leaves; the first rule that explains every element speaks. These are guesses: two mistakes can leave one trace.
A name is given elsewhere (causes/), where it can be proved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

CLOSE = 1e-5  # relative to the largest element: what finite differences reach element by element, with room


class Evidence(NamedTuple):
    """What is known about one input x of y = f(x) and its gradient. The first four arrays have one shape.

    closest[i]: of the terms whose sum is numeric[i], one for each output (or each window) that reads x[i], the one
    nearest to analytic[i]. readers[i]: how many outputs (of images: windows) read x[i].
    y: the output, if there is one only and it has the shape of x, else None.
    """

    analytic: np.ndarray
    numeric: np.ndarray
    x: np.ndarray
    closest: np.ndarray
    readers: np.ndarray
    y: np.ndarray | None = None


def gather(
    terms: Callable[[np.ndarray], list[np.ndarray]], analytic: np.ndarray, x: np.ndarray, y: np.ndarray | None
) -> Evidence:
    """The evidence about x, one element after the other: terms(direction) gives c·(J·direction) for each output."""
    numeric, closest, readers = np.zeros_like(x), np.zeros_like(x), np.zeros(x.shape, int)
    for i in range(x.size):
        one = np.zeros_like(x)
        one.flat[i] = 1
        outputs = terms(one)
        windows = [t.sum(axis=1) for t in outputs if t.ndim == 4]  # (N, K, P, Q): K outputs read one window
        parts = np.concatenate([t.ravel() for t in outputs + windows])
        parts = parts[parts != 0]
        numeric.flat[i] = sum(t.sum() for t in outputs)
        closest.flat[i] = parts[np.abs(parts - analytic.flat[i]).argmin()] if parts.size else 0
        readers.flat[i] = sum(np.count_nonzero(t.any(axis=1) if t.ndim == 4 else t) for t in outputs)
    return Evidence(analytic, numeric, x, closest, readers, y)


def diagnose(evidence: Evidence) -> str:
    """One clause, "looks like ...", or where and how much the gradient is wrong if no rule explains it."""
    if not np.isfinite(evidence.analytic).all():
        return (
            f"{np.count_nonzero(~np.isfinite(evidence.analytic))} of {evidence.analytic.size} elements are NaN or inf"
        )
    if _close(evidence.analytic, evidence.numeric):
        return f"element by element it is right to {CLOSE:.0e}: the error is small, or changes from call to call"
    for rule in RULES:
        guess = rule(evidence)
        if guess:
            return f"a guess: it looks like {guess}"
    return where_wrong(evidence.analytic, evidence.numeric)


def look_of(given: np.ndarray, right: np.ndarray) -> str:
    """The same of an output, beside the right one."""
    if given.shape != right.shape:
        return f"it has shape {given.shape}, right is {right.shape}"
    if not np.isfinite(given).all():
        return f"{np.count_nonzero(~np.isfinite(given))} of {given.size} elements are NaN or inf"
    evidence = Evidence(given, right, right, np.zeros_like(right), np.zeros(right.shape, int))
    for rule in (zero, factor, transposed, flipped, shifted, constant_missing, permuted):
        guess = rule(evidence)
        if guess:
            for said, meant in (
                ("a gradient", "an output"),
                ("gradient", "output"),
                ("analytic", "given"),
                ("numeric", "right"),
            ):
                guess = guess.replace(said, meant)
            return f"a guess: it looks like {guess}"
    return where_wrong(given, right)


def where_wrong(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """How many elements are wrong, and which the most."""
    error = np.abs(analytic - numeric)
    wrong = np.count_nonzero(error > CLOSE * _largest(analytic, numeric))
    worst = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
    return f"wrong at {wrong} of {error.size} elements, worst at index {worst}"


def table(analytic: np.ndarray, numeric: np.ndarray, names: Sequence[str] = ("analytic", "numeric")) -> str:
    """The worst few elements, one a line."""
    error = np.abs(analytic - numeric)
    worst = np.argsort(-np.nan_to_num(error, nan=np.inf).ravel(), kind="stable")[:5]
    lines = [f"  {'index':>16} {names[0]:>15} {names[1]:>15}"]
    for place in worst:
        index = tuple(int(i) for i in np.unravel_index(place, error.shape))
        lines.append(f"  {index!s:>16} {analytic.flat[place]:>15.7g} {numeric.flat[place]:>15.7g}")
    return "\n".join(lines)


def shape_hint(message: str) -> str:
    """Why a gradient may have the wrong shape, from the engine's message about it; "" if it is about other things."""
    shapes = [tuple(map(int, re.findall(r"\d+", found))) for found in re.findall(r"of shape \(([^)]*)\)", message)]
    if len(shapes) != 2 or shapes[0] == shapes[1]:
        return ""
    given, wanted = shapes
    if sorted(given) == sorted(wanted):
        return "; looks like a transposed gradient"
    try:
        common = np.broadcast_shapes(given, wanted)
    except ValueError:
        return "; looks like the gradient of another input"
    if common == given:
        return f"; looks like a broadcast that was not summed: .sum_to({wanted}) is missing"
    return "; looks like a gradient that was summed but not broadcast back"


# --- the rules --------------------------------------------------------------------------------------------------------


def zero(e: Evidence) -> str:
    return "" if e.analytic.any() else "a gradient that is all zero, or never computed, where the function does change"


def factor(e: Evidence) -> str:
    """One number times the right gradient: a forgotten derivative of a square, a mean taken for a sum."""
    where = np.abs(e.numeric).argmax()
    ratio = float(e.analytic.flat[where] / (e.numeric.flat[where] or np.inf))
    if not _close(e.analytic, ratio * e.numeric) or not ratio:
        return ""
    if abs(ratio + 1) < CLOSE:
        return "a flipped sign: analytic = −numeric"
    if abs(ratio) < 0.75 and abs(1 / ratio - round(1 / ratio)) < 1e-4:
        named = f"1/{round(1 / ratio)}"
    else:
        named = f"{ratio:.6g}"
    return f"a constant factor {named}: analytic = {named} × numeric"


def unfounded(e: Evidence) -> str:
    if not _close(e.numeric, 0, e.analytic):
        return ""
    return "the gradient of something that the function does not depend on: by differences it is zero"


def transposed(e: Evidence) -> str:
    """The right numbers with the last two axes swapped, or written down in the order of the transpose."""
    if e.x.ndim < 2:
        return ""
    *outer, rows, columns = e.x.shape
    swapped = np.swapaxes(e.analytic.reshape(*outer, columns, rows), -1, -2)
    return "a transposed gradient: with the last two axes swapped it is right" if _close(swapped, e.numeric) else ""


def flipped(e: Evidence) -> str:
    """A kernel turned around: convolution for cross-correlation."""
    for axes in subsets(e.x.ndim):
        if _close(np.flip(e.analytic, axes), e.numeric):
            return f"a gradient flipped along {_axes(axes)} (convolution for cross-correlation?)"
    return ""


def shifted(e: Evidence) -> str:
    """Padding on the wrong side: right except that everything stands one place further along an axis."""
    for axis, size in enumerate(e.x.shape):
        if size < 3:
            continue
        first, last = (np.delete(np.arange(size), place) for place in (-1, 0))
        for here, there, name in ((last, first, "forward"), (first, last, "back")):
            numeric = e.numeric.take(there, axis)
            if numeric.any() and _close(e.analytic.take(here, axis), numeric):
                return f"a gradient shifted by one along axis {axis}, {name} (padding or stride off by one?)"
    return ""


def overwritten(e: Evidence) -> str:
    """y = x[i] + x[j] read an element twice, but only one of the gradients that come back is kept."""
    if not _close(e.analytic, e.closest, e.numeric):
        return ""
    return (
        "overwriting: each element holds the gradient from one only of the outputs (windows) that read it; "
        "several reach it, through a broadcast or overlapping windows, and must be summed (+=, not =)"
    )


def counted(e: Evidence) -> str:
    """Whole-number ratios that differ from place to place: the number of windows that overlap there, or of ties."""
    seen = np.abs(e.numeric) > CLOSE * _largest(e.numeric)
    if not _close(e.analytic[~seen], 0, e.numeric) or not e.analytic[seen].all():
        return ""
    for over, under, what in (
        (e.numeric, e.analytic, "divided by how often each element is used (averaged where it should be summed)"),
        (e.analytic, e.numeric, "counted several times at some elements (ties, overlapping windows)"),
    ):
        ratio = over[seen] / under[seen]
        whole = np.rint(ratio)
        if np.abs(ratio - whole).max() < 1e-4 and 1 <= whole.min() < whole.max() <= 1000:
            overlap = ", at each place the number of windows that overlap there"
            of_what = overlap if np.array_equal(whole, e.readers[seen]) else ""
            return f"a gradient {what}: ratios are whole numbers from {whole.min():.0f} to {whole.max():.0f}{of_what}"
    return ""


def constant_missing(e: Evidence) -> str:
    """x was centred, y = x − mean(x), and the backward forgot that the mean depends on every element."""
    residual = e.analytic - e.numeric
    for axes in subsets(e.x.ndim):
        if all(e.x.shape[axis] > 1 for axis in axes) and _close(
            residual, residual.mean(axes, keepdims=True), e.numeric
        ):
            return f"a missing mean term: analytic − numeric is constant along {_axes(axes)}"
    return ""


def linear_missing(e: Evidence) -> str:
    """Batch norm: what its mean and variance contribute is α + β·x in each channel."""
    for axes in subsets(e.x.ndim):
        if _explained(e.analytic - e.numeric, e.x, axes, e.numeric):
            return (
                "missing terms of a mean and a variance: analytic − numeric is α + β·x, a sum of multiples of 1 and x̂, "
                f"along {_axes(axes)}"
            )
    return ""


def output_missing(e: Evidence) -> str:
    """Softmax: gx = y·(gy − Σ gy·y), and the sum was forgotten; the residual is a multiple of y."""
    if e.y is None:
        return ""
    for axes in subsets(e.x.ndim):
        if _explained(e.analytic - e.numeric, e.y, axes, e.numeric, constant=False):
            return (
                f"a missing sum, as softmax has one: analytic − numeric is a multiple of the output along {_axes(axes)}"
            )
    return ""


def wrongly_summed(e: Evidence) -> str:
    """Summed or averaged along an axis that x does have, and broadcast back."""
    for axes in subsets(e.x.ndim):
        for reduce, name in ((np.sum, "summed"), (np.mean, "averaged")):
            if _close(e.analytic, np.broadcast_to(reduce(e.numeric, axes, keepdims=True), e.x.shape)):
                return f"a gradient {name} along {_axes(axes)} and broadcast back, where each element has its own"
    return ""


def misplaced(e: Evidence) -> str:
    """The sums are right, what each element gets is not: a gradient put all in one place, say."""
    for axes in reversed(list(subsets(e.x.ndim))):
        total = e.numeric.sum(axes, keepdims=True)
        if _close(e.analytic.sum(axes, keepdims=True), total) and np.abs(total).max() > 1e-3 * _largest(e.numeric):
            return f"a gradient with the right sum along {_axes(axes)}, but wrongly distributed over it"
    return ""


def permuted(e: Evidence) -> str:
    """Axes in the wrong order, groups or indices off: nothing is lost, but it lies elsewhere."""
    if not _close(np.sort(e.analytic, axis=None), np.sort(e.numeric, axis=None)):
        return ""
    return "the right numbers in the wrong places (order of axes, index of a group?)"


RULES = (
    zero, factor, unfounded, transposed, flipped, shifted, overwritten, counted, constant_missing, linear_missing,
    output_missing, wrongly_summed, permuted, misplaced,
)  # fmt: skip


def subsets(ndim: int) -> Iterator[tuple[int, ...]]:
    """Every choice of axes, the largest first: (0, 1), (0,), (1,)."""
    for count in range(ndim, 0, -1):
        yield from combinations(range(ndim), count)


def _explained(
    residual: np.ndarray, by: np.ndarray, axes: tuple[int, ...], scale: np.ndarray, constant: bool = True
) -> bool:
    """Whether residual = α + β·by along axes (α = 0 unless constant), with more elements than unknowns to tell."""
    if np.prod([by.shape[axis] for axis in axes]) < 4:
        return False
    if constant:
        residual = residual - residual.mean(axes, keepdims=True)
        by = by - by.mean(axes, keepdims=True)
    square = (by * by).sum(axes, keepdims=True)
    slope = (residual * by).sum(axes, keepdims=True) / np.where(square > 0, square, 1)
    return _close(residual, slope * by, scale)


def _largest(*arrays: np.ndarray) -> float:
    return max(float(np.abs(array).max(initial=0)) for array in arrays)


def _close(a: np.ndarray, b: np.ndarray | float, scale: np.ndarray | None = None) -> bool:
    """Equal to what finite differences can tell, relative to the largest element of scale (or else of b)."""
    limit = _largest(np.asarray(b) if scale is None else scale)
    return bool(np.abs(a - b).max(initial=0) <= CLOSE * limit)


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
