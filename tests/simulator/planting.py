"""Kernels with one fault each; the line with the fault ends in // HERE."""

from typing import NamedTuple

import numpy as np

BROKEN = r"""
#define FULL 0xffffffffu

extern "C" __global__ void implicit_warp_sync(float* y, const float* x) {  // relies on lockstep
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    for (int k = 16; k > 0; k /= 2)
        if (t < k) s[t] += s[t + k];  // HERE
    if (t == 0) y[0] = s[0];
}
extern "C" __global__ void shuffle_is_no_barrier(float* y, const float* x) {
    __shared__ float s[32];
    s[threadIdx.x] = x[threadIdx.x];
    __shfl_sync(FULL, 0, 0);
    y[threadIdx.x] = s[31 - threadIdx.x];  // HERE
}
extern "C" __global__ void early_return(float* y, int n) {
    if (threadIdx.x >= n) return;
    y[threadIdx.x] = 1;
    __syncthreads();  // HERE
}
extern "C" __global__ void two_barriers(float* y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        y[threadIdx.x] = 1;
        __syncthreads();
    }
}
extern "C" __global__ void shuffle_in_a_branch(float* y) {
    float v = 1;
    if (threadIdx.x < 16) v += __shfl_down_sync(FULL, v, 8);
    y[threadIdx.x] = v;
}
extern "C" __global__ void mask_without_me(float* y) {
    float v = 1;
    if (threadIdx.x < 16) v += __shfl_down_sync(0xff00u, v, 8);  // HERE
    y[threadIdx.x] = v;
}
extern "C" __global__ void lane_that_is_not_there(float* y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);  // HERE
}
extern "C" __global__ void sum_across_blocks(float* y, const float* x) {
    y[0] += x[blockIdx.x];  // HERE
}
extern "C" __global__ void read_by_other_blocks(float* y) {
    float neighbour = y[(blockIdx.x + 1) % gridDim.x];
    for (int i = 0; i < blockIdx.x; i++) __syncthreads();
    y[blockIdx.x] = neighbour;  // HERE
}
extern "C" __global__ void atomic_and_plain(int* y) {
    if (threadIdx.x % 2) atomicAdd(y, 1);
    else y[0] = 1;
}
extern "C" __global__ void multiplies_too_much(int* y, int a, int b) {
    y[0] = a * b;  // HERE
}
extern "C" __global__ void shifts_too_far(int* y, int n) {
    y[0] = 1 << n;  // HERE
}
extern "C" __global__ void no_such_integer(int* y, const float* x) {
    y[0] = (int)(x[0] * 1e20f);  // HERE
}
extern "C" __global__ void divides_by_zero(int* y, int n) {
    y[threadIdx.x] = 7 / n;  // HERE
}
extern "C" __global__ void local_array(float* y, int n) {
    float a[4] = {1, 2, 3, 4};
    y[threadIdx.x] = a[n];  // HERE
}
extern "C" __global__ void misaligned_vector(float4* y, const float* x) {
    y[threadIdx.x] = *(const float4*)(x + 1 + 4 * threadIdx.x);  // HERE
}
extern "C" __global__ void uninitialised_shared(float* y, int n) {
    __shared__ float s[32];
    if (threadIdx.x < n) s[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];  // HERE
}
extern "C" __global__ void too_much_shared(float* y) {
    __shared__ float s[13000];
    s[threadIdx.x] = 1;
    y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void writes_its_input(const float* x) {
    ((float*)x)[threadIdx.x] = 1;  // HERE
}
extern "C" __global__ void null_pointer(float* y, const float* x) {
    y[0] = x[0];  // HERE
}
extern "C" __global__ void another_threads_local(float* y) {
    __shared__ float* s[32];
    float mine = threadIdx.x;
    s[threadIdx.x] = &mine;
    __syncthreads();
    y[threadIdx.x] = *s[31 - threadIdx.x];  // HERE
    __syncthreads();
}
extern "C" __global__ void trap(float* y) {
    if (threadIdx.x == 3) __trap();
}
extern "C" __global__ void crashes(float* y, long long far) {
    y[far] = 1;  // HERE
}
extern "C" __global__ void overflows_the_stack(float* y, int n) {
    volatile float room[100000];
    for (int i = 0; i < 100000; i++) room[i] = n;
    y[0] = room[n];
}
"""


class Site(NamedTuple):
    kernel: str
    message: str
    arguments: tuple
    blocks: int = 1
    threads: int = 32
    marked: bool = True  # a line ends in HERE


def ones(n=64, dtype=np.float32):
    return np.ones(n, dtype)


SITES = (
    Site("implicit_warp_sync", "race: .* shared memory s|uninitialised", (ones(), ones())),
    Site("shuffle_is_no_barrier", "race: reads element .* of shared memory s", (ones(), ones())),
    Site(
        "early_return", "divergent barrier: 24 of the block's 64 threads returned", (ones(), np.int32(40)), threads=64
    ),
    Site(
        "two_barriers", "divergent barrier: other threads of the block wait at .* line (25|28)", (ones(),), marked=False
    ),
    Site("shuffle_in_a_branch", "deadlock|names lanes 0x[0-9a-f]+, which have returned", (ones(),), marked=False),
    Site("mask_without_me", "bad mask: 0x0000ff00 does not name lane|a lane that its mask does not name", (ones(),)),
    Site("lane_that_is_not_there", "a lane that its mask does not name", (ones(),), threads=16),
    Site("sum_across_blocks", r"race: .* element 0 of y \(argument 0\)", (ones(), ones()), blocks=4, threads=1),
    Site("read_by_other_blocks", "race: (writes|reads) element", (ones(),), blocks=4, threads=32),
    Site("atomic_and_plain", "race: (writes|updates) element 0 of y", (ones(1, np.int32),), marked=False),
    Site(
        "multiplies_too_much",
        r"integer overflow in \*",
        (ones(1, np.int32), np.int32(65536), np.int32(65536)),
        threads=1,
    ),
    Site("shifts_too_far", "a shift by more bits", (ones(1, np.int32), np.int32(32)), threads=1),
    Site("no_such_integer", "does not fit into the integer type", (ones(1, np.int32), ones()), threads=1),
    Site("divides_by_zero", "division by zero", (ones(32, np.int32), np.int32(0))),
    Site("local_array", "an index is outside of its array", (ones(), np.int32(4))),
    Site("misaligned_vector", "misaligned: address", (np.zeros(32, "4f4").view("V16"), ones(256)), threads=1),
    Site("uninitialised_shared", "uninitialised: reads element [0-9]+ of shared memory s", (ones(), np.int32(20))),
    Site("too_much_shared", "52000 bytes of static __shared__ memory are more than 48 KB", (ones(),), marked=False),
    Site("writes_its_input", r"read-only: writes element [0-9]+ of x \(argument 0\)", (ones(),)),
    Site("null_pointer", "out of bounds: reads 4 bytes at .*, which is in no array", (ones(), None), threads=1),
    Site("another_threads_local", "out of bounds: reads a local variable of another thread", (ones(),)),
    Site("trap", r"the kernel called __trap\(\); in thread \(3,0,0\)", (ones(),), marked=False),
    Site("crashes", "out of bounds: writes", (ones(), np.int64(1 << 40)), threads=1),
    Site("overflows_the_stack", "stack overflow", (ones(), np.int32(1)), threads=1, marked=False),
)


def launch(module, site):
    """Run the kernel of a site on copies of its arguments."""
    arguments = tuple(value.copy() if isinstance(value, np.ndarray) else value for value in site.arguments)
    module.get_function(site.kernel)((site.blocks,), (site.threads,), arguments)


def line_of(kernel):
    """The marked line of a kernel."""
    start = BROKEN.index(f"void {kernel}(")
    return BROKEN[: BROKEN.index("// HERE", start)].count("\n") + 1
