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
from typing import Any

import numpy as np

from ..window import Pair, Window
from . import blocked_bands as bands
from . import blocked_winograd as winograd
from .arguments import Fixed
from .blocked import BLOCK, Blocked, blocked
from .blocked_plans import Plan, Shape, plan_convolution, plan_gradient
from .blocked_weights import order_of, pack, unpack
from .conv import _layout, _phases, _taps, _weights
from .memory import empty
from .threads import get_num_threads, parallel_for, scratch

SMALL = 1 << 18  # fewer multiply-adds are finished before a second thread has woken up
PLANES = 4  # so many channels are read as planes, not as a block that is mostly zeros


def conv2d(
    x: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float | None = None
) -> Blocked:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q), or min(max(y, 0), cap)."""
    x, planar = _readable(x, groups)
    size = window.output_size((x.shape[2], x.shape[3]))
    y = Blocked.empty((x.shape[0], w.shape[0], *size))
    by_winograd = not planar and winograd.fits(window, groups, size)
    plan = _forward(x.shape, w.shape, window, groups, planar, get_num_threads(), cap, by_winograd)
    weights = _weights(w.shape, groups)
    packed = _packed(plan, _layout(weights, weights), w, w.shape[0] // groups, w.shape[1])
    bias = _bias(b, y.shape[1], groups)
    if by_winograd:
        padding = window.pad[0][0], window.pad[1][0]
        tiles = winograd.plan_convolution(x.shape, w.shape[0], size, padding, plan.threads, cap)
        winograd.correlate(tiles, _numbers(x), packed, False, bias, _numbers(y))
    else:
        _correlate(plan, x, packed, bias, y)
    return y


def conv_transpose2d(
    gy: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> Blocked:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x."""
    gy = blocked(gy)
    gx = Blocked.empty((gy.shape[0], groups * w.shape[1], *output_size))
    bias = _bias(b, gx.shape[1], groups)
    by_winograd = winograd.fits(window, groups, output_size)
    parts, layouts = _backward(gy.shape, w.shape, window, groups, output_size, get_num_threads(), by_winograd)
    if None in parts:
        gx.blocks()[...] = bias.reshape(1, -1, 1, 1, BLOCK)
    for plan, layout in zip(parts, layouts, strict=True):
        if plan is None:
            continue
        packed = _packed(plan, layout, w, w.shape[1], w.shape[0] // groups)
        if by_winograd:
            padding = 2 - window.pad[0][0], 2 - window.pad[1][0]
            tiles = winograd.plan_convolution(gy.shape, gx.shape[1], output_size, padding, plan.threads, None)
            winograd.correlate(tiles, _numbers(gy), packed, True, bias, _numbers(gx))
        else:
            _correlate(plan, gy, packed, bias, gx)
    return gx


def conv2d_weight(x: Any, gy: Any, window: Window, groups: int, bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S): the adjoint of conv2d in w; and in b, or None."""
    x, planar = _readable(x, groups)
    gy = blocked(gy)
    inputs, outputs = x.shape[1] // groups, gy.shape[1] // groups
    size = (gy.shape[2], gy.shape[3])
    by_winograd = not planar and winograd.fits(window, groups, size)
    plan = _for_weights(x.shape, gy.shape, window, groups, planar, get_num_threads(), by_winograd)
    gw = empty((gy.shape[1], inputs, *window.kernel))
    sums = empty((plan.packed_size,))
    if by_winograd:
        padding = window.pad[0][0], window.pad[1][0]
        tiles = winograd.plan_gradient(x.shape, gy.shape[1], size, padding, plan.threads)
        winograd.weight_gradient(tiles, _numbers(x), _numbers(gy), sums)
    else:
        work = scratch(plan.threads, plan.work_size, np.float32)
        parallel_for(plan.items, bands.gradient, plan.numbers, plan.tables, _numbers(x), _numbers(gy), sums, work,
                     threads=plan.threads)  # fmt: skip
    p = plan.numbers.array[0]
    order = order_of(*window.kernel, int(p["in_blocks"]), int(p["vector"]))
    parallel_for(groups * int(p["parts"]), unpack, plan.numbers, order.unpacking, sums, outputs, inputs, gw.reshape(-1),
                 threads=1 if gw.size < SMALL else plan.threads)  # fmt: skip
    return gw, _sum_of_channels(gy) if bias else None


def _sum_of_channels(gy: Blocked) -> np.ndarray:
    """gb[k] = Σ gy[:, k]"""
    blocks = gy.blocks()
    sums = np.einsum("nbpqc->bc", blocks, dtype=np.float32)
    return np.ascontiguousarray(sums.reshape(-1)[: gy.shape[1]])


# --- what they have in common -----------------------------------------------------------------------------------------


def _readable(x: Any, groups: int) -> tuple[Any, bool]:
    """x as tiles can read it, and whether as planes."""
    if type(x) is not Blocked and groups == 1 and x.shape[1] <= PLANES:
        return np.ascontiguousarray(x), True
    return blocked(x), False


def _numbers(x: Any) -> np.ndarray:
    flat = (x.blocks() if type(x) is Blocked else x).reshape(-1)
    return flat if flat.flags.carray else flat.copy()


def _packed(plan: Plan, layout: Fixed, w: np.ndarray, outputs: int, inputs: int) -> np.ndarray:
    """w in the order of the tiles; it has so many outputs and inputs in a group, and stands as layout says."""
    a = empty((plan.packed_size,))
    p = plan.numbers.array[0]
    groups = int(p["groups"])
    order = order_of(int(p["row_taps"]), int(p["col_taps"]), int(p["in_blocks"]), int(p["vector"]))
    if layout.array[2] < layout.array[3]:  # what w has as outputs are inputs here: its taps are put in order first
        order = order_of(*w.shape[2:], 1, BLOCK)
    parallel_for(groups * int(p["parts"]), pack, plan.numbers, _plain(w), layout, order.packing, outputs, inputs,
                 w.shape[2] * w.shape[3], a, threads=1 if a.size < SMALL else plan.threads)  # fmt: skip
    return a


def _correlate(plan: Plan, x: Any, packed: np.ndarray, bias: np.ndarray, y: Blocked) -> None:
    """The plan's part of y = bias + x * w."""
    work = scratch(plan.threads, plan.work_size, np.float32)
    parallel_for(plan.items, bands.convolve, plan.numbers, plan.tables, _numbers(x), packed, bias, _numbers(y), work,
                 threads=plan.threads)  # fmt: skip


def _plain(w: np.ndarray) -> np.ndarray:
    flat = np.asarray(w, np.float32).reshape(-1)
    return flat if flat.flags.carray else flat.copy()


def _bias(b: np.ndarray | None, outputs: int, groups: int) -> np.ndarray:
    """As many numbers as there are channels in whole blocks, 0 past the last."""
    padded = np.zeros(groups * (-(-outputs // groups // BLOCK) * BLOCK), np.float32)
    if b is not None:
        padded[:outputs] = b  # with several groups, blocks are whole
    return padded


@functools.lru_cache(maxsize=1024)
def _forward(
    x_shape: Shape, w_shape: Shape, window: Window, groups: int, planar: bool, threads: int, cap: float | None,
    only_packs: bool,
) -> Plan:  # fmt: skip
    y_shape = (x_shape[0], w_shape[0], *window.output_size((x_shape[2], x_shape[3])))
    taps = _taps(window, 0), _taps(window, 1)
    return plan_convolution(x_shape, planar, w_shape[0], groups, taps, window.stride, y_shape, (0, 0), (1, 1), threads,
                            cap, only_packs)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _backward(
    gy_shape: Shape, w_shape: Shape, window: Window, groups: int, size: Pair, threads: int, only_packs: bool
) -> tuple[list[Plan | None], list[Fixed]]:
    """The rows of x with equal (h + pad) mod stride meet the same taps: conv.py does the same with planes."""
    shape = (gy_shape[0], groups * w_shape[1], *size)
    weights = _weights(w_shape, groups)
    plans: list[Plan | None] = []
    layouts = []
    for top, row_slice, row_taps in _phases(window, 0):
        for left, col_slice, col_taps in _phases(window, 1):
            part = weights.swapaxes(1, 2)[..., row_slice, col_slice]
            if len(range(top, size[0], window.stride[0])) * len(range(left, size[1], window.stride[1])):
                plans.append(
                    plan_convolution(gy_shape, False, shape[1], groups, (row_taps, col_taps), (1, 1), shape,
                                     (top, left), window.stride, threads, None, only_packs)
                    if part.size else None
                )  # fmt: skip
                layouts.append(_layout(weights, part))
    return plans, layouts


@functools.lru_cache(maxsize=1024)
def _for_weights(
    x_shape: Shape, gy_shape: Shape, window: Window, groups: int, planar: bool, threads: int, only_packs: bool
) -> Plan:
    taps = _taps(window, 0), _taps(window, 1)
    return plan_gradient(x_shape, planar, gy_shape[1], groups, taps, window.stride, gy_shape, threads, only_packs)
