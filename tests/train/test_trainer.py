"""Training: it learns, repeats to the byte, resumes to the byte from wherever it was stopped, and refuses nonsense."""

from __future__ import annotations

import gc
import json
import sys

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, optim
from minicnn.data import MNIST, ArrayDataset
from minicnn.errors import CheckpointError, DataError, TrainingError
from minicnn.explain import pictures
from minicnn.formats import load_checkpoint
from minicnn.optim.lr_scheduler import ExponentialLR
from minicnn.train import Callback, Checkpoint, LogFile, RunFolder, Trainer
from minicnn.train.run_folder import PICTURES


class Stop(Exception):
    pass


class StopAfter(Callback):
    """Pulls the plug after so many updates."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer):
        if trainer.progress.step == self.step:
            raise Stop


@pytest.fixture(scope="module")
def digits():
    return MNIST.train()[:192], MNIST.test()[:100]


def network():
    """Small, with everything that has state: weights, momentum, dropout's random stream."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(147, 10)
    )


def trainer_for(folder, callbacks=(), every_steps=None, lr=0.05, **settings):
    minicnn.manual_seed(1)
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    checkpoint = Checkpoint(folder / "checkpoint.safetensors", every_steps)
    callbacks = [*callbacks, LogFile(folder / "log.jsonl"), checkpoint]
    return Trainer(model, optimizer, scheduler=ExponentialLR(optimizer, 0.5), callbacks=callbacks, settings=settings)


def train_whole(folder, digits, **options):
    folder.mkdir(exist_ok=True)
    trainer_for(folder, **options).fit(*digits, epochs=3, batch_size=50, seed=4)
    return (folder / "checkpoint.safetensors").read_bytes()


def test_it_learns():
    train, test = MNIST.train()[:2000], MNIST.test()[:500]
    minicnn.manual_seed(0)
    model = network()
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    history = trainer.fit(train, test, epochs=3, batch_size=32, seed=0)
    assert history[0]["train_loss"] > 1.5 * history[-1]["train_loss"]
    assert history[-1]["test_accuracy"] > 0.85 and history[-1]["test_accuracy"] == trainer.evaluate(test).accuracy


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, digits):
    first = train_whole(tmp_path / "a", digits)
    assert train_whole(tmp_path / "b", digits) == first
    other = tmp_path / "c"
    other.mkdir()
    trainer_for(other).fit(*digits, epochs=3, batch_size=50, seed=5)
    assert (other / "checkpoint.safetensors").read_bytes() != first


@pytest.mark.parametrize("every_steps", [None, 3])
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 7, 11])
def test_stopped_anywhere_and_resumed_gives_the_same_bytes(tmp_path, digits, stop, every_steps):
    """An epoch has four steps; with every_steps=3 checkpoints lie inside of epochs too."""
    expected = train_whole(tmp_path / "whole", digits)
    with pytest.raises(Stop):
        trainer_for(tmp_path, [StopAfter(stop)], every_steps).fit(*digits, epochs=3, batch_size=50, seed=4)
    resumed = trainer_for(tmp_path, every_steps=every_steps)
    found = resumed.callbacks[-1].resume(resumed)
    assert found == (stop > 4 or (every_steps is not None and stop > 3))
    resumed.fit(*digits, epochs=3, batch_size=50, seed=4)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == expected


def test_more_epochs_later_are_the_same_as_at_once(tmp_path, digits):
    expected = train_whole(tmp_path / "whole", digits)
    trainer_for(tmp_path).fit(*digits, epochs=1, batch_size=50, seed=4)
    resumed = trainer_for(tmp_path)
    resumed.callbacks[-1].resume(resumed)
    resumed.fit(*digits, epochs=3, batch_size=50, seed=4)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == expected


def test_the_log_has_each_epoch_once_also_after_a_crash(tmp_path, digits):
    with pytest.raises(Stop):
        trainer_for(tmp_path, [StopAfter(9)]).fit(*digits, epochs=3, batch_size=50, seed=4)
    with open(tmp_path / "log.jsonl", "a") as file:  # ahead of the checkpoint, and cut short
        file.write('{"event": "epoch", "epoch": 3, "train_loss": 0.1}\n{"event": "ep')
    resumed = trainer_for(tmp_path)
    resumed.callbacks[-1].resume(resumed)
    history = resumed.fit(*digits, epochs=3, batch_size=50, seed=4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "epoch", "epoch", "epoch"]
    assert [line["train_loss"] for line in lines[1:]] == [record["train_loss"] for record in history]
    assert all(line["seconds"] > 0 and line["images_per_second"] > 0 for line in lines[1:])


def test_a_checkpoint_holds_no_time_path_or_host(tmp_path, digits):
    train_whole(tmp_path, digits)
    facts = json.dumps(load_checkpoint(tmp_path / "checkpoint.safetensors")[1])
    for word in ("second", "time", str(tmp_path), "/"):
        assert word not in facts


def test_other_settings_are_refused(tmp_path, digits):
    train_whole(tmp_path, digits, lr=0.05, batch_size=50)
    other = trainer_for(tmp_path, batch_size=32)
    with pytest.raises(CheckpointError, match="batch_size 50 then, 32 now"):
        other.callbacks[-1].resume(other)
    assert other.progress.step == 0


# --- what stops a run -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_its_step_and_leaves_the_checkpoint(tmp_path, digits):
    class Explode(Callback):
        def on_step_end(self, trainer):
            if trainer.progress.step == 6:
                next(trainer.model.parameters()).detach()[0] = np.nan

    with pytest.raises(TrainingError, match=r"loss is nan at step 7 \(epoch 2, batch 3\).*learning rate"):
        trainer_for(tmp_path, [Explode()]).fit(*digits, epochs=3, batch_size=50, seed=4)
    arrays, facts = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert facts["progress"]["epoch"] == 1 and all(np.isfinite(a).all() for a in arrays.values())


@pytest.mark.parametrize(("tested", "words"), [(False, "not finite"), (True, "loss on the test set")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, digits, tested, words):
    class LastUpdateExplodes(Callback):
        def on_step_end(self, trainer):
            if trainer.progress.step == 8:
                next(trainer.model.parameters()).detach()[0] = np.inf

    train, test = digits
    with pytest.raises(TrainingError, match=words):
        trainer_for(tmp_path, [LastUpdateExplodes()]).fit(train, test if tested else None, 3, batch_size=50, seed=4)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1]["progress"]["epoch"] == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2 + (not tested)


def test_nonsense_is_refused(tmp_path, digits):
    train, test = digits
    empty = ArrayDataset(np.empty((0, 1, 32, 32), np.float32), np.empty(0, int), ["a"])
    for arguments, error in (
        ({"epochs": 0, "batch_size": 50}, DataError),
        ({"epochs": 1, "batch_size": 0}, DataError),
        ({"epochs": 1.5, "batch_size": 50}, DataError),
    ):
        with pytest.raises(error):
            trainer_for(tmp_path).fit(train, test, **arguments)
    with pytest.raises(DataError):
        trainer_for(tmp_path).fit(empty, None, epochs=1, batch_size=2)


def test_evaluation_does_not_disturb_training(digits):
    model = network()
    trainer = Trainer(model, optim.SGD(model.parameters()))
    before, calls = model.state_dict(), minicnn.generator.calls
    first, second = trainer.evaluate(digits[1]), trainer.evaluate(digits[1], batch_size=7)
    assert model.training and minicnn.generator.calls == calls
    assert first.accuracy == second.accuracy and first.loss == pytest.approx(second.loss, rel=1e-5)
    np.testing.assert_array_equal(first.predictions, second.predictions)
    assert ((first.confidences > 0.1) & (first.confidences <= 1)).all()
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


# --- memory -----------------------------------------------------------------------------------------------------------


def test_ten_thousand_steps_without_the_garbage_collector_keep_memory_flat():
    """Only reference counting frees here: one cycle in the graph and memory would grow by megabytes."""
    minicnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, labels = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32), np.array([0, 1, 2, 1])

    def steps(n):
        for _ in range(n):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(Tensor(x)), labels).backward()
            optimizer.step()

    gc.collect()
    gc.disable()
    try:
        steps(2000)  # caches fill
        blocks = sys.getallocatedblocks()
        steps(8000)
        assert sys.getallocatedblocks() - blocks < 500, "objects pile up from step to step"
    finally:
        gc.enable()


# --- the run's folder -------------------------------------------------------------------------------------------------


def run_in(folder, digits, epochs, resume=False):
    run = RunFolder(folder)
    settings = run.settings({"epochs": epochs}, {"epochs": 9, "batch_size": 50}, resume)
    minicnn.manual_seed(1)
    model = network()
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), callbacks=run.callbacks(digits[1]))
    run.begin(trainer, settings, resume)
    trainer.fit(*digits, settings["epochs"], settings["batch_size"], seed=4)
    return trainer


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are empty files, where nothing is asked of them: drawing takes longest."""
    for name in ("learning_curves", "first_layer_filters", "confusion_matrix", "worst_mistakes"):
        monkeypatch.setattr(pictures, name, lambda *facts_and_path: facts_and_path[-1].write_bytes(b""))


def contents(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_a_finished_run_is_not_touched_by_resuming_it(tmp_path, digits):
    run_in(tmp_path, digits, epochs=2)
    before = contents(tmp_path)
    assert set(before) == {"checkpoint.safetensors", "log.jsonl", *PICTURES}
    assert run_in(tmp_path, digits, epochs=None, resume=True).progress.epoch == 2
    assert contents(tmp_path) == before


def test_a_missing_picture_of_a_finished_run_is_drawn(tmp_path, digits):
    run_in(tmp_path, digits, epochs=1)
    (tmp_path / PICTURES[0]).unlink()
    run_in(tmp_path, digits, epochs=None, resume=True)
    assert (tmp_path / PICTURES[0]).exists()


def test_a_fresh_run_replaces_what_an_earlier_one_left_and_nothing_else(tmp_path, digits, undrawn):
    run_in(tmp_path, digits, epochs=2)
    (tmp_path / "notes.txt").write_text("mine")
    run_in(tmp_path, digits, epochs=1)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1]["progress"]["epoch"] == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_refused_number_leaves_the_earlier_run_as_it_was(tmp_path, digits, undrawn):
    run_in(tmp_path, digits, epochs=1)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="epochs"):
        run_in(tmp_path, digits, epochs=-1)
    assert contents(tmp_path) == before


def test_settings_of_a_run_survive_a_lost_log(tmp_path, digits, undrawn):
    run_in(tmp_path, digits, epochs=1)
    (tmp_path / "log.jsonl").unlink()
    assert RunFolder(tmp_path).settings({}, {"batch_size": 9}, resume=True) == {"batch_size": 50}
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe no text")
    assert RunFolder(tmp_path).settings({}, {"epochs": 9}, resume=True) == {"epochs": 9}


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="choose another folder"):
        RunFolder(tmp_path / "file" / "run")
