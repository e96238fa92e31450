"""formats: files that hold weights."""

from .checkpoint import load_checkpoint, save_checkpoint
from .files import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint", "write_atomically"]
