"""cpu/conv.py against loops that share nothing with it, and against its own adjoint identities."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minicnn.kernels.cpu import bands, conv, microkernels, plans, threads

from ..convolutions import CASES as SHARED
from ..convolutions import window

ROOT = Path(__file__).resolve().parents[3]
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])

#       N, C, K, (H, W), window, groups
CASES = SHARED | {
    "a linear layer with padding": (6, 2, 7, (4, 3), window((6, 5), pad=((1, 1), (1, 1))), 1),
    "7x1": (2, 3, 4, (9, 5), window((7, 1), pad=((3, 3), (0, 0))), 1),
    "reduction in pieces": (1, 40, 11, (6, 6), window((3, 3), pad=((1, 1), (1, 1))), 1),
    "window covers all": (20, 3, 12, (5, 5), window((5, 5)), 1),
    "LeNet 1": (5, 1, 6, (32, 32), window((5, 5)), 1),
    "wide": (1, 2, 3, (3, 150), window((3, 3), pad=((1, 1), (1, 1))), 1),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


# --- the oracle: one window at a time, in float64 ---------------------------------------------------------------------


def windows(case):
    """(p, q, group, where in the padded input, channels, outputs) of every window."""
    _, c, k, _, win, groups = case
    (rows, cols), (sh, sw), (dh, dw) = win.kernel, win.stride, win.dilation
    p_count, q_count = output_size(case)
    for p in range(p_count):
        for q in range(q_count):
            h = slice(p * sh, p * sh + (rows - 1) * dh + 1, dh)
            v = slice(q * sw, q * sw + (cols - 1) * dw + 1, dw)
            for g in range(groups):
                channels, outputs = (slice(g * size // groups, (g + 1) * size // groups) for size in (c, k))
                yield p, q, h, v, channels, outputs


def output_size(case):
    sizes = []
    for size, taps, stride, pads, dilation in zip(case[3], *case[4][:4], strict=True):
        sizes.append((size + pads[0] + pads[1] - (taps - 1) * dilation - 1) // stride + 1)
    return tuple(sizes)


def padded(x, case):
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), *case[4].pad))


def naive_conv2d(x, w, b, case):
    y = np.zeros((case[0], case[2], *output_size(case)))
    image = padded(x, case)
    for p, q, h, v, c, k in windows(case):
        y[:, k, p, q] = np.einsum("ncrs,kcrs->nk", image[:, c, h, v], w[k].astype(np.float64)) + b[k]
    return y


def naive_transpose(gy, w, b, case):
    image = padded(np.zeros((case[0], case[1], *case[3])), case)
    for p, q, h, v, c, k in windows(case):
        image[:, c, h, v] += np.einsum("nk,kcrs->ncrs", gy[:, k, p, q].astype(np.float64), w[k].astype(np.float64))
    (top, _), (left, _) = case[4].pad
    return image[:, :, top : top + case[3][0], left : left + case[3][1]] + b[:, None, None]


def naive_weight(x, gy, case):
    gw = np.zeros((case[2], case[1] // case[5], *case[4].kernel))
    image = padded(x, case)
    for p, q, h, v, c, k in windows(case):
        gw[k] += np.einsum("nk,ncrs->kcrs", gy[:, k, p, q].astype(np.float64), image[:, c, h, v])
    return gw


def data(case, dtype, seed=0):
    rng = np.random.default_rng(seed)
    n, c, k, size, win, groups = case

    def random(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, w, gy = random(n, c, *size), random(k, c // groups, *win.kernel), random(n, k, *output_size(case))
    return x, w, random(k), gy, random(c)


def assert_close(actual, expected, dtype, what):
    assert actual.dtype == dtype and actual.shape == expected.shape, what
    scale = max(1.0, np.abs(expected).max(initial=0))
    error = np.abs(actual - expected).max(initial=0) / scale
    assert error < {np.float32: 3e-6, np.float64: 1e-14}[dtype] * 4, f"{what}: relative error {error:.1e}"


def check_all(case, dtype):
    x, w, b, gy, bc = data(case, dtype)
    copies = [a.copy() for a in (x, w, b, gy, bc)]
    win, groups = case[4], case[5]
    expected = naive_conv2d(x, w, b, case)
    assert_close(conv.conv2d(x, w, b, win, groups), expected, dtype, "conv2d")
    for cap in (np.inf, 0.75):
        assert_close(conv.conv2d_act(x, w, b, win, groups, cap), np.clip(expected, 0, cap), dtype, "conv2d_act")
    gx = conv.conv_transpose2d(gy, w, bc, win, groups, case[3])
    assert_close(gx, naive_transpose(gy, w, bc, case), dtype, "conv_transpose2d")
    gw, gb = conv.conv2d_weight(x, gy, win, groups, True)
    assert_close(gw, naive_weight(x, gy, case), dtype, "conv2d_weight")
    assert_close(gb, gy.sum(axis=(0, 2, 3)), dtype, "conv2d_weight's bias")
    for before, after in zip(copies, (x, w, b, gy, bc), strict=True):
        np.testing.assert_array_equal(before, after, "an input was modified")


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture
def replan():
    """Plans depend on constants that tests change: none may outlive the test."""
    forget_plans()
    yield
    forget_plans()


def forget_plans():
    for planned in (conv._forward, conv._backward, conv._for_weights):
        planned.cache_clear()


@pytest.fixture
def thread_count():
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


@BOTH
@EACH
def test_against_loops(case, dtype):
    check_all(case, dtype)


@EACH
def test_against_loops_in_small_bands(case, replan, monkeypatch):
    """Bands of a few rows, reductions in short pieces, dots of a few vectors: every seam is in another place."""
    monkeypatch.setattr(plans, "BAND_BYTES", 3000)
    monkeypatch.setattr(plans, "DEPTH", 7)
    monkeypatch.setattr(plans, "DOT_VECTORS", 2)
    check_all(case, np.float32)


@pytest.mark.parametrize("machine", ["AVX2", "SSE", "NEON"])
@pytest.mark.parametrize("name", ["all tails", "depthwise", "stride 2", "LeNet 2", "reduction in pieces"])
def test_tiles_of_other_machines(machine, name, replan, monkeypatch):
    microkernels.address.cache_clear()
    monkeypatch.setattr(microkernels, "machine", lambda: getattr(microkernels, machine))
    check_all(CASES[name], np.float32)
    microkernels.address.cache_clear()


@EACH
def test_adjoint_identities(case):
    """<conv2d(x, w), gy> = <x, conv_transpose2d(gy, w)> = <w, conv2d_weight(x, gy)>."""
    x, w, _, gy, _ = data(case, np.float64, seed=1)
    win, groups = case[4], case[5]
    form = np.vdot(conv.conv2d(x, w, None, win, groups), gy)
    size = np.linalg.norm(x) * np.linalg.norm(w) * np.linalg.norm(gy)
    assert abs(np.vdot(x, conv.conv_transpose2d(gy, w, None, win, groups, case[3])) - form) < 1e-14 * size
    assert abs(np.vdot(w, conv.conv2d_weight(x, gy, win, groups, False)[0]) - form) < 1e-14 * size


@pytest.mark.parametrize("name", ["LeNet 1", "LeNet 2", "depthwise", "stride 2", "plain", "one pixel"])
def test_thread_counts_agree_and_repeat(name, replan, thread_count, monkeypatch):
    monkeypatch.setattr(conv, "SMALL", 0)
    case = CASES[name]
    x, w, b, gy, bc = data(case, np.float32)
    win, groups = case[4], case[5]

    def run():
        return (
            conv.conv2d(x, w, b, win, groups),
            conv.conv_transpose2d(gy, w, bc, win, groups, case[3]),
            conv.conv2d_weight(x, gy, win, groups, False)[0],
        )

    thread_count(1)
    single = run()
    for count in (2, 3):
        thread_count(count)
        first, second = run(), run()
        for a, b1, b2 in zip(single, first, second, strict=True):
            assert_close(b1, a.astype(np.float64), np.float32, f"{count} threads")
            assert b1.tobytes() == b2.tobytes(), f"two runs with {count} threads differ"


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 3, 6, 6)])
def test_sizes_of_zero(shape):
    case = (shape[0], 3, 4, (6, 6), window((3, 3)), 1)
    check_all(case, np.float32)
    x, w, b, _, _ = data(case, np.float32)
    none = conv.conv2d(x, w[:0], b[:0], case[4], 1)
    assert none.shape == (shape[0], 0, 4, 4)


def test_no_channels_is_the_bias():
    """A sum over no channels is 0."""
    win = window((1, 1))
    b = np.array([1, 2], np.float32)
    y = conv.conv2d(np.zeros((2, 0, 3, 3), np.float32), np.zeros((2, 0, 1, 1), np.float32), b, win, 1)
    np.testing.assert_array_equal(y, np.broadcast_to(b[:, None, None], (2, 2, 3, 3)))


def test_any_layout_of_memory():
    """Views that are transposed, reversed, strided, unaligned or read-only give the same as plain copies, and are no
    new types for which everything would be compiled once more."""
    case = CASES["groups"]
    x, w, b, gy, _ = data(case, np.float32)
    win, groups = case[4], case[5]
    plain = conv.conv2d(x, w, b, win, groups), conv.conv_transpose2d(gy, w, None, win, groups, case[3])
    compiled = len(bands.convolve_bands.entries)

    def odd(a, how):
        if how == "transposed":
            return np.ascontiguousarray(a.T).T
        if how == "reversed":
            return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
        if how == "strided":
            return np.repeat(a, 2, axis=-1)[..., ::2]
        if how == "unaligned":
            buffer = np.empty(a.nbytes + 1, np.uint8)[1:]
            view = buffer.view(a.dtype).reshape(a.shape)
            view[...] = a
            return view
        view = a.view()
        view.flags.writeable = False
        return view

    for how in ("transposed", "reversed", "strided", "unaligned", "read-only"):
        ox, ow, ob, ogy = (odd(a, how) for a in (x, w, b, gy))
        np.testing.assert_array_equal(conv.conv2d(ox, ow, ob, win, groups), plain[0], how)
        np.testing.assert_array_equal(conv.conv_transpose2d(ogy, ow, None, win, groups, case[3]), plain[1], how)
        gw = conv.conv2d_weight(ox, ogy, win, groups, False)[0]
        np.testing.assert_array_equal(gw, conv.conv2d_weight(x, gy, win, groups, False)[0], how)
        assert len(bands.convolve_bands.entries) == compiled, f"compiled again for {how}"


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][0] * CASES[name][1]])
def test_what_is_not_finite_stays_where_it_belongs(name, monkeypatch):
    """Junk in the scratch memory must reach no result; NaN and ∞ in the input reach the outputs that read them."""
    case = CASES[name]
    scratch = threads.scratch

    def poisoned(shares, size, dtype):
        work = scratch(shares, size, dtype)
        work[...] = np.nan
        return work

    monkeypatch.setattr(conv, "scratch", poisoned)
    check_all(case, np.float32)
    x, w, b, _, _ = data(case, np.float32)
    x[0, 0, 0, 0], x[-1, -1, -1, -1] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = naive_conv2d(x, w, b, case)
    np.testing.assert_array_equal(np.isfinite(conv.conv2d(x, w, b, case[4], case[5])), np.isfinite(expected))


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_bands_than_threads(count, thread_count):
    """The squeeze of a squeeze-and-excitation block, one image: its weight gradient is one band for several threads."""
    thread_count(count)
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal((1, c, 1, 1)) for c in (640, 512))
    gw, gb = conv.conv2d_weight(x, gy, window((1, 1)), 1, True)
    np.testing.assert_allclose(gw[:, :, 0, 0], np.outer(gy, x), rtol=1e-13)
    np.testing.assert_array_equal(gb, gy.reshape(-1))


def test_larger_output_size():
    """output_size may exceed what the windows reach: those rows and columns are the bias."""
    gy, w = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
    gx = conv.conv_transpose2d(gy, w, np.full(1, 5, np.float32), window((2, 2), (3, 3)), 1, (7, 6))
    expected = np.zeros((7, 6), np.float32)
    for h in (0, 1, 3, 4):
        expected[h, [0, 1, 3, 4]] = 1
    np.testing.assert_array_equal(gx[0, 0], expected + 5)


WALLS = """
import numpy as np, tests.kernels.cpu.test_conv as t, tests.kernels.cpu.test_microkernels as m
from minicnn.kernels.cpu import conv, plans, threads
def scratch(shares, size, dtype):
    assert shares == 1
    return m.before_a_wall(np.full((1, size), np.nan, dtype))
threads._threads = 1
conv.scratch = scratch
conv._plain = lambda x, dtype: m.before_a_wall(np.ascontiguousarray(x, dtype))
for band in (3000, 1 << 19):
    plans.BAND_BYTES = band
    for planned in (conv._forward, conv._backward, conv._for_weights):
        planned.cache_clear()
    for name, case in t.CASES.items():
        print(name, flush=True)
        t.check_all(case, np.float32)
"""


def test_nothing_beyond_the_end_is_touched(tmp_path):
    """Arrays and scratch end at a page that may not be touched, and Numba checks each index that it computes."""
    env = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "MINICNN_QUIET": "1"}
    done = subprocess.run([sys.executable, "-c", WALLS], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"in case {done.stdout.splitlines()[-1:]}: {done.stderr[-2000:]}"
