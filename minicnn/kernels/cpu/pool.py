"""Pooling on CPU: one plane (image, channel) after the other, shared out among the threads.

    max_pool2d            y[p, q] and where it came from          x ┌───────┐       y ┌───┐  indices ┌───┐
    max_pool2d_scatter    gy back to where y came from              │1 3│2 0│ ──→     │7 4│          │5 6│
    max_pool2d_gather     the opposite: x from there                │4 7│4 1│         └───┘          └───┘
                                                                    └───────┘ ←── gx = 0, then gx[indices] += gy

A window is taken tap by tap: for each tap a whole row of outputs meets a row of inputs, so the inner loops are long,
have no branches on position, and become vector instructions; the row of outputs stays in L1. The positions inside
of the input are worked out beforehand for each tap, so padding is never stored, and never read. Windows of 2 × 2 that
tile the input, the most common, have a loop of their own. A thread owns its planes: no two write to one element, and
sums have a fixed order.

    operations   R·S comparisons (additions) for each output; each is about as cheap as the load it needs
    bytes        x read once, y and indices written once (forward); gy and indices read, gx written twice (backward)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..window import Pair, Window
from .compile import inlined, jit
from .drivers import driver
from .microkernels import address, call_tile, max_2x2, place
from .threads import get_num_threads, parallel_for

index = np.uintp  # Numba lets a signed index count from the end, and that test keeps the compiler from making vectors
SMALL = 1 << 17  # elements that one thread has dealt with before a second has woken up


# --- the kernels ------------------------------------------------------------------------------------------------------


def max_pool2d(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """x (N, C, H, W) -> y and indices (N, C, P, Q): the first maximum of each window and its place h·W + w, int32.

    NaN counts as the largest. A window that sees padding only gives −∞ and index −1.
    """
    if tiles_2x2(window, (x.shape[2], x.shape[3])):
        return _max_of_tiles(x, window, relu=False)
    y, indices = _outputs(x, window), _outputs(x, window, np.int32)
    if y.size:
        size = np.array([*x.shape[2:], *y.shape[2:]])
        _for_planes(x, _max_taps, size, *_tap_ranges(window, size), _flat(x), y.reshape(-1), indices.reshape(-1))
    return y, indices


def relu_max_pool2d(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """max_pool2d(relu(x)): relu never changes which number is larger, so it may come last, on a quarter of them."""
    if tiles_2x2(window, (x.shape[2], x.shape[3])):
        return _max_of_tiles(x, window, relu=True)
    y, indices = max_pool2d(x, window)
    y[(y < 0) & (indices >= 0)] = 0  # a window of padding only stays −∞
    indices[~(y > 0)] = -1
    return y, indices


def tiles_2x2(window: Window, size: Pair) -> bool:
    """Whether the windows are 2 × 2, lie side by side, and all of them inside of an image of that size."""
    tiling = window.kernel == window.stride == (2, 2) and window.dilation == (1, 1)
    if not tiling or window.pad != ((0, 0), (0, 0)):
        return False
    rows, cols = window.output_size(size)
    return size[0] >= 2 * rows and size[1] >= 2 * cols


def _max_of_tiles(x: np.ndarray, window: Window, relu: bool) -> tuple[np.ndarray, np.ndarray]:
    y, indices = _outputs(x, window), _outputs(x, window, np.int32)
    if y.size:
        size = np.array([*x.shape[2:], *y.shape[2:]])
        micro_kernel = address(x.dtype.char, max_2x2, relu=relu)
        _for_planes(x, _max_2x2, size, micro_kernel, _flat(x), y.reshape(-1), indices.reshape(-1))
    return y, indices


def max_pool2d_scatter(gy: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """gx (N, C, H, W) with (H, W) = size: gy added at its index, −1 ignored."""
    gx = np.empty((*gy.shape[:2], *size), gy.dtype)
    if gx.size:
        sizes = np.array([gy.shape[2] * gy.shape[3], size[0] * size[1]])
        _for_planes(gx, _scatter, sizes, _flat(gy), _flat(indices), gx.reshape(-1))
    return gx


def max_pool2d_gather(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) at the indices (N, C, P, Q), 0 where the index is −1."""
    y = np.empty(indices.shape, x.dtype)
    if y.size:
        sizes = np.array([indices.shape[2] * indices.shape[3], x.shape[2] * x.shape[3]])
        _for_planes(y, _gather, sizes, _flat(x), _flat(indices), y.reshape(-1))
    return y


def avg_pool2d(x: np.ndarray, window: Window, count_include_pad: bool) -> np.ndarray:
    """x (N, C, H, W) -> y (N, C, P, Q): sums over windows, divided by window.counts(...)."""
    y = _outputs(x, window)
    if y.size:
        size = np.array([*x.shape[2:], *y.shape[2:]])
        counts = _counts(window, (x.shape[2], x.shape[3]), count_include_pad, x.dtype)
        _for_planes(x, _average, size, *_tap_ranges(window, size), counts, _flat(x), y.reshape(-1))
    return y


def avg_pool2d_transpose(gy: np.ndarray, window: Window, count_include_pad: bool, size: Pair) -> np.ndarray:
    """gy (N, C, P, Q) -> gx (N, C, H, W) with (H, W) = size: the adjoint of avg_pool2d."""
    gx = np.empty((*gy.shape[:2], *size), gy.dtype)
    if gx.size:
        sizes = np.array([*size, *gy.shape[2:]])
        counts = _counts(window, size, count_include_pad, gy.dtype)
        _for_planes(gx, _average_transposed, sizes, *_tap_ranges(window, sizes), counts, _flat(gy), gx.reshape(-1))
    return gx


def _outputs(x: np.ndarray, window: Window, dtype: type | None = None) -> np.ndarray:
    return np.empty((*x.shape[:2], *window.output_size((x.shape[2], x.shape[3]))), dtype or x.dtype)


def _flat(x: np.ndarray) -> np.ndarray:
    """x, or a copy, contiguous, aligned and writeable, as a vector: one type for Numba to compile for."""
    return (x if x.flags.carray else x.copy(order="C")).reshape(-1)


def _counts(window: Window, size: Pair, include_pad: bool, dtype: np.dtype) -> np.ndarray:
    """What the sums are divided by; a window that sees nothing has sum 0, and 0 / 1 = 0."""
    return np.maximum(window.counts(size, include_pad), 1).astype(dtype).reshape(-1)


def _for_planes(larger: np.ndarray, body: Callable[..., None], *args: Any) -> None:
    threads = 1 if larger.size < SMALL else get_num_threads()
    parallel_for(larger.shape[0] * larger.shape[1], body, *args, threads=threads)


def _tap_ranges(window: Window, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stride of rows and columns), and for each row tap and each column tap (shift, first, last): the tap reads
    output · stride + shift, which lies inside of the input for first ≤ output < last."""
    ranges = [
        np.array([
            (tap * window.dilation[axis] - window.pad[axis][0],
             *window.valid_outputs(axis, tap, int(size[axis]), int(size[2 + axis])))
            for tap in range(window.kernel[axis])
        ])
        for axis in (0, 1)
    ]  # fmt: skip
    return np.array(window.stride), ranges[0], ranges[1]


# --- compiled: max ----------------------------------------------------------------------------------------------------


@driver
def _max_2x2(share, first, last, size, micro_kernel, x, y, indices):
    height, width, rows, cols = size
    bias = np.zeros(1, x.dtype)
    for plane in range(first, last):
        source, to = plane * height * width, plane * rows * cols
        call_tile(
            micro_kernel,
            (
                rows,
                cols,
                place(x, source),
                width * x.itemsize,
                width,
                0,
                place(y, to),
                place(indices, to),
                place(bias, 0),
            ),
        )


@jit
def _max_taps(share, first, last, size, stride, row_taps, col_taps, x, y, indices):
    height, width, rows, cols = size
    for plane in range(first, last):
        for p in range(rows):
            to = (plane * rows + p) * cols
            for q in range(to, to + cols):
                y[q], indices[q] = -np.inf, -1
            for r in range(len(row_taps)):
                if row_taps[r, 1] <= p < row_taps[r, 2]:
                    for s in range(len(col_taps)):
                        q0, count = col_taps[s, 1], col_taps[s, 2] - col_taps[s, 1]
                        place = (p * stride[0] + row_taps[r, 0]) * width + q0 * stride[1] + col_taps[s, 0]
                        plane_start = plane * height * width
                        if stride[1] == 1:  # as a constant: only then does the compiler make vectors of the loop
                            _max_row(x, plane_start, place, 1, y, indices, to + q0, count)
                        elif stride[1] == 2:
                            _max_row(x, plane_start, place, 2, y, indices, to + q0, count)
                        else:
                            _max_row(x, plane_start, place, stride[1], y, indices, to + q0, count)


@inlined
def _max_row(x, plane_start, place, stride, y, indices, to, count):
    """One tap for a row of outputs."""
    for q in range(count):
        value = x[index(plane_start + place + q * stride)]
        best, best_place = y[index(to + q)], indices[index(to + q)]
        take = ((not (value <= best)) & (best == best)) | (best_place < 0)  # the first counts even if it is −∞
        y[index(to + q)] = value if take else best
        indices[index(to + q)] = np.int32(place + q * stride) if take else best_place


@jit
def _scatter(share, first, last, size, gy, indices, gx):
    outputs, inputs = size
    for plane in range(first, last):
        start = plane * inputs
        gx[start : start + inputs] = 0
        for i in range(plane * outputs, (plane + 1) * outputs):
            if 0 <= indices[i] < inputs:
                gx[start + indices[i]] += gy[i]


@jit
def _gather(share, first, last, size, x, indices, y):
    outputs, inputs = size
    for plane in range(first, last):
        for i in range(plane * outputs, (plane + 1) * outputs):
            y[i] = x[plane * inputs + indices[i]] if 0 <= indices[i] < inputs else 0


# --- compiled: average ------------------------------------------------------------------------------------------------


@jit
def _average(share, first, last, size, stride, row_taps, col_taps, counts, x, y):
    height, width, rows, cols = size
    for plane in range(first, last):
        for p in range(rows):
            to = (plane * rows + p) * cols
            for q in range(to, to + cols):
                y[q] = 0
            for r in range(len(row_taps)):
                if row_taps[r, 1] <= p < row_taps[r, 2]:
                    for s in range(len(col_taps)):
                        q0, count = col_taps[s, 1], col_taps[s, 2] - col_taps[s, 1]
                        start = (plane * height + p * stride[0] + row_taps[r, 0]) * width + col_taps[s, 0]
                        if stride[1] == 1:
                            _add_row(x, start + q0, 1, y, to + q0, 1, count)
                        elif stride[1] == 2:
                            _add_row(x, start + 2 * q0, 2, y, to + q0, 1, count)
                        else:
                            _add_row(x, start + q0 * stride[1], stride[1], y, to + q0, 1, count)
            for q in range(cols):
                y[index(to + q)] /= counts[index(p * cols + q)]


@inlined
def _add_row(source, start, stride, target, to, target_stride, count):
    for q in range(count):
        target[index(to + q * target_stride)] += source[index(start + q * stride)]


@jit
def _average_transposed(share, first, last, size, stride, row_taps, col_taps, counts, gy, gx):
    height, width, rows, cols = size
    shares = np.empty(cols, gy.dtype)
    for plane in range(first, last):
        gx[plane * height * width : (plane + 1) * height * width] = 0
        for p in range(rows):
            for q in range(cols):
                shares[q] = gy[(plane * rows + p) * cols + q] / counts[p * cols + q]
            for r in range(len(row_taps)):
                if row_taps[r, 1] <= p < row_taps[r, 2]:
                    for s in range(len(col_taps)):
                        q0, count = col_taps[s, 1], col_taps[s, 2] - col_taps[s, 1]
                        start = (plane * height + p * stride[0] + row_taps[r, 0]) * width + col_taps[s, 0]
                        _add_row(shares, q0, 1, gx, start + q0 * stride[1], stride[1], count)
