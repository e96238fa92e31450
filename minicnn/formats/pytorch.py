"""PyTorch's weight files (.pth, .pt), read without PyTorch and without running anything that is in them.

A .pth file is a pickle: a program that builds objects, and may call any function that it names. Here it may name
tensors, storages and OrderedDict, and nothing else (ALLOWED): whatever else it asks for is refused by its name.

    since 1.6    a zip archive: NAME/data.pkl, NAME/data/KEY for the bytes of each storage, NAME/byteorder
    legacy       one after the other: a magic number, a version, facts about the machine, the object, the keys of the
                 storages, and for each of these how many elements, and their bytes

In the pickle, a tensor is a call of _rebuild_tensor_v2(storage, offset, size, stride, ...), and a storage a
"persistent id": ("storage", its type, its key, a device, how many elements). The bytes come last in the legacy
format, so tensors are put together when all has been read.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C  # of the legacy format
DTYPES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bfloat16",
    "ByteStorage": "u1", "CharStorage": "i1", "ShortStorage": "i2", "IntStorage": "i4", "LongStorage": "i8",
    "BoolStorage": "?",
}  # fmt: skip
MOST_DEPTH = 100  # of dicts and lists in one another


class _Storage(NamedTuple):
    """The bytes of tensors, by key: read later."""

    dtype: str
    key: str
    elements: int


class _TensorOf(NamedTuple):
    """A tensor, when the bytes of its storage are known."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Rebuild:
    """What a file may call to make a tensor. It has no attributes that a file could change."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *unused: Any) -> _TensorOf:
        if not isinstance(storage, _Storage) or len(size) != len(stride):
            raise ValueError("a tensor has no storage, or not one stride for each axis")
        numbers = (offset, *size, *stride)
        if not all(type(n) is int and n >= 0 for n in numbers) or math.prod(size) > storage.elements:
            raise ValueError(f"a tensor of size {tuple(size)} does not fit into its storage of {storage.elements}")
        return _TensorOf(storage, offset, tuple(size), tuple(stride))


class _RebuildParameter:
    """A parameter is the tensor that it is made of."""

    __slots__ = ()

    def __call__(self, tensor: Any, *unused: Any) -> Any:
        return tensor


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


class _Refused(Exception):
    """The pickle asks for something that is neither a tensor nor a container."""


class _Unpickler(pickle._Unpickler):
    """Builds numbers, strings, containers and tensors; everything that could run code is refused.

    The unpickler in C would reserve memory for any number of objects that a file of ten bytes claims to have.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        kind, dtype, key, _, elements, *views = identity
        if kind != "storage" or dtype not in DTYPES.values() or type(elements) is not int or any(views):
            raise ValueError(f"a storage is described in an unknown way: {str(identity)[:80]}")
        return _Storage(dtype, str(key), elements)


def load_pytorch(path: str | Path) -> Any:
    """What torch.load would give, with NumPy arrays for tensors; bfloat16, which NumPy lacks, as float32.

    Raises CheckpointError, in one sentence, for a file that is truncated, of another kind, or asks for more than
    tensors and containers; then nothing of it has been used.
    """
    try:
        return _load_zip(path) if zipfile.is_zipfile(path) else _load_legacy(path)
    except _Refused as refused:
        raise CheckpointError(
            f"{path} asks for {refused}, which is neither a tensor nor a container: such a file can run any code when "
            "it is opened, so it was not; save model.state_dict() in PyTorch, or better, a .safetensors file"
        ) from None
    except Exception as error:  # a damaged file can make zipfile and pickle raise anything
        raise CheckpointError(
            f"{path} is no readable PyTorch file, it may be truncated or another kind of file "
            f"({type(error).__name__}: {str(error)[:120]}): download or save it again"
        ) from None


def _load_zip(path: str | Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        little = f"{folder}byteorder" not in names or archive.read(f"{folder}byteorder") == b"little"
        content = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()

        def bytes_of(storage: _Storage) -> bytes:
            record = archive.getinfo(f"{folder}data/{storage.key}")
            if record.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{record.filename} is compressed, as PyTorch's are not")
            return archive.read(record)

        return _assemble(content, bytes_of, little)


def _load_legacy(path: str | Path) -> Any:
    length = Path(path).stat().st_size
    with open(path, "rb") as file:
        if _Unpickler(file).load() != MAGIC:
            raise ValueError("it does not begin with PyTorch's magic number")
        if _Unpickler(file).load() != 1001:
            raise ValueError("its version is unknown")
        little = _Unpickler(file).load()["little_endian"]
        content = _Unpickler(file).load()
        stored: dict[str, bytes] = {}
        storages = {storage.key: storage for storage in _storages(content)}
        for key in _Unpickler(file).load():
            count = file.read(8)
            elements = int.from_bytes(count, "little" if little else "big")
            if len(count) < 8 or elements != storages[key].elements or elements > length:
                raise ValueError(f"storage {key} has {elements} elements, not {storages[key].elements}")
            stored[key] = file.read(elements * _stored_dtype(storages[key], little).itemsize)
    return _assemble(content, lambda storage: stored[storage.key], little)


def _storages(content: Any) -> list[_Storage]:
    """All storages in nested containers."""
    found: list[_Storage] = []
    _rebuilt(content, lambda tensor: found.append(tensor.storage))
    return found


def _rebuilt(content: Any, array_of: Callable[[_TensorOf], Any]) -> Any:
    """The content with array_of(tensor) in the place of tensors. What stands in several places is made once."""
    made: dict[int, Any] = {}

    def part(old: Any, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise ValueError("its containers are nested too deeply")
        if id(old) not in made:
            if isinstance(old, _TensorOf):
                made[id(old)] = array_of(old)
            elif isinstance(old, dict):
                made[id(old)] = {key: part(value, depth + 1) for key, value in old.items()}
            elif type(old) in (list, tuple):
                made[id(old)] = type(old)(part(value, depth + 1) for value in old)
            else:
                return old
        return made[id(old)]

    return part(content, 0)


def _stored_dtype(storage: _Storage, little: bool) -> np.dtype:
    return np.dtype("u2" if storage.dtype == "bfloat16" else storage.dtype).newbyteorder("<" if little else ">")


def _assemble(content: Any, bytes_of: Callable[[_Storage], bytes], little: bool) -> Any:
    """The content with arrays in the place of tensors. Tensors that share a storage become copies of their own."""
    buffers: dict[str, bytes] = {}

    def array_of(tensor: _TensorOf) -> np.ndarray:
        storage = tensor.storage
        if storage.key not in buffers:
            buffers[storage.key] = bytes_of(storage)
        dtype = _stored_dtype(storage, little)
        if len(buffers[storage.key]) != storage.elements * dtype.itemsize:
            raise ValueError(f"storage {storage.key} is {len(buffers[storage.key])} bytes long")
        strides = tuple(step * dtype.itemsize for step in tensor.stride)
        view: np.ndarray = np.ndarray(
            tensor.size, dtype, buffers[storage.key], tensor.offset * dtype.itemsize, strides
        )  # raises ValueError if a stride leads out of the buffer
        return from_bfloat16(view) if storage.dtype == "bfloat16" else view.astype(dtype.newbyteorder("="))

    return _rebuilt(content, array_of)


def from_bfloat16(words: np.ndarray) -> np.ndarray:
    """float32 with the upper halves given: that is what bfloat16 is."""
    return (words.astype(np.uint32) << 16).view(np.float32)
