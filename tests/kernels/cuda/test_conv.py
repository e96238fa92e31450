"""cuda/conv.py: all geometry, every tile and its tails, sums in pieces, phases of strides, groups both ways."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels.cuda import conv, gemm, parts
from minicnn.kernels.window import Window

from ..convolutions import CASES as SHARED
from ..convolutions import window
from .on_device import BOTH, Kernels, as_reference, watched

EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
EACH_TILE = pytest.mark.parametrize("tile", gemm.TILES)
ORDERS = ("forward", "reverse", "random:4")

#       N, C, K, (H, W), window, groups
CASES = SHARED | {
    "stride 6, dilation 4": (1, 2, 3, (20, 19), window((3, 3), (6, 6), ((3, 2), (0, 1)), (4, 4)), 1),
    "groups in tiles": (2, 4, 22, (5, 7), window((3, 2), (2, 1), ((1, 0), (0, 1))), 2),
    "depthwise 5x3, dilated": (2, 3, 3, (9, 8), window((5, 3), (1, 2), ((3, 1), (0, 2)), (2, 1)), 3),
    "more than a tile": (3, 15, 66, (8, 6), window((3, 3), pad=((1, 1), (1, 1))), 1),
    "no images": (0, 3, 4, (6, 6), window((3, 3)), 1),
    "no channels": (2, 0, 2, (3, 3), window((1, 1)), 1),
    "no filters": (2, 3, 0, (3, 3), window((2, 2)), 1),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def gpu(device):
    return Kernels(device, "conv")


def data(case, dtype, seed=0):
    n, c, k, size, win, groups = case
    rng = np.random.default_rng(seed)
    shapes = (n, c, *size), (k, c // groups, *win.kernel), (k,), (n, k, *win.output_size(size)), (c,)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check_all(gpu, case, dtype):
    x, w, b, gy, bc = data(case, dtype)
    size, win, groups = case[3:]
    terms = max(1, np.prod(w.shape[1:]), gy.size // max(1, case[2]))
    close = {"rtol": 1e-5, "atol": 3e-6 * terms**0.5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14 * terms}
    for bias in (b, None):
        as_reference(gpu, "conv2d", x, w, bias, win, groups, **close)
    for cap in (np.inf, 0.75):
        as_reference(gpu, "conv2d_act", x, w, b, win, groups, cap, **close)
    for bias in (bc, None):
        as_reference(gpu, "conv_transpose2d", gy, w, bias, win, groups, size, **close)
    for with_bias in (True, False):
        as_reference(gpu, "conv2d_weight", x, gy, win, groups, with_bias, **close)


@EACH_DTYPE
@EACH
def test_as_the_reference(gpu, case, dtype):
    check_all(gpu, case, dtype)


@EACH_TILE
@pytest.mark.parametrize("name", ["plain", "stride 2", "dilation and stride share a factor", "groups in tiles",
                                  "all tails", "more than a tile", "no channels"])  # fmt: skip
def test_every_tile(gpu, name, tile, monkeypatch):
    monkeypatch.setattr(conv, "tile_for", lambda m, n, many: tile)
    check_all(gpu, CASES[name], np.float32)


@EACH_TILE
@EACH_DTYPE
@pytest.mark.parametrize("name", ["stride 2", "dilation and stride do not", "groups", "groups in tiles", "depthwise",
                                  "depthwise 5x3, dilated", "all tails"])  # fmt: skip
def test_sums_in_pieces(gpu, name, tile, dtype, monkeypatch):
    """Each sum is split, also where a phase of the transposed convolution has fewer taps than there are pieces."""
    monkeypatch.setattr(conv, "tile_for", lambda m, n, many: tile)
    monkeypatch.setattr(parts, "LEAST", 8)
    monkeypatch.setattr(parts, "ENOUGH", 10_000)
    check_all(gpu, CASES[name], dtype)


@pytest.mark.parametrize("name", ["groups", "depthwise", "depthwise, two of each", "depthwise 5x3, dilated"])
def test_narrow_groups_in_tiles(gpu, name, monkeypatch):
    monkeypatch.setattr(conv, "NARROW", 0)
    check_all(gpu, CASES[name], np.float32)


def test_larger_output_size(gpu):
    """output_size may exceed what the windows reach: those rows and columns are the bias."""
    gy, w = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
    as_reference(gpu, "conv_transpose2d", gy, w, np.full(1, 5, "f"), window((2, 2), (3, 3)), 1, (7, 6), rtol=0)


def test_what_is_not_finite_stays_where_it_belongs(gpu):
    """NaN and ∞ reach the outputs that read them, through the clipping too, and no others: not through padding."""
    for name in ("asymmetric pads", "depthwise", "stride 2"):
        x, w, b, _, _ = data(CASES[name], np.float32)
        x[0, 0, 0, 0], x[-1, -1, -1, -1] = np.nan, np.inf
        win, groups = CASES[name][4:]
        as_reference(gpu, "conv2d", x, w, b, win, groups, rtol=1e-4, atol=1e-4)
        as_reference(gpu, "conv2d_act", x, w, b, win, groups, 6.0, rtol=1e-4, atol=1e-4)


POOLS = {"2x2": Window((2, 2), (2, 2)), "3x3, overlapping": Window((3, 3), (2, 2), ((1, 1), (1, 1)), ceil_mode=True)}


@EACH_DTYPE
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_with_relu_and_pool(gpu, pool, dtype):
    x, w, b, _, _ = data(CASES["all tails"], dtype)
    win = CASES["all tails"][4]
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    y, indices = as_reference(gpu, "conv2d_relu_max_pool2d", x, w, b, win, 1, pool, **close)
    gy = np.random.default_rng(5).standard_normal(y.shape).astype(dtype)
    for needs in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        as_reference(gpu, "conv2d_relu_max_pool2d_gradient", gy, indices, x, w, win, 1, pool, needs, **close)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["stride 2", "groups", "depthwise, two of each", "one pixel"])
def test_under_watch(gpu, device, name, order, monkeypatch):
    """Sums in pieces of flat tiles, in which more is tail than not."""
    monkeypatch.setattr(parts, "LEAST", 20)
    with watched(device, order):
        check_all(gpu, CASES[name], np.float32)


@EACH_TILE
def test_every_tile_under_watch(gpu, device, tile, monkeypatch):
    monkeypatch.setattr(conv, "tile_for", lambda m, n, many: tile)
    with watched(device, "random:5"):
        check_all(gpu, CASES["strides differ"], np.float32)
