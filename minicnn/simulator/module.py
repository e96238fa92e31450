"""A compiled .cu file, and the launch of one of its kernels.

The structures below mirror those of include/simulator/runtime.h and exports.h.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import compiler, settings, source
from .errors import KernelError
from .report import Report, describe

_REGION = struct.Struct("QQQQQiiiiiI")
_LAUNCH = struct.Struct("QQ3I3IQiiQQQQ")
_one_at_a_time = threading.RLock()  # there is one simulated device


class Buffer(NamedTuple):
    """An array as a kernel sees it: an address; and what the checker must know about it."""

    address: int
    nbytes: int
    dtype: np.dtype
    memory: int  # the allocation it lies in: views of one allocation share their history
    memory_nbytes: int
    written: int = 0  # address of one flag for each byte of the allocation, 0 if all of it has been written
    guards: tuple[int, int] = (0, 0)  # bytes before and after the allocation that are 0xff and belong to nobody


class Parameter(NamedTuple):
    """The type of one parameter; kind and element are letters of exports.h."""

    name: str
    kind: str
    size: int
    element: str
    element_size: int
    is_const: bool

    @property
    def type_name(self) -> str:
        """As a person says it."""
        letter, size = (self.element, self.element_size) if self.kind == "p" else (self.kind, self.size)
        names = {"f": "float", "i": "int", "u": "uint", "b": "bool", "h": "__half", "B": "__nv_bfloat16"}
        name = names.get(letter, "struct")
        return f"{name}{8 * size}" if letter in "fiu" else name

    def accepts(self, dtype: np.dtype) -> bool:
        """Whether an array of a dtype may be passed to this pointer."""
        if self.element in "vsp" or not self.element:
            return True
        kinds = {"h": "f", "B": "uV", "b": "bu"}.get(self.element, self.element)
        vector = dtype.kind == "V" and self.element != "B"
        return vector or (dtype.kind in kinds and dtype.itemsize == self.element_size)

    @property
    def granule(self) -> int:
        """Bytes of an element, for messages and for the checker."""
        return self.element_size if self.kind == "p" else self.size


class _CParameter(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char), ("element_kind", ctypes.c_char), ("size", ctypes.c_int),
                ("element_size", ctypes.c_int), ("element_const", ctypes.c_int)]  # fmt: skip


class _CKernel(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("count", ctypes.c_int),
                ("parameters", ctypes.POINTER(_CParameter))]  # fmt: skip


class Module:
    """All kernels of a .cu file, compiled for one build."""

    def __init__(
        self, code: str, options: Sequence[str] = (), name_expressions: Sequence[str] = (), path: str = "kernel.cu",
        build: str = "",
    ):  # fmt: skip
        self.build = build or settings.build()
        named = re.search(r'^#line 1 "([^"]*)"\n', code, re.MULTILINE)  # the code says itself which file it is
        self.path, self.code = (named[1], code[named.end() :]) if named else (path, code)
        text = compiler.preprocess(code if named else f'#line 1 "{path}"\n{code}', options)
        heads = {head.name: head for head in source.heads(text)}
        c_names = [head.name for head in heads.values() if head.is_c and head.name not in name_expressions]
        names = [*c_names, *name_expressions]
        unit = source.translate(text) + _exports(names)
        self.library = compiler.compile_library(unit, self.build, _label(self.path, options, self.build))
        _runtime(self.build)  # first: the library needs it
        loaded = ctypes.CDLL(str(self.library))
        image = (ctypes.c_void_p * 2).in_dll(loaded, "sim_image")
        self.image, self.image_end = int(image[0] or 0), int(image[1] or 0)
        self.functions = {}
        for number, name in enumerate(names):
            kernel = _CKernel.in_dll(loaded, f"sim_kernel_{number}")
            head = heads.get(name.split("<")[0].split("::")[-1].strip())
            self.functions[name] = Function(self, name, kernel, head)


def _exports(names: Sequence[str]) -> str:
    """The end of a unit: what Python looks for in the library."""
    kernels = [f'SIM_EXPORT({number}, "{name}", {name})' for number, name in enumerate(names)]
    return "\n".join(["", '#line 1 "exports of the simulator"', *kernels, "SIM_EXPORT_IMAGE", ""])


class Function:
    """One kernel of a module."""

    def __init__(self, module: Module, name: str, kernel: _CKernel, head: source.Head | None):
        self.module, self.name = module, name
        self.most_threads = head.most_threads if head else 0
        count = kernel.count
        names = head.parameters if head and len(head.parameters) == count else tuple(str(i) for i in range(count))
        self.parameters = [
            Parameter(
                name,
                p.kind.decode(),
                p.size,
                p.element_kind.strip(b"\0").decode(),
                p.element_size,
                bool(p.element_const),
            )
            for name, p in zip(names, kernel.parameters[:count], strict=True)
        ]
        self.reaches_everything = any(p.element in "ps" or p.kind == "s" or (p.element_size == 8 and p.element in "iu")
                                      for p in self.parameters if p.kind in "ps")  # fmt: skip
        self._call = kernel.call
        self._places = [ctypes.create_string_buffer(max(p.size, 8)) for p in self.parameters]
        self._pointers = (ctypes.c_void_p * max(count, 1))(*map(ctypes.addressof, self._places))

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        shared: int = 0,
        reachable: Sequence[Buffer] = (),
    ) -> None:
        """Run the kernel. args are Buffers (or None) for pointers and NumPy scalars of the exact type for the rest.

        reachable: allocations that the kernel may get at through addresses in memory.
        Raises KernelError.
        """
        chosen = settings.current()
        with _one_at_a_time:
            regions = self._take(args)
            regions += [_region(buffer, -1, 1, False) for buffer in reachable]
            table = b"".join(regions)
            table_at = ctypes.cast(ctypes.c_char_p(table), ctypes.c_void_p).value or 0
            launch = _LAUNCH.pack(
                self._call, ctypes.addressof(self._pointers), *_three(grid), *_three(block), shared,
                settings.ORDERS.index(chosen.order), len(regions), chosen.seed, table_at,
                self.module.image, self.module.image_end,
            )  # fmt: skip
            failed = _runtime(self.module.build).sim_run(launch)
            if failed:
                report = Report.from_address(failed)
                if report.interrupted:
                    raise KeyboardInterrupt
                raise KernelError(describe(report, self))

    def _take(self, args: Sequence[Any]) -> list[bytes]:
        """Put the arguments where the kernel finds them; returns the arrays among them for the checker."""
        if len(args) != len(self.parameters):
            raise KernelError(f"{self.name} has {len(self.parameters)} parameters, and {len(args)} arguments are given")
        regions = []
        for number, (arg, parameter, place) in enumerate(zip(args, self.parameters, self._places, strict=True)):
            if parameter.kind == "p":
                address = self._address(number, arg)
                place.raw = address.to_bytes(8, "little")
                if address:
                    regions.append(_region(arg, number, parameter.granule, parameter.is_const))
            else:
                self._check_value(number, arg)
                place.raw = arg.tobytes().ljust(8, b"\0")
        return regions

    def _address(self, number: int, arg: Any) -> int:
        if arg is None:
            return 0
        parameter = self.parameters[number]
        if not isinstance(arg, Buffer):
            raise KernelError(f"{self.name}: {self._named(number)} is a pointer, and {type(arg).__name__} is given")
        if not parameter.accepts(arg.dtype):
            expected = parameter.type_name
            raise KernelError(
                f"{self.name}: {self._named(number)} points to {expected}, and a {arg.dtype} array is given"
            )
        return arg.address

    def _check_value(self, number: int, arg: Any) -> None:
        parameter = self.parameters[number]
        fits = isinstance(arg, np.generic) and arg.dtype.itemsize == parameter.size
        kinds = {"h": "f", "B": "uV", "s": "V"}.get(parameter.kind, parameter.kind)
        if not fits or arg.dtype.kind not in kinds:
            given = arg.dtype.name if isinstance(arg, np.generic) else type(arg).__name__
            numpys = {"float32": "np.float32(...)", "float64": "np.float64(...)", "int32": "np.int32(...)"}
            hint = f": pass {numpys[parameter.type_name]}" if parameter.type_name in numpys else ""
            raise KernelError(
                f"{self.name}: {self._named(number)} is {parameter.type_name}, and {given} is given{hint}"
            )

    def _named(self, number: int) -> str:
        return f"argument {number} ({self.parameters[number].name})"


def _region(buffer: Buffer, argument: int, element: int, read_only: bool) -> bytes:
    a = buffer
    place = (a.address, a.nbytes, a.memory, a.memory_nbytes, a.written)
    return _REGION.pack(*place, argument, element, read_only, *a.guards, 0)


def _three(sizes: Sequence[int]) -> tuple[int, ...]:
    return (*map(int, sizes), 1, 1, 1)[:3]


def _label(path: str, options: Sequence[str], build: str) -> str:
    file = path.rsplit("/", 1)[-1]
    macros = [option[2:].split("=")[-1] for option in options if option.startswith("-DREAL=")]
    return " ".join([file, *macros] + ["(check)"] * (build == "check"))


@functools.cache
def _runtime(build: str) -> Any:
    library = ctypes.CDLL(str(compiler.runtime(build)))
    library.sim_run.restype = ctypes.c_void_p
    library.sim_run.argtypes = [ctypes.c_char_p]
    return library
