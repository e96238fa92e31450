"""RawModule and RawKernel of the stand-in for CuPy: CUDA C++ that runs in the simulator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import memory, settings
from .arrays import ndarray
from .errors import KernelError
from .module import Buffer, Function, Module
from .streams import CUDARuntimeError, current_stream

STATIC_LIMIT = 48 << 10
DYNAMIC_LIMIT = 227 << 10


class RawModule:
    """A file of kernels, compiled when one of them is first asked for."""

    default_build = "fast"  # where nobody has chosen one

    def __init__(
        self, *, code: str | None = None, path: str | None = None, options: Sequence[str] = (), backend: str = "nvrtc",
        translate_cucomplex: bool = False, enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None, jitify: bool = False,
    ):  # fmt: skip
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if path is not None:
            raise KernelError(
                f"{Path(path).name}: compiled code cannot run in the simulator: give the source as `code`"
            )
        self.code, self.options, self.name_expressions = str(code), tuple(options), tuple(name_expressions or ())
        self._compiled: dict[str, Module] = {}

    def compile(self, log_stream: Any = None) -> None:
        """Compile now, for the build in force."""
        self._module()

    def _module(self) -> Module:
        build = settings.build(self.default_build)
        if build not in self._compiled:
            self._compiled[build] = Module(self.code, self.options, self.name_expressions, "kernel.cu", build)
        return self._compiled[build]

    def get_function(self, name: str) -> RawKernel:
        """The kernel of a name."""
        kernel = self._kernel_type()(self.code, name, self.options)
        kernel._owner = self
        kernel.compile()
        return kernel

    def _kernel_type(self) -> type[RawKernel]:
        return RawKernel


class RawKernel:
    """One kernel: kernel(grid, block, args, shared_mem=bytes)."""

    _module_type = RawModule

    def __init__(
        self, code: str, name: str, options: Sequence[str] = (), backend: str = "nvrtc", *,
        translate_cucomplex: bool = False, enable_cooperative_groups: bool = False, jitify: bool = False,
    ):  # fmt: skip
        self.code, self.name, self.options = code, name, tuple(options)
        self._owner: RawModule | None = None
        self._most_shared = STATIC_LIMIT

    def _function(self) -> Function:
        if self._owner is None:
            names = (self.name,) if "<" in self.name else ()
            self._owner = self._module_type(code=self.code, options=self.options, name_expressions=names)
        functions = self._owner._module().functions
        if self.name not in functions:
            known = ", ".join(functions) or "none"
            raise CUDARuntimeError(
                f"CUDA_ERROR_NOT_FOUND: named symbol not found: {self.name} (the kernels are: {known})"
            )
        return functions[self.name]

    def compile(self, log_stream: Any = None) -> None:
        self._function()

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._most_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if size > DYNAMIC_LIMIT:
            raise CUDARuntimeError(
                f"CUDA_ERROR_INVALID_VALUE: {self.name}: {size} bytes of shared memory, a block has {DYNAMIC_LIMIT}"
            )
        self._most_shared = size

    @property
    def max_threads_per_block(self) -> int:
        return self._function().most_threads or 1024

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        """Launch. Pointers are arrays of the device, everything else NumPy scalars of the parameter's exact type."""
        function = self._function()
        self._check(function, grid, block, shared_mem)
        stream, memories = current_stream(), [arg._memory for arg in args if isinstance(arg, ndarray)]
        taken = [self._argument(number, arg) for number, arg in enumerate(args)]
        if not stream.runs_at_once():
            taken = [arg.borrowed() if isinstance(arg, ndarray) else arg for arg in taken]

        def run() -> None:
            current = self._function()  # of the build in force when it runs
            buffers = [_buffer(arg) if isinstance(arg, ndarray) else arg for arg in taken]
            current.launch(grid, block, buffers, shared_mem, _everything() if current.reaches_everything else ())
            if current.module.build != "check":
                for arg in taken:
                    if isinstance(arg, ndarray):  # nobody watched: what has been written is no longer known
                        arg._memory.block.written = None

        stream.push(run, memories, self.name)

    def _check(self, function: Function, grid: Any, block: Any, shared_mem: int) -> None:
        if not isinstance(grid, tuple) or not isinstance(block, tuple):
            raise TypeError(f"{self.name}: grid and block must be tuples")
        threads = math.prod(block)
        if shared_mem > self._most_shared:
            raise CUDARuntimeError(
                f"CUDA_ERROR_INVALID_VALUE: {self.name}: {shared_mem} bytes of dynamic shared memory: "
                f"set max_dynamic_shared_size_bytes first, which is {self._most_shared}"
            )
        if function.most_threads and threads > function.most_threads:
            raise CUDARuntimeError(
                f"CUDA_ERROR_INVALID_VALUE: {self.name}: a block of {threads} threads, "
                f"and __launch_bounds__ promised at most {function.most_threads}"
            )

    def _argument(self, number: int, arg: Any) -> Any:
        """What CuPy makes of an argument: Python's int and float are 64 bits wide."""
        if isinstance(arg, np.ndarray):
            raise TypeError(
                f"{self.name}: argument {number} is a numpy.ndarray: copy it to the device with cupy.asarray"
            )
        if isinstance(arg, ndarray):
            if not (arg.flags.c_contiguous or arg.flags.f_contiguous):
                raise ValueError(
                    f"{self.name}: argument {number} is a view with strides {arg.strides}, and the kernel gets no more "
                    "than its address: give cupy.ascontiguousarray of it"
                )
            return arg
        if isinstance(arg, bool):
            return np.bool_(arg)
        if isinstance(arg, int):
            return np.int64(arg)
        return np.float64(arg) if isinstance(arg, float) else arg


def _buffer(array: ndarray) -> Buffer:
    held = array._memory
    written = 0 if held.block.written is None else held.block.written.__array_interface__["data"][0]
    guards = (memory.GUARD, held.block.size - held.size + memory.GUARD)
    return Buffer(array.address, array.nbytes, array.dtype, held.ptr, held.size, written, guards)


def _everything() -> list[Buffer]:
    """All live allocations: a kernel that is given addresses in memory may go anywhere."""
    kind = np.dtype(np.uint8)
    found = []
    for held in list(memory.live.values()):
        written = 0 if held.block.written is None else held.block.written.__array_interface__["data"][0]
        found.append(Buffer(held.ptr, held.size, kind, held.ptr, held.block.size, written))
    return found
