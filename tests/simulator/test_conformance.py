"""Kernels that are right give the right result in both builds and in every order, without a report."""

import threading

import numpy as np
import pytest

from minicnn import simulator
from minicnn.simulator import RawKernel, RawModule
from minicnn.simulator import cupy as xp

from . import planted

ORDERS = ("forward", "reverse", "random:1", "random:2")


@pytest.fixture(scope="module")
def kernels():
    return planted.module()


@pytest.mark.parametrize("build", ["fast", "check"])
@pytest.mark.parametrize("run", planted.RUNS, ids=lambda run: run.__name__)
def test_right_in_every_order(run, build, kernels):
    for order in ORDERS:
        with simulator.using(build, order):
            result, expected = run(kernels)
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def run_once(code, *arrays, threads=32, blocks=1, build="check", **options):
    with simulator.using(build):
        kernel = RawKernel(f'extern "C" __global__ void k({code}', "k")
        kernel((blocks,), (threads,), arrays, **options)
    return arrays[0]


def test_built_in_variables():
    out = np.zeros((2, 3, 4, 5, 6), np.int32)  # z and y of the block, then of the thread, x of both
    code = r"""int* y) {
        int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
    }"""
    RawKernel(f'extern "C" __global__ void k({code}', "k")((1, 3, 2), (6, 5, 4), (out.reshape(-1),))
    assert np.array_equal(out.reshape(6, 120), np.arange(6)[:, None] * 1000 + np.arange(120))


@pytest.mark.parametrize("build", ["fast", "check"])
def test_shuffles_and_votes(build):
    out = run_once(
        r"""int* y) {
            int t = threadIdx.x;
            y[t] = __shfl_down_sync(~0u, t, 3);
            y[32 + t] = __shfl_up_sync(~0u, t, 5);
            y[64 + t] = __shfl_xor_sync(~0u, t, 6, 8);
            y[96 + t] = __shfl_sync(~0u, t, 1, 4);
            y[128 + t] = __ballot_sync(~0u, t % 3 == 0);
            y[160 + t] = __any_sync(~0u, t == 7) + 2 * __all_sync(~0u, t < 31);
            y[192 + t] = t < 16 ? __reduce_add_sync(0xffff, t) : 0;
            y[224 + t] = __match_any_sync(~0u, t / 16);
            y[256 + t] = __syncthreads_count(t < 5) + 100 * __syncthreads_or(t == 9) + 200 * __syncthreads_and(t < 32);
        }""",
        np.zeros((9, 32), np.int32),
        build=build,
    )
    t = np.arange(32)
    assert np.array_equal(out[0], np.where(t < 29, t + 3, t))
    assert np.array_equal(out[1], np.where(t >= 5, t - 5, t))
    assert np.array_equal(out[2], t ^ 6)
    assert np.array_equal(out[3], t // 4 * 4 + 1)
    assert (out[4].view(np.uint32) == sum(1 << i for i in range(0, 32, 3))).all()
    assert (out[5] == 1).all()
    assert np.array_equal(out[6], np.where(t < 16, 120, 0))
    assert np.array_equal(out[7].view(np.uint32), np.where(t < 16, 0xFFFF, 0xFFFF0000))
    assert (out[8] == 305).all()


def test_double_precision_shuffles():
    out = run_once("double* y) { y[threadIdx.x] = __shfl_xor_sync(~0u, 1.0 / (threadIdx.x + 3), 1); }", np.zeros(32))
    assert np.array_equal(out, 1 / (np.arange(32) + 3.0).reshape(16, 2)[:, ::-1].reshape(-1))


def test_two_halves_of_a_warp_go_their_own_ways():
    """Masks name who meets; lanes of different branches may run in any order."""
    code = r"""int* y) {
        int t = threadIdx.x, v = t;
        if (t < 16) for (int i = 0; i < 3; i++) v += __shfl_xor_sync(0x0000ffffu, v, 8 >> i);
        else v = __reduce_max_sync(0xffff0000u, v);
        __syncwarp();
        y[t] = v;
    }"""
    for order in ORDERS:
        with simulator.using(order=order):
            out = run_once(code, np.zeros(32, np.int32))
        assert (out[16:] == 31).all()
        assert np.array_equal(out[:16], 8 * (np.arange(16) % 2) + 56)


def test_partial_last_warp():
    code = "int* y) { y[threadIdx.x] = __shfl_xor_sync(~0u, (int)threadIdx.x, 1); }"
    out = run_once(code, np.zeros(44, np.int32), threads=44)
    assert np.array_equal(out, np.arange(44) ^ 1)


def test_numbers_as_the_gpu_converts_them():
    code = r"""int* y, const float* x) {
        int t = threadIdx.x;
        y[t] = __float2int_rn(x[t]), y[8 + t] = __float2int_rd(x[t]);
        y[16 + t] = (int)__umulhi(__float_as_uint(x[t]), 3u);
    }"""
    x = np.array([0.5, 1.5, -1.5, 2.7, np.nan, 1e20, -1e20, np.inf], np.float32)
    out = run_once(code, np.zeros((3, 8), np.int32), x, threads=8)
    assert out[0].tolist() == [0, 2, -2, 3, 0, 2**31 - 1, -(2**31), 2**31 - 1]
    assert out[1].tolist() == [0, 1, -2, 2, 0, 2**31 - 1, -(2**31), 2**31 - 1]
    assert np.array_equal(out[2], (x.view(np.uint32).astype(np.uint64) * 3 >> 32).astype(np.int32))


def test_half_precision():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(58), [0, -0.0, 65504, 1e-7, np.inf, np.nan]]).astype(np.float32)
    half, back = np.zeros(64, np.float16), np.zeros(64, np.float32)
    bfloat = np.zeros(64, np.uint16)
    code = r"""__half* h, __nv_bfloat16* b, float* back, const float* x) {
        int t = threadIdx.x;
        h[t] = __half(x[t]), b[t] = __float2bfloat16(x[t]), back[t] = float(h[t]);
    }"""
    run_once(code, half, bfloat, back, x, threads=64)
    np.testing.assert_array_equal(half, x.astype(np.float16))
    np.testing.assert_array_equal(back, half.astype(np.float32))
    bits = x[:-1].view(np.uint32).astype(np.uint64)
    np.testing.assert_array_equal(bfloat[:-1], (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    assert bfloat[-1] & 0x7FFF > 0x7F80


@pytest.mark.parametrize("build", ["fast", "check"])
def test_tiny_numbers_are_flushed_as_cupy_compiles(build):
    """And the host's arithmetic is as before."""
    x = np.full(32, 1e-40, np.float32)
    y = run_once(
        "float* y, const float* x) { y[threadIdx.x] = 2 * x[threadIdx.x]; }", np.ones(32, np.float32), x, build=build
    )
    assert (y == 0).all()
    assert np.float32(1e-40) * np.float32(1) != 0


def test_macros_make_kernels_and_headers_have_shared_memory(tmp_path):
    (tmp_path / "sum.cuh").write_text(
        "__device__ int block_sum(int v) { __shared__ int s[64]; s[threadIdx.x] = v; __syncthreads();\n"
        "int all = 0; for (int i = 0; i < blockDim.x; i++) all += s[i]; __syncthreads(); return all; }"
    )
    code = r"""
    #include "sum.cuh"
    #define KERNEL(name, what) extern "C" __global__ void name(int* y) { y[threadIdx.x] = what(threadIdx.x); }
    KERNEL(sums, block_sum)
    extern "C" { __global__ void ones(int* y) { y[threadIdx.x] = 1; } }
    """
    out = np.zeros(64, np.int32)
    kernels = RawModule(code=code, options=[f"-I{tmp_path}"])
    kernels.get_function("sums")((1,), (64,), (out,))
    assert (out == 63 * 32).all()
    kernels.get_function("ones")((1,), (64,), (out,))
    assert (out == 1).all()


def test_a_changed_header_is_compiled_again(tmp_path):
    out, code = np.zeros(1, np.int32), '#include "n.cuh"\nextern "C" __global__ void k(int* y) { y[0] = N; }'
    for n in (1, 2):
        (tmp_path / "n.cuh").write_text(f"#define N {n}")
        RawKernel(code, "k", [f"-I{tmp_path}"])((1,), (1,), (out,))
        assert out[0] == n


def test_addresses_in_memory():
    """A kernel that gets at arrays through a table of addresses: everything alive is in bounds, nothing else."""
    kernel = xp.RawKernel(
        'extern "C" __global__ void k(float* const* arrays, int n) { arrays[blockIdx.x][threadIdx.x] += n; }', "k"
    )
    with simulator.using("check"):
        a, b = xp.zeros(8, np.float32), xp.ones(8, np.float32)
        table = xp.asarray(np.array([a.data.ptr, b.data.ptr], np.uint64))
        kernel((2,), (8,), (table, np.int32(3)))
        assert (a.get() == 3).all()
        assert (b.get() == 4).all()
        with pytest.raises(simulator.KernelError, match="out of bounds"):
            kernel((2,), (9,), (table, np.int32(3)))


def test_structures_as_arguments():
    pair = np.dtype([("a", np.float32), ("b", np.int32)])
    code = 'struct Pair { float a; int b; };\nextern "C" __global__ void k(float* y, Pair p) { y[0] = p.a * p.b; }'
    out = np.zeros(1, np.float32)
    RawKernel(code, "k")((1,), (1,), (out, np.array((2.5, 3), pair)[()]))
    assert out[0] == 7.5


def test_launches_from_several_threads():
    kernel = RawKernel('extern "C" __global__ void k(int* y, int v) { y[threadIdx.x] = v; }', "k")
    outs = [np.zeros(32, np.int32) for _ in range(4)]

    def work(number):
        for _ in range(20):
            kernel((1,), (32,), (outs[number], np.int32(number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((out == number).all() for number, out in enumerate(outs))
