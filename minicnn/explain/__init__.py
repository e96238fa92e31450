"""Looking inside: hooks that time, weigh and print ops, and pictures of what was learned."""

from .op_hooks import MemoryHook, PrintHook, TimerHook
from .pictures import confusion_matrix, first_layer_filters, learning_curves, worst_mistakes

__all__ = [
    "MemoryHook", "PrintHook", "TimerHook", "confusion_matrix", "first_layer_filters", "learning_curves",
    "worst_mistakes",
]  # fmt: skip
