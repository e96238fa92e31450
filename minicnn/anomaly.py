"""Anomaly mode's two questions: which line called an op, and did this op make the first NaN."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import device as devices
from .errors import AnomalyError
from .tensor import FLOATING, Tensor

PACKAGE = str(Path(__file__).parent)


def calling_line() -> str:
    """file:line: text of the innermost line outside of this package, which called the op."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}" + (f" ({text})" if text else "")


def raise_at_first_nan(op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> None:
    """AnomalyError if a result has a NaN and no input had."""
    given = [tensor for tensor in inputs if tensor is not None]
    if _has_nan(outputs) and not _has_nan(given):
        shapes = ", ".join(str(t.shape) for t in given)
        raise AnomalyError(f"{op} of inputs of shape {shapes} made the first NaN, called at {calling_line()}")


def _has_nan(tensors: Sequence[Tensor]) -> bool:
    return any(t.data.dtype.kind in FLOATING and np.isnan(devices.to_host(t.data)).any() for t in tensors)
