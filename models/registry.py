"""The list of all models: a builder registers itself under its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from minicnn.errors import ArgumentError
from minicnn.nn import Module

Builder = TypeVar("Builder", bound=Callable[..., Module])
BUILDERS: dict[str, Callable[..., Module]] = {}


def register(builder: Builder) -> Builder:
    """Make a builder known to create_model() and list_models() under the function's name."""
    BUILDERS[builder.__name__] = builder
    return builder


def create_model(name: str, num_classes: int | None = None, **options: Any) -> Module:
    """Build a model by name; num_classes None means those of the network's own data set.

    Raises ArgumentError, with the nearest names, if there is no such model.
    """
    if name not in BUILDERS:
        raise ArgumentError(f"there is no model {name!r}: choose one of {', '.join(list_models())}")
    if num_classes is not None:
        options["num_classes"] = num_classes
    return BUILDERS[name](**options)


def list_models() -> list[str]:
    """The names of all models, in alphabetical order."""
    return sorted(BUILDERS)
