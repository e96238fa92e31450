"""Inputs for the op table: which calls of an op are worth trying.

A recipe makes one Case, asking `choose` for every size and option. `choose` is hypothesis in the property tests
(`strategy(recipe)`), which shrinks what fails, and a seeded generator in the fault tests (`examples(recipe, n)`), which
is quick and never changes. A Case holds no arrays but the recipe of them: its repr is code that makes it again.

Each Case is informative by itself: several images, channels and groups, height ≠ width, windows that overlap.
Sizes 0 and 1 are not left to chance: the table lists them (Op.edges).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .oracles import windows

Shape = tuple[int, ...]


# --- a case: one call of an op ----------------------------------------------------------------------------------------


def _spaced(rng, shapes):
    """Numbers at least 0.15 apart, also between arrays: no step of a difference quotient changes which is larger."""
    total = sum(math.prod(shape) for shape in shapes)
    numbers = 0.25 * (rng.permutation(total) - total / 2 + rng.uniform(0.3, 0.7, total))
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)]


def _each(draw):
    return lambda rng, shapes: [draw(rng, shape) for shape in shapes]


VALUES: dict[str, Callable] = {
    "smooth": _each(lambda rng, shape: rng.standard_normal(shape)),
    "nonzero": _each(lambda rng, shape: rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)),
    "positive": _each(lambda rng, shape: rng.uniform(0.5, 2.0, shape)),
    "distinct": _spaced,
    "pieces": _each(lambda rng, shape: rng.integers(-5, 9, shape) + rng.uniform(0.3, 0.7, shape)),  # no whole numbers
    "wide": _each(lambda rng, shape: 1.5 * rng.standard_normal(shape)),
    "threes": _each(lambda rng, shape: rng.integers(-2, 3, shape) * 3.0),
    "ties": _each(lambda rng, shape: rng.integers(-1, 2, shape).astype(np.float64)),
    "large": _each(lambda rng, shape: 1000.0 * rng.standard_normal(shape)),
    "halves": _each(lambda rng, shape: rng.integers(-4, 4, shape) + 0.5),
    "tiny": _each(lambda rng, shape: 1e-10 * rng.standard_normal(shape)),
}


@dataclass(frozen=True)
class Case:
    """One call of an op: shapes of its tensors (None: left out), its attributes, and how its numbers are drawn."""

    shapes: tuple[Shape | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    values: str = "smooth"
    seed: int = 0

    def arrays(self, dtype: Any = np.float64) -> list[np.ndarray | None]:
        """New arrays, the same numbers every time."""
        present = [shape for shape in self.shapes if shape is not None]
        drawn = iter(VALUES[self.values](np.random.default_rng(self.seed), present))
        return [None if shape is None else np.asarray(next(drawn), dtype) for shape in self.shapes]

    def cotangent(self, shape: Shape, dtype: Any = np.float64) -> np.ndarray:
        """A gradient for an output of `shape`: random, since one of ones hides whatever sums to zero."""
        return np.asarray(np.random.default_rng([self.seed, 1]).standard_normal(shape), dtype)


# --- two ways to choose -----------------------------------------------------------------------------------------------


class Choices:
    """Where a recipe gets its sizes and options from."""

    def integer(self, least: int, most: int) -> int:
        raise NotImplementedError

    def one_of(self, *options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def maybe(self) -> bool:
        return bool(self.integer(0, 1))

    def seed(self) -> int:
        return self.integer(0, 2**31)

    def shape(self, ndim: tuple[int, int] = (1, 4), size: tuple[int, int] = (2, 4)) -> Shape:
        return tuple(self.integer(*size) for _ in range(self.integer(*ndim)))

    def subset(self, *options: Any) -> tuple:
        return tuple(option for option in options if self.maybe())


class Drawn(Choices):
    """Hypothesis chooses."""

    def __init__(self, draw: Callable):
        self.draw = draw

    def integer(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))


class Seeded(Choices):
    """A pseudo-random generator chooses, the same every time."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def integer(self, least: int, most: int) -> int:
        return self.random.randint(least, most)


Recipe = Callable[[Choices], Case]


def strategy(recipe: Recipe) -> st.SearchStrategy[Case]:
    """The hypothesis strategy of a recipe."""

    @st.composite
    def case(draw: Callable) -> Case:
        return recipe(Drawn(draw))

    return case()


def examples(recipe: Recipe, count: int, first: int = 0) -> list[Case]:
    """`count` cases of a recipe, the same every time, beginning with that of the seed `first`."""
    return [recipe(Seeded(seed)) for seed in range(first, first + count)]


def companions(thorough: bool, on_host: bool) -> int:
    """How many seeded cases a property gets for each that hypothesis chooses, which takes it ten times as long as most
    properties take to check."""
    return 9 if thorough else 3 if on_host else 1


# --- elementwise and reductions ---------------------------------------------------------------------------------------


def arrays(count: int = 1, values: str = "smooth", ndim: tuple[int, int] = (1, 4)) -> Recipe:
    """`count` arrays of one shape."""

    def recipe(choose: Choices) -> Case:
        return Case((choose.shape(ndim),) * count, values=values, seed=choose.seed())

    return recipe


def with_options(recipe: Recipe, **options: Any) -> Recipe:
    """Another recipe's case with attributes: lists are chosen from, functions of `choose` are called."""

    def extended(choose: Choices) -> Case:
        case = recipe(choose)
        chosen = {name: o(choose) if callable(o) else choose.one_of(*o) for name, o in options.items()}
        return Case(case.shapes, {**case.attributes, **chosen}, case.values, case.seed)

    return extended


def _broadcastable(choose: Choices, full: Shape) -> Shape:
    """A shape that broadcasts to `full`: leading axes missing, others of size 1, in most cases not all of them."""
    kept = full[choose.one_of(0, 0, choose.integer(0, len(full))) :]
    return tuple(1 if choose.integer(0, 3) == 3 else size for size in kept)


def broadcasting(values: str = "smooth", count: int = 2) -> Recipe:
    """Arrays that broadcast against each other, each may stretch where the other does not."""

    def recipe(choose: Choices) -> Case:
        full = choose.shape((2, 4))
        shapes = [_broadcastable(choose, full) for _ in range(count)]
        return Case(tuple(shapes), values=values, seed=choose.seed())

    return recipe


def where_inputs(choose: Choices) -> Case:
    full = choose.shape((2, 4))
    condition = _broadcastable(choose, full)
    mask = np.random.default_rng(choose.seed()).integers(0, 2, condition).astype(bool)
    shapes = _broadcastable(choose, full), _broadcastable(choose, full)
    return Case(shapes, {"condition": mask}, seed=choose.seed())


def power_inputs(choose: Choices) -> Case:
    """Whole exponents also of negative numbers; others of positive ones."""
    exponent, values = choose.one_of(
        (2, "nonzero"), (3, "nonzero"), (-1, "nonzero"), (-2.0, "nonzero"), (1, "nonzero"), (0, "nonzero"),
        (0.5, "positive"), (1.7, "positive"), (-1.5, "positive"),
    )  # fmt: skip
    return Case((choose.shape(),), {"exponent": exponent}, values, choose.seed())


def _axes(choose: Choices, ndim: int) -> Any:
    """All ways to name axes: None, one from either end, several in any order."""
    first = choose.integer(0, ndim - 1)
    second = (first + choose.integer(1, ndim - 1)) % ndim
    return choose.one_of(first, first - ndim, (first, second), (second - ndim, first), None)


def reduction_inputs(values: str = "smooth") -> Recipe:
    def recipe(choose: Choices) -> Case:
        shape = choose.shape((2, 4))
        options = {"axis": _axes(choose, len(shape)), "keepdims": choose.maybe()}
        return Case((shape,), options, values, choose.seed())

    return recipe


def axis_inputs(values: str = "smooth") -> Recipe:
    """One array and one of its axes."""

    def recipe(choose: Choices) -> Case:
        shape = choose.shape((2, 4))
        return Case((shape,), {"axis": choose.integer(-len(shape), len(shape) - 1)}, values, choose.seed())

    return recipe


def sum_to_inputs(choose: Choices) -> Case:
    full = choose.shape((2, 4))
    return Case((full,), {"shape": _broadcastable(choose, full)}, seed=choose.seed())


# --- shape ------------------------------------------------------------------------------------------------------------


def reshape_inputs(choose: Choices) -> Case:
    a, b, c = (choose.integer(2, 4) for _ in range(3))
    before = choose.one_of((a, b, c), (a * b, c), (a * b * c,), (c, 1, a * b))
    after = choose.one_of((c, a, b), (b, -1), (-1,), (b * c, a), (a, b, 1, c))
    return Case((before,), {"shape": after}, seed=choose.seed())


def flatten_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 4))
    return Case((shape,), {"start_axis": choose.integer(0, len(shape) - 1)}, seed=choose.seed())


def transpose_inputs(choose: Choices) -> Case:
    """Three or four axes: a permutation of two is its own inverse, and would not show a wrong one."""
    shape = choose.shape((3, 4))
    left, order = list(range(len(shape))), []
    while left:
        order.append(left.pop(choose.integer(0, len(left) - 1)))
    axes = tuple(axis - len(shape) for axis in order) if choose.integer(0, 3) == 3 else tuple(order)
    return Case((shape,), {"axes": axes}, seed=choose.seed())


def broadcast_to_inputs(choose: Choices) -> Case:
    full = choose.shape((2, 4))
    return Case((_broadcastable(choose, full),), {"shape": full}, seed=choose.seed())


def squeeze_inputs(choose: Choices) -> Case:
    """Other axes may have size 1 as well, and stay if they are not named."""
    shape = choose.shape((2, 3), (1, 3))
    position = choose.integer(0, len(shape))
    return Case(
        ((*shape[:position], 1, *shape[position:]),),
        {"axis": choose.one_of(position, position - len(shape) - 1, None, (position,))},
        seed=choose.seed(),
    )


def expand_dims_inputs(choose: Choices) -> Case:
    shape = choose.shape((1, 3))
    return Case((shape,), {"axis": choose.integer(-len(shape) - 1, len(shape))}, seed=choose.seed())


def _index(choose: Choices, shape: Shape) -> Any:
    """An index of a 3-dimensional array: basic, with arrays that repeat positions, with masks, mixed."""
    rng = np.random.default_rng(choose.seed())
    rows = rng.integers(-shape[0], shape[0], choose.integer(2, 5))
    columns = rng.integers(0, shape[1], len(rows))
    mask = rng.integers(0, 2, shape).astype(bool)
    start, last = choose.integer(0, shape[2] - 2), choose.integer(0, shape[2] - 1)
    return choose.one_of(
        choose.integer(-shape[0], shape[0] - 1),
        (slice(None), slice(None, None, -1), slice(start, None, 2)),
        (..., last),
        (None, slice(1, None), choose.integer(0, shape[1] - 1), slice(start, None)),
        rows,
        (slice(None), rng.integers(0, shape[1], (2, 3))),
        (rows, columns),
        (rows, slice(None), rng.integers(0, shape[2], len(rows))),  # arrays apart: NumPy puts their axis first
        mask,
        mask.any(axis=(1, 2)),
        (slice(None), mask.any(axis=(0, 2)), last),
    )


def getitem_inputs(choose: Choices) -> Case:
    shape = choose.shape((3, 3), (2, 4))
    return Case((shape,), {"index": _index(choose, shape)}, seed=choose.seed())


def add_at_inputs(choose: Choices) -> Case:
    shape = choose.shape((3, 3), (2, 4))
    index = _index(choose, shape)
    return Case((np.empty(shape)[index].shape,), {"index": index, "shape": shape}, seed=choose.seed())


def concat_inputs(choose: Choices) -> Case:
    """Stretches of different lengths, so that a shifted slice shows."""
    shape = choose.shape((2, 4))
    axis = choose.integer(0, len(shape) - 1)
    sizes = [1 + 2 * part + choose.integer(0, 1) for part in range(choose.integer(2, 3))]
    shapes = tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)
    return Case(shapes, {"axis": choose.one_of(axis, axis - len(shape))}, seed=choose.seed())


def stack_inputs(choose: Choices) -> Case:
    shape = choose.shape((1, 3))
    axis = choose.integer(-len(shape) - 1, len(shape))
    return Case((shape,) * choose.integer(2, 3), {"axis": axis}, seed=choose.seed())


def pad_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 4), (2, 3))
    widths = tuple((choose.integer(0, 3), choose.integer(0, 2)) for _ in shape)
    return Case((shape,), {"widths": widths, "value": choose.one_of(0.0, -1.5)}, seed=choose.seed())


# --- products and noise -----------------------------------------------------------------------------------------------


def matmul_inputs(choose: Choices) -> Case:
    """Stacks that broadcast either way, vectors, and square matrices, whose transpose fits as well."""
    m, k, n = (choose.integer(2, 4) for _ in range(3))
    if choose.maybe():
        m = k = n
    batch = choose.shape((1, 2), (2, 3))
    a, b = choose.one_of(
        ((m, k), (k, n)),
        ((*batch, m, k), (*batch, k, n)),
        ((*_broadcastable(choose, batch), m, k), (*_broadcastable(choose, batch), k, n)),
        ((k,), (k, n)),
        ((*batch, m, k), (k,)),
        ((k,), (k,)),
    )
    return Case((a, b), seed=choose.seed())


def linear_inputs(choose: Choices) -> Case:
    inputs, outputs = choose.integer(2, 5), choose.integer(2, 5)
    if choose.integer(0, 2) == 2:
        outputs = inputs
    rows = choose.one_of((choose.integer(2, 5),), (inputs,), (2, 3), ())
    bias = (outputs,) if choose.integer(0, 3) else None
    return Case(((*rows, inputs), (outputs, inputs), bias), seed=choose.seed())


def dropout_inputs(choose: Choices) -> Case:
    options = {
        "p": choose.one_of(0.5, 0.1, 0.75, 0.9, 1.0),
        "seed": choose.one_of(choose.integer(0, 9), 2**64 - 1, 2**33 + 5),
        "call": choose.one_of(choose.integer(0, 9), 2**32 + 1),
    }
    return Case((choose.shape((1, 3), (3, 5)),), options, seed=choose.seed())


# --- windows ----------------------------------------------------------------------------------------------------------


def _size(choose: Choices) -> tuple[int, int]:
    """Height ≠ width, odd and even."""
    height = choose.integer(3, 6)
    return height, height + choose.one_of(1, -1, 2)


def _padding(choose: Choices, most: int) -> Any:
    """Every way in which padding can be given, all of it at most `most`."""
    top, bottom, left, right = (choose.integer(0, most) for _ in range(4))
    return choose.one_of(((top, bottom), (left, right)), top, (top, left), "same", "valid")


def _movement(choose: Choices, size: tuple[int, int], most_padding: int = 2, dilated: bool = True) -> dict[str, Any]:
    """kernel, stride, padding and dilation of a window that fits into `size` without padding; mostly overlapping."""
    dilation = [choose.one_of(1, 1, 2) if dilated else 1 for _ in range(2)]
    kernel = [choose.integer(2, 3) if d == 1 else min(2, (s - 1) // d + 1) for d, s in zip(dilation, size, strict=True)]
    if choose.integer(0, 5) == 5:
        kernel[choose.integer(0, 1)] = 1
    stride = choose.one_of(1, 2, (1, 2), (2, 1), 3, (3, 1))
    return {
        "kernel": tuple(k if (k - 1) * d < s else 1 for k, d, s in zip(kernel, dilation, size, strict=True)),
        "stride": stride,
        "padding": _padding(choose, most_padding),
        "dilation": tuple(dilation),
    }


def _channels(choose: Choices) -> tuple[int, int, int]:
    """groups, channels in and out: at least two of each, different numbers per group."""
    groups = choose.one_of(1, 1, 2, 3)
    per_group_in, per_group_out = choose.one_of((2, 3), (3, 2), (1, 2), (2, 1), (2, 2))
    return groups, max(2 // groups, per_group_in) * groups, max(2 // groups, per_group_out) * groups


def conv2d_inputs(choose: Choices) -> Case:
    size, (groups, c, k) = _size(choose), _channels(choose)
    options = _movement(choose, size)
    weight = (k, c // groups, *options.pop("kernel"))
    bias = (k,) if choose.integer(0, 3) else None
    return Case(((2, c, *size), weight, bias), {**options, "groups": groups}, seed=choose.seed())


def conv2d_weight_inputs(choose: Choices) -> Case:
    size, (groups, c, k) = _size(choose), _channels(choose)
    options = _movement(choose, size)
    kernel = options.pop("kernel")
    outputs = windows.output_size(size, kernel, **options)
    options |= {"kernel_size": kernel, "groups": groups}
    return Case(((2, c, *size), (2, k, *outputs)), options, seed=choose.seed())


def conv_transpose2d_inputs(choose: Choices) -> Case:
    """The options of a convolution; what it leaves unread at the end is asked for by output_padding."""
    size, (groups, c, k) = choose.one_of((2, 3), (3, 2), (3, 4)), _channels(choose)
    kernel = choose.one_of((3, 2), (2, 3), (3, 3), (1, 3))
    stride = (choose.integer(1, 3), choose.integer(1, 2))
    options = {
        "stride": stride,
        "padding": choose.one_of(0, (0, 1), ((0, 0), (0, 1)), ((1, 0), (0, 0)) if kernel[0] > 1 else 0),
        "output_padding": tuple(choose.integer(0, s - 1) for s in stride),
        "dilation": choose.one_of(1, 1, (2, 1), (1, 2)),
        "groups": groups,
    }
    bias = (c,) if choose.integer(0, 3) else None
    return Case(((2, k, *size), (k, c // groups, *kernel), bias), options, seed=choose.seed())


def max_pool2d_inputs(choose: Choices) -> Case:
    """No window sees padding only: its −∞ has no difference quotient (Op.edges has such windows)."""
    size = _size(choose)
    options = _movement(choose, size, most_padding=1)
    if 1 in options["kernel"]:
        options["padding"] = choose.one_of("valid", "same")
    options["kernel_size"] = options.pop("kernel")
    if choose.integer(0, 5) == 5:
        del options["stride"]  # then it is the kernel size
    options["ceil_mode"] = choose.maybe()
    return Case(((2, 2, *size),), options, "distinct", choose.seed())


def avg_pool2d_inputs(choose: Choices) -> Case:
    size = _size(choose)
    options = _movement(choose, size, dilated=False)
    del options["dilation"]
    options |= {"kernel_size": options.pop("kernel"), "ceil_mode": choose.maybe(), "count_include_pad": choose.maybe()}
    return Case(((2, 2, *size),), options, seed=choose.seed())
