"""RawModule and RawKernel for NumPy arrays: to write and debug a kernel without any array library of a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kernels
from .module import Buffer


class RawModule(kernels.RawModule):
    """cupy.RawModule, but its kernels take NumPy arrays, and the check build runs them unless another is chosen."""

    default_build = "check"

    def _kernel_type(self) -> type[RawKernel]:
        return RawKernel


class RawKernel(kernels.RawKernel):
    """cupy.RawKernel, but it takes NumPy arrays, in which it writes: kernel(grid, block, args, shared_mem=bytes)."""

    _module_type = RawModule

    def _argument(self, number: int, arg: Any) -> Any:
        if not isinstance(arg, np.ndarray):
            return super()._argument(number, arg)
        if not (arg.flags.c_contiguous or arg.flags.f_contiguous):
            raise ValueError(
                f"{self.name}: argument {number} is a view with strides {arg.strides}, and the kernel gets no more "
                "than its address: give np.ascontiguousarray of it"
            )
        parameters = self._function().parameters
        if number < len(parameters) and not parameters[number].is_const and not arg.flags.writeable:
            raise ValueError(f"{self.name}: argument {number} is a read-only array, and the kernel may write to it")
        whole = arg
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        return Buffer(_address(arg), arg.nbytes, arg.dtype, *_extent(whole, arg))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _extent(whole: np.ndarray, part: np.ndarray) -> tuple[int, int]:
    """Where the memory begins that two views share, and its size."""
    start = min(_address(whole), _address(part))
    return start, max(_address(whole) + whole.nbytes, _address(part) + part.nbytes) - start
