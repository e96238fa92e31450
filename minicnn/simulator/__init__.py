"""CUDA kernels on a machine without a GPU: compiled by g++, run on the CPU, and watched while they run.

    import numpy as np
    from minicnn import simulator

    code = r'''
    extern "C" __global__ void scale(float* y, const float* x, float factor, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) y[i] = factor * x[i];
    }'''
    scale = simulator.RawKernel(code, "scale")
    x, y = np.arange(100, dtype=np.float32), np.empty(100, np.float32)
    scale((4,), (32,), (y, x, np.float32(2), np.int32(100)))              # grid, block, arguments: as in CuPy

Forget the `if (i < n)`, and the launch raises KernelError:

    scale: out of bounds: reads element 100 of x (argument 1), which has 100; in thread (4,0,0) of block (3,0,0)
      File "kernel.cu", line 4
        y[i] = factor * x[i];

The check build (the default here) finds on the first run, whatever the order in which threads happen to run:

    out of bounds       on the very array, also when the address is inside of a neighbour; in shared memory too
    uninitialised       reads of shared memory, of cupy.empty, of local variables (as garbage)
    race                two threads, one place, one of them writes, no barrier between: within a block or across blocks
    divergent barrier   not all threads of a block reach the same __syncthreads(); deadlocks
    bad mask            a warp operation whose mask names lanes that are not there, or not the lane itself
    misaligned          a float4 at an address that is no multiple of 16; a cp.async
    overflow            of int; division by zero; a shift by too much; a float that no int holds

using(build="fast") runs much faster and sees little; using(order="reverse") or order="random:7" has threads and blocks
run in another order (settings.py). `examples/cuda_on_a_laptop.py` shows a race being found.

What it cannot show: speed, occupancy, the memory model of a real GPU beyond barriers, the last bits of approximate
functions such as __expf. One block cannot wait for another (no cooperative groups, no last-block-done pattern).

It is what device "cuda-sim" computes with: `cupy.py` stands in for the array library. How it works: `source.py` and
`compiler.py` make C++ of CUDA C++, `include/` declares what CUDA has beyond C++, `runtime/` runs blocks and watches.
Needs Linux and g++ (`apt install g++`); 12 or newer for __half.
"""

from __future__ import annotations

from .errors import CompileError, KernelError
from .numpy_kernels import RawKernel, RawModule
from .settings import configure, using

__all__ = ["CompileError", "KernelError", "RawKernel", "RawModule", "configure", "using"]
