"""The recipes are worth something only if what they draw is: every geometry that networks use is tried."""

from __future__ import annotations

import pytest

from .op_table import ROWS
from .oracles.windows import sides, two
from .strategies import examples

CASES = 60  # of each row, fewer than a run of the property tests draws


def windows_of(case):
    """Per axis of a case: (size, taps, stride, before, after, dilation)."""
    options, size = case.attributes, case.shapes[0][2:]
    kernel = options["kernel_size"] if "kernel_size" in options else case.shapes[1][2:]
    stride, dilation = two(options.get("stride") or kernel), two(options.get("dilation", 1))
    pads = sides(options.get("padding", 0), size, kernel, stride, dilation)
    return [
        (n, k, s, *pad, d) for n, k, s, pad, d in zip(size, two(kernel), stride, pads, dilation, strict=True)
    ]  # fmt: skip


def left_over(n, k, s, before, after, d):
    return (n + before + after - d * (k - 1) - 1) % s


ANY = {
    "asymmetric padding, more before": lambda n, k, s, before, after, d: before > after,
    "asymmetric padding, more after": lambda n, k, s, before, after, d: after > before,
    "no padding": lambda n, k, s, before, after, d: before == after == 0,
    "stride within the kernel": lambda n, k, s, before, after, d: 1 < s <= d * (k - 1) + 1,
    "left-over pixels": left_over,
}
OF_CONVOLUTION = ANY | {
    "stride above the kernel": lambda n, k, s, before, after, d: s > d * (k - 1) + 1,
    "three taps with holes": lambda n, k, s, before, after, d: k >= 3 and d > 1,
    "seven taps": lambda n, k, s, before, after, d: k == 7,
    "one tap": lambda n, k, s, before, after, d: k == 1,
    "an even kernel": lambda n, k, s, before, after, d: k == 2,
}
GROUPS = {
    "groups of several channels": lambda c, k, groups: groups > 1 and c > groups and k > groups,
    "depthwise": lambda c, k, groups: groups == c == k > 1,
    "depthwise, several outputs of each": lambda c, k, groups: 1 < groups == c < k,
    "one group": lambda c, k, groups: groups == 1 and c > 1 and k > 1,
}


def drawn(op):
    """What is tried of an op: cases of the recipes of all its rows, and their edges."""
    rows = [row for row in ROWS.values() if row.op_name == op]
    return [case for row in rows for case in (*examples(row.inputs, CASES), *row.edges)]


@pytest.mark.parametrize("name", OF_CONVOLUTION)
def test_convolution_meets_every_geometry(name):
    assert any(OF_CONVOLUTION[name](*axis) for case in drawn("conv2d") for axis in windows_of(case))


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_convolution_meets_all_kinds_of_groups(op, name):
    def channels(case):
        groups = case.attributes.get("groups", 1)
        first, second = case.shapes[1][:2]
        return (second * groups, first) if op == "conv2d" else (first, second * groups)

    assert any(GROUPS[name](*channels(case), case.attributes.get("groups", 1)) for case in drawn(op))


@pytest.mark.parametrize("op", ["conv2d", "conv2d_weight", "max_pool2d", "avg_pool2d"])
def test_same_padding_has_its_odd_row(op):
    found = [case for case in drawn(op) if case.attributes.get("padding") == "same"]
    assert any(after == before + 1 for case in found for *_, before, after, _ in windows_of(case))


def test_transposed_convolution_meets_output_padding_in_holes():
    """A stride above the kernel leaves holes, and output_padding asks for more of them at the end."""
    found = [
        (
            two(case.attributes.get("output_padding", 0))[axis],
            two(case.attributes.get("stride", 1))[axis],
            case.shapes[1][2 + axis],
        )
        for case in drawn("conv_transpose2d")
        for axis in (0, 1)
    ]
    assert any(extra > 0 and kernel < stride for extra, stride, kernel in found)
    assert any(extra > 0 and kernel >= stride for extra, stride, kernel in found)


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("op", ["max_pool2d", "relu_max_pool2d", "avg_pool2d"])
def test_pooling_meets_every_geometry(op, name):
    assert any(ANY[name](*axis) for case in drawn(op) for axis in windows_of(case))


@pytest.mark.parametrize("op", ["max_pool2d", "relu_max_pool2d", "avg_pool2d"])
def test_pooling_meets_windows_that_hang_over(op):
    assert any(
        case.attributes.get("ceil_mode") and left_over(*axis) and axis[3] != axis[4]
        for case in drawn(op)
        for axis in windows_of(case)
    )


@pytest.mark.parametrize("op", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_adaptive_pooling_meets_all_kinds_of_bins(op):
    cases = [
        (n, n if p is None else p)
        for case in drawn(op)
        for n, p in zip(case.shapes[0][2:], two(case.attributes["output_size"]), strict=True)
    ]
    assert any(n % p for n, p in cases), "bins of unequal size"
    assert any(n % p == 0 and n > p for n, p in cases), "bins of equal size"
    assert any(p > n for n, p in cases), "more bins than elements"
    assert any(p == n for n, p in cases), "all elements"
