"""Writes PyTorch's two file formats by hand, byte for byte as torch.save does, without PyTorch.

Source: torch/serialization.py (_legacy_save, _save) of PyTorch 2; what it pickles for a tensor: torch/_tensor.py.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

TYPES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "int32": "IntStorage", "uint8": "ByteStorage", "int8": "CharStorage", "int16": "ShortStorage",
    "bool": "BoolStorage", "bfloat16": "BFloat16Storage",
}  # fmt: skip


class Saved:
    """What is to be pickled as a tensor: words in a storage, and how they are seen."""

    def __init__(self, array, storage=None, offset=0, stride=None, kind=None, elements=None):
        self.array = np.asarray(array)
        self.storage = np.ascontiguousarray(self.array).ravel() if storage is None else storage
        self.offset, self.kind = offset, kind or str(self.array.dtype)
        self.stride = stride or tuple(
            step // self.array.itemsize for step in np.empty(self.array.shape, self.array.dtype).strides
        )
        self.elements = self.storage.size if elements is None else elements


class Persistent:
    """Stands for a storage in the pickle."""

    def __init__(self, saved, key):
        self.identity = ("storage", getattr(sys.modules["torch"], TYPES[saved.kind]), key, "cpu", saved.elements)


class Pickler(pickle.Pickler):
    """Pickles Saved as torch does, and remembers the storages."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = {}

    def persistent_id(self, thing):
        return thing.identity if isinstance(thing, Persistent) else None

    def reducer_override(self, thing):
        if not isinstance(thing, Saved):
            return NotImplemented
        key = next((k for k, s in self.storages.items() if s is thing.storage), str(len(self.storages)))
        self.storages[key] = thing.storage
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        size = thing.array.shape
        return rebuild, (Persistent(thing, key), thing.offset, size, thing.stride, False, OrderedDict())


def pickled(content):
    """(bytes, {key: storage}) of a pickle in which tensors and storages have torch's names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in TYPES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        raise AssertionError("reading must not call this")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        file = io.BytesIO()
        pickler = Pickler(file)
        pickler.dump(content)
        return file.getvalue(), pickler.storages
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.__setitem__(name, module)


def legacy(content, order="<"):
    """The bytes of a file in the format before 1.6."""
    body, storages = pickled(content)
    facts = {"protocol_version": 1001, "little_endian": order == "<", "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, facts)]
    data = b""
    for storage in storages.values():
        count = storage.size.to_bytes(8, "little" if order == "<" else "big")
        data += count + storage.astype(storage.dtype.newbyteorder(order)).tobytes()
    return b"".join(head) + body + pickle.dumps(list(storages), protocol=2) + data


def archive(content, order="<", compression=zipfile.ZIP_STORED):
    """The bytes of a file in the format since 1.6."""
    body, storages = pickled(content)
    return zipped(body, storages, order, compression)


def zipped(body, storages, order="<", compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        out.writestr("weights/data.pkl", body)
        out.writestr("weights/byteorder", "little" if order == "<" else "big")
        for key, storage in storages.items():
            out.writestr(f"weights/data/{key}", storage.astype(storage.dtype.newbyteorder(order)).tobytes())
        out.writestr("weights/version", "3\n")
    return file.getvalue()
