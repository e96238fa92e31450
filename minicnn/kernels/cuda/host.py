"""Kernels that have no CUDA code: computed by the readable book on the host, with a copy there and back.

Slow, and right. Nothing that a network needs in training should be here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from .launch import library


def on_host(name: str) -> Callable[..., Any]:
    """The reference kernel `name` for arrays of the device."""
    plain = getattr(reference, name)

    @functools.wraps(plain)
    def kernel(*args: Any) -> Any:
        xp = library()
        return mapped(plain(*mapped(args, xp.ndarray, xp.asnumpy)), np.ndarray, xp.asarray)

    return kernel


def mapped(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """`value` with function applied to every array of the kind in it."""
    if isinstance(value, kind):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(mapped(part, kind, function) for part in value)
    return value
