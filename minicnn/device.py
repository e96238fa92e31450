"""Devices: which memory holds an array, and which book of kernels computes with it.

    "cpu"        host memory, kernels/cpu: NumPy and Numba, for speed (the default)
    "reference"  host memory, kernels/reference: plain NumPy, for reading and judging
    "cuda"       a GPU's memory, kernels/cuda: our CUDA kernels on CuPy's arrays
    "cuda-sim"   the same kernels on the CPU, in a simulator that watches every access: slow, needs only g++

`use(name)` chooses where new tensors live; MINICNN_DEVICE does the same for a whole process. An op runs on the device
of its inputs. "cpu" and "reference" share the host's memory, so tensors of both may meet in one op: then it runs on
"reference". `with use("reference"):` therefore makes everything inside readable, whatever model it is called with.

Random numbers are Philox4x32-10, keyed by the seed and by a counter of calls, so that a stream does not depend on
device or threads; `manual_seed(n)` starts it again.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .errors import ArgumentError, DeviceError


class Device(NamedTuple):
    """One row of the table of devices."""

    name: str
    memory: str  # tensors may meet in one op if their memory is the same
    book: str  # the module that implements kernels.CONTENTS; imported at first use
    arrays: str  # the module that makes its arrays, with NumPy's names
    about: str


DEVICES = {
    row.name: row
    for row in (
        Device("cpu", "host", "minicnn.kernels.cpu", "numpy", "NumPy + Numba, for speed"),
        Device("reference", "host", "minicnn.kernels.reference", "numpy", "plain NumPy, for reading"),
        Device("cuda", "cuda", "minicnn.kernels.cuda", "cupy", "CUDA kernels on a GPU"),
        Device("cuda-sim", "cuda-sim", "minicnn.kernels.cuda", "minicnn.simulator.cupy", "CUDA kernels, simulated"),
    )
}


INSTEAD = '"cuda-sim" runs the same kernels on the CPU'


def check(name: str) -> str:
    """`name` if it is a device; DeviceError, with the list of devices, if not."""
    if not isinstance(name, str):
        raise DeviceError(f"a device is a name, one of {', '.join(DEVICES)}, not a {type(name).__name__}")
    if name not in DEVICES:
        raise DeviceError(f'device "{name}" is not known: choose one of {", ".join(DEVICES)}')
    if DEVICES[name].memory != "host":
        array_library(name)
    return name


def is_device(name: str) -> bool:
    """Whether `name` names a device (rather than, say, a dtype)."""
    return name in DEVICES


@functools.cache
def array_library(name: str) -> Any:
    """The module whose arrays live on a device: NumPy, CuPy, or CuPy's stand-in.

    Raises DeviceError, which says what is missing and how to get it, if the device cannot be used here.
    """
    try:
        library = importlib.import_module(DEVICES[name].arrays)
    except ImportError as error:
        if DEVICES[name].arrays != "cupy":
            raise
        why = "which is not installed" if isinstance(error, ModuleNotFoundError) else f"whose import fails ({error})"
        raise DeviceError(
            f'device "cuda" needs CuPy, {why}: pip install "minicnn[cuda13]" (older drivers: [cuda12]); {INSTEAD}'
        ) from None
    missing = library.missing() if hasattr(library, "missing") else _no_gpu(library) if name == "cuda" else ""
    if missing:
        raise DeviceError(f'device "{name}" {missing}')
    return library


def move(array: Any, name: str) -> Any:
    """An array, wherever it is, in the memory of a device: itself if it is there already, else a copy."""
    library = array_library(name)
    return array if isinstance(array, library.ndarray) else library.asarray(to_host(array))


def to_host(array: Any) -> Any:
    """An array, wherever it is, as NumPy's: itself if it is that already, else a copy (which waits for the GPU)."""
    return array.get() if hasattr(array, "get") else array


def to_plain(array: Any) -> Any:
    """An array that a book keeps in a layout of its own, as its array library's; any other as it is."""
    return array.plain() if hasattr(array, "plain") else array


def constant(number: Any, name: str) -> Any:
    """A NumPy array of one number in the memory of a device, the same array every time: nobody may write into it."""
    return _constant(number.tobytes(), number.dtype, name)


@functools.lru_cache(maxsize=4096)
def _constant(content: bytes, dtype: Any, name: str) -> Any:
    return array_library(name).asarray(np.frombuffer(content, dtype).reshape(()))


def _no_gpu(cupy: Any) -> str:
    """Why CuPy finds no GPU, "" if it finds one."""
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"finds no GPU, or no driver for it ({error}): {INSTEAD}"
    return "" if found else f"finds no GPU: {INSTEAD}"


class _State(threading.local):
    """Per thread: the device for new tensors, the book of the op that is computed, and whether only shapes count."""

    def __init__(self) -> None:
        self.default: str | None = None
        self.computing: str | None = None
        self.shapes_only = False


state = _State()
_process_default: str | None = None  # what use() outside of `with` chose, for all threads
_books: dict[str, ModuleType] = {}


def current() -> str:
    """The device on which new tensors are made."""
    return state.default or _process_default or _from_environment()


@functools.cache
def _from_environment() -> str:
    """MINICNN_DEVICE, read once: asking the environment costs as much as a small op."""
    return check(os.environ.get("MINICNN_DEVICE") or "cpu")


class use:
    """Choose the device for new tensors: `minicnn.use("reference")` from now on, `with minicnn.use(...):` for a block,
    `@minicnn.use(...)` for a function.

    Raises DeviceError for a device that does not exist.
    """

    def __init__(self, name: str):
        global _process_default
        self.name = check(name)
        self._undo: tuple[str | None, str | None] | None = (_process_default, state.default)
        self._before: list[str | None] = []
        if state.default is None:
            _process_default = name
        else:  # inside of a block: until its end
            state.default = name

    def __enter__(self) -> use:
        global _process_default
        if self._undo is not None:  # the call itself had chosen already: a block's choice ends with the block
            (_process_default, state.default), self._undo = self._undo, None
        self._before.append(state.default)
        state.default = self.name
        return self

    def __exit__(self, *exc: object) -> None:
        state.default = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        with self:  # takes back what the call had chosen
            pass

        @functools.wraps(function)
        def used(*args: Any, **options: Any) -> Any:
            with self:
                return function(*args, **options)

        return used


def resolve(names: Iterable[str]) -> str:
    """The device on which tensors of these devices meet; DeviceError if their memories differ."""
    found = set(names)
    if len({DEVICES[name].memory for name in found}) > 1:
        raise DeviceError(f"tensors of {' and '.join(sorted(found))} meet in one op: move one of them with .to(device)")
    return "reference" if "reference" in found else found.pop()


def resolve_one(name: str | None) -> str:
    """The device an op runs on, if its inputs are on `name` (None: it has no inputs)."""
    here = current()
    if name is None or (here == "reference" and DEVICES[name].memory == "host"):
        return here
    return name


def book() -> ModuleType:
    """The kernels of the device that is computing: inside an op its own, elsewhere the current one."""
    if state.shapes_only:
        return importlib.import_module("minicnn.kernels.shapes")
    name = state.computing or current()
    if name not in _books:
        _books[name] = importlib.import_module(DEVICES[name].book)
    return _books[name]


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, ops give zeros of the right shape instead of computing: see kernels/shapes.py."""
    outer, state.shapes_only = state.shapes_only, True
    try:
        yield
    finally:
        state.shapes_only = outer


def begin(name: str) -> str | None:
    """From now on kernels come from the book of `name`; returns what to give to end()."""
    outer, state.computing = state.computing, name
    return outer


def end(outer: str | None) -> None:
    """Back to the book that was in force before begin()."""
    state.computing = outer


@contextlib.contextmanager
def computing(name: str) -> Iterator[None]:
    """begin() and end() around a block."""
    outer = begin(name)
    try:
        yield
    finally:
        end(outer)


class Generator:
    """A stream of random calls: the seed, and how many calls have been made. Both together are its whole state."""

    def __init__(self, seed: int = 0):
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> None:
        """Start again at call 0 of another seed (0 ≤ seed < 2⁶⁴)."""
        whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
        if not whole or not 0 <= int(seed) < 2**64:
            raise ArgumentError(f"a seed is an integer from 0 to 2⁶⁴ − 1, got {seed!r}")
        self.seed, self.calls = int(seed), 0

    def next_call(self) -> tuple[int, int]:
        """(seed, call) for one more call."""
        self.calls += 1
        return self.seed, self.calls - 1


generator = Generator()


def manual_seed(seed: int) -> None:
    """Restart the random stream that dropout and the initialisers draw from."""
    generator.manual_seed(seed)
