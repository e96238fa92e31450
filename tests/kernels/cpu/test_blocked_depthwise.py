"""cpu/blocked_depthwise.py against the readable book in double precision, for each kind of CPU."""

import itertools
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import blocked_depthwise as depthwise
from minicnn.kernels.cpu import convolution, microkernels, threads
from minicnn.kernels.cpu import depthwise_tiles as tiles
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain
from minicnn.kernels.window import Window, same_padding

MACHINES = {name: getattr(microkernels, name) for name in ("AVX512", "AVX2", "SSE")}
CPUS = {"AVX512": "skylake-avx512", "AVX2": "haswell", "SSE": "nehalem"}


def window(kernel, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1)):
    return Window(kernel, stride, pad, dilation)


def same(size, kernel, stride=(1, 1), dilation=(1, 1)):
    return Window(kernel, stride, same_padding(size, kernel, stride, dilation), dilation)


#       N, C, (H, W), window
CASES = {
    "3x3, 7x7 planes": (2, 40, (7, 7), same((7, 7), (3, 3))),
    "3x3, tiles of 14 and the rest": (1, 17, (4, 30), same((4, 30), (3, 3))),
    "3x3, four tiles": (1, 5, (3, 56), same((3, 56), (3, 3))),
    "3x3 stride 2": (2, 17, (9, 31), window((3, 3), (2, 2), ((1, 1), (1, 1)))),
    "3x3 stride 2, even": (1, 24, (14, 28), same((14, 28), (3, 3), (2, 2))),  # pads below and to the right only
    "5x5": (2, 24, (7, 15), same((7, 15), (5, 5))),
    "5x5 stride 2": (1, 5, (8, 33), same((8, 33), (5, 5), (2, 2))),
    "7x7": (1, 16, (9, 14), same((9, 14), (7, 7))),
    "11x11, planes smaller than it": (2, 3, (6, 9), same((6, 9), (11, 11))),
    "9x9 stride 2": (1, 17, (11, 12), same((11, 12), (9, 9), (2, 2))),
    "even kernel, strides differ": (1, 3, (12, 23), window((2, 4), (3, 2), ((1, 0), (2, 1)))),
    "1x1 stride 2": (2, 3, (10, 9), window((1, 1), (2, 2))),  # inputs that nothing reads
    "more taps than pixels in a tile": (1, 3, (2, 28), same((2, 28), (1, 15))),
    "one column of taps": (1, 3, (9, 5), window((5, 1), pad=((2, 2), (0, 0)))),
    "dilation": (1, 17, (11, 16), same((11, 16), (3, 3), (1, 1), (2, 2))),
    "dilation and stride share a factor": (1, 3, (13, 12), window((3, 3), (2, 2), ((2, 1), (1, 2)), (2, 4))),
    "dilation and stride do not": (1, 3, (13, 14), window((3, 4), (2, 3), ((2, 1), (1, 2)), (3, 2))),
    "asymmetric pads": (2, 16, (6, 7), window((3, 3), pad=((0, 2), (3, 0)))),
    "outputs of nothing but padding": (2, 3, (4, 5), window((2, 2), pad=((4, 3), (3, 4)))),
    "one pixel": (1, 1, (1, 1), window((3, 3), pad=((1, 1), (1, 1)))),
    "many images": (32, 17, (3, 3), same((3, 3), (3, 3))),  # summed in 16 parts
    "no image": (0, 17, (5, 5), same((5, 5), (3, 3))),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def work_for_all_threads(monkeypatch):
    monkeypatch.setattr(depthwise, "SMALL", 0)


@pytest.fixture
def forget():
    """Tables and code are made anew, before and after."""

    def clear():
        for cache in (microkernels.address, depthwise._correlation, depthwise._weighing):
            cache.cache_clear()

    clear()
    yield
    clear()


def use_threads(monkeypatch, count):
    monkeypatch.setattr(threads, "_threads", count)


def data(case):
    rng = np.random.default_rng(0)
    n, c, size, win = case
    shapes = (n, c, *size), (c, 1, *win.kernel), (c,), (n, c, *win.output_size(size))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def check(actual, expected, what):
    """Within some roundings of the largest; channels past the last are 0."""
    assert actual.shape == expected.shape and actual.dtype == np.float32, what
    if type(actual) is Blocked:
        blocks = actual.blocks()
        rest = blocks[:, -1:, ..., actual.shape[1] - 16 * blocks.shape[1] :] if actual.shape[1] % 16 else blocks[:0]
        assert not rest.any(), f"{what}: channels past the last"
    error = np.abs(plain(actual) - expected).max(initial=0) / max(1, np.abs(expected).max(initial=0))
    assert error < 4e-6, f"{what}: relative error {error:.1e}"


def check_all(case, mix=(True,)):
    """All passes, with arguments that are in turn blocks or plain as `mix` says."""
    _, c, size, win = case
    as_blocks = itertools.cycle(mix)
    inputs = x, w, b, gy = data(case)
    kept = [a.copy() for a in inputs]
    wide = [a.astype(np.float64) for a in inputs]

    def image(array):
        return blocked(array) if next(as_blocks) else array

    y = reference.conv2d(wide[0], wide[1], wide[2], win, c)
    check(depthwise.conv2d(image(x), w, b, win, c), y, "conv2d")
    for cap in (np.inf, 0.75):
        check(depthwise.conv2d(image(x), w, b, win, c, cap), np.clip(y, 0, cap), "conv2d with its clip")
    check(depthwise.conv2d(image(x), w, None, win, c), y - wide[2][:, None, None], "conv2d without bias")
    gx = reference.conv_transpose2d(wide[3], wide[1], wide[2], win, c, size)
    check(depthwise.conv_transpose2d(image(gy), w, b, win, c, size), gx, "conv_transpose2d")
    check(depthwise.conv_transpose2d(image(gy), w, None, win, c, size), gx - wide[2][:, None, None], "without bias")
    gw = reference.conv2d_weight(wide[0], wide[3], win, c, False)[0]
    for bias in (False, True):
        actual, gb = depthwise.conv2d_weight(image(x), image(gy), win, c, bias)
        check(actual, gw, "conv2d_weight")
        assert (gb is None) != bias
    check(gb, wide[3].sum(axis=(0, 2, 3)), "conv2d_weight's bias")
    for before, after in zip(kept, inputs, strict=True):
        np.testing.assert_array_equal(before, after, "an input was modified")


@EACH
@pytest.mark.parametrize("count", [1, 2])
def test_all_passes(case, count, monkeypatch):
    use_threads(monkeypatch, count)
    check_all(case)


@pytest.mark.parametrize("mix", [(False, True), (True, False), (False, False)], ids=str)
def test_arrays_and_blocks_in_any_mix(mix):
    check_all(CASES["3x3 stride 2"], mix)


@pytest.mark.parametrize("name", MACHINES)
def test_each_kind_of_cpu(name, forget, monkeypatch):
    """With its number of registers and, where this is an x86 CPU, the instructions that it has."""
    for module in (microkernels, depthwise):
        monkeypatch.setattr(module, "machine", lambda: MACHINES[name])
    if "x86_64" in llvm.get_process_triple():
        monkeypatch.setenv("NUMBA_CPU_NAME", CPUS[name])
    for case in ("3x3 stride 2", "5x5", "dilation and stride do not"):
        check_all(CASES[case])


def test_long_sums_are_taken_in_pieces(forget, monkeypatch):
    monkeypatch.setattr(depthwise, "LONGEST_SUM", 40)
    check_all(CASES["3x3 stride 2"])
    check_all(CASES["3x3, 7x7 planes"])


def test_sums_do_not_depend_on_the_number_of_threads(monkeypatch):
    _, c, _, win = case = 6, 33, (9, 31), same((9, 31), (3, 3))
    x, _, _, gy = data(case)
    sums = set()
    for count in (1, 2, 3):
        use_threads(monkeypatch, count)
        gw, gb = depthwise.conv2d_weight(blocked(x), blocked(gy), win, c, True)
        sums.add((gw.tobytes(), gb.tobytes()))
    assert len(sums) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_goes_where_it_is_read_and_nowhere_else(value):
    _, c, size, win = case = 2, 17, (5, 30), same((5, 30), (3, 3))
    x, w, b, gy = data(case)
    for array, place in ((x, (1, 3, 0, 0)), (gy, (0, 16, 4, 29))):
        array[place] = value
    results = (
        depthwise.conv2d(blocked(x), w, b, win, c),
        depthwise.conv2d(blocked(x), w, b, win, c, 6.0),
        depthwise.conv_transpose2d(blocked(gy), w, b, win, c, size),
        depthwise.conv2d_weight(blocked(x), blocked(gy), win, c, False)[0],
    )
    y = reference.conv2d(x, w, b, win, c)
    with np.errstate(invalid="ignore"):
        gw = reference.conv2d_weight(x, gy, win, c, False)[0]
    expected = y, np.clip(y, 0, 6), reference.conv_transpose2d(gy, w, b, win, c, size), gw
    for actual, right in zip(results[:3], expected[:3], strict=True):
        np.testing.assert_allclose(plain(actual), right, rtol=1e-5, atol=1e-5)
    # Taps that reach the number only from padding are spared here; a product of it with 0 is NaN in the readable book.
    assert not np.isfinite(results[3][[3, 16]]).all((1, 2, 3)).any()
    others = np.delete(np.arange(c), [3, 16])
    np.testing.assert_allclose(results[3][others], expected[3][others], rtol=1e-4, atol=1e-5)


def patterns(machine):
    for taps, stride in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (11, 1)):
        outputs = -(-28 // stride)
        for transposed, (size, count) in ((False, (28, outputs)), (True, (outputs, 28))):
            axis = depthwise.Axis(size, count, taps, stride, 1, taps // 2, transposed)
            for _, _, pattern in axis.tiles(tiles.tile_outputs(machine)):
                yield tiles.correlate_rows, {"pattern": pattern}
        for _, _, pattern in depthwise.Axis(28, outputs, taps, stride, 1, taps // 2, False).tiles(tiles.WEIGHED):
            yield tiles.weigh_rows, {"pattern": pattern, "tap_rows": min(taps, tiles.tap_rows(machine, taps))}


def test_registers_suffice(monkeypatch):
    """Few vectors go through memory: LLVM loads some pixels long before they are used."""
    if "x86_64" not in llvm.get_process_triple():
        pytest.skip("assembly of x86")
    monkeypatch.setattr(microkernels, "machine", lambda: microkernels.AVX512)
    monkeypatch.setenv("NUMBA_CPU_NAME", "skylake-avx512")
    compiler = microkernels._target_machine()
    for kernel, shape in patterns(microkernels.AVX512):
        assembly = compiler.emit_assembly(microkernels._module("float32", kernel, shape))
        products = len(re.findall("vfmadd", assembly))
        spilled = len(re.findall(r"mov\w+\s+%zmm\d+, .*\(%rsp\)", assembly))
        assert spilled <= products / 4, (kernel.__name__, shape)
        assert "call" not in assembly


def test_nothing_to_compute():
    win = window((3, 3), pad=((1, 1), (1, 1)))
    none = blocked(np.zeros((2, 0, 5, 5), np.float32))
    assert depthwise.conv2d(none, np.zeros((0, 1, 3, 3), np.float32), None, win, 0).shape == none.shape
    gw, gb = depthwise.conv2d_weight(none, none, win, 0, True)
    assert gw.shape == (0, 1, 3, 3) and gb.shape == (0,)
    gy = blocked(np.ones((1, 3, 1, 5), np.float32))  # its one row is the padding's
    assert depthwise.conv_transpose2d(gy, np.ones((3, 1, 3, 3), np.float32), None, win, 3, (0, 5)).shape == (1, 3, 0, 5)


def test_the_book_sends_depthwise_convolutions_here(monkeypatch):
    monkeypatch.setattr(convolution, "WORTH", 0)
    _, c, size, win = CASES["3x3 stride 2"]
    x, w, b, gy = data(CASES["3x3 stride 2"])
    for image, gradient in ((x, gy), (blocked(x), blocked(gy))):
        results = (
            (cpu.conv2d(image, w, b, win, c), depthwise.conv2d(x, w, b, win, c)),
            (cpu.conv2d_act(image, w, b, win, c, 0.75), depthwise.conv2d(x, w, b, win, c, 0.75)),
            (cpu.conv_transpose2d(gradient, w, b, win, c, size), depthwise.conv_transpose2d(gy, w, b, win, c, size)),
        )
        for actual, right in results:
            assert type(actual) is Blocked and np.array_equal(plain(actual), plain(right))
        found, right = cpu.conv2d_weight(image, gradient, win, c, True), depthwise.conv2d_weight(x, gy, win, c, True)
        assert all(map(np.array_equal, found, right))
