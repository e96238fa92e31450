"""What the papers' recipes need of the trainer: auxiliary heads, warm-up, clipped gradients, averaged weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn, optim
from minicnn.data import ArrayDataset
from minicnn.errors import CheckpointError
from minicnn.optim.lr_scheduler import StepLR, WarmUp
from minicnn.train import AverageWeights, Callback, Checkpoint, Trainer


class Output(NamedTuple):
    logits: Tensor
    aux: Tensor


class WithHead(nn.Module):
    """A tuple in training, logits in evaluation, as the Inception networks give."""

    def __init__(self):
        super().__init__()
        self.body, self.fc, self.head = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = self.body(x, relu=True)
        return Output(self.fc(x), self.head(x)) if self.training else self.fc(x)


def examples(n, seed=0):
    """Classes that a linear layer can tell apart."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 6)).astype(np.float32)
    return ArrayDataset(x, x[:, :3].argmax(axis=1), ["a", "b", "c"])


class Note(Callback):
    """Notes the rate of each step, and the weights behind it."""

    def __init__(self):
        self.rates, self.weights = [], []

    def on_step_end(self, trainer):
        self.rates.append(trainer.optimizer.lr)
        self.weights.append(trainer.model.body.weight.numpy().copy())


def trainer_for(callbacks=(), lr=0.1, **options):
    minicnn.manual_seed(2)
    model = WithHead()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    schedule = WarmUp(StepLR(optimizer, 2, 0.1), epochs=1.5, start=0.2)
    callbacks = [make(model) for make in callbacks]
    return Trainer(model, optimizer, nn.AuxiliaryLoss(), schedule, callbacks, **options)


def test_networks_with_auxiliary_heads_are_trained_and_evaluated():
    trainer = trainer_for(lr=1.0)
    head = trainer.model.head.weight.numpy().copy()
    history = trainer.fit(examples(300), examples(100, seed=1), epochs=4, batch_size=20)
    assert history[-1]["train_accuracy"] > 0.7 and history[-1]["test_accuracy"] > 0.7
    assert (trainer.model.head.weight.numpy() != head).any()
    assert trainer.evaluate(examples(100, seed=1)).accuracy == history[-1]["test_accuracy"]


def test_accuracy_is_that_of_the_logits_whatever_the_heads_say():
    """Logits that are right about every example, and a head that is wrong about every one; neither learns."""
    minicnn.manual_seed(2)
    model, data = WithHead(), examples(60)
    body, right = np.eye(5, 6, dtype=np.float32), np.eye(3, 5, dtype=np.float32)
    parts = {"body.weight": body, "fc.weight": right, "head.weight": -right}
    biases = {"body.bias": np.full(5, 9), "fc.bias": np.zeros(3), "head.bias": np.zeros(3)}  # relu passes all on
    model.load_state_dict(parts | biases)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.0), nn.AuxiliaryLoss())
    assert trainer.fit(data, None, epochs=1, batch_size=20)[0]["train_accuracy"] == 1


def test_warm_up_is_asked_for_each_step():
    """Five batches an epoch: 0.2 to 1 of the rate within 7.5 steps, a tenth from the third epoch on."""
    trainer = trainer_for([lambda model: Note()])
    trainer.fit(examples(50), None, epochs=3, batch_size=10)
    rising = [0.1 * (0.2 + 0.8 * step / 7.5) for step in range(8)]
    np.testing.assert_allclose(trainer.callbacks[0].rates, rising + [0.1] * 2 + [0.01] * 5, rtol=1e-12)


@pytest.mark.parametrize("max_norm", [1e-3, None])
def test_clipped_gradients_take_short_steps(max_norm):
    trainer = trainer_for([lambda model: Note()], clip_grad_norm=max_norm)
    before = trainer.model.body.weight.numpy().copy()
    trainer.fit(examples(50), None, epochs=1, batch_size=10)
    note = trainer.callbacks[0]
    steps = [np.linalg.norm(b - a) for a, b in zip([before, *note.weights], note.weights, strict=False)]
    limits = [rate * 1e-3 for rate in note.rates]
    assert all(step <= 1.001 * limit for step, limit in zip(steps, limits, strict=True)) == (max_norm is not None)


def test_averaged_weights_are_measured_and_left_out_of_training():
    test = examples(100, seed=1)
    trainer = trainer_for([lambda model: AverageWeights(model, 0.5, test), lambda model: Note()])
    history = trainer.fit(examples(50), test, epochs=2, batch_size=10)
    weights = trainer.callbacks[1].weights
    plain = trainer_for([lambda model: Note()])
    plain.fit(examples(50), test, epochs=2, batch_size=10)
    np.testing.assert_array_equal(weights, plain.callbacks[0].weights)
    average = trainer_for().model.body.weight.numpy().astype(np.float64)
    for t, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * weight
    with trainer.callbacks[0].average.applied() as model:
        np.testing.assert_allclose(model.body.weight, average, rtol=1e-5, atol=1e-7)
        result = trainer.evaluate(test)
    assert (result.loss, result.accuracy) == (history[-1]["average_test_loss"], history[-1]["average_test_accuracy"])
    assert result.loss != history[-1]["test_loss"]


def test_averages_and_warm_up_resume_to_the_same_bytes(tmp_path):
    def run(path, epochs):
        make = [lambda model: AverageWeights(model, 0.9), lambda model: Checkpoint(path, every_steps=3)]
        trainer = trainer_for(make)
        trainer.callbacks[-1].resume(trainer)
        trainer.fit(examples(50), None, epochs=epochs, batch_size=10)
        return path.read_bytes()

    whole = run(tmp_path / "whole.safetensors", 3)
    run(tmp_path / "parts.safetensors", 1)
    assert run(tmp_path / "parts.safetensors", 3) == whole


def test_a_checkpoint_without_averages_is_refused_and_changes_nothing(tmp_path):
    plain = trainer_for([lambda model: Checkpoint(tmp_path / "c.safetensors")])
    plain.fit(examples(50), None, epochs=1, batch_size=10)
    averaging = trainer_for([AverageWeights, lambda model: Checkpoint(tmp_path / "c.safetensors")])
    averaging.fit(examples(20, seed=3), None, epochs=1, batch_size=10)
    Checkpoint(tmp_path / "before.safetensors").save(averaging)
    plain.callbacks[0].save(plain)
    with pytest.raises(CheckpointError, match="no averaged weights"):
        averaging.callbacks[-1].resume(averaging)
    Checkpoint(tmp_path / "after.safetensors").save(averaging)
    assert (tmp_path / "after.safetensors").read_bytes() == (tmp_path / "before.safetensors").read_bytes()


def test_the_recipe_of_the_front_page_is_one():
    """It runs as it stands, up to fit(); the network's parts are those that it names."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (code,) = [
        block.split("```")[0] for block in readme.split("```python\n") if "AverageWeights" in block.split("```")[0]
    ]
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    names = {"models": models, "images": images, "labels": [0, 1, 2, 1], "classes": ["a", "b", "c"]}
    exec(code, names)
    assert names["train"].batch([3, 1])[0].shape == (2, 3, 32, 32)
    assert names["trainer"].optimizer.lr == pytest.approx(0.0045)
    assert set(names["model"](Tensor(names["train"].batch([3, 1])[0]))._fields) == {"logits", "aux1", "aux2"}
