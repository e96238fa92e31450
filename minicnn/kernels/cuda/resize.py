"""Resizing by bands: resize.cu for both ways, with the tables of sampling.bands on the device, made once for a size."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ... import device as devices
from ..sampling import Sampling
from .launch import ACC, contiguous, empty, kernel, library


def resize2d(x: Any, rows: Sampling, columns: Sampling) -> Any:
    """x (N, C, H, W) -> y (N, C, P, Q), mixed as the samplings say."""
    return _banded(x, (rows.outputs, columns.outputs), _tables(rows, False, x), _tables(columns, False, x))


def resize2d_transpose(gy: Any, rows: Sampling, columns: Sampling) -> Any:
    """gy (N, C, P, Q) -> gx (N, C, H, W): the adjoint of resize2d."""
    return _banded(gy, (rows.inputs, columns.inputs), _tables(rows, True, gy), _tables(columns, True, gy))


def _banded(x: Any, size: tuple[int, int], rows: Any, columns: Any) -> Any:
    y = empty((*x.shape[:2], *size), x.dtype)
    kernel("resize.cu", "resize", x.dtype)(
        y.size,
        (
            y, contiguous(x), *rows, *columns, x.shape[0] * x.shape[1], *x.shape[2:], *size,
            rows[1].shape[1], columns[1].shape[1],
        ),
    )  # fmt: skip
    return y


def _tables(sampling: Sampling, transposed: bool, x: Any) -> tuple:
    where = devices.state.computing or devices.current()
    return _on_device(where, sampling, transposed, "float32" if x.dtype.name in ACC else x.dtype.name)


@functools.lru_cache(maxsize=256)
def _on_device(where: str, sampling: Sampling, transposed: bool, dtype: str) -> tuple:
    """Start and weights of the band, where the kernel can read them."""
    start, weights = sampling.bands(transposed)
    return library().asarray(start.astype(np.int32)), library().asarray(weights.astype(dtype))
