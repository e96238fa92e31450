"""The models of PTX instructions against NumPy: tensor cores, ldmatrix, asynchronous copies (kernels/cuda/ptx.cuh)."""

from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import simulator
from minicnn.simulator import RawModule

FOLDER = Path(minicnn.__file__).parent / "kernels" / "cuda"

CODE = r"""
#include "ptx.cuh"

// D = A B, 16×K · K×8, fragments loaded by hand as the PTX ISA draws them
extern "C" __global__ void tf32(float* d, const float* a, const float* b, int depth) {
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    float sum[4] = {};
    for (int k = 0; k < depth; k += 8) {
        unsigned left[4] = {__float_as_uint(a[g * depth + k + t]), __float_as_uint(a[(g + 8) * depth + k + t]),
                            __float_as_uint(a[g * depth + k + t + 4]), __float_as_uint(a[(g + 8) * depth + k + t + 4])};
        unsigned right[2] = {__float_as_uint(b[(k + t) * 8 + g]), __float_as_uint(b[(k + t + 4) * 8 + g])};
        mma_tf32(sum, left, right);
    }
    for (int r = 0; r < 4; r++) d[(g + 8 * (r / 2)) * 8 + 2 * t + r % 2] = sum[r];
}
extern "C" __global__ void rounded(float* y, const float* x) {
    y[threadIdx.x] = __uint_as_float(to_tf32(x[threadIdx.x]));
}

template <class Half>
__device__ unsigned both(Half low, Half high) {
    Half pair[2] = {low, high};
    return *(unsigned*)pair;
}
#define BY_HAND(name, Half, mma) \
    extern "C" __global__ void name(float* d, const Half* a, const Half* b) { \
        int g = threadIdx.x / 4, t = threadIdx.x % 4; \
        float sum[4] = {1, 2, 3, 4}; \
        unsigned left[4], right[2]; \
        for (int r = 0; r < 4; r++) { \
            const Half* at = a + (g + 8 * (r % 2)) * 16 + 2 * t + 8 * (r / 2); \
            left[r] = both(at[0], at[1]); \
        } \
        for (int r = 0; r < 2; r++) right[r] = both(b[(2 * t + 8 * r) * 8 + g], b[(2 * t + 1 + 8 * r) * 8 + g]); \
        mma(sum, left, right); \
        for (int r = 0; r < 4; r++) d[(g + 8 * (r / 2)) * 8 + 2 * t + r % 2] = sum[r]; \
    }
BY_HAND(f16_by_hand, __half, mma_f16)
BY_HAND(bf16_by_hand, __nv_bfloat16, mma_bf16)

// the same, through asynchronous copies and ldmatrix
extern "C" __global__ void f16(float* d, const __half* a, const __half* b) {
    __shared__ __align__(16) __half left[16 * 16], right[16 * 8];
    int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    copy_async<16>(left + lane * 8, a + lane * 8);
    if (lane < 16) copy_async<16>(right + lane * 8, b + lane * 8);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    unsigned A[4], B[2];
    ldmatrix_x4(A, left + lane % 16 * 16 + lane / 16 * 8);
    ldmatrix_x2_trans(B, right + lane % 16 * 8);
    float sum[4] = {1, 2, 3, 4};
    mma_f16(sum, A, B);
    for (int r = 0; r < 4; r++) d[(g + 8 * (r / 2)) * 8 + 2 * t + r % 2] = sum[r];
}
"""


PIPELINE = r"""
#include "ptx.cuh"

// x in pieces of 32, two on the way while one is used
extern "C" __global__ void pipeline(float* y, const float* x, int n) {
    __shared__ float room[3][32];
    int t = threadIdx.x, pieces = (n + 31) / 32;
    for (int p = 0; p < 2; p++) {
        copy_async<4>(&room[p][t], x + p * 32 + t, p * 32 + t < n);
        copy_commit();
    }
    for (int p = 0; p < pieces; p++) {
        copy_wait<1>();
        __syncthreads();
        y[p * 32 + t] = room[p % 3][31 - t];
        int next = (p + 2) * 32 + t;
        copy_async<4>(&room[(p + 2) % 3][t], next < n ? x + next : x, next < n);
        copy_commit();
    }
}
"""


def module(code=CODE, old="", new=""):
    assert old in code
    return RawModule(code=code.replace(old, new, 1) if old else code, options=[f"-I{FOLDER}"])


@pytest.fixture(scope="module")
def kernels():
    return module()


def truncated(x):
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def test_tf32(kernels):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 24)).astype(np.float32), rng.standard_normal((24, 8)).astype(np.float32)
    d = np.zeros((16, 8), np.float32)
    kernels.get_function("tf32")((1,), (32,), (d, a, b, np.int32(24)))
    np.testing.assert_allclose(d, truncated(a) @ truncated(b), rtol=1e-5, atol=1e-6)
    assert not np.allclose(d, a @ b, rtol=1e-5, atol=1e-6)


def test_rounding_to_tf32(kernels):
    """10 bits of fraction, ties away from zero."""
    x = np.array([1 + 2.0**-11, 1 + 2.0**-11 - 2.0**-23, -1 - 2.0**-11, 1 + 3 * 2.0**-11] * 8, np.float32)
    y = np.zeros_like(x)
    kernels.get_function("rounded")((1,), (32,), (y, x))
    assert y[:4].tolist() == [1 + 2.0**-10, 1, -1 - 2.0**-10, 1 + 2 * 2.0**-10]


@pytest.mark.parametrize("name", ["f16_by_hand", "f16"])
def test_f16(name, kernels):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 16)).astype(np.float16), rng.standard_normal((16, 8)).astype(np.float16)
    d = np.zeros((16, 8), np.float32)
    for build in ("fast", "check"):
        with simulator.using(build):
            kernels.get_function(name)((1,), (32,), (d, aligned(a), aligned(b)))
        start = np.array([[1, 2], [3, 4]]).repeat(8, 0)[:, [0, 1] * 4]  # what the sums began with
        np.testing.assert_allclose(d, a.astype(np.float32) @ b.astype(np.float32) + start, rtol=1e-5, atol=1e-5)


def test_bf16(kernels):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 16), (16, 8)))
    upper = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b)]
    a, b = ((x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for x in (a, b))
    d = np.zeros((16, 8), np.float32)
    kernels.get_function("bf16_by_hand")((1,), (32,), (d, *upper))
    start = np.array([[1, 2], [3, 4]]).repeat(8, 0)[:, [0, 1] * 4]
    np.testing.assert_allclose(d, a @ b + start, rtol=1e-5, atol=1e-5)


def aligned(array):
    """A copy at a multiple of 16 bytes."""
    room = np.zeros(array.nbytes + 16, np.uint8)
    start = -room.ctypes.data % 16
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def run_pipeline(old="", new="", order="forward"):
    x, y = np.arange(100, dtype=np.float32), np.zeros(128, np.float32)
    with simulator.using(order=order):
        module(PIPELINE, old, new).get_function("pipeline")((1,), (32,), (y, x, np.int32(100)))
    expected = np.zeros(128, np.float32)
    expected[:100] = x
    return y, expected.reshape(4, 32)[:, ::-1].reshape(-1)


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1"])
def test_pipeline(order):
    y, expected = run_pipeline(order=order)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "old, new, message, line",
    [
        ("copy_wait<1>();", "copy_wait<2>();", "while a cp.async into it is under way", "y[p * 32 + t] ="),
        ("        __syncthreads();\n", "", "uninitialised: reads element 31 of shared memory room", "y[p * 32 + t] ="),
        (
            "room[(p + 2) % 3][t]",
            "room[(p + 1) % 3][t]",
            "writes .* while a cp.async into it is under way",
            "copy_async<4>",
        ),
        ("(p + 2) % 3", "p % 3", "reads .* while a cp.async into it is under way", "copy_async<4>"),
        (
            "x + p * 32 + t, p",
            "x + p * 32 + t + 99, p",
            "out of bounds: reads element 131 of x",
            "copy_async<4>(&room[p]",
        ),
    ],
)
def test_faults_in_a_pipeline(old, new, message, line):
    with pytest.raises(simulator.KernelError, match=message) as error:
        run_pipeline(old, new)
    assert line in str(error.value)


MISALIGNED = r"""
#include "ptx.cuh"
extern "C" __global__ void misaligned(float* y, const float* x) {
    __shared__ __align__(16) float s[256];
    copy_async<16>(s + threadIdx.x, x + 4 * threadIdx.x);
    y[threadIdx.x] = 0;
}
extern "C" __global__ void not_the_whole_warp(float* y, const float* x) {
    if (threadIdx.x > 30) return;
    float d[4] = {};
    unsigned a[4] = {}, b[2] = {};
    mma_tf32(d, a, b);
    y[threadIdx.x] = d[0];
}
"""


@pytest.mark.parametrize(
    "name, message",
    [
        ("misaligned", r"misaligned cp.async: both addresses must be multiples of its 16 bytes; in thread \(1,0,0\)"),
        ("not_the_whole_warp", "deadlock: 1 threads of the block have returned and 31 wait for ever"),
    ],
)
def test_what_the_instructions_demand(name, message):
    with pytest.raises(simulator.KernelError, match=message):
        module(MISALIGNED).get_function(name)(
            (1,), (32,), (np.zeros(32, np.float32), aligned(np.zeros(128, np.float32)))
        )
