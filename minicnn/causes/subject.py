"""Which calls of an op tell: sizes, options and numbers for trying a function that is meant to be that op.

A call that tells nothing passes whatever is wrong. So no call here has one image, one channel or a window that stands
alone, sizes differ wherever equal ones would let axes be mixed up (a few calls have equal ones on purpose: there a
transposed gradient has a shape that fits, and can be read), and the cotangent is random. A call that fails is made
smaller, never below the least sizes that an op declares: batch norm of two values, whose gradient is 0, tells nothing.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import use
from ..errors import MinicnnError
from ..function import no_grad
from ..probing import away_from_zero
from ..tensor import Tensor

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
Values = Callable[[Any, Shapes], list[np.ndarray]]  # from a np.random.Generator, which is slow to import

ATTEMPTS = 200  # at a call that the op accepts and that has unequal sizes


def _each(draw: Callable[[np.random.Generator, Shape], np.ndarray]) -> Values:
    return lambda random, shapes: [np.asarray(draw(random, shape)) for shape in shapes]


def _spaced(random: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    """Numbers a quarter apart, also between arrays, and none near 0: which is the largest is never in doubt."""
    total = sum(math.prod(shape) for shape in shapes)
    numbers = 0.25 * (random.permutation(total) - total // 2) + 0.1
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)]


smooth = _each(lambda random, shape: random.standard_normal(shape))
positive = _each(lambda random, shape: random.uniform(0.5, 2.0, shape))
nonzero = _each(lambda random, shape: random.choice([-1.0, 1.0], shape) * random.uniform(0.5, 1.5, shape))
distinct: Values = _spaced


@dataclass(frozen=True, eq=False)
class Case:
    """One call: arrays and options, and what they were made from, so that a smaller one can be made."""

    arrays: tuple[np.ndarray, ...]
    cotangent: np.ndarray  # of the output
    options: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    form: int = 0
    seed: int = 0

    @property
    def differentiated(self) -> list[int]:
        return [k for k, array in enumerate(self.arrays) if array.dtype.kind == "f"]


@dataclass(frozen=True)
class Wanted:
    """Which calls the function that is judged can take: how many arrays, of which ranks, and which options."""

    arrays: int
    ranks: tuple[int, ...] | None = None
    options: tuple[str, ...] | None = None  # None: all; the others stay at their defaults
    fixed: dict[str, Any] = field(default_factory=dict)  # options with one value


@dataclass(frozen=True)
class Subject:
    """An op, and the calls of it that tell.

    arrays: what they are called; the last `optional` of them may be left out. forms: each from sizes (and options) to
    the shapes of the arrays, none if that tells nothing. sizes: by letter (least, from, to): drawn between `from` and
    `to`, and not made smaller than `least`. options: values worth trying, the plainest first.
    """

    op: str
    function: Callable[..., Tensor]
    arrays: tuple[str, ...]
    forms: tuple[Callable[..., Shapes], ...]
    sizes: dict[str, tuple[int, int, int]]
    options: dict[str, tuple] = field(default_factory=dict)
    values: Values = smooth
    optional: int = 0
    others: tuple[Callable[..., Shapes], ...] = ()  # forms for who gives inputs of these ranks
    spelled: str = "ops.{op}({first}{rest}{options})"  # the call as code: {rest} are the arrays after {first}

    @property
    def required(self) -> list[str]:
        """The options without a default."""
        parameters = inspect.signature(self.function).parameters
        return [name for name in self.options if parameters[name].default is inspect.Parameter.empty]

    def cases(self, wanted: Wanted, count: int, seed: int, equal: int = 4) -> list[Case]:
        """`count` calls that tell, fewer if none is possible: the first with plain options, every fourth (or what
        `equal` says) with equal sizes."""
        return [case for n in range(count) for case in self._drawn(wanted, n, seed, n % equal == equal - 1)]

    def _drawn(self, wanted: Wanted, number: int, seed: int, equal: bool) -> Iterator[Case]:
        """One call, if one is found. Options and forms take turns; sizes are drawn until they fit and are unequal."""
        named = {o: values for o, values in self.options.items() if wanted.options is None or o in wanted.options}
        forms = [
            form
            for form, shapes in enumerate(self.forms if wanted.ranks is None else self.forms + self.others)
            if {name for name, needed in _parameters(shapes) if needed} <= {*self.sizes, *named, *wanted.fixed}
        ]
        if not forms:
            return
        turns = [
            0 if number == 0 else _in_turn(len(v), number, [seed, k]) for k, v in enumerate([forms, *named.values()])
        ]
        random = np.random.default_rng([seed, number])
        for attempt in range(ATTEMPTS):
            late = attempt >= ATTEMPTS // 2
            if late:  # what was wanted is not possible: try anything
                turns = [int(random.integers(len(v))) for v in (forms, *named.values())]
            options = {name: values[turn] for (name, values), turn in zip(named.items(), turns[1:], strict=True)}
            options |= wanted.fixed
            common = int(random.integers(2, 5))
            sizes = {
                letter: min(max(common, low), high) if equal else int(random.integers(low, high + 1))
                for letter, (_, low, high) in self.sizes.items()
            }
            if not (shapes := self.shapes(sizes, options, forms[turns[0]])):
                turns[0] = 0
                shapes = self.shapes(sizes, options, forms[0])
            if not (equal or late or all(map(_unequal, shapes))):
                continue
            case = self.case(sizes, options, forms[turns[0]], attempt, wanted)
            if case:
                yield case
                return

    def case(self, sizes: dict[str, int], options: dict[str, Any], form: int, seed: int, wanted: Wanted) -> Case | None:
        """The call with these sizes, and numbers drawn for it; None if the op does not take it."""
        shapes = self.shapes(sizes, options, form)
        if not shapes:
            return None
        if wanted.ranks is not None and tuple(map(len, shapes))[: len(wanted.ranks)] != wanted.ranks:
            return None
        random = np.random.default_rng([seed, *sizes.values()])
        arrays = tuple(self.values(random, shapes)[: wanted.arrays])
        cotangent = self.cotangent(arrays, options, random)
        return None if cotangent is None else Case(arrays, cotangent, options, sizes, form, seed)

    def shapes(self, sizes: dict[str, int], options: dict[str, Any], form: int) -> Shapes:
        """Those of the arrays."""
        known = {**sizes, **options}
        shapes = (self.forms + self.others)[form]
        return shapes(**{name: known[name] for name, _ in _parameters(shapes) if name in known})

    def cotangent(
        self, arrays: Sequence[np.ndarray], options: dict[str, Any], random: np.random.Generator
    ) -> np.ndarray | None:
        """One of the shape of the output; None if the op does not take these arrays, or gives nothing."""
        try:
            with no_grad(), use("reference"):
                y = self.function(*map(as_argument, arrays), **options)
        except MinicnnError:
            return None
        return away_from_zero(random, y.shape) if y.size else None


def as_argument(array: np.ndarray) -> Any:
    """Floating-point arrays as Tensors; labels and the like as they are."""
    return Tensor(array.copy()) if array.dtype.kind == "f" else array.copy()


def _in_turn(count: int, number: int, seed: list[int]) -> int:
    """Each of `count` values once, in a random order, then each once again."""
    return int(np.random.default_rng([*seed, number // count]).permutation(count)[number % count])


def _unequal(shape: Shape) -> bool:
    return len(set(shape)) == len(shape)


@functools.cache
def _parameters(form: Callable[..., Shapes]) -> list[tuple[str, bool]]:
    """The sizes and options that it takes, and whether it needs them."""
    parameters = inspect.signature(form).parameters.values()
    return [(p.name, p.default is inspect.Parameter.empty) for p in parameters]
