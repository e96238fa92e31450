"""Window geometry against naive loops that try one window after the other (tests/oracles/windows.py)."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn.errors import ArgumentError, ShapeError
from minicnn.kernels.window import Window, bins, make_window, pair, same_padding

from ..oracles import pool
from ..oracles import windows as naive

SMALL = st.integers(1, 4)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
PAIRS = st.tuples(SMALL, SMALL)
PADS = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)
WINDOWS = st.builds(Window, kernel=PAIRS, stride=PAIRS, pad=PADS, dilation=PAIRS, ceil_mode=st.booleans())


def starts(window, size):
    """Rows and columns where windows begin, as positions of the input."""
    return naive.window_starts(size, window.kernel, window.stride, window.pad, window.dilation, window.ceil_mode)


def fits(window, size):
    """Into the padded input, or with ceil_mode over its end by less than a stride."""
    over = [e - n - sum(pad) for e, n, pad in zip(window.extent, size, window.pad, strict=True)]
    return all(o <= 0 or (window.ceil_mode and o < s) for o, s in zip(over, window.stride, strict=True))


@given(WINDOWS, SIZES)
def test_output_size_counts_the_windows(window, size):
    assume(fits(window, size))
    rows, columns = starts(window, size)
    assert window.output_size(size) == (len(rows), len(columns))


@given(WINDOWS, SIZES)
def test_a_window_that_does_not_fit_is_refused(window, size):
    assume(not fits(window, size))
    with pytest.raises(ShapeError, match="does not fit"):
        window.output_size(size)


@pytest.mark.parametrize(
    "size, kernel, stride, pad, floor, ceil",
    [
        (5, 2, 2, (0, 0), 2, 3),  # the last window hangs over by one
        (4, 2, 2, (0, 0), 2, 2),  # nothing left over
        (4, 2, 3, (0, 1), 2, 2),  # fits into the padding
        (5, 2, 3, (0, 0), 2, 2),
        (6, 3, 2, (0, 0), 2, 3),  # the pooling of GoogLeNet and SqueezeNet
        (4, 2, 3, (1, 1), 2, 2),  # a third window would begin at 5: outside of the input
        (1, 1, 2, (0, 1), 1, 1),  # a second one would begin in the padding at the end
        (2, 3, 2, (0, 0), 0, 1),  # the only one hangs over by one, less than a stride
        (2, 4, 2, (0, 0), 0, 0),  # by two
        (1, 4, 4, (1, 0), 0, 1),
    ],
)
def test_ceil_mode_by_hand(size, kernel, stride, pad, floor, ceil):
    for ceil_mode, expected in ((False, floor), (True, ceil)):
        window = Window((kernel, 1), (stride, 1), (pad, (0, 0)), ceil_mode=ceil_mode)
        if expected:
            assert window.output_size((size, 1)) == (expected, 1)
        else:
            with pytest.raises(ShapeError, match="does not fit"):
                window.output_size((size, 1))


@given(WINDOWS, SIZES)
def test_valid_outputs_are_those_whose_tap_reads_the_input(window, size):
    assume(fits(window, size))
    for axis, begins in enumerate(starts(window, size)):
        for tap in range(window.kernel[axis]):
            reads = [start + tap * window.dilation[axis] for start in begins]
            inside = [output for output, position in enumerate(reads) if 0 <= position < size[axis]]
            first, last = window.valid_outputs(axis, tap, size[axis], len(begins))
            assert list(range(first, last)) == inside
            assert 0 <= first <= last <= len(begins)


@given(WINDOWS, SIZES)
def test_overhang_makes_every_window_whole(window, size):
    assume(fits(window, size))
    for axis, begins in enumerate(starts(window, size)):
        last_read = begins[-1] + (window.kernel[axis] - 1) * window.dilation[axis]
        before, after = window.overhang(size)[axis]
        assert before == window.pad[axis][0]
        assert after == max(window.pad[axis][1], last_read + 1 - size[axis])
        assert window.ceil_mode or after == window.pad[axis][1]


@given(WINDOWS, SIZES, st.booleans())
def test_counts_are_the_positions_that_an_average_divides_by(window, size, include_pad):
    assume(fits(window, size))
    border = window.pad if include_pad else ((0, 0), (0, 0))
    rows, columns = starts(window, size)
    expected = np.zeros((len(rows), len(columns)), int)
    for (p, row), (q, column) in itertools.product(enumerate(rows), enumerate(columns)):
        for r, s in itertools.product(range(window.kernel[0]), range(window.kernel[1])):
            place = row + r * window.dilation[0], column + s * window.dilation[1]
            expected[p, q] += all(
                -before <= i < n + after for i, n, (before, after) in zip(place, size, border, strict=True)
            )
    np.testing.assert_array_equal(window.counts(size, include_pad), expected)


@given(SIZES, PAIRS, PAIRS, PAIRS)
def test_same_padding_is_tensorflow_s(size, kernel, stride, dilation):
    """Against the formula of TensorFlow's documentation; then ⌈size / stride⌉ windows fit."""
    pads = same_padding(size, kernel, stride, dilation)
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        assert pads[axis] == naive.tf_same(size[axis], extent, stride[axis])
        assert pads[axis][0] <= pads[axis][1] <= pads[axis][0] + 1
    outputs = Window(kernel, stride, pads, dilation).output_size(size)
    assert outputs == tuple(-(-n // s) for n, s in zip(size, stride, strict=True))


@given(WINDOWS.map(lambda window: window._replace(ceil_mode=False)), PAIRS, PAIRS)
def test_transposed_size_is_the_inverse_of_output_size(window, outputs, extra):
    """Every output_padding < stride gives an input of which there are as many windows; one more row gives one more."""
    extra = tuple(e % s for e, s in zip(extra, window.stride, strict=True))
    size = window.transposed_size(outputs, extra)
    assume(min(size) >= 1)
    assert window.output_size(size) == outputs
    assert window.transposed_size(outputs) == tuple(n - e for n, e in zip(size, extra, strict=True))
    larger = window.transposed_size(outputs, window.stride)
    assert window.output_size(larger) == tuple(n + 1 for n in outputs)


@given(st.integers(1, 20), st.integers(1, 20))
def test_bins_are_what_equal_parts_of_a_line_touch(size, outputs):
    found = bins(size, outputs)
    assert [list(range(*both)) for both in found] == pool.bin_members(size, outputs)
    assert found[0][0] == 0 and found[-1][1] == size
    assert all(first < last for first, last in found), "an empty bin"
    assert all(nxt[0] <= last for (_, last), nxt in itertools.pairwise(found)), "an element between two bins"


def test_no_bins():
    assert bins(5, 0) == bins(0, 0) == ()


@pytest.mark.parametrize(
    "padding, pad",
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 1))),
    ],
)
def test_ways_to_say_padding(padding, pad):
    window = make_window((4, 5), (3, 3), stride=(2, 2), padding=padding)
    assert window.pad == pad
    assert make_window((4, 5), 3, 2, padding) == window, "one number means both"


@pytest.mark.parametrize(
    "value, least", [(0, 1), (-1, 0), (1.0, 1), (True, 0), ((1, 2, 3), 1), ((1,), 1), ("3", 1), (None, 1), ((2, 0), 1)]
)
def test_pair_refuses_what_is_no_pair(value, least):
    with pytest.raises(ArgumentError, match="stride must be an integer"):
        pair(value, "stride", least)


def test_pair_takes_numpy_s_integers():
    rows, columns = pair((np.int64(2), np.int32(3)), "stride", 1)
    assert (rows, columns) == (2, 3)
    assert type(rows) is int and type(columns) is int


@pytest.mark.parametrize("padding", ["SAME", "", ((1, 1), (1, 1), (1, 1)), ((1, -1), (0, 0)), -1, 0.5, ((1,), (1,))])
def test_padding_that_means_nothing_is_refused(padding):
    with pytest.raises(ArgumentError, match="padding"):
        make_window((4, 4), 3, padding=padding)
