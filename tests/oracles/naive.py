"""Naive oracles for everything but windows and random numbers: one number at a time, sums by math.fsum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np


def filled(shape: tuple[int, ...], number: Callable) -> np.ndarray:
    """The array whose element at `index` is number(index)."""
    result = np.zeros(shape)
    for index in np.ndindex(*shape):
        result[index] = number(index)
    return result


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Align at the right; of two sizes one must be 1, or both are equal."""
    result = []
    for sizes in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        larger = {size for size in sizes if size != 1}
        assert len(larger) <= 1, shapes
        result.append(larger.pop() if larger else 1)
    return tuple(reversed(result))


def at(array: np.ndarray, index: tuple[int, ...]) -> Any:
    """The element that `index`, of a shape to which array broadcasts, refers to."""
    own = index[len(index) - array.ndim :]
    return array[tuple(0 if size == 1 else i for i, size in zip(own, array.shape, strict=True))]


def elementwise(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """function of each tuple of numbers that broadcasting brings together."""
    shape = broadcast_shape(*(array.shape for array in arrays))
    return filled(shape, lambda index: function(*(at(array, index) for array in arrays)))


# --- arithmetic -------------------------------------------------------------------------------------------------------


def of(function: Callable) -> Callable:
    """The oracle of an op that is one function of numbers."""
    return lambda *arrays: elementwise(function, *arrays)


add = of(lambda a, b: a + b)
sub = of(lambda a, b: a - b)
mul = of(lambda a, b: a * b)
div = of(lambda a, b: a / b)
neg = of(lambda x: -x)
exp = of(math.exp)
log = of(math.log)
sqrt = of(math.sqrt)
absolute = of(lambda x: -x if x < 0 else x)
maximum = of(lambda a, b: a if a > b else b)
minimum = of(lambda a, b: a if a < b else b)
power_of_tensors = of(math.pow)
relu = of(lambda x: x if x > 0 else 0.0)
tanh = of(math.tanh)
sigmoid = of(lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)))
scaled_tanh = of(lambda x: 1.7159 * math.tanh(2 * x / 3))


def power(x, exponent):
    return elementwise(lambda a: math.pow(a, exponent), x)


def where(a, b, condition):
    return elementwise(lambda c, p, q: p if c else q, condition, a, b)


def compare(a, b, how):
    relation = {
        "less": lambda p, q: p < q,
        "less_equal": lambda p, q: p < q or p == q,
        "greater": lambda p, q: p > q,
        "greater_equal": lambda p, q: p > q or p == q,
        "equal": lambda p, q: p == q,
        "not_equal": lambda p, q: p != q,
    }[how]
    return elementwise(relation, a, b).astype(bool)


def cast(x, dtype):
    convert = {"float32": np.float32, "float64": np.float64, "int64": math.trunc}[dtype]
    return elementwise(convert, x)


# --- reductions -------------------------------------------------------------------------------------------------------


def axes_of(axis: Any, ndim: int) -> set[int]:
    if axis is None:
        return set(range(ndim))
    return {a + ndim if a < 0 else a for a in (axis if isinstance(axis, tuple) else (axis,))}


def reduction(function: Callable) -> Callable:
    """The oracle of function(list of the numbers that one element of the result is made of)."""

    def reduce(x, axis=None, keepdims=False):
        axes = axes_of(axis, x.ndim)
        kept = tuple(1 if a in axes else size for a, size in enumerate(x.shape))
        parts: dict = {index: [] for index in np.ndindex(*kept)}
        for index in np.ndindex(*x.shape):
            parts[tuple(0 if a in axes else i for a, i in enumerate(index))].append(x[index])
        result = filled(kept, lambda index: function(parts[index]))
        return result if keepdims else result.reshape([size for a, size in enumerate(x.shape) if a not in axes])

    return reduce


sum = reduction(math.fsum)
mean = reduction(lambda numbers: math.fsum(numbers) / len(numbers))
max = reduction(lambda numbers: sorted(numbers)[-1])
min = reduction(lambda numbers: sorted(numbers)[0])
argmax = reduction(lambda numbers: numbers.index(sorted(numbers)[-1]))


def sum_to(x, shape):
    result = np.zeros(shape)
    for index in np.ndindex(*x.shape):
        own = index[x.ndim - len(shape) :]
        result[tuple(0 if size == 1 else i for i, size in zip(own, shape, strict=True))] += x[index]
    return result


def along(axis: int, function: Callable) -> Callable:
    """function(list of numbers) -> list of numbers, applied to every line along one axis."""

    def apply(x):
        result = np.zeros(x.shape)
        lines = [range(size) if a != axis % x.ndim else [slice(None)] for a, size in enumerate(x.shape)]
        for line in itertools.product(*lines):
            result[line] = function([float(number) for number in x[line]])
        return result

    return apply


def _softmax(numbers):
    """Divided through by the largest term, so that none is larger than 1."""
    largest = sorted(numbers)[-1] if numbers else 0.0
    terms = [math.exp(number - largest) for number in numbers]
    return [term / math.fsum(terms) for term in terms]


def _log_softmax(numbers):
    largest = sorted(numbers)[-1] if numbers else 0.0
    log_sum = math.log(math.fsum(math.exp(number - largest) for number in numbers)) if numbers else 0.0
    return [number - largest - log_sum for number in numbers]


def softmax(x, axis):
    return along(axis, _softmax)(x)


def log_softmax(x, axis):
    return along(axis, _log_softmax)(x)


# --- shape ------------------------------------------------------------------------------------------------------------


def flat(x) -> list:
    """The numbers in row-major order."""
    return [x[index] for index in np.ndindex(*x.shape)]


def reshape(x, shape):
    known = math.prod(size for size in shape if size != -1)
    numbers = iter(flat(x))
    return filled(tuple(x.size // known if size == -1 else size for size in shape), lambda _: next(numbers))


def flatten(x, start_axis):
    return reshape(x, (*x.shape[:start_axis], math.prod(x.shape[start_axis:])))


def transpose(x, axes):
    axes = [a % x.ndim for a in axes]
    result = np.zeros([x.shape[a] for a in axes])
    for index in np.ndindex(*x.shape):
        result[tuple(index[a] for a in axes)] = x[index]
    return result


def broadcast_to(x, shape):
    return filled(shape, lambda index: at(x, index))


def squeeze(x, axis):
    gone = {a for a, size in enumerate(x.shape) if size == 1} if axis is None else axes_of(axis, x.ndim)
    return reshape(x, tuple(size for a, size in enumerate(x.shape) if a not in gone))


def expand_dims(x, axis):
    shape = list(x.shape)
    shape.insert(axis if axis >= 0 else axis + x.ndim + 1, 1)
    return reshape(x, tuple(shape))


def positions(index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Where in row-major order each number of x[index] comes from; NumPy's indexing is the definition itself."""
    return np.arange(math.prod(shape)).reshape(shape)[index]


def getitem(x, index):
    numbers, source = flat(x), np.asarray(positions(index, x.shape))
    return filled(source.shape, lambda place: numbers[source[place]])


def add_at(v, index, shape):
    total, target = [0.0] * math.prod(shape), np.asarray(positions(index, shape))
    for place in np.ndindex(*target.shape):
        total[target[place]] += v[place]
    return np.array(total).reshape(shape)


def concat(*arrays, axis):
    axis %= arrays[0].ndim
    lines = [(array, i) for array in arrays for i in range(array.shape[axis])]
    shape = (*arrays[0].shape[:axis], len(lines), *arrays[0].shape[axis + 1 :])

    def number(index):
        array, i = lines[index[axis]]
        return array[(*index[:axis], i, *index[axis + 1 :])]

    return filled(shape, number)


def stack(*arrays, axis):
    axis = axis if axis >= 0 else axis + arrays[0].ndim + 1
    shape = list(arrays[0].shape)
    shape.insert(axis, len(arrays))
    return filled(tuple(shape), lambda index: arrays[index[axis]][(*index[:axis], *index[axis + 1 :])])


def pad(x, widths, value=0.0):
    shape = tuple(before + size + after for size, (before, after) in zip(x.shape, widths, strict=True))
    result = filled(shape, lambda _: value)
    for index in np.ndindex(*x.shape):
        result[tuple(i + before for i, (before, _) in zip(index, widths, strict=True))] = x[index]
    return result


# --- products -------------------------------------------------------------------------------------------------------


def matmul(a, b):
    """A vector is a row on the left and a column on the right, and its axis of size 1 drops out of the result."""
    left, right = np.array(a, ndmin=2), b[:, None] if b.ndim == 1 else b
    shape = (*broadcast_shape(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])

    def number(index):
        *batch, m, n = index
        terms = range(left.shape[-1])
        return math.fsum(at(left, (*batch, m, k)) * at(right, (*batch, k, n)) for k in terms)

    y = filled(shape, number)
    y = y[..., 0] if b.ndim == 1 else y
    return y if a.ndim > 1 else y[..., 0, :] if b.ndim > 1 else y[..., 0]


def linear(x, w, b):
    def number(index):
        *row, o = index
        return math.fsum([w[o, i] * x[(*row, i)] for i in range(w.shape[1])] + ([] if b is None else [b[o]]))

    return filled((*x.shape[:-1], w.shape[0]), number)
