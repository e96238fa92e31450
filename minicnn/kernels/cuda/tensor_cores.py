"""Convolutions, linear layers and products on tensor cores: 16-bit arrays always, float32 by choice, as TF32.

TF32 keeps float32's range, and of its 23 bits of fraction 10: each operand is rounded to a relative error of 2⁻¹¹, sums
are in float32. The choice is made in kernels/precision.py.

A linear layer is a convolution of images of one pixel: x (N, I, 1, 1), w (O, I, 1, 1); and a · b is its transpose.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import device as devices
from ..precision import tf32_in_use
from ..window import Window
from .geometry import geometry_of, phases
from .launch import contiguous, empty, kernel, library
from .parts import add_parts, parts_for, pieces_of

MULTIPLY = {"float32": "mma_of_floats", "float16": "mma_f16", "bfloat16": "mma_bf16"}
TILE = 128  # columns of a tile
PIXEL = Window((1, 1))


def suits(dtype: np.dtype, what: str) -> bool:
    """Whether "convolutions" or "products" of arrays of a dtype are for tensor cores."""
    wanted = tf32_in_use()[what] if dtype.name == "float32" else dtype.name in MULTIPLY
    return wanted and _has_tensor_cores(devices.state.computing or devices.current())


@functools.cache
def _has_tensor_cores(where: str) -> bool:
    """mma.sync of these types, and cp.async: compute capability 8.0."""
    return int(devices.array_library(where).cuda.Device().compute_capability) >= 80


# --- convolution ------------------------------------------------------------------------------------------------------


def conv2d(x: Any, w: Any, b: Any, window: Window, groups: int, cap: float | None = None) -> Any:
    """conv2d, and conv2d_act if cap is not None."""
    y = empty((len(x), len(w), *window.output_size(x.shape[2:])), x.dtype)
    if y.size == 0:
        return y
    chunk, taps = _chunk(x), math.prod(window.kernel)
    chunks = -(-w.shape[1] // chunk)
    rows = rows_for(len(w) // groups)
    blocks = -(-(len(w) // groups) // rows) * -(-(y.size // len(w)) // TILE) * groups
    pieces, piece = _split(blocks, taps * chunks * chunk, 4 * chunk)
    parts = parts_for(y, pieces)
    bias = y if b is None else contiguous(b)
    clip = 0 if cap is None else 1 if cap == math.inf else 2
    _kernel(f"conv2d_{rows}", x)(
        (blocks * pieces,),
        (
            y, parts, _images(x, groups), _weights(w), bias, *geometry_of(x.shape, y.shape, window, groups),
            chunks, pieces, piece, b is not None, clip, float(cap or 0),
        ),
    )  # fmt: skip
    if pieces > 1:
        add_parts(y, parts, pieces, None if b is None else bias, math.prod(y.shape[2:]), cap)
    return y


def conv_transpose2d(gy: Any, w: Any, b: Any, window: Window, groups: int, output_size: tuple[int, ...]) -> Any:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) | None -> gx (N, C, H, W) with (H, W) = output_size."""
    gx = empty((len(gy), w.shape[1] * groups, *output_size), gy.dtype)
    if gx.size == 0:
        return gx
    chunk = _chunk(gy)
    chunks = -(-(len(w) // groups) // chunk)
    steps, leaps, most_taps = phases(window)
    first_phase = math.prod(-(-size // stride) for size, stride in zip(output_size, window.stride, strict=True))
    tiles_n = -(-len(gy) * first_phase // TILE)
    rows = rows_for(w.shape[1])
    blocks = -(-w.shape[1] // rows) * tiles_n * groups * math.prod(window.stride)
    pieces, piece = _split(blocks, most_taps * chunks * chunk, 4 * chunk)
    parts = parts_for(gx, pieces)
    bias = gx if b is None else contiguous(b)
    _kernel(f"conv_transpose2d_{rows}", gy)(
        (blocks * pieces,),
        (
            gx, parts, _images(gy, groups), _turned_weights(w, groups), bias,
            *geometry_of(gx.shape, gy.shape, window, groups), *steps, *leaps, chunks, tiles_n, pieces, piece,
            b is not None,
        ),
    )  # fmt: skip
    if pieces > 1:
        add_parts(gx, parts, pieces, None if b is None else bias, math.prod(output_size))
    return gx


def conv2d_weight(x: Any, gy: Any, window: Window, groups: int) -> Any:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S)."""
    gw = empty((gy.shape[1], x.shape[1] // groups, *window.kernel), x.dtype)
    depth = len(gy) * math.prod(gy.shape[2:])
    if gw.size == 0 or depth == 0:
        gw.fill(0)
        return gw
    chunk = _chunk(x)
    chunks, filter_chunks = -(-gw.shape[1] // chunk), -(-(len(gw) // groups) // chunk)
    columns = math.prod(window.kernel) * chunks * chunk
    rows = rows_for(len(gw) // groups)
    blocks = -(-(len(gw) // groups) // rows) * -(-columns // TILE) * groups
    pieces, piece = _split(blocks, depth, 2 * chunk)
    parts = parts_for(gw, pieces)
    _kernel(f"conv2d_weight_{rows}", x)(
        (blocks * pieces,),
        (
            gw, parts, _images(x, groups), _images(gy, groups), *geometry_of(x.shape, gy.shape, window, groups),
            chunks, filter_chunks, pieces, piece,
        ),
    )  # fmt: skip
    if pieces > 1:
        add_parts(gw, parts, pieces)
    return gw


def rows_for(lines: int) -> int:
    """Rows of a tile for so many lines of w: 64 where a second 64 would be idle."""
    return 64 if (lines - 1) % 128 < 64 else 128


def _split(blocks: int, depth: int, slice_: int) -> tuple[int, int]:
    """pieces_of in slices."""
    pieces, piece = pieces_of(blocks, depth, slice_)
    return pieces, -(-piece // slice_)


def _chunk(x: Any) -> int:
    """How many numbers 16 bytes hold."""
    return 16 // x.dtype.itemsize


def _kernel(name: str, x: Any) -> Any:
    return kernel("tensor_cores.cu", name, x.dtype, MULTIPLY=MULTIPLY[x.dtype.name])


# --- products ---------------------------------------------------------------------------------------------------------


def linear(x: Any, w: Any, b: Any, relu: bool) -> Any:
    """x (N, I), w (O, I), b (O,) | None -> max(x·wᵀ + b, 0), or without max."""
    return conv2d(_pixels(x), _pixels(w), b, PIXEL, 1, math.inf if relu else None)[:, :, 0, 0]


def linear_gradient(gy: Any, y: Any, x: Any, w: Any, needs: Any) -> tuple:
    """gx = g·w and gw = gᵀ·x, with g = gy where y > 0; None for what `needs` does not name."""
    g = gy if y is None else library().where(y > 0, gy, library().zeros((), gy.dtype))
    gx = conv_transpose2d(_pixels(g), _pixels(w), None, PIXEL, 1, (1, 1))[:, :, 0, 0] if needs[0] else None
    gw = conv2d_weight(_pixels(x), _pixels(g), PIXEL, 1)[:, :, 0, 0] if needs[1] else None
    return gx, gw


def matmul(a: Any, b: Any) -> Any:
    """a (M, K) · b (K, N)."""
    return conv_transpose2d(_pixels(a), _pixels(b), None, PIXEL, 1, (1, 1))[:, :, 0, 0]


def _pixels(x: Any) -> Any:
    return x[:, :, None, None]


# --- channels last ----------------------------------------------------------------------------------------------------


def _images(x: Any, groups: int) -> Any:
    """x (N, C, H, W) -> (N, H, W, groups, C'), each group's channels filled up with zeros to whole chunks."""
    n, c, h, w = x.shape
    each, padded, places = c // groups, _padded(x, c // groups), h * w
    if places == 1 and each == padded and x.flags.c_contiguous and x.data.ptr % 16 == 0:
        return x  # as it is wanted
    out = empty((n, h, w, groups, padded), x.dtype)
    _pack(out, x, n * groups, groups, each, places, (c * places, each * places, places),
          (places * groups * padded, padded, groups * padded))  # fmt: skip
    return out


def _weights(w: Any) -> Any:
    """w (K, C, R, S) -> (K, R, S, C')."""
    return _images(w, 1)


def _turned_weights(w: Any, groups: int) -> Any:
    """w (K, C, R, S) -> (groups, C, R, S, K'), K' the filters of a group."""
    k, c, r, s = w.shape
    each, padded, taps = k // groups, _padded(w, k // groups), r * s
    out = empty((groups, c, r, s, padded), w.dtype)
    _pack(
        out, w, groups * c, c, each, taps, (each * c * taps, taps, c * taps), (c * taps * padded, taps * padded, padded)
    )
    return out


def _padded(x: Any, channels: int) -> int:
    return channels + -channels % _chunk(x)


def _pack(out: Any, x: Any, outer: int, inner: int, channels: int, places: int, x_steps: Any, out_steps: Any) -> None:
    """pack.cu: steps are those of outer // inner, of outer % inner, and of a channel (or place)."""
    padded = out.shape[-1]
    if out.size:
        kernel("pack.cu", "pack", x.dtype)(
            (outer * -(-places // 32) * -(-padded // 32),),
            (out, contiguous(x), inner, channels, padded, places, *x_steps, *out_steps),
        )
