"""The moving average of weights against its formula in plain Python, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor, nn
from minicnn.errors import ArgumentError, CheckpointError
from minicnn.optim import ExponentialMovingAverage


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2)).to("float64")


def wander(model, step):
    """Weights, statistics and count as after a step of training."""
    model[0].weight.copy_(np.array([step, -1.0]).reshape(2, 1, 1, 1))
    model[1].running_mean.copy_([0.5 * step, 3.0])
    model[1].num_batches_tracked.copy_(step)


@pytest.mark.parametrize("warm_up", [False, True])
def test_average_of_weights_and_statistics(warm_up):
    model = network()
    wander(model, 0)
    average = ExponentialMovingAverage(model, 0.25, warm_up)
    weight, mean = 0.0, 0.0
    for step in range(1, 7):
        wander(model, step)
        average.update()
        decay = min(0.25, (1 + step) / (10 + step)) if warm_up else 0.25
        weight, mean = decay * weight + (1 - decay) * step, decay * mean + (1 - decay) * 0.5 * step
    with average.applied() as averaged:
        assert averaged is model
        np.testing.assert_allclose(model[0].weight.numpy().ravel(), [weight, -1.0], rtol=1e-12)
        np.testing.assert_allclose(model[1].running_mean, [mean, 3.0], rtol=1e-12)
        assert model[1].num_batches_tracked.item() == 6
    assert model[0].weight.numpy()[0].item() == 6.0


def test_warm_up_ends_where_the_decay_is_reached():
    """(1 + t)/(10 + t) is 2/11 at first, and reaches 0.25 at t = 2."""
    seen = []
    for steps in (1, 2, 3):
        model = network()
        wander(model, 0)
        average = ExponentialMovingAverage(model, 0.25)
        wander(model, 1)
        for _ in range(steps):
            average.update()
        seen.append(1 - average.average["0.weight"].numpy()[0].item())
    np.testing.assert_allclose(seen, [2 / 11, 2 / 11 / 4, 2 / 11 / 16], rtol=1e-12)


def test_own_weights_come_back_also_after_an_error():
    model = network()
    before, arrays = model.state_dict(), [p.data for p in model.parameters()]
    average = ExponentialMovingAverage(model)
    wander(model, 5)
    own = model.state_dict()
    with pytest.raises(ZeroDivisionError), average.applied():
        assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
        raise ZeroDivisionError
    assert all(np.array_equal(value, own[name]) for name, value in model.state_dict().items())
    assert all(p.data is array for p, array in zip(model.parameters(), arrays, strict=True))


def test_averages_are_no_views_of_the_weights_and_stay_float32():
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, 0.5, warm_up=False)
    first = model.weight.numpy().copy()
    model.weight.copy_(first + 1)
    np.testing.assert_array_equal(average.average["weight"], first)
    average.update()
    assert average.average["weight"].dtype == np.float32
    np.testing.assert_allclose(average.average["weight"], first + 0.5, rtol=1e-6)


def test_state_out_and_in_continues_to_the_same_bytes():
    model = network()
    whole = ExponentialMovingAverage(model)
    first = ExponentialMovingAverage(model)
    for step in (1, 2):
        wander(model, step)
        whole.update()
        first.update()
    second = ExponentialMovingAverage(model)
    second.load_state_dict(first.state_dict())
    for average in (whole, second):
        wander(model, 3)
        average.update()
    ours, theirs = whole.state_dict(), second.state_dict()
    assert list(ours) == list(theirs) and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_states_of_others_are_refused_and_change_nothing():
    average = ExponentialMovingAverage(network())
    before = average.state_dict()
    for state, words in (
        ({}, "no averaged weights"),
        (ExponentialMovingAverage(nn.Linear(1, 2)).state_dict(), "another model"),
    ):
        with pytest.raises(CheckpointError, match=words):
            average.load_state_dict(state)
    assert all(np.array_equal(value, before[name]) for name, value in average.state_dict().items())


@pytest.mark.parametrize("decay", [1.0, -0.1, "0.9", np.nan])
def test_decays_out_of_range(decay):
    with pytest.raises(ArgumentError, match="decay"):
        ExponentialMovingAverage(network(), decay)


def test_evaluation_inside_uses_the_averages():
    model = nn.Linear(1, 1, bias=False)
    model.weight.copy_([[2.0]])
    average = ExponentialMovingAverage(model)
    model.weight.copy_([[8.0]])
    x = Tensor(np.ones((1, 1), np.float32))
    with average.applied():
        assert model(x).item() == 2.0
    assert model(x).item() == 8.0
