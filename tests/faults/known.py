"""The mistakes that gradcheck names (minicnn/causes) and that no other fault plants: into the ops, from outside."""

from __future__ import annotations

import contextlib

from minicnn.causes import CAUSES

from .planting import Fault

CAUGHT_BY = {
    "gradient": "gradient_is_the_derivative", "arguments": "forward_is_the_oracle", "result": "forward_is_the_oracle",
}  # fmt: skip


ROWS_OF = {"the exact formula, whatever approximate says": "gelu (by tanh)"}  # where the op's first row cannot show it


def known(names: set[str]) -> tuple[Fault, ...]:
    """Those that are not among the names."""
    return tuple(
        Fault(c.name, ROWS_OF.get(c.name, c.op), c.seen_in, contextlib.nullcontext, CAUGHT_BY[c.change.what], cause=c)
        for causes in CAUSES.values()
        for c in causes
        if c.name not in names
    )
