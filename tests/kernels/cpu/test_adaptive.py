"""cpu/adaptive.py against the reference book, which the op table compares with loops."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import reference
from minicnn.kernels.cpu import adaptive, threads

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
#         x                  outputs
CASES = {
    "uneven": ((2, 3, 7, 5), (3, 2)),
    "tiles": ((2, 2, 6, 8), (3, 4)),
    "more bins than elements": ((1, 2, 3, 4), (7, 9)),
    "more rows, fewer columns": ((1, 2, 3, 9), (5, 2)),
    "all": ((1, 2, 4, 5), (4, 5)),
    "one": ((3, 2, 4, 5), (1, 1)),
    "one row": ((1, 3, 1, 70), (1, 8)),
    "no images": ((0, 3, 4, 4), (2, 2)),
    "no channels": ((2, 0, 4, 4), (3, 3)),
    "no rows": ((2, 2, 0, 4), (0, 2)),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def numbers(shape, dtype, seed=0):
    """Small integers: many ties, and exact sums."""
    return np.random.default_rng(seed).integers(-4, 4, shape).astype(dtype)


def results(book, case, dtype):
    shape, outputs = case
    x, gy = numbers(shape, dtype), numbers((*shape[:2], *outputs), dtype, 1)
    indices = np.random.default_rng(2).integers(-1, shape[2] * shape[3] or 1, gy.shape)
    found = [
        book.adaptive_avg_pool2d(x, outputs),
        book.adaptive_avg_pool2d_transpose(gy, shape[2:]),
        *book.adaptive_max_pool2d(x, outputs),
    ]
    return found + list(book.max_unpool2d(gy, indices, shape[2:])) if 0 not in shape else found


@BOTH
@EACH
def test_as_the_reference(case, dtype):
    for found, expected in zip(results(adaptive, case, dtype), results(reference, case, dtype), strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@EACH
def test_thread_counts_agree(case, monkeypatch):
    """Each plane belongs to one thread: even different numbers of threads give the same bytes."""
    monkeypatch.setattr(adaptive, "SMALL", 0)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        found.append([array.tobytes() for array in results(adaptive, case, np.float32)])
    assert found[0] == found[1] == found[2]


def test_any_layout_of_memory():
    """Views give what plain arrays give, and are no new types to compile for."""

    def turned(a):
        view = np.ascontiguousarray(a.T).T
        view.flags.writeable = False
        return view

    x, gy, indices = (
        numbers((2, 3, 7, 5), np.float32),
        numbers((2, 3, 3, 2), np.float32),
        np.arange(36).reshape(2, 3, 3, 2),
    )
    calls = (
        lambda to: adaptive.adaptive_avg_pool2d(to(x), (3, 2)),
        lambda to: adaptive.adaptive_avg_pool2d_transpose(to(gy), (7, 5)),
        lambda to: adaptive.adaptive_max_pool2d(to(x), (3, 2))[0],
        lambda to: adaptive.max_unpool2d(to(gy), to(indices % 35), (7, 5))[0],
    )
    plain = [call(lambda a: a) for call in calls]
    compiled = [len(kernel.signatures) for kernel in (adaptive._adaptive_average, adaptive._unpool)]
    for call, expected in zip(calls, plain, strict=True):
        np.testing.assert_array_equal(call(turned), expected)
    assert [len(kernel.signatures) for kernel in (adaptive._adaptive_average, adaptive._unpool)] == compiled


def test_indices_out_of_range_touch_nothing():
    """A wrong index must not become a write somewhere in memory."""
    x = np.ones((1, 2, 2, 2), np.float32)
    indices = np.array([-2, 9, 10**9, 3, -1, 0, 8, -(2**31)]).reshape(1, 2, 2, 2)
    y, kept = adaptive.max_unpool2d(x, indices, (3, 3))
    assert y.sum() == 3 and y[0, 0, 1, 0] == y[0, 1, 0, 0] == y[0, 1, 2, 2] == 1
    assert kept.reshape(-1).tolist() == [-1, -1, -1, 3, -1, 0, 8, -1]
