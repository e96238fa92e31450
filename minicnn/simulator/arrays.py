"""The array type of the stand-in for CuPy: a NumPy array over the pool's memory, with CuPy's manners.

It refuses what CuPy refuses: becoming a NumPy array by itself, meeting one in an operation, being read by the host in
the middle of a capture. Views are views, and every operation is work for the stream in force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import memory, settings
from .errors import KernelError
from .memory import Memory, MemoryPointer
from .streams import CUDARuntimeError, Stream, current_stream

SCALARS = (bool, int, float, complex, np.generic, type(None), slice, type(Ellipsis), str, np.dtype, type)


class Borrowed:
    """Memory that somebody else owns, or owned."""

    def __init__(self, memory: Memory):
        self.block, self.ptr, self.size = memory.block, memory.ptr, memory.size


class ndarray:
    """An array on the simulated device."""

    __array_priority__ = 100
    __slots__ = ("__weakref__", "_memory", "_np", "base")
    base: ndarray | None  # the array that this one is a view of, if it is: the first of all, as CuPy's
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: MemoryPointer | None = None, strides: Any = None, order: str = "C"
    ):
        kind = np.dtype(dtype)
        shape = tuple(shape) if isinstance(shape, tuple | list) else (int(shape),)
        pointer = memptr or memory.alloc(math.prod(shape) * kind.itemsize)
        self.base = None
        self._memory = pointer.mem
        offset = pointer.ptr - pointer.mem.ptr
        self._np = np.ndarray(shape, kind, pointer.mem.block.bytes, offset, strides, "F" if order == "F" else "C")

    # ---- what it is

    shape = property(lambda self: self._np.shape)
    dtype = property(lambda self: self._np.dtype)
    ndim = property(lambda self: self._np.ndim)
    size = property(lambda self: self._np.size)
    nbytes = property(lambda self: self._np.nbytes)
    itemsize = property(lambda self: self._np.itemsize)
    strides = property(lambda self: self._np.strides)
    flags = property(lambda self: self._np.flags)
    T = property(lambda self: self.transpose())

    @property
    def address(self) -> int:
        return self._np.__array_interface__["data"][0]

    @property
    def data(self) -> MemoryPointer:
        return MemoryPointer(self._memory, self.address - self._memory.ptr)

    def __len__(self) -> int:
        return len(self._np)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self.get())

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # ---- to the host and back

    def get(
        self, stream: Stream | None = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True
    ) -> np.ndarray:
        """A NumPy array with the same elements."""
        stream = stream or current_stream()
        target = np.empty(self.shape, self.dtype) if out is None else out
        if blocking:
            stream.wait("a copy to the host")
            check_written([self], "a copy to the host")
            np.copyto(target, self._np)
        else:
            source = self._np
            stream.push(lambda: np.copyto(target, source), [self._memory], "a copy to the host")
        return target

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Take the elements of a NumPy array. A pinned one is read when the copy runs, any other one now."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(f"Shape or dtype mismatch: {arr.shape} {arr.dtype} into {self.shape} {self.dtype}")
        stream = stream or current_stream()
        pinned = memory.is_pinned(arr)
        if stream.is_capturing() and not pinned:
            raise CUDARuntimeError(
                "a copy of ordinary host memory is captured: the graph would read it again at each launch, "
                "when something else may be there; keep it on the device, or in pinned memory that stays"
            )
        source = arr if pinned else arr.copy()
        target = self.borrowed()

        def run() -> None:
            np.copyto(target._np, source)
            mark_written(target)

        stream.push(run, [self._memory], "a copy to the device")

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.get().__index__()

    def __float__(self) -> float:
        return float(self.item())

    # ---- views

    def _view(self, view: np.ndarray) -> ndarray:
        array = object.__new__(ndarray)
        array._memory, array._np = self._memory, view
        array.base = self if self.base is None else self.base
        return array

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        """A view where the strides allow it, else a copy."""
        wanted = shape[0] if len(shape) == 1 else shape
        reshaped = self._np.reshape(wanted)
        if reshaped.size == 0 or np.may_share_memory(reshaped, self._np):
            return self._view(reshaped)
        return compute(lambda a: a.reshape(wanted), [self], name="reshape")

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1)

    def flatten(self, order: str = "C") -> ndarray:
        return compute(np.ravel, [self], name="flatten")

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._np.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._np.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._view(self._np.squeeze(axis))

    def view(self, dtype: Any = None) -> ndarray:
        return self._view(self._np.view(self.dtype if dtype is None else dtype))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        return self._view(self._np.diagonal(offset, axis1, axis2))

    def borrowed(self) -> ndarray:
        """The same elements, without keeping the memory from being freed: what waiting work and graphs hold."""
        array = self._view(self._np)
        array._memory, array.base = Borrowed(self._memory), None  # type: ignore[assignment]
        return array

    # ---- elements

    def __getitem__(self, index: Any) -> ndarray:
        parts = index if isinstance(index, tuple) else (index,)
        plain = unwrapped(index)
        if any(isinstance(part, ndarray | list) for part in parts):
            if any(isinstance(part, ndarray) and part.dtype == bool for part in parts):
                current_stream().wait("indexing with a bool array, whose result has a size that the host must know,")
            return compute(lambda a: a[plain], [self], name="indexing", also=parts)
        view = self._np[plain]
        if not isinstance(view, np.ndarray):  # one element: an array of no dimensions
            view = self._np[(*plain, ...) if isinstance(plain, tuple) else (plain, ...)]
        return self._view(view)

    def __setitem__(self, index: Any, value: Any) -> None:
        plain, source = unwrapped(index), unwrapped(value)
        if isinstance(value, ndarray):
            np.broadcast_to(value._np, self._np[plain].shape)  # raises now, not when it runs
        target, read = self.borrowed(), [array.borrowed() for array in arrays_in([index, value])]

        def run() -> None:
            check_written(read, "an assignment")
            target._np[plain] = source
            flags = written_flags(target)
            if flags is not None:
                for byte in range(target.itemsize):
                    flags[..., byte][plain] = 1  # the index is one of elements: its ... must not reach their bytes

        current_stream().push(run, [self._memory, *memories([index, value])], "an assignment")

    def fill(self, value: Any) -> None:
        target = self.borrowed()

        def run() -> None:
            target._np.fill(value)
            mark_written(target)

        current_stream().push(run, [self._memory], "fill")

    def copy(self, order: str = "C") -> ndarray:
        return compute(np.copy, [self], name="copy")

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return compute(lambda a: a.astype(dtype), [self], name="astype")

    def clip(self, min: Any = None, max: Any = None, out: ndarray | None = None) -> ndarray:
        return compute(np.clip, [self, min, max], out=out)

    def take(self, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
        return compute(np.take, [self, indices], {"axis": axis}, out)

    def dot(self, b: Any, out: ndarray | None = None) -> ndarray:
        return compute_with_blas(np.dot, [self, b], out=out)

    # ---- NumPy's protocols: np.add(x, 1) is this library's add

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
        return compute(ufunc, args, options) if method == "__call__" else NotImplemented


# ---- the work of an operation


def unwrapped(value: Any) -> Any:
    """The NumPy arrays inside of a structure of arguments; TypeError for what CuPy does not take."""
    if isinstance(value, ndarray):
        return value._np
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    raise TypeError(f"Unsupported type {type(value)}")


def arrays_in(values: Any) -> Iterator[ndarray]:
    """The arrays inside of a structure of arguments."""
    for value in values:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from arrays_in(value)


def memories(values: Any) -> list[Memory]:
    return [array._memory for array in arrays_in(values)]


def compute(
    function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any] | None = None, out: Any = None,
    name: str = "", also: Sequence[Any] = (),
) -> ndarray:  # fmt: skip
    """function(*args) as work for the stream; `also`: other arrays that it reads.

    Work that is done at once needs no more than that. What is done later must have a shape now: the function tells it
    when it is given zeros.
    """
    options = dict(options or {})
    target = options.pop("out", out)
    target = target[0] if isinstance(target, tuple) else target
    name = name or getattr(function, "__name__", "an operation")
    plain = unwrapped(tuple(args))
    read = [*arrays_in(args), *arrays_in(also)]
    stream = current_stream()

    def result(inputs: Any) -> np.ndarray:
        with np.errstate(all="ignore"):  # a GPU raises no warnings
            return np.asarray(function(*inputs, **options))

    if stream.runs_at_once():
        check_written(read, name)
        values = result(plain)
        target = _target(target, values)
        np.copyto(target._np, values, casting="same_kind")
        mark_written(target)
        return target

    target = _target(target, result(_zeros_like(plain)))
    later, sources = target.borrowed(), [array.borrowed() for array in read]

    def run() -> None:
        check_written(sources, name)
        np.copyto(later._np, result(plain), casting="same_kind")
        mark_written(later)

    stream.push(run, [target._memory, *memories(read)], name)
    return target


def _target(target: Any, shown: np.ndarray) -> ndarray:
    """The array for a result like `shown`."""
    if target is None:
        return ndarray(shown.shape, shown.dtype)
    if not isinstance(target, ndarray):
        raise TypeError("out must be a cupy.ndarray")
    if target.shape != shown.shape or not np.can_cast(shown.dtype, target.dtype, "same_kind"):
        raise ValueError(f"out is {target.shape} {target.dtype}, and the result {shown.shape} {shown.dtype}")
    return target


def _zeros_like(plain: Any) -> Any:
    if isinstance(plain, np.ndarray):
        return np.zeros(plain.shape, plain.dtype)
    return type(plain)(map(_zeros_like, plain)) if isinstance(plain, tuple | list) else plain


def compute_with_blas(
    function: Callable[..., Any], args: Sequence[Any], options: Any = None, out: Any = None
) -> ndarray:
    """compute() for what CuPy gives to cuBLAS."""
    if current_stream().is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    return compute(function, args, options, out)


# ---- which bytes have been written (check build)


def written_flags(array: ndarray) -> np.ndarray | None:
    """A flag for each byte of each element, None if nobody asks."""
    written = array._memory.block.written
    if written is None:
        return None
    shape, strides = (*array.shape, array.itemsize), (*array.strides, 1)
    if array.size == 0:
        return np.ones(shape, np.uint8)
    return np.ndarray(shape, np.uint8, written, array.address - array._memory.ptr, strides)


def mark_written(array: ndarray) -> None:
    flags = written_flags(array)
    if flags is not None:
        flags[...] = 1


def check_written(values: Any, name: str) -> None:
    """KernelError if an operation reads what nothing has written."""
    if settings.build() != "check":
        return
    for array in arrays_in(values):
        flags = written_flags(array)
        if flags is not None and not flags.all():
            where = np.argwhere(~flags.all(axis=-1).astype(bool))
            first = tuple(int(i) for i in where[0])
            raise KernelError(
                f"{name} reads {len(where)} elements of a {array.shape} {array.dtype} array which nothing has written, "
                f"the first at {first}: cupy.empty gives no values"
            )
