"""A stand-in for the module `cupy` on a machine without a GPU: the arrays of device "cuda-sim".

It has what the CUDA book uses, under CuPy's names and with CuPy's manners, and nothing else: an unknown name raises
AttributeError. Device memory is a pool of host memory filled with NaN (memory.py); streams run as late as a program
allows (streams.py); arrays refuse what CuPy's refuse (arrays.py); kernels run in the simulator (kernels.py, module.py).
"""

from __future__ import annotations

import builtins
import sys
from types import SimpleNamespace
from typing import Any

import numpy

from . import compiler, cuda, functions  # noqa: F401
from .arrays import ndarray
from .functions import *  # noqa: F403
from .kernels import RawKernel, RawModule  # noqa: F401

__version__ = "14.2.0"  # of the CuPy whose manners these are

NUMPYS_OWN = (
    "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128", "dtype", "finfo", "iinfo", "integer", "floating", "issubdtype", "can_cast",
    "result_type", "promote_types", "broadcast_shapes", "newaxis", "pi", "e", "inf", "nan",
)  # fmt: skip
globals().update({name: getattr(numpy, name) for name in NUMPYS_OWN})

lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=functions.as_strided))


def is_available() -> bool:
    """Whether there is a GPU."""
    return False


def get_array_module(*args: Any) -> Any:
    """This module if one of the arrays is its own, else NumPy."""
    return sys.modules[__name__] if builtins.any(isinstance(arg, ndarray) for arg in args) else numpy


def missing() -> str:
    """What this machine lacks for the simulator, as the rest of a sentence; "" if nothing. (CuPy has no such name.)"""
    return compiler.missing()


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"the stand-in for cupy has no {name!r}: if CuPy has it, add it to minicnn/simulator/functions.py"
    )
