"""cuda/common.cuh and launch.py: division at the ends of an int, sums over blocks, arrays that an int cannot count."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.errors import ShapeError
from minicnn.kernels.cuda import gemm, launch

SOURCE = """
#include "common.cuh"

extern "C" __global__ void divide(int* by_factor, int* up, int* down, const int* a, const int* b, int n) {
    for (EACH(i, n)) {
        by_factor[i] = Divisor(b[i]).of(a[i]);
        up[i] = ceil_of(a[i] - 1000, b[i]), down[i] = floor_of(a[i] - 1000, b[i]);
    }
}

extern "C" __global__ void over_block(float* sums, float* largest, const float* x) {
    __shared__ float shared[32];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    sums[i] = block_sum(x[i], shared), largest[i] = block_max(x[i], shared);
}
"""


@pytest.fixture
def library(device):
    with devices.computing(device):
        yield launch.library()


@pytest.fixture
def compiled(library):
    options = ("-std=c++17", f"-I{launch.FOLDER}", "-DREAL=float", "-DACC=float")
    return library.RawModule(code=SOURCE, options=options).get_function


def test_division(library, compiled):
    """Every divisor's neighbourhoods of its multiples, up to 2³¹ − 1."""
    most, rng = 2**31 - 1, np.random.default_rng(0)
    divisors = np.array([1, 2, 3, 5, 7, 9, 10, 49, 641, 1023, 1024, 1025, 46341, 2**30 - 1, 2**30, 2**30 + 1, most])
    divisors = np.concatenate([divisors, rng.integers(1, most, 100)])
    multiples = divisors[:, None] * rng.integers(0, most // divisors + 1, (50, len(divisors))).T
    a = np.concatenate([multiples - 1, multiples, multiples + 1, np.full_like(multiples, most)], axis=1).clip(0, most)
    a, b = a.ravel().astype(np.int32), np.repeat(divisors, a.shape[1]).astype(np.int32)
    found = [library.empty(len(a), np.int32) for _ in range(3)]
    given = [library.asarray(values) for values in (a, b)]
    compiled("divide")((7,), (64,), (*found, *given, np.int32(len(a))))
    below = a.astype(np.int64) - 1000
    for array, expected in zip(found, (a // b, -(-below // b), below // b), strict=True):
        np.testing.assert_array_equal(library.asnumpy(array), expected)


@pytest.mark.parametrize("threads", [32, 96, 1024])
def test_over_a_block(library, compiled, threads):
    x = np.random.default_rng(1).integers(-1000, 1000, (3, threads)).astype(np.float32)
    sums, largest = (library.empty(x.shape, np.float32) for _ in range(2))
    compiled("over_block")((3,), (threads,), (sums, largest, library.asarray(x)))
    np.testing.assert_array_equal(library.asnumpy(sums), np.broadcast_to(x.sum(axis=1)[:, None], x.shape))
    np.testing.assert_array_equal(library.asnumpy(largest), np.broadcast_to(x.max(axis=1)[:, None], x.shape))


def test_too_many_elements_for_an_int(library, monkeypatch):
    monkeypatch.setattr(launch, "MOST", 2**10)
    a = library.asarray(np.ones((33, 32), np.float32))
    with pytest.raises(ShapeError, match=r"array of shape \(1, 33, 32\) is too large for one launch"):
        gemm.matmul(a, library.asarray(np.ones((32, 2), np.float32)))
