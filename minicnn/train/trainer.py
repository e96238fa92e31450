"""Trainer: the loop around forward, loss, backward and step, and all of its state.

The loop is a function of its state (weights, optimizer, random stream, progress), so a run that was stopped anywhere
and continued from a checkpoint makes the same bytes as one that was not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from .. import device as devices
from ..data import DataLoader, Dataset
from ..data.dataset import whole_number
from ..device import generator
from ..errors import CheckpointError, TrainingError
from ..function import no_grad
from ..nn import CrossEntropyLoss, Module
from ..nn.utils import clip_grad_norm_
from ..ops.arguments import flag
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler
from ..tensor import Tensor
from .callbacks import Callback
from .capture import Batch, Capture


@dataclass
class Progress:
    """Where training stands. `epoch` epochs are complete, and `batch` batches of the next one."""

    epoch: int = 0
    batch: int = 0
    step: int = 0  # updates so far
    loss_sum: float = 0.0  # of the running epoch, over its examples
    correct: int = 0
    seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)  # one record per complete epoch


@dataclass
class Evaluation:
    """What a model says about a data set: mean loss, accuracy from 0 to 1, and for each example the predicted class
    and the probability the model gave it."""

    loss: float
    accuracy: float
    predictions: np.ndarray
    confidences: np.ndarray


class Trainer:
    """Train a classifier.

    model: inputs (B, ...) -> logits (B, classes). loss: (logits, labels) -> mean loss, cross-entropy by default.
    scheduler: sets the learning rate at the start of each epoch. callbacks: watch, save and draw (callbacks.py).
    settings: what a checkpoint must agree on to be continued, such as the recipe's numbers.
    capture: on a GPU, record the whole step as a CUDA graph and replay it (capture.py); where that cannot be done, a
    line on stderr says why, and training goes on without.
    clip_grad_norm: the largest norm that the gradients may have together, see nn.utils.clip_grad_norm_; None: any.

    A model with auxiliary heads gives a tuple in training; its loss is nn.AuxiliaryLoss or another that takes tuples.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Any], Tensor] | None = None,
        scheduler: LRScheduler | None = None,
        callbacks: Iterable[Callback] = (),
        settings: dict[str, Any] | None = None,
        capture: bool = False,
        clip_grad_norm: float | None = None,
    ):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.loss = loss or CrossEntropyLoss()
        self.clip_grad_norm = clip_grad_norm
        self.callbacks = list(callbacks)
        self.settings = dict(settings or {})
        self.progress = Progress()
        self.epochs = 0
        self.batches = 0  # per epoch
        first = next(model.parameters(), None)
        if first is None:
            raise TrainingError(f"{type(model).__name__} has no parameters: there is nothing to train")
        self.device = first.device
        self.capture = (
            Capture(model, optimizer, self._update, self.device) if flag("Trainer", "capture", capture) else None
        )

    def fit(self, train: Dataset, test: Dataset | None, epochs: int, batch_size: int, seed: int = 0) -> list[dict]:
        """Train until `epochs` epochs are complete, from wherever progress stands; returns one record per epoch.

        A record has epoch (from 1), step, lr, train_loss, train_accuracy and, with a test set, test_loss and
        test_accuracy. The order of examples depends on seed and epoch alone.
        Raises TrainingError at a loss that is not finite, DataError for an empty data set or a bad batch_size.
        """
        epochs = whole_number("epochs", epochs, 1)
        loader = DataLoader(train, batch_size, shuffle=True, seed=seed)
        self.epochs, self.batches = epochs, len(loader)
        self._tell("on_fit_start")
        try:
            with np.errstate(all="ignore"):  # a loss that overflows is reported below, with its step
                while not self.finished:
                    self._epoch(loader, test)
        finally:
            self._tell("on_fit_end")
        return self.progress.history

    @property
    def finished(self) -> bool:
        """Whether all epochs that fit() was asked for are complete."""
        return self.progress.epoch >= self.epochs

    def _epoch(self, loader: DataLoader, test: Dataset | None) -> None:
        progress, started = self.progress, time.perf_counter()
        first_seen = progress.seen
        if self.scheduler is not None:
            self.scheduler.set_epoch(progress.epoch)
        self.model.train()
        batches = iter(loader.epoch(progress.epoch, start=progress.batch))
        following = next(batches, None)
        while following is not None:
            (x, labels), following = following, next(batches, None)
            if self.scheduler is not None and self.scheduler.every_step:
                self.scheduler.set_epoch(progress.epoch + progress.batch / self.batches)
            self._step(x, labels, following)
            self._tell("on_step_end")
        record = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "lr": self.optimizer.lr,
            "train_loss": progress.loss_sum / progress.seen,
            "train_accuracy": progress.correct / progress.seen,
        }
        seconds = time.perf_counter() - started
        if test is not None:
            result = self.evaluate(test)
            if not math.isfinite(result.loss):
                raise TrainingError(
                    f"the loss on the test set is {result.loss} after step {progress.step} "
                    f"(epoch {progress.epoch + 1}): use a smaller learning rate{self._kept()}"
                )
            record.update(test_loss=result.loss, test_accuracy=result.accuracy)
        speed = (progress.seen - first_seen) / seconds
        progress.history.append(record)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sum, progress.correct, progress.seen = 0.0, 0, 0
        self._tell("on_epoch_end", record, seconds=seconds, images_per_second=speed)

    def _step(self, x: np.ndarray, labels: np.ndarray, following: Batch | None) -> None:
        progress = self.progress
        if len(labels) == 0:
            raise TrainingError("training got an empty batch: a mean over no examples is not defined")
        outcome = self.capture.step(x, labels, following) if self.capture is not None else None
        if outcome is None:
            loss, logits = self._update(Tensor(x, device=self.device), labels, look=self._refuse_nonsense)
            outcome = loss.item(), int((devices.to_host(logits.data).argmax(axis=1) == labels).sum())
        value, correct = outcome
        self._refuse_nonsense(value)
        progress.loss_sum += value * len(labels)
        progress.correct += correct
        progress.seen += len(labels)
        progress.batch += 1
        progress.step += 1

    def _update(self, x: Tensor, labels: Any, look: Callable[[float], None] | None = None) -> tuple[Tensor, Tensor]:
        """The whole step, loss and logits; `look` sees the loss before anything is changed."""
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss(outputs, labels)
        if look is not None:
            look(loss.item())
        loss.backward()
        if self.clip_grad_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        self.optimizer.step()
        return loss, outputs if isinstance(outputs, Tensor) else outputs[0]

    def _refuse_nonsense(self, loss: float) -> None:
        if not math.isfinite(loss):
            progress = self.progress
            raise TrainingError(
                f"the loss is {loss} at step {progress.step + 1} (epoch {progress.epoch + 1}, batch "
                f"{progress.batch + 1}): use a smaller learning rate, or detect_anomaly() to find the op{self._kept()}"
            )

    def _kept(self) -> str:
        return "; the last checkpoint stays as it was" if self.progress.history else ""

    def evaluate(self, dataset: Dataset, batch_size: int = 500) -> Evaluation:
        """The model's loss, accuracy and predictions on a data set, in evaluation mode."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            return self._evaluate(dataset, batch_size)
        finally:
            for module, training in modes:
                module.training = training

    def _evaluate(self, dataset: Dataset, batch_size: int) -> Evaluation:
        losses, predictions, confidences, labels = 0.0, [], [], []
        with no_grad():
            for x, y in DataLoader(dataset, batch_size).epoch(0):
                logits = self.model(Tensor(x, device=self.device))
                losses += self.loss(logits, y).item() * len(y)
                probabilities = devices.to_host(logits.softmax(axis=1).data)
                predictions.append(probabilities.argmax(axis=1))
                confidences.append(probabilities.max(axis=1))
                labels.append(y)
        predicted = np.concatenate(predictions)
        accuracy = float(np.mean(predicted == np.concatenate(labels)))
        return Evaluation(losses / len(predicted), accuracy, predicted, np.concatenate(confidences))

    # --- state ---

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, facts) from which load_state() continues: weights as "model.*", the optimizer's as "optimizer.*", a
        callback's under the name of its class."""
        arrays = {f"model.{name}": devices.to_host(value.data) for name, value in self.model.state_dict().items()}
        arrays.update({f"optimizer.{name}": value for name, value in self.optimizer.state_dict().items()})
        for callback in self.callbacks:
            arrays.update({f"{type(callback).__name__}.{name}": value for name, value in callback.state().items()})
        facts = {
            "progress": asdict(self.progress),
            "random": {"seed": generator.seed, "calls": generator.calls},
            "settings": self.settings,
        }
        return arrays, facts

    def load_state(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Continue from what state() gave. Raises CheckpointError, changing nothing, if other settings, another model
        or other callbacks made it."""
        wanted = {"progress", "random", "settings"}
        if not wanted <= set(facts) or not {f.name for f in fields(Progress)} <= set(facts["progress"]):
            raise CheckpointError("the checkpoint holds weights but no training run: it cannot be resumed")
        then, now = facts["settings"], self.settings
        changed = [f"{name} {then.get(name)} then, {now.get(name)} now" for name in {**then, **now}
                   if then.get(name) != now.get(name)]  # fmt: skip
        if changed:
            raise CheckpointError(
                f"the run to resume was started with other settings ({'; '.join(changed)}): "
                "resume it with its own, or start afresh"
            )
        before, _ = self.state()
        try:
            self._load_arrays(arrays)
        except CheckpointError:
            self._load_arrays(before)  # a part that was refused may stand behind others that were not
            raise
        self.progress = Progress(**{f.name: facts["progress"][f.name] for f in fields(Progress)})
        generator.manual_seed(facts["random"]["seed"])
        generator.calls = facts["random"]["calls"]

    def _load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.model.load_state_dict(_part(arrays, "model."))
        self.optimizer.load_state_dict(_part(arrays, "optimizer."))
        for callback in self.callbacks:
            callback.load_state(self, _part(arrays, f"{type(callback).__name__}."))

    def _tell(self, event: str, *args: Any, **facts: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args, **facts)


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
