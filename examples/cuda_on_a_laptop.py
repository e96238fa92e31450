"""A CUDA kernel on a machine without a GPU: a sum that is right, and the same with one barrier missing.

    python examples/cuda_on_a_laptop.py

Needs Linux and g++, nothing else. The simulator compiles the kernel for the CPU, runs its threads in an order of our
choosing and watches every access to memory. A missing barrier is a race: on a GPU the sum is wrong now and then, on one
card and not on another; here it is found in the first run, with both lines, in whatever order the threads run.
"""

from __future__ import annotations

import textwrap

import numpy as np

from minicnn import simulator

CODE = r"""
// y[block] = the sum of a block's part of x: a tree in shared memory, half of the threads at each step
//
//     s   a b c d e f g h
//         └───────┘            a + e   b + f   c + g   d + h
//         └───┘                a + e + c + g   b + f + d + h
//         └─┘                  everything
extern "C" __global__ void block_sum(float* y, const float* x, int n) {
    __shared__ float s[256];
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) s[t] += s[t + half];
        __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
"""
IN_THE_LOOP = "s[t + half];\n        __syncthreads();"


def block_sums(code: str, x: np.ndarray, threads: int = 256) -> np.ndarray:
    """Launch the kernel: a grid of blocks, each with its own part of x."""
    kernel = simulator.RawKernel(code, "block_sum")
    y = np.empty(-(-x.size // threads), np.float32)
    kernel((y.size,), (threads,), (y, x, np.int32(x.size)))
    return y


def main() -> None:
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)

    print("The kernel as it should be, its threads in three orders:")
    for order in ("forward", "reverse", "random:1"):
        with simulator.using(order=order):
            total = block_sums(CODE, x).sum()
        print(f"    {order:<10} sum {total:.4f}    NumPy {x.sum():.4f}")

    broken = CODE.replace(IN_THE_LOOP, "s[t + half];")
    print("\nThe same without the barrier in the loop, unwatched (build fast):")
    for order in ("forward", "reverse", "random:1"):
        with simulator.using(build="fast", order=order):
            total = block_sums(broken, x).sum()
        print(f"    {order:<10} sum {total:.4f}    {'right, by luck' if np.isclose(total, x.sum()) else 'wrong'}")

    print("\nThe same, watched (build check):")
    try:
        block_sums(broken, x)
    except simulator.KernelError as error:
        print(textwrap.indent(str(error), "    "))

    print("\nAnd without `i < n ? ... : 0`, for 5000 numbers in blocks of 256:")
    try:
        block_sums(CODE.replace("i < n ? x[i] : 0.0f", "x[i]"), x)
    except simulator.KernelError as error:
        print(textwrap.indent(str(error), "    "))


if __name__ == "__main__":
    main()
