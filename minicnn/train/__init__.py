"""train: the training loop, and what happens beside it."""

from .callbacks import AverageWeights, Callback, Checkpoint, LogFile, ProgressBar
from .run_folder import Pictures, RunFolder, teaching_errors
from .trainer import Evaluation, Progress, Trainer

__all__ = [
    "AverageWeights", "Callback", "Checkpoint", "Evaluation", "LogFile", "Pictures", "Progress", "ProgressBar",
    "RunFolder", "Trainer", "teaching_errors",
]  # fmt: skip
