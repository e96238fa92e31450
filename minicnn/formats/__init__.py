"""formats: files that hold weights, and photographs."""

from .checkpoint import load_checkpoint, save_checkpoint
from .files import write_atomically
from .images import Preprocessing, prepare, read_image
from .weights import load_weights, save_weights

__all__ = [
    "Preprocessing", "load_checkpoint", "load_weights", "prepare", "read_image", "save_checkpoint", "save_weights",
    "write_atomically",
]  # fmt: skip
