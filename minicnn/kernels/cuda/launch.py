"""Compiling and launching: from an array and the name of a .cu function to a running kernel.

A .cu file is compiled once for each floating-point type, with these macros (they are all it may assume):

    REAL     the type of the arrays: float, double (or __half, __nv_bfloat16: storage only)
    ACC      the type to compute and add up in: float for float and the halves, double for double

Kernels are extern "C". Their parameters are pointers to contiguous arrays, `int` for every whole number and ACC for
every other number, in the order of the call. Grids are one-dimensional loops wherever that is enough:

    extern "C" __global__ void twice(REAL* y, const REAL* x, ACC factor, int n) {
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
            y[i] = factor * ACC(x[i]);
    }

    def twice(x):
        y = empty(x.shape, x.dtype)
        kernel("example.cu", "twice", x.dtype)(x.size, (y, contiguous(x), 2.0, x.size))
        return y
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import device as devices
from ...errors import ShapeError

FOLDER = Path(__file__).parent
THREADS = 256  # of a block, where nothing asks for another number
MOST_BLOCKS = 1 << 16  # a kernel's loop does the rest
MOST = 2**31 - 1  # what an int holds

REAL = {  # dtype -> type; types.cuh has those of whole numbers
    "bfloat16": "__nv_bfloat16", "float16": "__half", "float32": "float", "float64": "double", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
ACC = {"bfloat16": "float", "float16": "float", "float32": "float"}  # of the others: REAL itself
HEADERS = {"bfloat16": "#include <cuda_bf16.h>\n", "float16": "#include <cuda_fp16.h>\n"}


def library() -> Any:
    """CuPy, or its stand-in: of the device that is computing."""
    return devices.array_library(devices.state.computing or devices.current())


def empty(shape: Any, dtype: Any) -> Any:
    """A new array of the device, uninitialised."""
    return library().empty(shape, dtype)


def contiguous(x: Any) -> Any:
    """x in row-major order: kernels get no more than an address."""
    return library().ascontiguousarray(x)


class Kernel:
    """One function of a compiled .cu file."""

    def __init__(self, function: Any, real: type):
        self.function, self.real = function, real

    def __call__(self, grid: int | Sequence[int], args: Sequence[Any], block: int = THREADS, shared: int = 0) -> None:
        """Launch: an int for grid is a number of elements, one for each thread; a tuple is the blocks themselves."""
        if isinstance(grid, int):
            blocks: tuple[int, ...] = (min(-(-grid // block), MOST_BLOCKS),)
        else:
            blocks = tuple(grid)
        if 0 in blocks:
            return
        self.function(blocks, (block,), tuple(self._as_parameter(a) for a in args), shared_mem=shared)

    def _as_parameter(self, value: Any) -> Any:
        if isinstance(value, bool | int):
            if value > MOST:
                raise ShapeError(f"an array of {value} elements is too large for one launch: use a smaller batch")
            return np.int32(value)
        if getattr(value, "size", 0) > MOST:
            raise ShapeError(f"an array of shape {value.shape} is too large for one launch: use a smaller batch")
        return self.real(value) if isinstance(value, float) else value


def kernel(file: str, name: str, dtype: Any, **constants: Any) -> Kernel:
    """The function `name` of a .cu file of this folder for arrays of a dtype; constants are further macros."""
    where = devices.state.computing or devices.current()
    return _kernel(where, file, name, np.dtype(dtype).name, tuple(sorted(constants.items())))


@functools.cache
def _kernel(device: str, file: str, name: str, dtype: str, constants: tuple) -> Kernel:
    real = np.dtype({"float": "float32"}.get(ACC.get(dtype, ""), dtype)).type
    return Kernel(_module(device, file, dtype, constants).get_function(name), real)


@functools.cache
def _module(device: str, file: str, dtype: str, constants: tuple) -> Any:
    code, options = unit(file, dtype, constants)
    return devices.array_library(device).RawModule(code=code, options=options)


def unit(file: str, dtype: str, constants: tuple = ()) -> tuple[str, tuple[str, ...]]:
    """What is compiled: the code of a .cu file for a dtype, and the compiler's options."""
    macros = {"REAL": REAL[dtype], "ACC": ACC.get(dtype, REAL[dtype]), **dict(constants)}
    options = ("-std=c++17", f"-I{FOLDER}", *(f"-D{name}={value}" for name, value in macros.items()))
    path = FOLDER / file
    # The first line tells the compiler whose lines it reads; the last makes the code another one, for CuPy's cache of
    # compiled kernels, when an included header is another one.
    code = f'{HEADERS.get(dtype, "")}#line 1 "{path.as_posix()}"\n{path.read_text("utf-8")}\n// headers: {_headers()}\n'
    return code, options


@functools.cache
def _headers() -> str:
    """The contents of all headers of this folder in sixteen characters."""
    texts = [path.read_bytes() for path in sorted(FOLDER.glob("*.cuh"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]
