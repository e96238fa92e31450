"""Convolution in blocks of 16 channels: no columns, no transposition, for every size of kernel, stride and plane.

One number of x times 16 weights is 16 products for 16 outputs. A tile holds the sums of 14 neighbouring pixels and 32
outputs in registers and walks through all terms (tap r, block, tap s, channel); a tap is an offset into x, so 3 × 3,
1 × 7 or strided kernels differ only in a table of offsets. A band of x that needs padding is copied into the L2 cache
with its border of zeros first; what needs none (1 × 1) is read where it is.

      x[n, block]            a term = one offset            y[n, block of outputs]
      ┌──────────┐           x ····●●●●●●●●●●●●●●····       ┌──────────┐
      │··········│  14 pixels     × ████ ████                │          │
      │·▒▒▒▒▒▒▒··│ ───────────→   16 + 16 weights  ────────→ │·▓▓▓▓▓▓▓··│  28 registers of 16 sums
      │··········│                                          │          │
      └──────────┘           288 terms at a time: their weights stay in L1 while the band goes by

The input gradient is a convolution of gy with the weights transposed, one for each phase of the stride: the same tile.
The weight gradient is another one, whose sums are weights: for each pixel it adds 8 channels × 32 outputs. Each thread
owns some of the weights and goes through all pixels, so no result depends on the number of threads.

The first convolution of a network reads planes, of 1 to 4 channels: there a term is one tap of one channel.

    operations   2 · N·K·P·Q · C/groups · R·S  for each of the three, C and K rounded up to 16
    bytes        x, w, y once from memory; the copy of a band written to L2; per tile and term 64·(1 or 2) from L1
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..window import Pair, Window
from . import blocked_bands as bands
from . import blocked_elementwise
from . import blocked_winograd as winograd
from .arguments import Fixed
from .blocked import BLOCK, Blocked, blocked
from .blocked_plans import Plan, Shape, plan_convolution, plan_gradient
from .blocked_weights import order_of, pack, unpack
from .conv import _layout, _phases, _taps, _weights
from .memory import empty
from .threads import get_num_threads, parallel_for, scratch

SMALL = 1 << 15  # fewer weights are in order before a second thread has woken up
PLANES = 4  # so many channels are read as planes, not as a block that is mostly zeros


def conv2d(
    x: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float | None = None
) -> Blocked:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q), or min(max(y, 0), cap)."""
    x, planar = _readable(x, groups)
    p = _forward(x.shape, w.shape, window, groups, planar, get_num_threads(), cap)
    y = Blocked.empty(p.shape)
    _correlate(p, _numbers(x), _plain(w), _bias(b, w.shape[0], groups), _numbers(y))
    return y


def conv_transpose2d(
    gy: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> Blocked:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x."""
    gy = blocked(gy)
    passes, whole = _backward(gy.shape, w.shape, window, groups, output_size, get_num_threads())
    gx = Blocked.empty((gy.shape[0], groups * w.shape[1], *output_size))
    bias = _bias(b, groups * w.shape[1], groups)
    if not whole:  # pixels that no tap reads
        gx.blocks()[...] = bias.reshape(1, -1, 1, 1, BLOCK)
    for p in passes:
        _correlate(p, _numbers(gy), _plain(w), bias, _numbers(gx))
    return gx


def conv2d_weight(x: Any, gy: Any, window: Window, groups: int, bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S): the adjoint of conv2d in w; and in b, or None."""
    x, planar = _readable(x, groups)
    gy = blocked(gy)
    p = _for_weights(x.shape, gy.shape, window, groups, planar, get_num_threads())
    plan, threads = p.plan, p.plan.threads
    gw, sums = empty(p.shape), empty((plan.packed_size,))
    if p.winograd is not None:
        winograd.weight_gradient(p.winograd, _numbers(x), _numbers(gy), sums)
    else:
        work = scratch(threads, plan.work_size, np.float32)
        parallel_for(plan.items, bands.gradient, plan.numbers, plan.tables, _numbers(x), _numbers(gy), sums, work,
                     threads=threads)  # fmt: skip
    parallel_for(plan.parts, unpack, plan.numbers, p.order, sums, p.outputs, p.inputs, gw.reshape(-1),
                 threads=1 if gw.size < SMALL else threads)  # fmt: skip
    return gw, blocked_elementwise.sum(gy, (0, 2, 3), False) if bias else None


# --- what they have in common -----------------------------------------------------------------------------------------


def _readable(x: Any, groups: int) -> tuple[Any, bool]:
    """x as tiles can read it, and whether as planes."""
    if type(x) is not Blocked and groups == 1 and x.shape[1] <= PLANES:
        return np.ascontiguousarray(x), True
    return blocked(x), False


def _numbers(x: Any) -> np.ndarray:
    flat = (x.blocks() if type(x) is Blocked else x).reshape(-1)
    return flat if flat.flags.carray else flat.copy()


class Pass(NamedTuple):
    """All that follows from shapes."""

    plan: Plan
    order: Fixed  # of weights: how to pack or unpack them
    layout: Fixed | None  # where they stand in w
    winograd: winograd.Plan | None
    flipped: bool  # for Winograd's way: taps run backwards
    outputs: int  # of a group
    inputs: int
    taps: int  # of w, all of them
    shape: Shape  # of the result


def _correlate(p: Pass, x: np.ndarray, w: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
    """This pass's part of y = bias + x * w."""
    plan, threads = p.plan, p.plan.threads
    a = empty((plan.packed_size,))
    parallel_for(plan.parts, pack, plan.numbers, w, p.layout, p.order, p.outputs, p.inputs, p.taps, a,
                 threads=1 if a.size < SMALL else threads)  # fmt: skip
    if p.winograd is not None:
        winograd.correlate(p.winograd, x, a, p.flipped, bias, y)
        return
    work = scratch(threads, plan.work_size, np.float32)
    parallel_for(plan.items, bands.convolve, plan.numbers, plan.tables, x, a, bias, y, work, threads=threads)


def _plain(w: np.ndarray) -> np.ndarray:
    flat = np.asarray(w, np.float32).reshape(-1)
    return flat if flat.flags.carray else flat.copy()


def _bias(b: np.ndarray | None, outputs: int, groups: int) -> np.ndarray:
    """As many numbers as there are channels in whole blocks, 0 past the last."""
    size = groups * (-(-outputs // groups // BLOCK) * BLOCK)
    if b is None:
        return _zeros(size)
    padded = np.zeros(size, np.float32)
    padded[:outputs] = b  # with several groups, blocks are whole
    return padded


@functools.lru_cache(maxsize=64)
def _zeros(size: int) -> np.ndarray:
    return np.zeros(size, np.float32)


@functools.lru_cache(maxsize=1024)
def _forward(
    x_shape: Shape, w_shape: Shape, window: Window, groups: int, planar: bool, threads: int, cap: float | None
) -> Pass:
    size = window.output_size((x_shape[2], x_shape[3]))
    shape = x_shape[0], w_shape[0], *size
    taps = _taps(window, 0), _taps(window, 1)
    by_winograd = not planar and winograd.fits(window, groups, size)
    plan = plan_convolution(x_shape, planar, w_shape[0], groups, taps, window.stride, shape, (0, 0), (1, 1), threads,
                            cap, by_winograd)  # fmt: skip
    padding = window.pad[0][0], window.pad[1][0]
    tiles = winograd.plan_convolution(x_shape, w_shape[0], size, padding, threads, cap) if by_winograd else None
    weights = _weights(w_shape, groups)
    order = order_of(*window.kernel, plan.in_blocks, plan.vector).packing
    return Pass(plan, order, _layout(weights, weights), tiles, False, w_shape[0] // groups, w_shape[1],
                window.kernel[0] * window.kernel[1], shape)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _backward(
    gy_shape: Shape, w_shape: Shape, window: Window, groups: int, size: Pair, threads: int
) -> tuple[list[Pass], bool]:
    """The rows of x with equal (h + pad) mod stride meet the same taps: conv.py does the same with planes.

    And whether every pixel meets some.
    """
    shape = (gy_shape[0], groups * w_shape[1], *size)
    weights = _weights(w_shape, groups)
    by_winograd, tiles = winograd.fits(window, groups, size), None
    if by_winograd:
        padding = 2 - window.pad[0][0], 2 - window.pad[1][0]
        tiles = winograd.plan_convolution(gy_shape, shape[1], size, padding, threads, None)
    order = order_of(*window.kernel, 1, BLOCK).packing  # what w has as outputs are inputs here
    passes, whole = [], True
    for top, row_slice, row_taps in _phases(window, 0):
        for left, col_slice, col_taps in _phases(window, 1):
            part = weights.swapaxes(1, 2)[..., row_slice, col_slice]
            if not len(range(top, size[0], window.stride[0])) * len(range(left, size[1], window.stride[1])):
                continue
            if part.size:
                plan = plan_convolution(gy_shape, False, shape[1], groups, (row_taps, col_taps), (1, 1), shape,
                                        (top, left), window.stride, threads, None, by_winograd)  # fmt: skip
                passes.append(Pass(plan, order, _layout(weights, part), tiles, True, w_shape[1], w_shape[0] // groups,
                                   window.kernel[0] * window.kernel[1], shape))  # fmt: skip
            else:
                whole = False
    return passes, whole


@functools.lru_cache(maxsize=1024)
def _for_weights(x_shape: Shape, gy_shape: Shape, window: Window, groups: int, planar: bool, threads: int) -> Pass:
    taps, size = (_taps(window, 0), _taps(window, 1)), (gy_shape[2], gy_shape[3])
    by_winograd, tiles = not planar and winograd.fits(window, groups, size), None
    if by_winograd:
        padding = window.pad[0][0], window.pad[1][0]
        tiles = winograd.plan_gradient(x_shape, gy_shape[1], size, padding, threads)
    plan = plan_gradient(x_shape, planar, gy_shape[1], groups, taps, window.stride, gy_shape, threads, by_winograd)
    order = order_of(*window.kernel, plan.in_blocks, plan.vector).unpacking
    inputs, outputs = x_shape[1] // groups, gy_shape[1] // groups
    return Pass(plan, order, None, tiles, False, outputs, inputs, window.kernel[0] * window.kernel[1],
                (gy_shape[1], inputs, *window.kernel))  # fmt: skip
