"""Optimizers against their formulas in plain Python, one number at a time; schedules; state."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, optim
from minicnn.errors import ArgumentError, CheckpointError
from minicnn.nn import Parameter
from minicnn.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, MultiStepLR, StepLR, WarmUp

GRADIENTS = [[0.5, -1.0], [0.25, 2.0], [-3.0, 0.125], [1.0, 1.0]]


def run(optimizer, parameter, gradients=GRADIENTS):
    for g in gradients:
        parameter.grad = Tensor(np.array(g))
        optimizer.step()
    return parameter.numpy().copy()


def sgd_by_hand(p, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    velocity = None
    for g in GRADIENTS:
        d = [g[i] + weight_decay * p[i] for i in range(2)]
        if momentum:
            velocity = d if velocity is None else [momentum * velocity[i] + (1 - dampening) * d[i] for i in range(2)]
            d = [d[i] + momentum * velocity[i] for i in range(2)] if nesterov else velocity
        p = [p[i] - lr * d[i] for i in range(2)]
    return p


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.3},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "dampening": 1.0},
        {"momentum": 0.8, "weight_decay": 0.2},
        {"momentum": 0.8, "weight_decay": 0.2, "nesterov": True},
    ],
)
def test_sgd(settings, device):
    with minicnn.use(device):
        p = Parameter(np.array([1.0, -2.0]))
        np.testing.assert_allclose(
            run(optim.SGD([p], lr=0.1, **settings), p), sgd_by_hand([1.0, -2.0], 0.1, **settings), rtol=1e-12
        )


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam(weight_decay, device):
    p, m, s = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for t, g in enumerate(GRADIENTS, start=1):
        for i in range(2):
            d = g[i] + weight_decay * p[i]
            m[i] = 0.8 * m[i] + 0.2 * d
            s[i] = 0.95 * s[i] + 0.05 * d * d
            p[i] -= 0.1 * (m[i] / (1 - 0.8**t)) / (math.sqrt(s[i] / (1 - 0.95**t)) + 1e-3)
    with minicnn.use(device):
        q = Parameter(np.array([1.0, -2.0]))
        adam = optim.Adam([q], lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay)
        np.testing.assert_allclose(run(adam, q), p, rtol=1e-12)


def test_adamw_decays_the_weight_itself(device):
    """By lr·λ before the step; the averages see the bare gradient."""
    p, m, s = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for t, g in enumerate(GRADIENTS, start=1):
        for i in range(2):
            m[i] = 0.8 * m[i] + 0.2 * g[i]
            s[i] = 0.95 * s[i] + 0.05 * g[i] ** 2
            p[i] = p[i] * (1 - 0.1 * 0.3) - 0.1 * (m[i] / (1 - 0.8**t)) / (math.sqrt(s[i] / (1 - 0.95**t)) + 1e-3)
    with minicnn.use(device):
        q = Parameter(np.array([1.0, -2.0]))
        adamw = optim.AdamW([q], lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3)
        np.testing.assert_allclose(run(adamw, q), p, rtol=1e-12)
        assert adamw.param_groups[0]["weight_decay"] == 0.3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("tensorflow", [False, True])
def test_rmsprop(tensorflow, weight_decay, momentum, device):
    """The rate is halved after two steps, which the two forms take differently."""
    p, s, v = [1.0, -2.0], [float(tensorflow)] * 2, [0.0, 0.0]
    for t, g in enumerate(GRADIENTS):
        lr = 0.1 if t < 2 else 0.05
        for i in range(2):
            d = g[i] + weight_decay * p[i]
            s[i] = 0.8 * s[i] + 0.2 * d * d
            if tensorflow:
                v[i] = momentum * v[i] + lr * d / math.sqrt(s[i] + 0.25)
                p[i] -= v[i]
            else:
                v[i] = momentum * v[i] + d / (math.sqrt(s[i]) + 0.25)
                p[i] -= lr * v[i]
    with minicnn.use(device):
        q = Parameter(np.array([1.0, -2.0]))
        optimizer = optim.RMSprop([q], 0.1, 0.8, 0.25, weight_decay, momentum, tensorflow)
        run(optimizer, q, GRADIENTS[:2])
        optimizer.param_groups[0]["lr"] = 0.05
        np.testing.assert_allclose(run(optimizer, q, GRADIENTS[2:]), p, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.1),
        lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: optim.RMSprop(p, lr=0.1),
        lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9, tensorflow=True),
    ],
)
def test_state_out_and_in_continues_to_the_same_bytes(make):
    whole, halves = Parameter(np.array([1.0, -2.0])), Parameter(np.array([1.0, -2.0]))
    expected = run(make([whole]), whole)
    first = make([halves])
    run(first, halves, GRADIENTS[:2])
    second = make([halves])
    second.load_state_dict(first.state_dict())
    assert run(second, halves, GRADIENTS[2:]).tobytes() == expected.tobytes()


def test_groups_have_their_own_settings_and_a_parameter_without_gradient_rests():
    a, b, c = (Parameter(np.array([1.0])) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b, c], "lr": 1.0}], lr=0.1)
    a.grad = b.grad = Tensor(np.array([1.0]))
    optimizer.step()
    assert (a.item(), b.item(), c.item()) == (0.9, 0.0, 1.0)
    optimizer.zero_grad()
    assert a.grad is None and b.grad is None


def test_float32_parameters_stay_float32_and_gradients_are_untouched():
    p = Parameter(np.array([1.0, 2.0], np.float32))
    p.grad = Tensor(np.array([1.0, 1.0], np.float32))
    for optimizer in (
        optim.SGD([p], 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        optim.Adam([p]),
        optim.AdamW([p]),
        optim.RMSprop([p], momentum=0.9, weight_decay=0.1),
        optim.RMSprop([p], momentum=0.9, tensorflow=True),
    ):
        optimizer.step()
        assert p.dtype == np.float32 and p.grad.numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "rates"),
    [
        (lambda o: ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125]),
        (lambda o: StepLR(o, 2, 0.1), [1, 1, 0.1, 0.1]),
        (lambda o: MultiStepLR(o, [3, 1], 0.1), [1, 0.1, 0.1, 0.01]),
        (lambda o: CosineAnnealingLR(o, 3, eta_min=0.2), [1, 0.8, 0.4, 0.2]),
    ],
)
def test_schedules(make, rates):
    optimizer = optim.SGD([Parameter(np.ones(1))], lr=2.0)
    schedule = make(optimizer)
    if isinstance(schedule, CosineAnnealingLR):
        rates = [0.1 + (r - 0.2) / 0.8 * 0.9 for r in rates]  # between 0.2 and 2, halved
    for epoch, rate in enumerate(rates):
        assert optimizer.lr == pytest.approx(2.0 * rate)
        schedule.step()
        schedule.set_epoch(epoch + 1)


def test_steps_of_epochs_that_are_not_whole():
    """EfficientNet's lr·0.97 every 2.4 epochs falls in epochs 3, 5, 8, 10 and 12; 11/1.1 is 10, not just below."""
    optimizer = optim.SGD([Parameter(np.ones(1))], lr=2.0)
    schedule = StepLR(optimizer, 2.4, 0.97)
    powers = [round(math.log(schedule.factor(epoch)) / math.log(0.97)) for epoch in range(13)]
    assert powers == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5]
    assert StepLR(optimizer, 1.1, 0.5).factor(11) == 0.5**10


def test_warm_up_rises_step_by_step_and_then_gives_way():
    optimizer = optim.SGD([Parameter(np.ones(1))], lr=2.0)
    schedule = WarmUp(StepLR(optimizer, 3, 0.1), epochs=4, start=0.25)
    assert optimizer.lr == 0.5 and schedule.every_step
    for epoch, rate in ((1, 0.875), (2.5, 1.4375), (3.96, 1.985), (4, 0.2), (5.9, 0.2), (6, 0.02)):
        schedule.set_epoch(epoch)
        assert optimizer.lr == pytest.approx(rate, rel=1e-12), epoch
    within = WarmUp(ExponentialLR(optimizer, 0.5), epochs=1, start=1.0)
    within.set_epoch(2.75)
    assert optimizer.lr == pytest.approx(2.0 * 0.25)  # a schedule by epochs stays one


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: optim.SGD([]), "no parameters"),
        (lambda p: optim.SGD([p, p]), "twice"),
        (lambda p: optim.SGD([np.ones(2)]), "Tensors"),
        (lambda p: optim.SGD([p], lr=-1.0), "learning rate"),
        (lambda p: optim.SGD([p], lr=math.nan), "lr must be a number"),
        (lambda p: optim.SGD([p], lr=math.inf), "learning rate"),
        (lambda p: optim.SGD([p], lr="0.1"), "lr must be a number"),
        (lambda p: optim.SGD([p], momentum=math.nan), "momentum"),
        (optim.SGD, "list of Tensors"),
        (lambda p: optim.SGD([{"lr": 1.0}]), "params"),
        (lambda p: optim.Adam([p], betas=0.9), "two betas"),
        (lambda p: optim.SGD([p], momentum=-0.1), "momentum"),
        (lambda p: optim.SGD([p], nesterov=True), "Nesterov"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), "betas"),
        (lambda p: ExponentialLR(optim.SGD([p]), 0.0), "gamma"),
        (lambda p: optim.AdamW([p], weight_decay=-1.0), "weight_decay"),
        (lambda p: optim.RMSprop([p], alpha=1.0), "alpha < 1"),
        (lambda p: optim.RMSprop([p], eps=-1e-3), "all else"),
        (lambda p: optim.RMSprop([p], momentum="0.9"), "momentum must be a number"),
        (lambda p: optim.RMSprop([p], tensorflow=1), "tensorflow"),
        (lambda p: WarmUp(StepLR(optim.SGD([p]), 1), 0), "epochs > 0"),
        (lambda p: WarmUp(StepLR(optim.SGD([p]), 1), 5, start=1.5), "start from 0 to 1"),
    ],
)
def test_bad_settings(make, words):
    with pytest.raises(ArgumentError, match=words):
        make(Parameter(np.ones(2)))


def test_another_optimizers_state_is_refused_and_changes_nothing():
    p = Parameter(np.ones(2))
    adam, sgd = optim.Adam([p]), optim.SGD([p], lr=0.5, momentum=0.9)
    p.grad = Tensor(np.ones(2))
    adam.step()
    for state in (adam.state_dict(), {"steps": 1, "velocity.0": np.ones(3)}, {"lr.0": 1.0}):
        with pytest.raises(CheckpointError):
            sgd.load_state_dict(state)
    assert sgd.lr == 0.5 and not sgd.state and sgd.steps == 0
