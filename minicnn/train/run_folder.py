"""RunFolder: one training run on disk: its checkpoint, its log and its pictures."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import device as devices
from ..data import ArrayDataset
from ..data.dataset import whole_number
from ..errors import MinicnnError, TrainingError
from ..explain import pictures
from .callbacks import Callback, Checkpoint, LogFile, ProgressBar
from .trainer import Trainer

PICTURES = ("learning_curves.png", "filters.png", "confusion_matrix.png", "worst_mistakes.png")


class RunFolder:
    """The folder of a run. It is made, and tried, at once: a folder that cannot be written is refused before any work.

    Files: checkpoint.safetensors, log.jsonl, and PICTURES. Other files in the folder are left alone.
    Raises TrainingError if the folder cannot be made or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise TrainingError(
                f"the results cannot be written to {self.path} ({error.strerror}): choose another folder"
            ) from None
        self.checkpoint = Checkpoint(self.path / "checkpoint.safetensors")
        self.log = LogFile(self.path / "log.jsonl")

    def settings(self, given: Mapping[str, Any], defaults: Mapping[str, Any], resume: bool) -> dict[str, Any]:
        """For each name in defaults: what was given (not None), else what the run to resume has, else the default."""
        earlier = {**self.log.start_settings(), **self.checkpoint.settings()} if resume else {}
        return {
            name: earlier.get(name, default) if given.get(name) is None else given[name]
            for name, default in defaults.items()
        }

    def callbacks(self, test: ArrayDataset) -> list[Callback]:
        """Progress, log, checkpoint, and pictures at the end, in the order they must run in."""
        return [ProgressBar(), self.log, self.checkpoint, Pictures(self.path, test)]

    def begin(self, trainer: Trainer, settings: Mapping[str, Any], resume: bool) -> None:
        """Continue the run that is here, or remove what an earlier one left.

        Only now is anything deleted: whatever could be refused has been by then. `settings` are written to the log;
        all but the number of epochs must be those the run was started with. Raises CheckpointError if they are not.
        """
        for name in ("epochs", "batch_size"):
            if name in settings:
                whole_number(name, settings[name], 1)
        self.log.settings = dict(settings)
        trainer.settings = {name: value for name, value in settings.items() if name != "epochs"}
        if resume and self.checkpoint.resume(trainer):
            return
        for name in (self.checkpoint.path.name, self.log.path.name, *PICTURES):
            (self.path / name).unlink(missing_ok=True)
            (self.path / f"{name}.partial").unlink(missing_ok=True)

    def report(self, trainer: Trainer) -> None:
        """Print a table of all epochs, and where the files are."""
        from rich.console import Console
        from rich.table import Table

        table = Table("epoch", "learning rate", "train loss", "train accuracy", "test loss", "test accuracy")
        for column in table.columns:
            column.justify = "right"
        for r in trainer.progress.history:
            tested = [f"{r['test_loss']:.4f}", f"{r['test_accuracy']:.2%}"] if "test_loss" in r else ["", ""]
            table.add_row(
                str(r["epoch"]), f"{r['lr']:.4g}", f"{r['train_loss']:.4f}", f"{r['train_accuracy']:.2%}", *tested
            )
        console = Console(file=sys.stdout)
        console.print(table)
        written = [name for name in ("checkpoint.safetensors", "log.jsonl", *PICTURES) if (self.path / name).exists()]
        print(f"in {self.path}: {', '.join(written)}")


class Pictures(Callback):
    """When the run is complete: learning curves, first-layer filters, confusion matrix, the worst mistakes.

    A picture that is there is not drawn again unless training went on.
    """

    def __init__(self, folder: str | Path, test: ArrayDataset):
        self.folder, self.test = Path(folder), test
        self.first_step = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        self.first_step = trainer.progress.step

    def on_fit_end(self, trainer: Trainer) -> None:
        curves, filters, confusion, mistakes = (self.folder / name for name in PICTURES)
        trained = trainer.progress.step > self.first_step
        if not trainer.finished or (not trained and all((self.folder / name).exists() for name in PICTURES)):
            return
        pictures.learning_curves(trainer.progress.history, curves)
        weight = next((devices.to_host(p.data) for p in trainer.model.parameters() if p.ndim == 4), None)
        if weight is not None:
            pictures.first_layer_filters(weight, filters)
        result, labels, classes = trainer.evaluate(self.test), self.test.labels, self.test.classes
        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (labels, result.predictions), 1)
        pictures.confusion_matrix(counts, classes, confusion)
        pictures.worst_mistakes(self.test.images, labels, result.predictions, result.confidences, classes, mistakes)


@contextlib.contextmanager
def teaching_errors() -> Iterator[None]:
    """For a script's main(): a user's mistake ends it with one sentence, Ctrl-C with a hint, not with a traceback."""
    try:
        yield
    except MinicnnError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:  # a disk that is full, a folder that was taken away
        sys.exit(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
