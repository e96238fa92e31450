"""The kernels of a device from NumPy's arrays to NumPy's, beside the readable ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minicnn import device as devices
from minicnn import simulator
from minicnn.kernels import reference

BOTH = (np.float32, np.float64)


class Kernels:
    """gpu.relu(x): the kernel that a module of kernels/cuda has, for NumPy's arrays, which are left as they are."""

    def __init__(self, device: str, module: str):
        self.device, self.library = device, devices.array_library(device)
        self.module = importlib.import_module(f"minicnn.kernels.cuda.{module}")

    def __getattr__(self, name: str) -> Any:
        def kernel(*args: Any) -> Any:
            with devices.computing(self.device):
                given = mapped(args, np.ndarray, self.library.asarray)
                return mapped(getattr(self.module, name)(*given), self.library.ndarray, self.library.asnumpy)

        return kernel


def mapped(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """`value` with function applied to every array of the kind in it."""
    if isinstance(value, kind):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(mapped(part, kind, function) for part in value)
    return value


def agree(found: Any, wanted: Any, rtol: float, atol: float) -> None:
    """The same shapes and dtypes, and nearly the same numbers; NaN and ±∞ in the same places."""
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            agree(a, b, rtol, atol)
    elif wanted is None:
        assert found is None
    else:
        wanted = np.asarray(wanted)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


def as_reference(gpu: Kernels, name: str, *args: Any, rtol: float, atol: float = 0.0) -> Any:
    """Call the kernel twice: equal bytes, and nearly what the readable kernel gives. Returns it."""
    found, again = getattr(gpu, name)(*args), getattr(gpu, name)(*args)
    assert mapped(found, np.ndarray, np.ndarray.tobytes) == mapped(again, np.ndarray, np.ndarray.tobytes)
    with np.errstate(all="ignore"):
        agree(found, getattr(reference, name)(*args), rtol, atol)
    return found


def watched(device: str, order: str) -> Any:
    """A block in which the simulator watches every access: whatever is wrong in it is reported, as an error."""
    if device != "cuda-sim":
        pytest.skip("only the simulator can watch; on a GPU use compute-sanitizer")
    return simulator.using(build="check", order=order)
