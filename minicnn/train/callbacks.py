"""Callbacks: what happens beside training. Each is named for what a user wants."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Dataset
from ..errors import CheckpointError, TrainingError
from ..formats import load_checkpoint, save_checkpoint, write_atomically
from ..nn import Module
from ..optim import ExponentialMovingAverage

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Base: override what you need. `trainer.progress` says where training stands."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step, or before nothing if the run is already complete."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each update."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any], seconds: float, images_per_second: float) -> None:
        """After each epoch and its evaluation; record is the last of trainer.progress.history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, and also when an error or Ctrl-C ends the run."""

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint must hold for a resumed run to go on as if nothing had happened: arrays by name."""
        return {}

    def load_state(self, trainer: Trainer, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what state() gave."""


class ProgressBar(Callback):
    """Live on a terminal: epoch, loss, accuracy, images per second, time left. Elsewhere one line per epoch.

    Writes to stderr, so that stdout stays for results.
    """

    def __init__(self, interval: float = 0.1):
        self.interval = interval  # seconds between updates: drawing costs more than a step of a small network
        self.bar: Any = None
        self.started = self.drawn = 0.0
        self.first_step = self.first_batch = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        from rich.console import Console  # when first needed
        from rich.progress import BarColumn, Progress, TextColumn

        self.started, self.first_step = time.perf_counter(), trainer.progress.step
        console = Console(stderr=True)
        if console.is_terminal and trainer.progress.epoch < trainer.epochs:
            self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"),
                                console=console, auto_refresh=False)  # fmt: skip
            self.task = self.bar.add_task("", facts="", total=trainer.batches)
            self.bar.start()

    def on_step_end(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        if self.bar is None or now - self.drawn < self.interval:
            return
        self.drawn = now
        p = trainer.progress
        per_step = (now - self.started) / (p.step - self.first_step)
        left = per_step * (trainer.batches * (trainer.epochs - p.epoch) - p.batch)
        speed = p.seen / p.batch / per_step
        facts = (
            f"loss {p.loss_sum / p.seen:.4f}  accuracy {p.correct / p.seen:.2%}  {speed:,.0f} images/s  "
            f"{_clock(left)} left"
        )
        self.bar.update(self.task, description=f"epoch {p.epoch + 1}/{trainer.epochs}", completed=p.batch, facts=facts)
        self.bar.refresh()

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any], seconds: float, images_per_second: float) -> None:
        line = f"epoch {record['epoch']:>2}/{trainer.epochs}  loss {record['train_loss']:.4f}"
        if "test_accuracy" in record:
            line += f"  test accuracy {record['test_accuracy']:.2%}"
        line += f"  {images_per_second:,.0f} images/s  {seconds:.1f} s"
        if self.bar is not None:
            self.bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.bar is not None:
            self.bar.remove_task(self.task)
            self.bar.stop()
            self.bar = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class AverageWeights(Callback):
    """Keep the exponential moving average of the weights, and measure it on a test set after each epoch, if given.

    The record gets average_test_loss and average_test_accuracy. `with callback.average.applied():` gives the model the
    averaged weights. It stands before LogFile and Checkpoint, which write down what it has done.
    """

    def __init__(self, model: Module, decay: float = 0.9999, test: Dataset | None = None):
        self.average, self.test = ExponentialMovingAverage(model, decay), test

    def on_step_end(self, trainer: Trainer) -> None:
        self.average.update()

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any], seconds: float, images_per_second: float) -> None:
        if self.test is not None:
            with self.average.applied():
                result = trainer.evaluate(self.test)
            record.update(average_test_loss=result.loss, average_test_accuracy=result.accuracy)

    def state(self) -> dict[str, np.ndarray]:
        return self.average.state_dict()

    def load_state(self, trainer: Trainer, arrays: dict[str, np.ndarray]) -> None:
        self.average.load_state_dict(arrays)


class Checkpoint(Callback):
    """Save everything a run needs to continue, after each epoch and, if asked, every so many steps.

    A checkpoint is written atomically and holds no time, path or host. Weights that are not finite are not saved:
    the last good checkpoint stays.
    """

    def __init__(self, path: str | Path, every_steps: int | None = None):
        self.path, self.every_steps = Path(path), every_steps

    def settings(self) -> dict[str, Any]:
        """What the saved run was started with; {} if there is no file."""
        return dict(load_checkpoint(self.path)[1].get("settings", {})) if self.path.exists() else {}

    def resume(self, trainer: Trainer) -> bool:
        """Continue from the file if there is one, and say whether. Raises CheckpointError if it does not fit."""
        if not self.path.exists():
            return False
        arrays, facts = load_checkpoint(self.path)
        try:
            trainer.load_state(arrays, facts)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        return True

    def save(self, trainer: Trainer) -> None:
        """Write the file now."""
        arrays, facts = trainer.state()
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise TrainingError(
                    f"{name} is not finite after step {trainer.progress.step}: use a smaller learning rate; "
                    f"the last good checkpoint stays in {self.path}"
                )
        save_checkpoint(self.path, arrays, facts)

    def on_step_end(self, trainer: Trainer) -> None:
        if self.every_steps and trainer.progress.step % self.every_steps == 0:
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any], seconds: float, images_per_second: float) -> None:
        self.save(trainer)


class LogFile(Callback):
    """One JSON object per line: {"event": "start", ...settings}, then {"event": "epoch", ...record} for each epoch.

    Put it before Checkpoint: then the log is never behind the checkpoint, and resuming only has to cut it back.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any] | None = None):
        self.path, self.settings = Path(path), dict(settings or {})

    def start_settings(self) -> dict[str, Any]:
        """What the run in this file was started with; {} if there is none."""
        for line in _json_lines(self.path):
            if line.get("event") == "start":
                return {name: value for name, value in line.items() if name != "event"}
        return {}

    def on_fit_start(self, trainer: Trainer) -> None:
        done = trainer.progress.history
        if trainer.finished:
            return  # nothing will be added
        written = {line.get("epoch"): line for line in _json_lines(self.path) if line.get("event") == "epoch"}
        lines = [{"event": "start", **self.settings, "epochs": trainer.epochs}]
        lines += [written.get(record["epoch"], {"event": "epoch", **record}) for record in done]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any], seconds: float, images_per_second: float) -> None:
        timing = {"seconds": round(seconds, 3), "images_per_second": round(images_per_second, 1)}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": "epoch", **record, **timing}, allow_nan=False) + "\n")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log; a line that a kill cut short is left out."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
    return lines
