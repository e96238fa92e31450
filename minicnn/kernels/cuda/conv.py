"""Convolution: implicit GEMM (conv.cu), and loops over taps (direct.cu) where groups are too small for tiles.

Each of the three faces of convolution is one launch, or two where sums are split over blocks (parts.py).
"""

from __future__ import annotations

import math
from typing import Any

from ..window import Window
from . import tensor_cores
from .gemm import TILES, tile_for
from .geometry import geometry_of, phases
from .launch import contiguous, empty, kernel
from .parts import add_parts, parts_for, pieces_of
from .pool import max_pool2d_scatter, relu_max_pool2d

NARROW = 8  # channels and filters of a group, up to which a tile would be mostly empty


def conv2d(x: Any, w: Any, b: Any, window: Window, groups: int) -> Any:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) | None -> y (N, K, P, Q)."""
    return _forward(x, w, b, window, groups, None)


def conv2d_act(x: Any, w: Any, b: Any, window: Window, groups: int, cap: float) -> Any:
    """min(max(conv2d(x, w, b, window, groups), 0), cap); cap may be ∞."""
    return _forward(x, w, b, window, groups, float(cap))


def _forward(x: Any, w: Any, b: Any, window: Window, groups: int, cap: float | None) -> Any:
    if tensor_cores.suits(x.dtype, "convolutions") and not _is_narrow(w.shape, groups):
        return tensor_cores.conv2d(x, w, b, window, groups, cap)
    y = empty((len(x), len(w), *window.output_size(x.shape[2:])), x.dtype)
    if y.size == 0:
        return y
    geometry = geometry_of(x.shape, y.shape, window, groups)
    x, w = contiguous(x), contiguous(w)
    bias = y if b is None else contiguous(b)
    clip = 0 if cap is None else 1 if cap == math.inf else 2
    if _is_narrow(w.shape, groups):
        rows = -(-y.shape[2] // 4)
        kernel("direct.cu", _direct("conv2d", window), x.dtype)(
            y.size // y.shape[2] * rows, (y, x, w, bias, *geometry, b is not None, clip, float(cap or 0))
        )
        return y
    name, blocks = _tiles(len(w) // groups, len(x) * math.prod(y.shape[2:]), groups)
    pieces, piece = pieces_of(blocks, math.prod(w.shape[1:]))
    parts = parts_for(y, pieces)
    kernel("conv.cu", f"conv2d_{name}", x.dtype)(
        (blocks * pieces,),
        (y, parts, x, w, bias, *geometry, pieces, piece, b is not None, clip, float(cap or 0)),
    )
    if pieces > 1:
        add_parts(y, parts, pieces, None if b is None else bias, math.prod(y.shape[2:]), cap)
    return y


def conv_transpose2d(gy: Any, w: Any, b: Any, window: Window, groups: int, output_size: tuple[int, ...]) -> Any:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) | None -> gx (N, C, H, W) with (H, W) = output_size."""
    if tensor_cores.suits(gy.dtype, "convolutions") and not _is_narrow(w.shape, groups):
        return tensor_cores.conv_transpose2d(gy, w, b, window, groups, output_size)
    gx = empty((len(gy), w.shape[1] * groups, *output_size), gy.dtype)
    if gx.size == 0:
        return gx
    geometry = geometry_of(gx.shape, gy.shape, window, groups)
    gy, w = contiguous(gy), contiguous(w)
    bias = gx if b is None else contiguous(b)
    if _is_narrow(w.shape, groups):
        kernel("direct.cu", _direct("conv_transpose2d", window), gy.dtype)(
            gx.size, (gx, gy, w, bias, *geometry, b is not None)
        )
        return gx
    steps, leaps, most_taps = phases(window)
    first_phase = math.prod(-(-size // stride) for size, stride in zip(output_size, window.stride, strict=True))
    name, blocks = _tiles(w.shape[1], len(gy) * first_phase, groups * math.prod(window.stride))
    pieces, piece = pieces_of(blocks, len(w) // groups * most_taps)
    parts = parts_for(gx, pieces)
    tiles_n = -(-len(gy) * first_phase // TILES[name][1])
    kernel("conv.cu", f"conv_transpose2d_{name}", gy.dtype)(
        (blocks * pieces,),
        (gx, parts, gy, w, bias, *geometry, *steps, *leaps, tiles_n, pieces, piece, b is not None),
    )
    if pieces > 1:
        add_parts(gx, parts, pieces, None if b is None else bias, math.prod(output_size))
    return gx


def conv2d_weight(x: Any, gy: Any, window: Window, groups: int, bias: bool) -> tuple:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S), and with `bias` gb (K,), else None."""
    shape = (gy.shape[1], x.shape[1] // groups, *window.kernel)
    gy = contiguous(gy)
    gb = _bias_gradient(gy) if bias else None
    if tensor_cores.suits(x.dtype, "convolutions") and not _is_narrow(shape, groups):
        return tensor_cores.conv2d_weight(x, gy, window, groups), gb
    gw = empty(shape, x.dtype)
    depth = len(gy) * math.prod(gy.shape[2:])
    if gw.size == 0:
        return gw, gb
    if depth == 0:
        gw.fill(0)
        return gw, gb
    geometry = geometry_of(x.shape, gy.shape, window, groups)
    x = contiguous(x)
    if _is_narrow(shape, groups):
        blocks = len(gw) * -(-math.prod(gw.shape[1:]) // 9)
        pieces, piece = pieces_of(blocks, depth)
        parts = parts_for(gw, pieces)
        kernel("direct.cu", "direct_conv2d_weight", x.dtype)(
            (blocks * pieces,), (gw, parts, x, gy, *geometry, pieces, piece)
        )
    else:
        name, blocks = _tiles(len(gw) // groups, math.prod(gw.shape[1:]), groups)
        pieces, piece = pieces_of(blocks, depth)
        parts = parts_for(gw, pieces)
        kernel("conv.cu", f"conv2d_weight_{name}", x.dtype)(
            (blocks * pieces,), (gw, parts, x, gy, *geometry, pieces, piece)
        )
    if pieces > 1:
        add_parts(gw, parts, pieces)
    return gw, gb


def _bias_gradient(gy: Any) -> Any:
    """Σ gy over images and places, (K,)."""
    n, k, *size = gy.shape
    gb = empty((k,), gy.dtype)
    if gy.size == 0:
        gb.fill(0)
        return gb
    pieces, piece = pieces_of(k, n * math.prod(size))
    parts = parts_for(gb, max(pieces, 2))  # in any case of their own: parts are wider than a half
    kernel("conv.cu", "conv2d_bias", gy.dtype)((k * pieces,), (parts, gy, n, k, math.prod(size), piece))
    add_parts(gb, parts, pieces)
    return gb


def conv2d_relu_max_pool2d(x: Any, w: Any, b: Any, window: Window, groups: int, pool: Window) -> tuple:
    """relu_max_pool2d(conv2d(x, w, b, window, groups), pool) -> y and indices (N, K, P, Q)."""
    return relu_max_pool2d(conv2d(x, w, b, window, groups), pool)


def conv2d_relu_max_pool2d_gradient(
    gy: Any, indices: Any, x: Any, w: Any, window: Window, groups: int, pool: Window, needs: Any
) -> tuple:
    """gy and indices (N, K, P, Q) -> gx, gw, gb; None for what `needs` does not name."""
    gx = gw = gb = None
    gradient = max_pool2d_scatter(gy, indices, window.output_size(x.shape[2:]))
    if needs[0]:
        gx = conv_transpose2d(gradient, w, None, window, groups, x.shape[2:])
    if needs[1]:
        gw, gb = conv2d_weight(x, gradient, window, groups, needs[2])
    elif needs[2]:
        gb = _bias_gradient(gradient)
    return gx, gw, gb


def _is_narrow(w: tuple[int, ...], groups: int) -> bool:
    """Of weights of shape w."""
    return groups > 1 and max(w[1], w[0] // groups) <= NARROW


def _direct(name: str, window: Window) -> str:
    return f"direct_{name}_{'3x3' if window.kernel == (3, 3) else 'any'}"


def _tiles(m: int, n: int, many: int) -> tuple[str, int]:
    """Which tile for `many` results of m × n, and how many blocks that makes."""
    name = tile_for(m, n, many)
    rows, columns = TILES[name]
    return name, -(-m // rows) * -(-n // columns) * many
