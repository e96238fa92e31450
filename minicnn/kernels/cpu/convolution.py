"""Which convolution: with planes (conv.py), or in blocks of 16 channels (blocked_conv.py, blocked_depthwise.py).

Here blocks begin: an image that comes as planes leaves as blocks if there is enough to compute, and channels to fill a
block. From there on kernels hand blocks to each other, until something asks for the planes.

    planes      small images, few channels, groups that are no blocks, windows as large as the image, float64
    blocks      dense convolutions of at least 16 channels, or of the planes of a photograph; depthwise ones
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import cpu
from ..window import Pair, Window
from . import blocked_conv, blocked_depthwise, conv
from .blocked import BLOCK, Blocked, plain

WORTH = 1 << 20  # multiply-adds from which on planes are made into blocks


def conv2d(x: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int) -> Any:
    """x (N, C, H, W), w (K, C/groups, R, S), b (K,) or None -> y (N, K, P, Q)."""
    w = plain(w)
    home = _home(x.shape, w.shape[0], window, groups, x)
    if home:
        return home.conv2d(x, w, b, window, groups)
    return conv.conv2d(plain(x), w, b, window, groups)


def conv2d_act(x: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, cap: float) -> Any:
    """min(max(conv2d(x, w, b), 0), cap)."""
    w = plain(w)
    home = _home(x.shape, w.shape[0], window, groups, x)
    if home:
        return home.conv2d(x, w, b, window, groups, cap)
    return conv.conv2d_act(plain(x), w, b, window, groups, cap)


def conv_transpose2d(
    gy: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, output_size: Pair
) -> Any:
    """gy (N, K, P, Q), w (K, C/groups, R, S), b (C,) or None -> gx (N, C, H, W): the adjoint of conv2d in x."""
    w = plain(w)
    shape = (gy.shape[0], groups * w.shape[1], *output_size)
    home = _home(shape, w.shape[0], window, groups, gy)
    if home and shape[1] > blocked_conv.PLANES:
        return home.conv_transpose2d(gy, w, b, window, groups, output_size)
    return conv.conv_transpose2d(plain(gy), w, b, window, groups, output_size)


def conv2d_weight(x: Any, gy: Any, window: Window, groups: int, bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """x (N, C, H, W), gy (N, K, P, Q) -> gw (K, C/groups, R, S): the adjoint of conv2d in w; and in b, or None."""
    home = _home(x.shape, gy.shape[1], window, groups, x, gy)
    if home:
        return home.conv2d_weight(x, gy, window, groups, bias)
    return conv.conv2d_weight(plain(x), plain(gy), window, groups, bias)


def conv2d_relu_max_pool2d(
    x: Any, w: np.ndarray, b: np.ndarray | None, window: Window, groups: int, pool: Window
) -> tuple[Any, Any]:
    """relu_max_pool2d(conv2d(x, w, b)) and the winners."""
    w = plain(w)
    home = _home(x.shape, w.shape[0], window, groups, x)
    if home:
        return cpu.relu_max_pool2d(home.conv2d(x, w, b, window, groups), pool)
    return conv.conv2d_relu_max_pool2d(plain(x), w, b, window, groups, pool)


def conv2d_relu_max_pool2d_gradient(
    gy: Any, indices: Any, x: Any, w: np.ndarray, window: Window, groups: int, pool: Window,
    needs: tuple[bool, bool, bool],
) -> tuple[Any, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients in x, w and b, each None unless needed."""
    w = plain(w)
    if not _home(x.shape, indices.shape[1], window, groups, x, indices):
        gy, indices, x = map(plain, (gy, indices, x))
        return conv.conv2d_relu_max_pool2d_gradient(gy, indices, x, w, window, groups, pool, needs)
    size = (x.shape[2], x.shape[3])
    gradient = cpu.max_pool2d_scatter(gy, indices, window.output_size(size))
    gx = conv_transpose2d(gradient, w, None, window, groups, size) if needs[0] else None
    gw = gb = None
    if needs[1] or needs[2]:
        gw, gb = conv2d_weight(x, gradient, window, groups, needs[2])
    return gx, gw if needs[1] else None, gb


def _home(x_shape: tuple[int, ...], outputs: int, window: Window, groups: int, *arrays: Any) -> Any:
    """The module that convolves images of x_shape to `outputs` channels in blocks; None if that is better not done."""
    n, channels, *size = x_shape
    rows, cols = window.output_size((size[0], size[1]))
    if arrays[0].dtype != np.float32 or 0 in (n, channels, outputs, rows, cols) or 0 in size:
        return None
    if window.kernel == tuple(size) and (rows, cols) == (1, 1) and groups == 1:
        return None  # a linear layer
    home: Any = blocked_conv
    if groups == 1:
        whole = outputs >= BLOCK and (channels >= BLOCK or channels <= blocked_conv.PLANES)
        given = outputs >= BLOCK // 2 or channels >= BLOCK
    elif groups == channels == outputs:
        home, whole, given = blocked_depthwise, channels >= BLOCK, channels >= BLOCK // 2
    else:
        whole = given = channels % (groups * BLOCK) == 0 and outputs % (groups * BLOCK) == 0
    if any(type(a) is Blocked for a in arrays):
        return home if given else None
    enough = n * rows * cols * outputs * (channels // groups) * math.prod(window.kernel) >= WORTH
    return home if whole and enough else None
