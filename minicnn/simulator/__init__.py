"""CUDA kernels on a machine without a GPU: compiled by g++, run on the CPU, and watched while they run.

It is what device "cuda-sim" computes with: `cupy.py` stands in for the array library, `kernels.py` runs .cu files.
"""

from __future__ import annotations

from .errors import CompileError, KernelError
from .settings import configure, using

__all__ = ["CompileError", "KernelError", "configure", "using"]
