"""Convolution on CPU: columns for one band at a time, then a matrix product that never leaves the cache.

A band is some output rows of some images, small enough that its columns stay in the L2 cache. The matrix of columns
has a row for each (tap r, channel, tap s), but only the horizontal taps s are copied: the vertical tap r of the same
pixels is the same copy, r rows further down, so it is found by an offset. R times less is copied than by im2col, and
no pixel of the product is wasted on padding, however small the planes:

      x[n, c]             columns[c, s]
      ┌──────┐  tap s=0   ┌ row 0: image 0 ▒▒▒▒│image 1 ▒▒▒▒│ ... ┐ ← offset[r=0, c, s=0]
      │▒▒▒▒··│ ─────────→ │ row 1: ▒▒▒▒│▒▒▒▒│ ...               │ ← offset[r=1, c, s=0]    C = A · columns:
      │      │            └ row 2: ▒▒▒▒│▒▒▒▒│ ...               ┘   ...                    fma_tile walks through the
      │      │  tap s=1   ┌ row 0: ▒▒▒▒│▒▒▒▒│ ...               ┐ ← offset[r=0, c, s=1]    offsets, and keeps a tile
      │·▒▒▒▒·│ ─────────→ │ row 1: ▒▒▒▒│▒▒▒▒│ ...               │   ...                    of C in registers
      └──────┘            └                                     ┘

Images stand side by side in a row, so that runs of pixels are long even where planes are small. Output rows near the
edge of the image leave out the taps that fall outside; the rows between them form one run. A stride along the columns
is gone once they are copied; a stride along the rows sorts them into phases, row mod stride.

The input gradient is a convolution too: of gy, with the weights transposed, one for each phase of the stride. The
weight gradient takes the same columns and multiplies them with gy along the pixels (dot_tile); each thread sums over
its bands, and the sums are added in the order of the threads. plans.py decides the sizes; bands.py is what runs.

    operations   2 · N·K·P·Q · C/groups · R·S  for each of the three
    bytes        x, w, y once from memory; N·C·S·P·Q elements written to L2, and read back R times for 8 channels of K
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair, Window
from . import bands, dense, sparse
from .arguments import Fixed
from .plans import Plan, Shape, Taps, plan_pass
from .pool import max_pool2d_scatter, relu_max_pool2d, tiles_2x2
from .threads import get_num_threads, parallel_for, scratch

SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up


# --- the three convolutions -------------------------------------------------------------------------------------------


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int) -> np.ndarray:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q)."""
    return _convolve(x, w, b, window, groups, None)


def conv2d_act(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float
) -> np.ndarray:
    """min(max(conv2d(x, w, b), 0), cap), applied to a band while it is in the cache."""
    return _convolve(x, w, b, window, groups, cap)


def _convolve(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float | None
) -> np.ndarray:
    y = np.empty((x.shape[0], w.shape[0], *window.output_size((x.shape[2], x.shape[3]))), x.dtype)
    if y.size == 0 or x.size == 0:
        y[...] = 0 if b is None else b[:, None, None]
        return y if cap is None else np.clip(y, 0, cap)
    if _is_linear(x.shape[2:], window, groups):
        y = dense.linear(_rows(x), _rows(w), b, False).reshape(y.shape)
        return y if cap is None else np.clip(y, 0, cap)
    part = _forward(x.shape, w.shape, window, groups, x.dtype.char, get_num_threads(), pools=False, cap=cap)
    _correlate(part, _plain(x, x.dtype), _plain(w, x.dtype), b, y)
    return y


def conv_transpose2d(
    gy: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> np.ndarray:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x."""
    if _is_linear(output_size, window, groups) and gy.size:
        gx, _, _ = dense.linear_gradient(_rows(gy), None, None, _rows(w), (True, False, False))
        assert gx is not None
        gx = gx.reshape(len(gy), w.shape[1], *output_size)
        return gx if b is None else gx + b[:, None, None]
    return _input_gradient(gy, w, b, window, groups, output_size, (gy.shape[2], gy.shape[3]))


def _is_linear(size: tuple[int, ...], window: Window, groups: int) -> bool:
    """Whether the one window is the whole image: then each image is a row, and the convolution a linear layer."""
    return window.kernel == size and groups == 1 and not any(map(any, window.pad)) and window.dilation == (1, 1)


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _input_gradient(
    gy: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair, size: Pair,
    winners: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """conv_transpose2d of gy, or of the gradient of that size whose pooling has gy at these winners."""
    gx = np.empty((gy.shape[0], groups * w.shape[1], *output_size), gy.dtype)
    if gx.size == 0 or gy.size == 0:
        gx[...] = 0 if b is None else b[:, None, None]
        return gx
    gy_shape = (*gy.shape[:2], *size)
    gy, w = _plain(gy, gy.dtype), _plain(w, gy.dtype)
    for part in _backward(gy_shape, w.shape, window, groups, output_size, gy.dtype.char, get_num_threads(),
                          unpools=winners is not None):  # fmt: skip
        if part.plan is None:  # no tap reads these pixels
            gx[:, :, part.start[0] :: window.stride[0], part.start[1] :: window.stride[1]] = (
                0 if b is None else b[:, None, None]
            )
        else:
            _correlate(part, gy, w, b, gx, winners=winners)
    return gx


def conv2d_weight(
    x: np.ndarray, gy: np.ndarray, window: Window, groups: int, bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S): the adjoint of conv2d in w; and in b, or None."""
    if _is_linear(x.shape[2:], window, groups) and x.size and gy.size:
        _, gw, gb = dense.linear_gradient(_rows(gy), None, _rows(x), None, (False, True, bias))
        assert gw is not None
        return gw.reshape(gy.shape[1], x.shape[1], *window.kernel), gb
    return _weight_gradient(x, gy, window, groups, bias, (gy.shape[2], gy.shape[3]))


def _weight_gradient(
    x: np.ndarray, gy: np.ndarray, window: Window, groups: int, bias: bool, size: Pair,
    winners: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """conv2d_weight of gy, or of the gradient of that size whose pooling has gy at these winners."""
    gw = np.zeros((gy.shape[1], x.shape[1] // groups, *window.kernel), x.dtype)
    gb = np.zeros(gy.shape[1] if bias else 0, x.dtype)
    if x.size and gy.size:
        plan = _for_weights(x.shape, (*gy.shape[:2], *size), window, groups, x.dtype.char, get_num_threads(), bias)
        gy, unpool, places = _unpooled_by(plan, gy, winners)
        work = scratch(plan.threads, plan.work_size, x.dtype)
        parallel_for(plan.items, bands.weight_bands, plan.numbers, plan.tables, _plain(x, x.dtype).reshape(-1),
                     _plain(gy, x.dtype).reshape(-1), work, unpool, places, threads=plan.threads)  # fmt: skip
        parallel_for(gw.shape[0], bands.add_sums, plan.numbers, work, min(plan.items, plan.threads), gw.reshape(-1), gb,
                     threads=1 if gw.size < SMALL else plan.threads)  # fmt: skip
    return gw, gb if bias else None


# --- convolution, relu and max pooling in one -------------------------------------------------------------------------


def conv2d_relu_max_pool2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, pool: Window
) -> tuple[np.ndarray, np.ndarray]:
    """relu_max_pool2d(conv2d(x, w, b)): where the windows of the pooling are 2 × 2, while the band is in the cache."""
    size = window.output_size((x.shape[2], x.shape[3]))
    if not tiles_2x2(pool, size) or x.size == 0:
        return relu_max_pool2d(conv2d(x, w, b, window, groups), pool)
    y = np.empty((x.shape[0], w.shape[0], *pool.output_size(size)), x.dtype)
    indices = np.empty(y.shape, np.int32)
    if y.size:
        part = _forward(x.shape, w.shape, window, groups, x.dtype.char, get_num_threads(), pools=True)
        _correlate(part, _plain(x, x.dtype), _plain(w, x.dtype), b, y, indices=indices)
    return y, indices


def conv2d_relu_max_pool2d_gradient(
    gy: np.ndarray, indices: np.ndarray, x: np.ndarray, w: np.ndarray, window: Window, groups: int, pool: Window,
    needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients in x, w and b, each None unless needed; the full-sized gradient exists for one band at a time."""
    size = window.output_size((x.shape[2], x.shape[3]))
    gx = gw = gb = None
    if not tiles_2x2(pool, size) or gy.size == 0:
        gradient = max_pool2d_scatter(gy, indices, size)
        if needs[0]:
            gx = conv_transpose2d(gradient, w, None, window, groups, (x.shape[2], x.shape[3]))
        if needs[1] or needs[2]:
            gw, gb = conv2d_weight(x, gradient, window, groups, needs[2])
        return gx, gw if needs[1] else None, gb
    if needs[0]:
        gx = _input_gradient(gy, w, None, window, groups, (x.shape[2], x.shape[3]), size, indices)
    if (needs[1] or needs[2]) and sparse.fits(x.shape, window, groups, x.dtype.char):
        gw, gb = sparse.weight_gradient(_plain(x, x.dtype), _plain(gy, x.dtype), _plain(indices, indices.dtype), window,
                                        size, needs[2])  # fmt: skip
    elif needs[1] or needs[2]:
        gw, gb = _weight_gradient(x, gy, window, groups, needs[2], size, indices)
    return gx, gw if needs[1] else None, gb


def _unpooled_by(plan: Plan, gy: np.ndarray, winners: np.ndarray | None) -> tuple[np.ndarray, int, Any]:
    """How a pass loads gy: (gy, address of unpool_2x2 or 0, winners). What it cannot unpool is unpooled here."""
    if winners is None:
        return gy, 0, _NOWHERE
    if not plan.unpool:
        return max_pool2d_scatter(gy, winners, plan.size), 0, _NOWHERE
    return gy, plan.unpool, _plain(winners, winners.dtype).reshape(-1)


_NOWHERE = Fixed(np.zeros(1, np.int32))  # for passes that neither pool nor unpool


def _plain(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable, as drivers read it."""
    x = np.asarray(x, dtype)
    return x if x.flags.carray else x.copy(order="C")


# --- what they have in common -----------------------------------------------------------------------------------------


class Part(NamedTuple):
    """The rows and columns of y from `start` on, which the same taps of w make."""

    plan: Plan | None  # None if there are no such taps
    layout: Fixed  # where their weights are: the first, then from group to group, output, channel, row tap, col tap
    start: Pair


def _correlate(
    part: Part, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, winners: np.ndarray | None = None,
    indices: np.ndarray | None = None,
) -> None:  # fmt: skip
    """y[n, k, start + p·y_step] = b[k] + Σ_{c,r,s} w[k, c, r, s] · x[n, c, p·step + taps[r]], in both axes.

    x is zero outside. winners: x is a gradient whose pooling has these numbers at these places. indices: instead of y
    itself what relu and max pooling make of it, and the winners.
    """
    plan = part.plan
    assert plan is not None
    x, unpool, places = _unpooled_by(plan, x, winners)
    b = np.zeros(y.shape[1], y.dtype) if b is None else _plain(b, x.dtype)
    a = np.empty(plan.packed_size, x.dtype)
    parallel_for(plan.panels, bands.pack_weights, plan.numbers, w.reshape(-1), part.layout, a,
                 threads=1 if a.size < SMALL else plan.threads)  # fmt: skip
    work = scratch(plan.threads, plan.work_size, x.dtype)
    parallel_for(plan.items, bands.convolve_bands, plan.numbers, plan.tables, x.reshape(-1), a, b, y.reshape(-1), work,
                 unpool, places, plan.pool, _NOWHERE if indices is None else indices.reshape(-1),
                 threads=plan.threads)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _forward(
    x_shape: Shape,
    w_shape: Shape,
    window: Window,
    groups: int,
    dtype: str,
    threads: int,
    pools: bool,
    cap: float | None = None,
) -> Part:
    size = window.output_size(x_shape[2:])
    y_shape = (x_shape[0], w_shape[0], *size)
    threads = 1 if math.prod(y_shape) * math.prod(w_shape[1:]) < SMALL else threads
    taps = _taps(window, 0), _taps(window, 1)
    plan = plan_pass(x_shape, w_shape[0] // groups, groups, taps, window.stride, y_shape, (0, 0), (1, 1), dtype,
                     threads, False, pools=pools, cap=cap)  # fmt: skip
    weights = _weights(w_shape, groups)
    return Part(plan, _layout(weights, weights), (0, 0))


@functools.lru_cache(maxsize=1024)
def _backward(
    gy_shape: Shape, w_shape: Shape, window: Window, groups: int, size: Pair, dtype: str, threads: int, unpools: bool
) -> list[Part]:
    """Row h of x met row p of y through tap r where p·stride + r·dilation − pad = h. So the rows with equal
    (h + pad) mod stride have the same taps, and are a convolution of gy with stride 1; columns likewise.
    """
    shape = (gy_shape[0], groups * w_shape[1], *size)
    weights = _weights(w_shape, groups)
    parts = []
    for top, row_slice, row_taps in _phases(window, 0):
        for left, col_slice, col_taps in _phases(window, 1):
            part = weights.swapaxes(1, 2)[..., row_slice, col_slice]
            outputs = len(range(top, size[0], window.stride[0])) * len(range(left, size[1], window.stride[1]))
            if outputs and part.size:
                operations = shape[0] * shape[1] * outputs * math.prod(part.shape[2:])
                plan = plan_pass(gy_shape, w_shape[1], groups, (row_taps, col_taps), (1, 1), shape, (top, left),
                                 window.stride, dtype, 1 if operations < SMALL else threads, False,
                                 unpools=unpools)  # fmt: skip
                parts.append(Part(plan, _layout(weights, part), (top, left)))
            elif outputs:
                parts.append(Part(None, _layout(weights, part), (top, left)))
    return parts


@functools.lru_cache(maxsize=1024)
def _for_weights(
    x_shape: Shape, gy_shape: Shape, window: Window, groups: int, dtype: str, threads: int, bias: bool
) -> Plan:
    operations = math.prod(gy_shape) * x_shape[1] // groups * math.prod(window.kernel)
    taps = _taps(window, 0), _taps(window, 1)
    return plan_pass(x_shape, gy_shape[1] // groups, groups, taps, window.stride, gy_shape, (0, 0), (1, 1), dtype,
                     1 if operations < SMALL else threads, True, bias=bias)  # fmt: skip


def _weights(w_shape: Shape, groups: int) -> np.ndarray:
    """(groups, K/groups, C/groups, R, S), for what follows from where elements are: its memory is never touched."""
    return np.empty((groups, w_shape[0] // groups, *w_shape[1:]), np.int8)


def _layout(weights: np.ndarray, part: np.ndarray) -> Fixed:
    """Where a view of the weights begins in them, and its strides."""
    return Fixed(np.array([part.ctypes.data - weights.ctypes.data, *part.strides]))


def _taps(window: Window, axis: int) -> Taps:
    return tuple(tap * window.dilation[axis] - window.pad[axis][0] for tap in range(window.kernel[axis]))


def _phases(window: Window, axis: int) -> list[tuple[int, slice, Taps]]:
    """For each residue of (h + pad) mod stride: its first h, the taps that meet it, and what they add to give p."""
    stride, dilation, pad = window.stride[axis], window.dilation[axis], window.pad[axis][0]
    phases = []
    for phase in range(stride):
        start = (phase - pad) % stride
        taps = [tap for tap in range(window.kernel[axis]) if tap * dilation % stride == phase]
        first = taps[0] if taps else window.kernel[axis]
        shifts = tuple((start + pad - tap * dilation) // stride for tap in taps)
        phases.append((start, slice(first, None, stride // math.gcd(stride, dilation)), shifts))
    return phases
