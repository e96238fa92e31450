"""Convolution, relu and max pooling in one pass, against the same ops one by one in float64."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cpu import conv, plans, sparse, threads
from minicnn.kernels.window import Window

from .test_microkernels import before_a_wall

POOL = Window((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))


def window(kernel, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1)):
    return Window(kernel, stride, pad, dilation)


#       N, C, K, (H, W), window, groups, pooling
CASES = {
    "first layer of LeNet-5": (9, 1, 6, (32, 32), window((5, 5)), 1, POOL),
    "second layer": (5, 6, 16, (14, 14), window((5, 5)), 1, POOL),
    "odd sizes": (3, 3, 5, (10, 12), window((2, 4)), 1, POOL),
    "padding": (3, 3, 4, (9, 11), window((3, 3), pad=((1, 1), (1, 1))), 1, POOL),
    "asymmetric padding": (3, 2, 4, (9, 8), window((3, 4), pad=((0, 2), (3, 0))), 1, POOL),
    "more padding than taps": (2, 2, 3, (4, 5), window((2, 2), pad=((4, 3), (3, 4))), 1, POOL),
    "stride": (3, 3, 4, (13, 12), window((3, 2), (2, 1), ((0, 2), (1, 0))), 1, POOL),
    "column stride": (2, 2, 3, (9, 14), window((2, 7), (1, 2), ((1, 0), (3, 3))), 1, POOL),
    "dilation": (2, 3, 4, (12, 11), window((3, 3), pad=((2, 2), (2, 2)), dilation=(2, 1)), 1, POOL),
    "column dilation": (2, 3, 4, (12, 11), window((3, 3), dilation=(1, 2)), 1, POOL),
    "groups": (3, 4, 6, (9, 8), window((3, 3), pad=((1, 1), (1, 1))), 2, POOL),
    "many channels": (2, 40, 9, (8, 9), window((3, 3), pad=((1, 1), (1, 1))), 1, POOL),
    "11 taps in a row": (2, 2, 4, (9, 23), window((3, 11)), 1, POOL),
    "20 taps in a row": (2, 1, 3, (6, 30), window((2, 20)), 1, POOL),
    "one window": (2, 2, 3, (3, 3), window((2, 2)), 1, POOL),
    "no images": (0, 2, 3, (6, 6), window((3, 3)), 1, POOL),
    "one image": (1, 1, 4, (8, 8), window((3, 3)), 1, POOL),
    "windows overlap": (2, 2, 3, (9, 9), window((2, 3)), 1, window((3, 3), (2, 2))),
    "windows padded": (2, 2, 3, (9, 9), window((2, 3)), 1, window((2, 2), (2, 2), ((1, 1), (1, 1)))),
    "a pooling of pairs": (2, 2, 3, (8, 9), window((2, 3)), 1, window((2, 1), (2, 1))),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def replan(monkeypatch):
    """Plans depend on constants that tests change: none may outlive the test. Several threads for any size."""
    monkeypatch.setattr(conv, "SMALL", 0)
    monkeypatch.setattr(sparse, "SMALL", 0)
    before = threads.get_num_threads()
    caches = (conv._forward, conv._backward, conv._for_weights, sparse._plan)
    for planned in caches:
        planned.cache_clear()
    yield threads.set_num_threads
    threads.set_num_threads(before)
    for planned in caches:
        planned.cache_clear()


def check(case, dtype):
    n, c, k, size, win, groups, pool = case
    rng = np.random.default_rng(0)
    shapes = (n, c, *size), (k, c // groups, *win.kernel), (k,)
    x, w, b = (before_a_wall(rng.standard_normal(shape).astype(dtype)) for shape in shapes)
    exact = [a.astype(np.float64) for a in (x, w, b)]
    y, winners = conv.conv2d_relu_max_pool2d(x, w, b, win, groups, pool)
    expected, places = reference.conv2d_relu_max_pool2d(*exact, win, groups, pool)
    tolerance = {np.float32: 2e-5, np.float64: 1e-13}[dtype]
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(winners, places)
    assert y.dtype == dtype and winners.dtype == np.int32
    gy = before_a_wall(rng.standard_normal(y.shape).astype(dtype))
    right = reference.conv2d_relu_max_pool2d_gradient(
        gy.astype(np.float64), places, *exact[:2], win, groups, pool, (True, True, True)
    )
    for needs in ((True, True, True), (True, False, False), (False, True, False), (False, True, True)):
        found = conv.conv2d_relu_max_pool2d_gradient(gy, winners, x, w, win, groups, pool, needs)
        assert [gradient is not None for gradient in found] == list(needs)
        for name, gradient, wanted in zip("xwb", found, right, strict=True):
            if gradient is not None:
                assert gradient.dtype == dtype
                scale = max(1.0, np.abs(wanted).max(initial=0))
                np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * scale, err_msg=name)


@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_ops_one_by_one(case, dtype, replan):
    for count in (1, 2, 3):
        replan(count)
        check(case, dtype)


@EACH
def test_in_small_bands(case, replan, monkeypatch):
    """Several bands of images, or of rows: then the gradient cannot be unpooled while it is loaded."""
    for size in (3000, 600):
        monkeypatch.setattr(plans, "BAND_BYTES", size)
        monkeypatch.setattr(sparse, "COPY_BYTES", size)
        for planned in (conv._forward, conv._backward, conv._for_weights, sparse._plan):
            planned.cache_clear()
        check(case, np.float32)


@EACH
def test_dense_weight_gradient(case, replan, monkeypatch):
    """The way that conv.py takes where sparse.py has too few registers."""
    monkeypatch.setattr(sparse, "fits", lambda *args: False)
    check(case, np.float32)


@EACH
def test_junk_in_scratch_reaches_no_result(case, replan, monkeypatch):
    scratch = threads.scratch

    def poisoned(shares, size, dtype):
        work = scratch(shares, size, dtype)
        work[...] = np.nan
        return work

    monkeypatch.setattr(conv, "scratch", poisoned)
    monkeypatch.setattr(sparse, "scratch", poisoned)
    check(case, np.float32)
    monkeypatch.setattr(sparse, "fits", lambda *args: False)
    check(case, np.float32)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_runs_repeat_to_the_byte(count, replan):
    replan(count)
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 3, 12, 12), (5, 3, 3, 3), (5,)))
    win = window((3, 3))

    def run():
        y, winners = conv.conv2d_relu_max_pool2d(x, w, b, win, 1, POOL)
        return y, winners, *conv.conv2d_relu_max_pool2d_gradient(y, winners, x, w, win, 1, POOL, (True, True, True))

    first = run()
    for _ in range(5):
        for a, c in zip(first, run(), strict=True):
            np.testing.assert_array_equal(a, c)


def test_which_weight_gradients_are_sparse():
    """That of LeNet's layers is; not that of a layer with many channels, of groups, or of taps apart."""
    assert sparse.fits((64, 1, 32, 32), window((5, 5)), 1, "f")
    assert not sparse.fits((64, 64, 32, 32), window((3, 3)), 1, "f")
    assert not sparse.fits((64, 4, 32, 32), window((3, 3)), 2, "f")
    assert not sparse.fits((64, 2, 32, 32), window((3, 3), dilation=(1, 2)), 1, "f")
