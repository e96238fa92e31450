"""cuda/gemm.py: every tile and its tails, all layouts of memory, broadcasting, sums in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.kernels import reference
from minicnn.kernels.cuda import gemm, parts

from .on_device import BOTH, Kernels, as_reference, watched

EACH_DTYPE = pytest.mark.parametrize("dtype", BOTH)
EACH_TILE = pytest.mark.parametrize("tile", gemm.TILES)
CLOSE = {np.float32: 2e-5, np.float64: 1e-13}

#          M    K    N     around the edges of all tiles: 32, 64, 128; slices of 8 and 16
SIZES = [(1, 1, 1), (5, 7, 3), (33, 17, 65), (64, 16, 64), (65, 8, 129), (129, 33, 31), (2, 0, 3), (0, 4, 2), (3, 2, 0)]


@pytest.fixture
def gpu(device):
    return Kernels(device, "gemm")


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


@EACH_DTYPE
@EACH_TILE
def test_tails_of_every_tile(gpu, tile, dtype, monkeypatch):
    monkeypatch.setattr(gemm, "tile_for", lambda m, n, many: tile)
    for m, k, n in SIZES:
        a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype, seed=1)
        as_reference(gpu, "matmul", a, b, rtol=CLOSE[dtype], atol=CLOSE[dtype])


LEADS = [
    ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (2, 3)), ((2, 1, 2), (1, 3, 1)),
    ((2, 1, 2), (2, 3, 1)), ((1, 1), (1,)), ((0, 2), (1, 2)),
]  # fmt: skip


@pytest.mark.parametrize("lead", LEADS)
def test_leading_axes_broadcast(gpu, lead):
    a, b = numbers(*lead[0], 5, 7), numbers(*lead[1], 7, 4, seed=1)
    as_reference(gpu, "matmul", a, b, rtol=2e-5, atol=2e-5)


def test_any_layout_of_memory(device):
    """Transposed operands are read where they lie; whatever else is copied: the same bytes."""
    a, b = numbers(2, 33, 20), numbers(2, 20, 41, seed=1)
    with devices.computing(device):
        xp = devices.array_library(device)
        plain = xp.asnumpy(gemm.matmul(xp.asarray(a), xp.asarray(b)))

        def odd(x, how):
            if how == "transposed":
                return xp.asarray(x.swapaxes(-1, -2).copy()).swapaxes(-1, -2)
            if how == "strided":
                return xp.asarray(np.repeat(x, 2, axis=-1))[..., ::2]
            if how == "turned":
                return xp.asarray(x.T.copy()).transpose()
            return xp.asarray(np.stack([x, x]))[1]

        for how in ("transposed", "strided", "turned", "part"):
            for first, second in (
                (odd(a, how), xp.asarray(b)),
                (xp.asarray(a), odd(b, how)),
                (odd(a, how), odd(b, how)),
            ):
                np.testing.assert_array_equal(xp.asnumpy(gemm.matmul(first, second)), plain, how)


@EACH_DTYPE
@EACH_TILE
def test_sums_in_pieces(gpu, tile, dtype, monkeypatch):
    """The last piece is shorter than the others, and one comes out empty."""
    monkeypatch.setattr(gemm, "tile_for", lambda m, n, many: tile)
    monkeypatch.setattr(parts, "LEAST", 16)
    for k in (33, 47, 100):
        assert parts.pieces_of(1, k)[0] > 1
        a, b = numbers(2, 9, k, dtype=dtype), numbers(2, k, 35, dtype=dtype, seed=1)
        as_reference(gpu, "matmul", a, b, rtol=CLOSE[dtype], atol=CLOSE[dtype])
        x, w, bias = numbers(5, k, dtype=dtype), numbers(37, k, dtype=dtype, seed=1), numbers(37, dtype=dtype)
        for relu in (False, True):
            as_reference(gpu, "linear", x, w, bias, relu, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@EACH_DTYPE
@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 9, 10), (33, 40, 65), (0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_linear(gpu, sizes, dtype):
    n, i, o = sizes
    x, w, b, gy = (numbers(*shape, dtype=dtype, seed=s) for s, shape in enumerate(((n, i), (o, i), (o,), (n, o))))
    close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    for bias in (b, None):
        for relu in (False, True):
            y = as_reference(gpu, "linear", x, w, bias, relu, **close)
    for mask in (None, y):
        for needs in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
            as_reference(
                gpu, "linear_gradient", gy, mask, x if needs[1] else None, w if needs[0] else None, needs, **close
            )


def test_relu_lets_nan_through_and_masks_it(gpu):
    x, w = np.array([[np.nan, 1], [-1, -1]], np.float32), np.ones((3, 2), np.float32)
    y = gpu.linear(x, w, None, True)
    assert np.isnan(y[0]).all() and (y[1] == 0).all()
    gx, _, gb = gpu.linear_gradient(np.full((2, 3), np.nan, np.float32), y, x, w, (True, True, True))
    assert (gx == 0).all() and (gb == 0).all()


FORMULAS = [
    "ij,jk->ik", "nchw,ndhw->ncd", "bij,bjk->bik", "ij,kj->ki", "ij->j", "ij->ji", "ij->", "i,j->ij", "ij,ij->",
    "ij,jk,kl->il", "ij,ik,il->jkl", "ab,bc,cd,da->", "i,i,i->i", "abc,cb->a", "ijk,jil->kl", "ij,kl->",
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_einsum(gpu, formula):
    size = dict(zip("abcdhwijkln", (2, 3, 4, 5, 3, 2, 4, 3, 5, 2, 3), strict=True))
    terms = formula.partition("->")[0].split(",")
    first, *rest = (numbers(*(size[name] for name in term), seed=s) for s, term in enumerate(terms))
    as_reference(gpu, "einsum", first, tuple(rest), formula, rtol=1e-4, atol=1e-4)


def test_cublas_by_choice(gpu):
    a, b = numbers(5, 6), numbers(6, 4, seed=1)
    gemm.use_cublas(True)
    try:
        np.testing.assert_allclose(gpu.matmul(a, b), reference.matmul(a, b), rtol=1e-4, atol=1e-5)
    finally:
        gemm.use_cublas(False)
    whole = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(gpu.matmul(whole, whole.T), whole @ whole.T)


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1"])
@EACH_TILE
def test_under_watch(gpu, device, tile, order, monkeypatch):
    monkeypatch.setattr(gemm, "tile_for", lambda m, n, many: tile)
    monkeypatch.setattr(parts, "LEAST", 16)
    x, w, b, gy = numbers(5, 33), numbers(34, 33, seed=1), numbers(34), numbers(5, 34)
    with watched(device, order):
        y = as_reference(gpu, "linear", x, w, b, True, rtol=2e-5, atol=2e-5)
        as_reference(gpu, "linear_gradient", gy, y, x, w, (True, True, True), rtol=2e-5, atol=2e-5)
        as_reference(gpu, "matmul", x, w.T, rtol=2e-5, atol=2e-5)
