"""Writing files so that a crash at any moment leaves either the old file or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import TrainingError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write beside `path` under a temporary name, flush to the disk, then rename, which is one step for the system.

    Raises TrainingError, with the system's reason, if the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise TrainingError(f"{path} cannot be written ({error.strerror}): choose another folder, or free it") from None
