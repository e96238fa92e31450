"""Convolution in blocks of channels: against the readable book, on every kind of CPU, and who chooses it."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import (
    blocked_conv,
    blocked_depthwise,
    blocked_plans,
    blocked_tiles,
    blocked_weights,
    blocked_winograd,
    convolution,
    microkernels,
    threads,
)
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain
from minicnn.kernels.window import make_window

# images, channels, outputs, (height, width), kernel, stride, padding, dilation, groups
CASES = {
    "1x1 in one run": (2, 32, 48, (9, 7), (1, 1), 1, 0, 1, 1),
    "1x1, long runs": (2, 16, 32, (17, 13), (1, 1), 1, 0, 1, 1),
    "1x1 with a stride": (2, 16, 32, (10, 9), (1, 1), 2, 0, 1, 1),
    "3x3": (2, 32, 48, (7, 9), (3, 3), 1, 1, 1, 1),
    "3x3, one block": (3, 16, 16, (11, 33), (3, 3), 1, 1, 1, 1),
    "3x3 with a stride, blocks not full": (3, 40, 24, (9, 8), (3, 3), 2, 1, 1, 1),
    "few channels": (2, 17, 5, (6, 6), (3, 3), 1, 1, 1, 1),
    "uneven in everything": (1, 17, 33, (13, 11), (5, 3), (2, 1), ((2, 1), (0, 2)), 1, 1),
    "dilated": (2, 48, 32, (9, 9), (3, 3), 1, 2, 2, 1),
    "deep": (1, 320, 80, (7, 7), (3, 3), 1, 1, 1, 1),
    "two groups": (2, 96, 64, (9, 9), (5, 5), 1, 2, 1, 2),
    "windows with gaps between them": (2, 32, 32, (10, 10), (2, 2), 3, 0, 1, 1),
    "1x7": (2, 48, 16, (9, 9), (1, 7), 1, ((0, 0), (3, 3)), 1, 1),
    "padding beyond the window": (1, 16, 16, (3, 2), (2, 2), 1, ((2, 3), (3, 2)), 1, 1),
    "photograph": (2, 3, 32, (20, 21), (7, 7), 2, 3, 1, 1),
    "photograph, 3x3": (2, 3, 16, (20, 22), (3, 3), 1, 1, 1, 1),
    "photograph, 11x11": (1, 1, 96, (35, 35), (11, 11), 4, 2, 1, 1),
    "photograph, dilated": (1, 4, 16, (15, 15), (3, 3), 1, 2, 2, 1),
}
CPUS = {"AVX-512": None, "AVX2": "haswell", "SSE": "nehalem"}
TOLERANCE = 4e-6  # of the largest result: sums of up to 2880 products in float32
BOUND = 2e-5  # the same, of Winograd's convolution
SQUARES = {  # 3 × 3, stride 1
    "whole tiles": (2, 32, 48, (8, 12), (3, 3), 1, 1, 1, 1),
    "tiles over the edge": (3, 16, 16, (7, 9), (3, 3), 1, 1, 1, 1),
    "one tile": (1, 16, 32, (4, 3), (3, 3), 1, 1, 1, 1),
    "uneven padding": (2, 40, 24, (13, 10), (3, 3), 1, ((0, 2), (1, 0)), 1, 1),
    "no padding": (2, 17, 33, (12, 9), (3, 3), 1, 0, 1, 1),
    "padding beyond the window": (1, 16, 16, (5, 6), (3, 3), 1, 3, 1, 1),
    "deep": (1, 320, 80, (7, 7), (3, 3), 1, 1, 1, 1),
    "many bands": (3, 16, 16, (33, 40), (3, 3), 1, 1, 1, 1),
}


@pytest.fixture(params=[1, 2])
def count(request, monkeypatch):
    monkeypatch.setattr(threads, "_threads", request.param)


@pytest.fixture(autouse=True)
def all_work_is_worth_it(monkeypatch):
    monkeypatch.setattr(convolution, "WORTH", 0)
    monkeypatch.setattr(blocked_conv, "SMALL", 0)


@pytest.fixture
def direct(monkeypatch):
    """Every convolution in the direct way."""
    monkeypatch.setattr(blocked_winograd, "fits", lambda *args: False)
    forget()
    yield
    forget()


def compile_for(monkeypatch, name):
    """The kind of CPU that tiles are chosen and compiled for, from now on in this test."""
    forget()
    if name:
        monkeypatch.setenv("NUMBA_CPU_NAME", name)


def forget():
    for remembered in (microkernels.machine, microkernels.address, blocked_conv._forward, blocked_conv._backward,
                       blocked_conv._for_weights, blocked_weights.order_of, blocked_winograd.plan_convolution,
                       blocked_winograd.plan_gradient):  # fmt: skip
        remembered.cache_clear()


def close(found, expected, scale=None, tolerance=TOLERANCE):
    found = plain(found)
    assert found.dtype == np.float32
    scale = abs(expected).max() if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1e-30, scale))


def full_blocks_but_zeros(x):
    blocks = x.blocks()
    lanes = blocks.transpose(0, 1, 4, 2, 3).reshape(len(blocks), -1, *blocks.shape[2:4])
    assert not lanes[:, x.shape[1] :].any()


def numbers(case):
    n, c, k, size, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    window = make_window(size, kernel, stride, padding, dilation, False)
    x, w = rng.standard_normal((n, c, *size)), rng.standard_normal((k, c // groups, *kernel))
    gy = rng.standard_normal((n, k, *window.output_size(size)))
    return *(a.astype(np.float32) for a in (x, w, gy, rng.standard_normal(k), rng.standard_normal(c))), window, groups


def check(case, tolerance=TOLERANCE):
    x, w, gy, b, bx, window, groups = numbers(case)
    size = x.shape[2:]
    wide = [a.astype(np.float64) for a in (x, w, gy, b, bx)]
    expected = reference.conv2d(wide[0], wide[1], wide[3], window, groups)
    images = (x,) if x.shape[1] <= blocked_conv.PLANES else (x, blocked(x))
    for image in images:
        y = blocked_conv.conv2d(image, w, b, window, groups)
        assert type(y) is Blocked
        close(y, expected, tolerance=tolerance)
        full_blocks_but_zeros(y)
        close(
            blocked_conv.conv2d(image, w, b, window, groups, 2.5),
            np.clip(expected, 0, 2.5),
            abs(expected).max(),
            tolerance=tolerance,
        )
        close(
            blocked_conv.conv2d(image, w, None, window, groups), expected - wide[3][:, None, None], tolerance=tolerance
        )
        for gradient in (gy, blocked(gy)):
            gw, gb = blocked_conv.conv2d_weight(image, gradient, window, groups, True)
            for found, right in zip(
                (gw, gb), reference.conv2d_weight(wide[0], wide[2], window, groups, True), strict=True
            ):
                assert type(found) is np.ndarray
                close(found, right, tolerance=tolerance)
            assert blocked_conv.conv2d_weight(image, gradient, window, groups, False)[1] is None
    for gradient in (gy, blocked(gy)):
        gx = blocked_conv.conv_transpose2d(gradient, w, bx, window, groups, size)
        close(gx, reference.conv_transpose2d(wide[2], wide[1], wide[4], window, groups, size), tolerance=tolerance)
        full_blocks_but_zeros(gx)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_all_three_passes_with_any_mix_of_planes_and_blocks(case, count, direct):
    check(case)


@pytest.mark.parametrize("cpu_name", CPUS.values(), ids=CPUS)
@pytest.mark.parametrize("band_bytes", [4000, 1 << 20])
def test_every_kind_of_cpu_and_small_bands(cpu_name, band_bytes, direct, monkeypatch):
    compile_for(monkeypatch, cpu_name)
    monkeypatch.setattr(blocked_plans, "BAND_BYTES", band_bytes)
    monkeypatch.setattr(blocked_plans, "DEPTH", 96)  # sums in several pieces
    try:
        for case in list(CASES.values()):
            check(case)
    finally:
        monkeypatch.undo()
        forget()


@pytest.mark.parametrize("case", SQUARES.values(), ids=SQUARES)
def test_winograd(case, count, monkeypatch):
    """Within its bound; and it is no other path that is tested here."""
    ran = []
    for name in ("correlate", "weight_gradient"):
        original = getattr(blocked_winograd, name)
        monkeypatch.setattr(blocked_winograd, name, lambda *a, f=original, n=name: (ran.append(n), f(*a)))
    check(case, BOUND)
    assert set(ran) == {"correlate", "weight_gradient"}


@pytest.mark.parametrize("cpu_name", CPUS.values(), ids=CPUS)
@pytest.mark.parametrize("band_bytes", [100_000, 1 << 30])
def test_winograd_on_every_kind_of_cpu_with_many_bands_and_one(cpu_name, band_bytes, monkeypatch):
    compile_for(monkeypatch, cpu_name)
    monkeypatch.setattr(blocked_winograd, "L2_BYTES", band_bytes)
    try:
        for case in SQUARES.values():
            check(case, BOUND)
    finally:
        monkeypatch.undo()
        forget()


def test_winograd_is_not_worth_it_for_tiny_planes_and_made_for_no_other_window():
    def fits(size, kernel=(3, 3), stride=1, dilation=1, groups=1):
        window = make_window(size, kernel, stride, 1, dilation, False)
        return blocked_winograd.fits(window, groups, window.output_size(size))

    assert fits((3, 3)) and fits((7, 7)) and fits((224, 224))
    assert not fits((2, 2)) and not fits((1, 9))
    assert not fits((9, 9), kernel=(5, 5)) and not fits((9, 9), stride=2)
    assert not fits((9, 9), dilation=2) and not fits((9, 9), groups=2)


@pytest.mark.parametrize("case", [CASES["deep"], (5, 16, 16, (40, 40), (3, 3), 1, 1, 1, 1)], ids=["deep", "many bands"])
def test_the_result_does_not_depend_on_the_number_of_threads(case, monkeypatch):
    monkeypatch.setattr(blocked_winograd, "L2_BYTES", 300_000)
    forget()
    found = []
    for many in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", many)
        x, w, gy, b, _, window, groups = numbers(case)
        found.append([cpu.conv2d_weight(blocked(x), blocked(gy), window, groups, True)[0].tobytes(),
                      plain(cpu.conv2d(blocked(x), w, b, window, groups)).tobytes()])  # fmt: skip
    forget()
    assert found[0] == found[1] == found[2]


def test_winograd_spreads_what_is_not_finite_over_the_tiles_that_see_it_and_no_further():
    """In the direct way ∞ at one pixel reaches 3 × 3 outputs; here all 4 × 4 of each tile that reads the pixel."""
    x, w, *_, window, groups = numbers((1, 16, 16, (16, 16), (3, 3), 1, 1, 1, 1))
    right = plain(blocked_conv.conv2d(x, w, None, window, groups))
    x[0, 3, 5, 6] = np.inf  # read by the tile of outputs 4 to 7, in both axes, alone
    found = plain(blocked_conv.conv2d(x, w, None, window, groups))
    assert not np.isfinite(found[0, :, 4:7, 5:8]).any()
    found[:, :, 4:8, 4:8] = right[:, :, 4:8, 4:8]
    assert np.array_equal(found, right)


def test_a_block_is_a_whole_number_of_vectors():
    for machine in (microkernels.AVX512, microkernels.AVX2, microkernels.SSE, microkernels.NEON):
        per_block = blocked_tiles.vectors_of_a_block(machine)
        assert per_block * machine.lanes("float32") == 16


def test_who_chooses_blocks(monkeypatch):
    def home(shape, outputs, kernel=(3, 3), groups=1, dtype=np.float32, padding=1, given=False):
        x = np.zeros(shape, dtype)
        window = make_window(shape[2:], kernel, 1, padding, 1, False)
        return convolution._home(shape, outputs, window, groups, blocked(x) if given else x)

    def in_blocks(*args, **kwargs):
        return home(*args, **kwargs) is blocked_conv

    assert in_blocks((2, 16, 8, 8), 16)
    assert not in_blocks((2, 16, 8, 8), 16, dtype=np.float64)
    assert in_blocks((2, 3, 8, 8), 16) and not in_blocks((2, 6, 8, 8), 16)  # planes of a photograph, or of LeNet's
    assert not in_blocks((2, 16, 8, 8), 10) and in_blocks((2, 16, 8, 8), 10, given=True)
    assert in_blocks((2, 64, 8, 8), 32, groups=2) and not in_blocks((2, 64, 8, 8), 32, groups=4)
    assert home((2, 64, 8, 8), 64, groups=64) is blocked_depthwise
    assert home((2, 8, 8, 8), 8, groups=8) is None and home((2, 8, 8, 8), 8, groups=8, given=True) is blocked_depthwise
    assert home((2, 16, 8, 8), 32, groups=16, given=True) is None  # two outputs for each channel
    assert not in_blocks((2, 16, 3, 3), 16, padding=0)  # the window is the image
    assert not in_blocks((0, 16, 8, 8), 16)
    monkeypatch.setattr(convolution, "WORTH", 2 * 64 * 16 * 16 * 9 + 1)
    assert not in_blocks((2, 16, 8, 8), 16) and in_blocks((2, 16, 8, 8), 16, given=True)


def test_fused_with_relu_and_pooling():
    x, w, gy, b, _, window, groups = numbers(CASES["3x3"])
    pool = make_window(gy.shape[2:], (2, 2), 2, 0, 1, False)
    y, indices = cpu.conv2d_relu_max_pool2d(blocked(x), w, b, window, groups, pool)
    expected, winners = reference.conv2d_relu_max_pool2d(x, w, b, window, groups, pool)
    close(y, expected)
    assert np.array_equal(plain(indices), winners)
    g = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    for needs in ((True, True, True), (False, True, False), (True, False, False), (False, False, True)):
        weights = w if needs[0] else None  # as the op gives it
        found = cpu.conv2d_relu_max_pool2d_gradient(
            blocked(g), indices, blocked(x), weights, window, groups, pool, needs
        )
        right = reference.conv2d_relu_max_pool2d_gradient(g, winners, x, w, window, groups, pool, needs)
        assert [a is None for a in found] == [a is None for a in right]
        for a, e in zip(found, right, strict=True):
            if a is not None:
                close(a, e)
