"""What a step of convolution or pooling costs in memory, beside its inputs and results.

On the cpu a convolution never holds the columns of im2col, but those of one band at a time for each thread. Forward and
backward together allocate y, the gradients, and at most

    threads · (1 MB + the columns of one output row + 1.25 · weights)

of scratch, which is kept for the next step: packed weights, bands of columns, and sums of the weight gradient. The
reference book, written to be read, holds the columns of the whole batch, R·S times the input, and several such.
"""

from __future__ import annotations

import gc
import math
import tracemalloc

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, ops
from minicnn.kernels.cpu import threads

THREADS = 2
MB = 2**20

#         x                 weight             options; columns are many times larger than what is allowed
CASES = {
    "3×3": ((8, 32, 56, 56), (32, 32, 3, 3), {"padding": 1}),
    "5×5": ((32, 16, 28, 28), (16, 16, 5, 5), {}),
    "depthwise": ((8, 32, 56, 56), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    "7×7, stride 2, asymmetric": ((8, 3, 112, 112), (16, 3, 7, 7), {"stride": 2, "padding": ((3, 2), (2, 3))}),
    "1×7": ((8, 64, 28, 28), (64, 64, 1, 7), {"padding": "same"}),
    "dilated": ((8, 32, 48, 48), (32, 32, 3, 3), {"padding": 4, "dilation": 4}),
    "many weights": ((8, 256, 14, 14), (256, 256, 3, 3), {"padding": 1}),
    "a wide row": ((1, 256, 12, 224), (32, 256, 3, 3), {"padding": 1}),
}


def peak_of(step):
    """Bytes that a step allocates at once, and that are left when its results are gone."""
    gc.collect()
    tracemalloc.start()
    try:
        step()
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, left


def convolution(shape, weight_shape, options):
    """A step, the bytes of its results, of its columns, and of what scratch it may use."""
    x, w = (Tensor(np.ones(s, np.float32), requires_grad=True) for s in (shape, weight_shape))
    y = ops.conv2d(x, w, **options)
    gy = np.ones(y.shape, np.float32)
    columns = 4 * math.prod(weight_shape[1:]) * options.get("groups", 1) * y.size // y.shape[1]
    allowed = THREADS * (MB + columns // (len(x) * y.shape[2]) + 5 * w.data.nbytes // 4)

    def step():
        x.grad = w.grad = None
        ops.conv2d(x, w, **options).backward(gy)

    return step, y.data.nbytes + x.data.nbytes + w.data.nbytes, columns, allowed


@pytest.fixture
def two_threads(monkeypatch):
    """Without scratch of earlier tests, which would not be counted."""
    monkeypatch.setattr(threads, "_threads", THREADS)
    monkeypatch.setattr(threads._local, "memory", None, raising=False)


@pytest.mark.parametrize("name", CASES)
def test_convolution_never_holds_its_columns(name, two_threads):
    step, results, columns, allowed = convolution(*CASES[name])
    assert columns > 1.5 * allowed, "columns would not show"
    step()
    threads._local.memory = None
    peak, left = peak_of(step)
    assert peak <= results + allowed, f"{(peak - results) / MB:.1f} MB beside the results, {allowed / MB:.1f} allowed"
    assert left <= results + allowed, "more than the gradients and the scratch is left"


def test_the_reference_book_does():
    """So the test above can fail."""
    with minicnn.use("reference"):
        step, results, columns, allowed = convolution(*CASES["1×7"])
        step()
        peak, left = peak_of(step)
    assert peak > results + columns > results + allowed
    assert left <= results + MB


def test_columns_are_not_kept_between_forward_and_backward(device):
    """Of a graph that waits for backward: y, and nothing of the size of the columns."""
    with minicnn.use(device):
        x, w = (Tensor(np.ones(s, np.float32), requires_grad=True) for s in ((4, 8, 32, 32), (8, 8, 5, 5)))
        ops.conv2d(x, w, padding=2)  # so that scratch is there
        graphs = []
        _, left = peak_of(lambda: graphs.append(ops.conv2d(x, w, padding=2)))
        assert left <= graphs[0].data.nbytes + MB // 8 < x.data.nbytes * 25


POOLS = {
    "max": lambda x: ops.max_pool2d(x, 3, 2, 1),
    "max with indices": lambda x: ops.max_pool2d(x, 2, return_indices=True)[0],
    "average": lambda x: ops.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive average": lambda x: ops.adaptive_avg_pool2d(x, 20),
    "adaptive max": lambda x: ops.adaptive_max_pool2d(x, 20),
    "global average": ops.global_avg_pool2d,
    "global max": ops.global_max_pool2d,
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_holds_its_result_its_indices_and_the_gradient(name):
    """Indices are int32 while they wait, int64 for users."""
    x = Tensor(np.ones((8, 16, 64, 64), np.float32), requires_grad=True)
    y = POOLS[name](x)
    gy = np.ones(y.shape, np.float32)
    y.backward(gy)

    def step():
        x.grad = None
        POOLS[name](x).backward(gy)

    indices = {"max": 1, "adaptive max": 1, "global max": 3, "max with indices": 5}.get(name, 0) * y.data.nbytes
    peak, _ = peak_of(step)
    assert peak <= x.data.nbytes + y.data.nbytes + indices + MB // 8
