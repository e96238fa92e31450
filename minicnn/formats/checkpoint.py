"""Checkpoints: named arrays and a few facts, in one safetensors file.

The bytes depend on the arrays and facts alone: no time, path or host; safetensors writes its metadata in random
order, so all facts are one key, as JSON with sorted keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .files import write_atomically

FACTS = "minicnn"


def save_checkpoint(path: str | Path, arrays: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> None:
    """Write arrays (or Tensors) by name, and facts that JSON can hold. A kill at any moment leaves the old file whole.

    Raises TrainingError if the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save  # when first needed

    try:
        metadata = {FACTS: json.dumps(dict(facts or {}), sort_keys=True, allow_nan=False)}
        content = save({name: np.asarray(a, order="C") for name, a in arrays.items()}, metadata)
    except (TypeError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: arrays must be of numbers, facts of JSON ({error})") from None
    write_atomically(path, content)


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, facts) of a file that save_checkpoint wrote; facts are empty for other safetensors files.

    Raises CheckpointError, in one sentence, if the file is missing, truncated or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open  # when first needed

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: train first, or check the path")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator of its own)
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
        if not isinstance(facts, dict):
            raise ValueError("its facts are no object")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is no readable checkpoint, it may be truncated or another kind of file ({error}): "
            "delete it, or restore it from a copy"
        ) from None
    return arrays, facts
