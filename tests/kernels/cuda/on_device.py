"""The kernels of a device from NumPy's arrays to NumPy's, beside the readable ones."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from minicnn import device as devices
from minicnn.kernels import reference
from minicnn.kernels.cuda.host import mapped

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
    assert mapped(found, np.ndarray, bytes) == mapped(again, np.ndarray, bytes)
    with np.errstate(all="ignore"):
        agree(found, getattr(reference, name)(*args), rtol, atol)
    return found
