"""Weight files of every common format, as named arrays; which format it is, the first bytes say, not the name.

    .safetensors     read and written
    .npz             read and written: NumPy's archive
    .pth, .pt        read: PyTorch's, both kinds (pytorch.py)

Reading runs nothing that is in a file. Half precision stays as it is stored, bfloat16 becomes float32: a network that
loads them casts to its own.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .checkpoint import save_checkpoint
from .files import write_atomically
from .pytorch import from_bfloat16, load_pytorch

WRAPPERS = ("state_dict", "model", "model_state_dict")  # under which training scripts keep the weights in their files
SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a weight file.

    A PyTorch file may hold them inside of a dict under "state_dict" or "model"; names that all begin with "module.",
    which DataParallel adds, lose it. Raises CheckpointError, in one sentence, for a file that is missing, truncated,
    hostile, of an unknown kind, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weight file {path}: check the path")
    with open(path, "rb") as file:
        begin = file.read(16)
    if begin[:1] == b"\x80" or (zipfile.is_zipfile(path) and not _is_npz(path)):
        return _named_arrays(path, load_pytorch(path))
    if begin[:2] == b"PK":
        return _load_npz(path)
    if begin[8:9] == b"{":
        return _load_safetensors(path)
    raise CheckpointError(f"{path} is no weight file that is known here: .safetensors, .npz, or PyTorch's .pth")


def save_weights(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write {name: array or Tensor} as .safetensors or .npz, by the name of the file; whole, or not at all.

    Raises CheckpointError for other names, TrainingError if the folder cannot be written.
    """
    path = Path(path)
    arrays = {name: _plain(np.asarray(value)) for name, value in state.items()}
    if path.suffix == ".safetensors":
        save_checkpoint(path, arrays)
    elif path.suffix == ".npz":
        write_atomically(path, _npz(arrays))
    else:
        raise CheckpointError(f"{path} cannot be written: weights are saved as .safetensors or .npz")


def _plain(array: np.ndarray) -> np.ndarray:
    """bfloat16, which is no dtype of NumPy's own, as float32, which holds it exactly."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """As np.savez has it, but without the time of day: equal weights give equal bytes. Any name will do."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except Exception:  # let its reader say what is wrong
        return True


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged file can make zipfile and NumPy raise anything
        raise _unreadable(path, error) from None


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize  # when first needed

    try:
        return {name: _safetensor(entry) for name, entry in deserialize(path.read_bytes())}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise _unreadable(path, error) from None


def _safetensor(entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        raise ValueError(f"an array has dtype {entry['dtype']}, which NumPy lacks")
    array = np.frombuffer(entry["data"], SAFETENSORS_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return from_bfloat16(array) if entry["dtype"] == "BF16" else array.copy()


def _named_arrays(path: Path, content: Any) -> dict[str, np.ndarray]:
    """The weights in what a PyTorch file holds."""
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no weights by name, but {type(content).__name__}: save model.state_dict()")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            kind = type(value).__name__
            raise CheckpointError(f"{path}: {str(name)[:80]} is no tensor, but {kind}: save model.state_dict()")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return content


def _unreadable(path: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(
        f"{path} is no readable weight file, it may be truncated or another kind of file "
        f"({type(error).__name__}: {str(error)[:120]}): download or save it again"
    )
