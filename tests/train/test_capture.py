"""A step as a graph does what the step does: run with `--device cuda-sim` or `cuda`."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import device as devices
from minicnn import nn
from minicnn.data import ArrayDataset
from minicnn.errors import ArgumentError, TrainingError
from minicnn.optim import SGD, Adam
from minicnn.optim.lr_scheduler import ExponentialLR
from minicnn.train import Trainer
from minicnn.train.capture import _Staging

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda p: Adam(p, lr=0.01),
}


def dataset(count=22, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = (random.standard_normal((count, 1, 8, 8)) + labels[:, None, None, None]).astype(np.float32)
    return ArrayDataset(images, labels, classes=["a", "b", "c"])


def model(drop=0.3):
    minicnn.manual_seed(5)
    with minicnn.use("cpu"):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(drop),
            nn.Linear(36, 3),
        )  # fmt: skip


def trained(device, capture, optimizer="SGD", epochs=3, network=model):
    own = network().to(device)
    steps = OPTIMIZERS[optimizer](own.parameters())
    trainer = Trainer(own, steps, scheduler=ExponentialLR(steps, 0.5), capture=capture)
    history = trainer.fit(dataset(), None, epochs=epochs, batch_size=4, seed=1)
    state = {name: devices.to_host(value.data).tobytes() for name, value in own.state_dict().items()}
    state |= {name: array.tobytes() for name, array in steps.state_dict().items()}
    return trainer, history, state, minicnn.generator.calls


@pytest.mark.parametrize("drop", [0.3, 0.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replayed_steps_give_the_bytes_of_computed_ones(device, optimizer, drop, capsys):
    """Dropout draws anew in each, the learning rate falls, and the last batch of an epoch is smaller."""
    trainer, *replayed = trained(device, True, optimizer, network=lambda: model(drop))
    _, *computed = trained(device, False, optimizer, network=lambda: model(drop))
    assert replayed == computed
    if devices.DEVICES[device].memory == "host":
        assert "has no graphs" in trainer.capture.why_not and "has no graphs" in capsys.readouterr().err
    else:
        assert trainer.capture.why_not == "" and len(trainer.capture.graphs) == 2


def test_a_parameter_that_moved_is_recorded_anew(device):
    even = dataset(20)  # no smaller batch at the end, whose steps are computed
    results = []
    for capture in (True, False):
        own = model().to(device)
        trainer = Trainer(own, OPTIMIZERS["SGD"](own.parameters()), capture=capture)
        trainer.fit(even, None, epochs=1, batch_size=4, seed=1)
        own[0].weight.data = own[0].weight.data.copy()
        trainer.fit(even, None, epochs=2, batch_size=4, seed=1)
        results.append([devices.to_host(p.data).tobytes() for p in own.parameters()])
    assert results[0] == results[1]


def test_the_next_batch_waits_until_the_last_one_has_been_taken(device):
    """Also if the stream that copies is in a hurry."""
    if devices.DEVICES[device].memory == "host":
        return
    xp = devices.array_library(device)
    first, second = (np.full((2, 3), number, np.float32) for number in (1, 2))
    labels = np.arange(2)
    x, own_labels, stream = xp.zeros((2, 3), np.float32), xp.zeros(2, np.int64), xp.cuda.Stream()
    staging = _Staging(xp, first, own_labels)
    staging.fetch((first, labels))
    with stream:
        staging.deliver(stream, x, own_labels)
    staging.fetch((second, labels))
    staging.stream.synchronize()
    stream.synchronize()
    np.testing.assert_array_equal(xp.asnumpy(x), first)


def test_what_cannot_be_recorded_is_computed_and_says_why(device, capsys):
    class Looking(nn.Module):
        """Asks for a number on the way, which a graph cannot."""

        def __init__(self):
            super().__init__()
            self.inner = model()

        def forward(self, x):
            y = self.inner(x)
            return y * 2.0 if y.sum().item() > 0 else y

    trainer, *captured = trained(device, True, network=Looking)
    _, *computed = trained(device, False, network=Looking)
    assert captured == computed
    assert trainer.capture.why_not and trainer.capture.why_not in capsys.readouterr().err


def test_labels_that_are_no_classes_are_refused_as_ever(device):
    own = model().to(device)
    trainer = Trainer(own, OPTIMIZERS["SGD"](own.parameters()), capture=True)
    trainer.fit(dataset(), None, epochs=1, batch_size=4, seed=1)
    wrong = dataset()
    wrong.labels[wrong.labels == 2] = 7
    with pytest.raises(ArgumentError, match="got label 7"):
        trainer.fit(wrong, None, epochs=2, batch_size=4, seed=1)


def test_a_loss_that_is_not_finite_ends_training(device):
    own = model().to(device)
    trainer = Trainer(own, SGD(own.parameters(), lr=0.05), capture=True)
    trainer.fit(dataset(), None, epochs=1, batch_size=4, seed=1)
    own[-1].bias.copy_(np.array([np.nan, 0, 0], np.float32))
    with pytest.raises(TrainingError, match="the loss is nan at step 7 "):
        trainer.fit(dataset(), None, epochs=2, batch_size=4, seed=1)
