"""How an entry of the table of contents becomes callable: by looking its name up in the book of the device in force."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .. import device

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

CONTENTS: dict[str, Callable[..., Any]] = {}  # name -> the entry, with its signature and contract


def kernel(entry: Kernel) -> Kernel:
    """Enter a signature and contract into CONTENTS, and make it callable."""
    name = entry.__name__
    CONTENTS[name] = entry

    @functools.wraps(entry)
    def call(*args: Any) -> Any:
        return getattr(device.book(), name)(*args)

    return call  # type: ignore[return-value]  # same signature, by construction
