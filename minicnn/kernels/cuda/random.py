"""Random bits: Philox4x32-10 in random.cu."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import device as devices
from . import recording
from .launch import empty, kernel

LOW = 0xFFFFFFFF
WORDS = 4  # of a block of Philox


def random_bits(seed: int, call: int, n: int) -> Any:
    """The first n words of stream (seed, call), uint32; seed and call are taken modulo 2⁶⁴."""
    words = empty((n,), np.uint32)
    kernel("random.cu", "random_bits", np.float32)(-(-n // WORDS), (words, *_place(seed, call), n))
    return words


def dropout_mask(seed: int, call: int, p: float, shape: tuple[int, ...], dtype: Any) -> Any:
    """1/(1 − p) where the word is at least p·2³², else 0."""
    mask, n = empty(shape, dtype), math.prod(shape)
    values = (mask, *_place(seed, call), np.uint32(min(round(p * 2**32), LOW)), 1 / (1 - p) if p < 1 else 0.0, n)
    kernel("random.cu", "dropout_mask", dtype)(-(-n // WORDS), values)
    return mask


def _place(seed: int, call: int) -> tuple[Any, ...]:
    """Key and counter in 32-bit words, and where to read how many calls to add: a graph is moved on by those."""
    graph = recording.current()
    replayed = _zero(devices.state.computing or devices.current()) if graph is None else graph.replayed
    words = (seed, seed >> 32, call, call >> 32)
    return *(np.uint32(word & LOW) for word in words), replayed


@functools.cache
def _zero(device: str) -> Any:
    return devices.array_library(device).zeros(1, np.uint64)
