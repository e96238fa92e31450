"""cupy.cuda of the stand-in: streams, events, graphs, memory, the device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from . import memory as _memory
from .errors import CompileError, KernelError
from .memory import (
    MemoryPointer,
    MemoryPool,
    OutOfMemoryError,
    PinnedMemoryPointer,
    alloc,
    alloc_pinned_memory,
    get_allocator,
    set_allocator,
    using_allocator,
)
from .streams import CUDARuntimeError, Event, Graph, Stream, current_stream, get_elapsed_time, wait_for_device

__all__ = [
    "Device", "Event", "Graph", "MemoryPointer", "MemoryPool", "PinnedMemoryPointer", "Stream", "alloc",
    "alloc_pinned_memory", "compiler", "driver", "get_allocator", "get_current_stream", "get_elapsed_time", "graph",
    "is_available", "memory", "runtime", "set_allocator", "using_allocator",
]  # fmt: skip

get_current_stream = current_stream


class Device:
    """The one device there is."""

    def __init__(self, device: int | None = None):
        if device not in (None, 0):
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id, self.compute_capability = 0, "90"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __int__(self) -> int:
        return 0

    def use(self) -> None:
        pass

    def synchronize(self) -> None:
        wait_for_device()

    @property
    def mem_info(self) -> tuple[int, int]:
        return _memory_info()

    @property
    def attributes(self) -> dict[str, int]:
        return {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 227 << 10, "WarpSize": 32}


def is_available() -> bool:
    """Whether there is a GPU."""
    return False


def _memory_info() -> tuple[int, int]:
    return _memory.DEVICE_BYTES - _memory.get_default_memory_pool().total_bytes(), _memory.DEVICE_BYTES


def _properties(device: int) -> dict[str, Any]:
    return {"name": b"minicnn simulator", "multiProcessorCount": 132, "major": 9, "minor": 0}


memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPointer=MemoryPointer, MemoryPool=MemoryPool)
graph = SimpleNamespace(Graph=Graph)
compiler = SimpleNamespace(CompileException=CompileError)
driver = SimpleNamespace(CUDADriverError=KernelError)
runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: 1,
    getDevice=lambda: 0,
    deviceSynchronize=wait_for_device,
    memGetInfo=_memory_info,
    getDeviceProperties=_properties,
    runtimeGetVersion=lambda: 13000,
    driverGetVersion=lambda: 13000,
    streamCaptureModeGlobal=0,
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
)
