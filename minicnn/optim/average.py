"""Averages of weights: smoother than the last step's, and as a rule better on images that were not trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import device as devices
from ..errors import ArgumentError, CheckpointError
from ..nn import Module
from ..ops.arguments import flag
from .optimizer import number


class ExponentialMovingAverage:
    """After each step of an optimizer, update():  a ← d·a + (1 − d)·w   for all weights w of a model.

    Batch norm's running statistics are averaged too; whole numbers, such as its count of batches, are copied. d is
    `decay` or, while warm_up and t updates are few, the smaller (1 + t)/(10 + t), so that the weights of the beginning,
    which are random, are soon forgotten.

        average = ExponentialMovingAverage(model)
        ...  optimizer.step(); average.update()
        with average.applied():  # the model has the averaged weights in here
            evaluate(model)

    Source: TensorFlow's tf.train.ExponentialMovingAverage, which Inception-v3, MobileNetV3 and EfficientNet were
    evaluated with; the idea is Polyak and Juditsky's, 1992.
    Raises ArgumentError unless 0 ≤ decay < 1.
    """

    def __init__(self, model: Module, decay: float = 0.9999, warm_up: bool = True):
        number("ExponentialMovingAverage's decay", decay)
        if not 0 <= decay < 1:
            raise ArgumentError(f"ExponentialMovingAverage needs a decay of at least 0 and below 1, got {decay}")
        self.model, self.decay = model, decay
        self.warm_up = flag("ExponentialMovingAverage", "warm_up", warm_up)
        self.updates = 0
        self.average = model.state_dict()

    def update(self) -> None:
        """Take in the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warm_up else self.decay
        for name, value in self._weights():
            average = self.average[name].data
            if average.dtype.kind == "f":
                average *= decay
                average += (1 - decay) * value.data
            else:
                average[...] = value.data

    @contextlib.contextmanager
    def applied(self) -> Iterator[Module]:
        """Inside, the model has the averaged weights: to evaluate or to save it. Its own come back afterwards."""
        own = [(value, value.data) for _, value in self._weights()]
        for name, value in self._weights():
            value.data = self.average[name].data
        try:
            yield self.model
        finally:
            for value, data in own:
                value.data = data

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of "updates" and of the averages by their names, with which a resumed run goes on."""
        averages = {f"average.{name}": np.array(devices.to_host(a.data)) for name, a in self.average.items()}
        return {"updates": np.array(self.updates, np.int64), **averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what state_dict() gave. Raises CheckpointError, changing nothing, if it is of another model."""
        if "updates" not in state:
            raise CheckpointError("the state has no averaged weights: whoever made it kept no average")
        given = {name.removeprefix("average."): np.asarray(a) for name, a in state.items() if name != "updates"}
        shapes, own = ({name: a.shape for name, a in arrays.items()} for arrays in (given, self.average))
        differ = sorted(name for name in {**shapes, **own} if shapes.get(name) != own.get(name))
        if differ:
            raise CheckpointError(f"the averaged weights are those of another model: they differ in {differ[0]}")
        self.updates = int(state["updates"])
        for name, average in self.average.items():
            average.copy_(given[name])

    def _weights(self) -> Iterator[tuple[str, Any]]:
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()
