"""Which networks there are, and what they cost."""

from __future__ import annotations

import math

from minicnn.errors import ArgumentError
from minicnn.nn import init

from .recorded import COUNTS
from .registry import ENTRIES, create_model, entry_of, input_shape


def list_models(
    family: str | None = None,
    *,
    min_params: float = 0,
    max_params: float = math.inf,
    min_macs: float = 0,
    max_macs: float = math.inf,
) -> list[str]:
    """The names of all networks, in alphabetical order; or of those of a family, with so many parameters, and so many
    multiply-adds for an image of the published size."""
    families = {entry.family for entry in ENTRIES.values()}
    if family is not None and family not in families:
        raise ArgumentError(f"there is no family {family!r} of networks: choose one of {', '.join(sorted(families))}")

    def wanted(name: str) -> bool:
        params, macs = counts(name)
        return min_params <= params <= max_params and min_macs <= macs <= max_macs

    return sorted(name for name, entry in ENTRIES.items() if family in (None, entry.family) and wanted(name))


def counts(name: str) -> tuple[int, int]:
    """(parameters, multiply-adds) of a network as published: recorded, or counted if they are not. Errors as
    create_model."""
    entry_of(name)
    if name not in COUNTS:
        with init.skip():
            summary = create_model(name).summary(input_shape(name))
        COUNTS[name] = summary.params, summary.macs
    return COUNTS[name]
