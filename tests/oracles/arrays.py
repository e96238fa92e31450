"""Naive oracles of what arrays do besides arithmetic: functions, statistics, picking, moving about, padding, einsum."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from . import naive
from .naive import axes_of, elementwise, filled, flat, of, reduction

Index = tuple[int, ...]

# --- functions of one number ------------------------------------------------------------------------------------------

log1p = of(math.log1p)
expm1 = of(math.expm1)
sin = of(math.sin)
cos = of(math.cos)
reciprocal = of(lambda x: 1 / x)
square = of(lambda x: x * x)
sign = of(lambda x: 1.0 if x > 0 else -1.0 if x < 0 else 0.0)
floor = of(math.floor)
round = of(lambda x: float(f"{x:.0f}"))  # printing rounds to even, too


def clip(x, low=None, high=None, min=None, max=None):
    """Bounds are arrays (low, high) or numbers (min, max)."""
    bounds = [np.array(b) for b in (low if min is None else min, high if max is None else max) if b is not None]
    lower, upper = (low is not None or min is not None), (high is not None or max is not None)

    def number(x, *bounds):
        if lower and x < bounds[0]:
            x = bounds[0]
        return bounds[-1] if upper and x > bounds[-1] else x

    return elementwise(number, x, *bounds)


# --- statistics -------------------------------------------------------------------------------------------------------


def _variance(numbers, correction):
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - correction)


def _log_sum_exp(numbers):
    """The larger numbers factored out one by one: ln(eᵃ + eᵇ) = a + ln(1 + e^(b − a)) for a ≥ b."""
    total = -math.inf
    for number in sorted(numbers):
        high, low = (number, total) if number > total else (total, number)
        total = high + math.log1p(math.exp(low - high))
    return total


def var(x, axis=None, keepdims=False, correction=0):
    return reduction(lambda numbers: _variance(numbers, correction))(x, axis, keepdims)


def std(x, axis=None, keepdims=False, correction=0):
    return reduction(lambda numbers: math.sqrt(_variance(numbers, correction)))(x, axis, keepdims)


logsumexp = reduction(_log_sum_exp)
prod = reduction(math.prod)
argmin = reduction(lambda numbers: numbers.index(sorted(numbers)[0]))


# --- picking by position ----------------------------------------------------------------------------------------------


def replaced(index: Index, axis: int, position: int) -> Index:
    return (*index[:axis], position, *index[axis + 1 :])


def gather(x, axis, index):
    axis, index = axis % x.ndim, np.asarray(index)
    return filled(index.shape, lambda place: x[replaced(place, axis, int(index[place]))])


def scatter_add(x, src, axis, index):
    axis, total = axis % x.ndim, x.copy()
    for place in np.ndindex(*src.shape):
        total[replaced(place, axis, int(index[place]))] += src[place]
    return total


def take(x, indices, axis):
    indices = np.asarray(indices)
    if axis is None:
        numbers = flat(x)
        return filled(indices.shape, lambda place: numbers[indices[place]])
    axis %= x.ndim

    def number(place):
        before, middle, after = place[:axis], place[axis : axis + indices.ndim], place[axis + indices.ndim :]
        return x[(*before, int(indices[middle]), *after)]

    return filled((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), number)


# --- moving about -----------------------------------------------------------------------------------------------------


def swapaxes(x, axis1, axis2):
    a, b = axis1 % x.ndim, axis2 % x.ndim

    def swapped(index):
        index = list(index)
        index[a], index[b] = index[b], index[a]
        return tuple(index)

    return filled(swapped(x.shape), lambda index: x[swapped(index)])


def moveaxis(x, source, destination):
    """One permutation after the other is tried, until one has the axes where they should be and the others in order."""
    source, destination = ([a % x.ndim for a in ([v] if isinstance(v, int) else v)] for v in (source, destination))
    for axes in itertools.permutations(range(x.ndim)):
        others = [axis for axis in axes if axis not in source]
        if all(axes[d] == s for s, d in zip(source, destination, strict=True)) and others == sorted(others):
            return naive.transpose(x, axes)
    raise AssertionError


def parts(x, sizes, axis):
    """The stretches of x along axis, one after the other."""
    start = 0
    for size in sizes:
        shape = replaced(x.shape, axis, size)
        yield filled(shape, lambda index, start=start: x[replaced(index, axis, index[axis] + start)])
        start += size
    assert start == x.shape[axis]


def split(x, sections, axis):
    """The parts in reverse order, joined again: so the row of the op table has one result."""
    axis %= x.ndim
    sizes = [x.shape[axis] // sections] * sections if isinstance(sections, int) else sections
    return naive.concat(*reversed(list(parts(x, sizes, axis))), axis=axis)


def chunk(x, chunks, axis):
    axis %= x.ndim
    length, sizes = math.ceil(x.shape[axis] / chunks), []
    while sum(sizes) < x.shape[axis]:
        sizes.append(min(length, x.shape[axis] - sum(sizes)))
    return naive.concat(*reversed(list(parts(x, sizes or [0], axis))), axis=axis)


def flip(x, axis):
    axes = axes_of(axis, x.ndim)
    return filled(
        x.shape,
        lambda index: x[tuple(n - 1 - i if a in axes else i for a, (i, n) in enumerate(zip(index, x.shape)))],  # noqa: B905
    )


def roll(x, shift, axis):
    if axis is None:
        numbers = flat(x)
        return naive.reshape(np.array([numbers[(i - shift) % len(numbers)] for i in range(len(numbers))]), x.shape)
    result = np.zeros(x.shape)
    pairs = [(shift, axis)] if isinstance(axis, int) else list(zip(shift, axis, strict=True))
    for index in np.ndindex(*x.shape):
        target = list(index)
        for by, a in pairs:
            target[a] = (target[a] + by) % x.shape[a]
        result[tuple(target)] = x[index]
    return result


def repeat(x, repeats, axis):
    if axis is None:
        x, axis = naive.reshape(x, (-1,)), 0
    axis %= x.ndim
    counts = [repeats] * x.shape[axis] if isinstance(repeats, int) else repeats
    sources = [i for i, count in enumerate(counts) for _ in range(count)]
    return filled(replaced(x.shape, axis, len(sources)), lambda index: x[replaced(index, axis, sources[index[axis]])])


def tile(x, reps):
    """Each axis in turn, from the last: x joined to itself."""
    reps = [reps] if isinstance(reps, int) else list(reps)
    while x.ndim < len(reps):
        x = naive.expand_dims(x, 0)
    for axis, count in zip(reversed(range(x.ndim)), reversed(reps), strict=False):
        shape = replaced(x.shape, axis, count * x.shape[axis])
        x = filled(shape, lambda index, x=x, axis=axis: x[replaced(index, axis, index[axis] % x.shape[axis])])
    return x


def broadcast_arrays(*arrays):
    """All of them, side by side along a new last axis."""
    shape = naive.broadcast_shape(*(array.shape for array in arrays))
    return naive.stack(*(naive.broadcast_to(array, shape) for array in arrays), axis=-1)


def tril(x, k=0):
    return filled(x.shape, lambda index: x[index] if index[-1] <= index[-2] + k else 0.0)


def triu(x, k=0):
    return filled(x.shape, lambda index: x[index] if index[-1] >= index[-2] + k else 0.0)


# --- padding ----------------------------------------------------------------------------------------------------------


def _step_inside(i: int, n: int, mode: str) -> int:
    """From a place in or outside of 0 … n − 1, walk to the place it copies."""
    while not 0 <= i < n:
        if mode == "reflect":
            i = -i if i < 0 else 2 * (n - 1) - i
        else:
            i += 1 if i < 0 else -1
    return i


def pad_with_copies(x, widths, mode):
    shape = tuple(before + size + after for size, (before, after) in zip(x.shape, widths, strict=True))

    def number(index):
        places = zip(index, x.shape, widths, strict=True)
        return x[tuple(_step_inside(i - before, n, mode) for i, n, (before, _) in places)]

    return filled(shape, number)


# --- einsum -----------------------------------------------------------------------------------------------------------


def axes_named(term: str, rest: int) -> list:
    """A name for each axis: its letter, or for those of "..." their number from −rest to −1."""
    before, dots, after = term.partition("...")
    return [*before, *(range(-rest, 0) if dots else ()), *after]


def einsum(*operands, formula):
    """Every assignment of numbers to names, one after the other."""
    inputs, arrow, output = formula.replace(" ", "").partition("->")
    terms = inputs.split(",")
    rests = [x.ndim - len(term.replace("...", "")) for x, term in zip(operands, terms, strict=True)]
    named = [axes_named(term, rest) for term, rest in zip(terms, rests, strict=True)]
    sizes: dict = {}
    for names, x in zip(named, operands, strict=True):
        for name, size in zip(names, x.shape, strict=True):
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    if not arrow:
        once = sorted(name for name in set(inputs) - {",", "."} if inputs.count(name) == 1)
        output = "..." * ("..." in inputs) + "".join(once)
    result_names = axes_named(output, max(rests))
    result = np.zeros([sizes[name] for name in result_names])
    for values in itertools.product(*(range(size) for size in sizes.values())):
        at = dict(zip(sizes, values, strict=True))
        term = 1.0
        for names, x in zip(named, operands, strict=True):
            term *= x[tuple(0 if n == 1 else at[name] for name, n in zip(names, x.shape, strict=True))]
        result[tuple(at[name] for name in result_names)] += term
    return result


# --- the gradients that are promised where there is no derivative -----------------------------------------------------


def no_gradient(gy, x):
    """Of steps."""
    return [np.zeros(x.shape)]


def bounds_belong_to_x(gy, x, low=None, high=None, min=None, max=None):
    """clip: the gradient goes to x on the bounds too; outside, to the bound; to high where the bounds are crossed."""
    low, high = (np.array(n) if n is not None else array for n, array in ((min, low), (max, high)))
    places = {"x": x, "low": low, "high": high}
    gradients = {name: np.zeros(array.shape) for name, array in places.items() if array is not None}
    for index in np.ndindex(*gy.shape):
        a, lo, hi = (None if array is None else naive.at(array, index) for array in places.values())
        raised = lo if lo is not None and a < lo else a
        winner = "high" if hi is not None and raised > hi else "low" if lo is not None and a < lo else "x"
        g = gradients[winner]
        own = index[len(index) - g.ndim :]
        g[tuple(0 if size == 1 else i for i, size in zip(own, g.shape, strict=True))] += gy[index]
    given: Any = [gradients["x"]]
    given += [gradients["low"]] if low is not None and min is None else []
    return given + ([gradients["high"]] if high is not None and max is None else [])
