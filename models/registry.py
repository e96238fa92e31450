"""The list of all models: a builder registers itself under its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from minicnn.errors import ArgumentError
from minicnn.nn import Module

Builder = TypeVar("Builder", bound=Callable[..., Module])
BUILDERS: dict[str, Callable[..., Module]] = {}
INPUT_SHAPES: dict[str, tuple[int, ...]] = {}  # (C, H, W) of the images that the paper feeds the network


def register(input_shape: tuple[int, ...]) -> Callable[[Builder], Builder]:
    """Make a builder known to create_model() and list_models() under the function's name."""

    def known(builder: Builder) -> Builder:
        BUILDERS[builder.__name__] = builder
        INPUT_SHAPES[builder.__name__] = input_shape
        return builder

    return known


def create_model(name: str, num_classes: int | None = None, **options: Any) -> Module:
    """Build a model by name; num_classes None means those of the network's own data set.

    Raises ArgumentError, with the names there are, if there is no such model.
    """
    _check(name)
    if num_classes is not None:
        options["num_classes"] = num_classes
    return BUILDERS[name](**options)


def list_models() -> list[str]:
    """The names of all models, in alphabetical order."""
    return sorted(BUILDERS)


def input_shape(name: str) -> tuple[int, ...]:
    """(C, H, W) of the images that a model was published for. Errors as create_model."""
    _check(name)
    return INPUT_SHAPES[name]


def _check(name: str) -> None:
    if name not in BUILDERS:
        raise ArgumentError(f"there is no model {name!r}: choose one of {', '.join(list_models())}")
