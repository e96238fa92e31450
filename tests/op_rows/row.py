"""What a row of the op table is, and the calls at the edge that many rows share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..strategies import Case, Recipe, Shape


@dataclass(frozen=True)
class Op:
    """One row: what is known about an op, and how to try it."""

    name: str  # of ops.__all__; a variant adds a word in brackets
    function: Callable[..., Any]  # of tensors and attributes
    oracle: Callable[..., np.ndarray]  # of arrays and attributes
    inputs: Recipe
    order: int  # how often it is differentiated here; 0: it has no gradient
    kinks: str = ""  # where it has no derivative: `inputs` keeps away from there, `at_kinks` says what it promises
    at_kinks: Callable[..., list[np.ndarray]] | None = None
    ties: str = "ties"  # the kind of numbers of which some lie at the kinks
    smooth: bool = True  # False: steps everywhere, so that differences say nothing and at_kinks is the whole truth
    analytic: bool = False  # also of complex numbers, so that the complex-step derivative applies
    affine: tuple[int, ...] | str = ()  # inputs in which it is affine while the others are fixed; "all"
    composition: Callable[..., Any] | None = None  # the plain ops that it equals
    keeps: tuple[int | str, ...] = ()  # what lives until backward: inputs by number, "y", or arrays of its "own"
    edges: tuple[Case, ...] = ()  # calls that chance would seldom find: sizes 0 and 1, overflow
    dtype: Callable[[np.dtype, dict], Any] = lambda dtype, attributes: dtype  # of the result

    def __str__(self) -> str:
        return self.name

    @property
    def op_name(self) -> str:
        """The name in minicnn.ops."""
        return self.name.split(" ")[0]


def edge(*shapes: Shape | None, values: str = "smooth", **attributes: Any) -> Case:
    """A call at the edge, always with the same numbers."""
    return Case(shapes, attributes, values, seed=5)


def edges_of_one(values: str = "smooth", **attributes: Any) -> tuple[Case, ...]:
    """One array with no elements, with one, and with no axes."""
    return tuple(edge(shape, values=values, **attributes) for shape in ((0,), (3, 0, 2), (1,), (1, 1, 1), ()))


def edges_of_two(values: str = "smooth") -> tuple[Case, ...]:
    """Likewise two arrays; one of size 1 stretches to no elements at all."""
    pairs = (((0,), (0,)), ((2, 0), (1,)), ((1, 3), (0, 1, 3)), ((1, 1), (1,)), ((), (2, 2)), ((), ()))
    return tuple(edge(*pair, values=values) for pair in pairs)


def edges_of_reduction(values: str = "smooth") -> tuple[Case, ...]:
    return (
        edge((1, 1), values=values, axis=0, keepdims=False),
        edge((), values=values, axis=None, keepdims=False),
        edge((0, 3), values=values, axis=1, keepdims=True),
        edge((2, 1, 3), values=values, axis=(0, 2), keepdims=False),
    )


def edges_of_windows(**options: Any) -> tuple[Case, ...]:
    """Pooling: an empty batch, no channels, one pixel, one row, a last window that hangs over, stride above kernel."""
    return (
        edge((0, 2, 4, 5), values="distinct", kernel_size=2, **options),
        edge((2, 0, 4, 5), values="distinct", kernel_size=2, **options),
        edge((1, 1, 1, 1), values="distinct", kernel_size=1, **options),
        edge((1, 2, 1, 7), values="distinct", kernel_size=(1, 3), stride=2, padding=(0, 1), **options),
        edge((1, 1, 5, 4), values="distinct", kernel_size=2, stride=2, ceil_mode=True, **options),
        edge((1, 1, 4, 4), values="distinct", kernel_size=2, stride=3, padding=1, ceil_mode=True, **options),
        edge((1, 1, 4, 3), values="distinct", kernel_size=1, stride=3, **options),
        edge((1, 1, 3, 2), values="distinct", kernel_size=(9, 6), stride=(7, 5), ceil_mode=True, **options),  # just one
        edge((1, 1, 2, 3), values="distinct", kernel_size=(6, 9), stride=(5, 7), ceil_mode=True, **options),
        edge((1, 1, 2, 3), values="distinct", kernel_size=1, padding=1, **options),  # sees only padding at the border
    )
