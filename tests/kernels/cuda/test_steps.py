"""cuda/steps.py beside the readable steps: many arrays in one launch, tails, views, what joins later, recordings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.kernels.cuda import launch, steps
from minicnn.kernels.cuda.recording import Recording
from minicnn.kernels.reference import steps as readable

from .on_device import BOTH

#       one number, a tail, whole packs, none, just more than a block, two blocks and a half
SIZES = [(3,), (16,), (5, 7), (), (0, 4), (1,), (4097,), (10, 1024)]
SGD = [o for o in itertools.product((0.0, 0.9), (0.0, 0.3), (0.0, 0.01), (False, True)) if o[0] or not o[3]]


@pytest.fixture
def xp(device):
    with devices.computing(device):
        yield devices.array_library(device)


def example(dtype, count=2):
    """Lists of arrays: parameters, gradients, ..."""
    rng = np.random.default_rng(0)
    return [[np.asarray(rng.standard_normal(size)).astype(dtype) for size in SIZES] for _ in range(count)]


def on_device(xp, arrays, strided=False):
    """Copies on the device; strided: every second element of a larger array."""
    if not strided:
        return [xp.asarray(a) for a in arrays]
    twice = [xp.asarray(np.stack([a, a], axis=-1)) for a in arrays]
    return [a[..., 1] for a in twice]


def same(xp, found, wanted, dtype):
    tolerance = 30 * np.finfo(dtype).eps
    for lists in zip(found, wanted, strict=True):
        for a, b in zip(*lists, strict=True):
            np.testing.assert_allclose(xp.asnumpy(a), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("momentum, dampening, decay, nesterov", SGD)
def test_sgd(xp, dtype, momentum, dampening, decay, nesterov):
    """Three steps; one parameter joins at the second, with a fresh velocity."""
    host, grads = example(dtype)
    params, device_grads = on_device(xp, host, strided=nesterov), on_device(xp, grads)
    host_velocities = [np.zeros_like(p) for p in host] if momentum else []
    velocities = on_device(xp, host_velocities)
    for step in range(3):
        which = slice(0, None) if step else slice(1, None)
        fresh = [step == 0 or (step == 1 and i == 0) for i in range(len(host))][which] if momentum else []
        options = fresh, 0.05, momentum, dampening, decay, nesterov
        steps.sgd_step(params[which], device_grads[which], velocities[which], *options)
        readable.sgd_step(host[which], grads[which], host_velocities[which], *options)
    same(xp, (params, velocities, device_grads), (host, host_velocities, grads), dtype)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("decay, decoupled", [(0.0, False), (0.01, False), (0.01, True)])
def test_adam(xp, dtype, decay, decoupled):
    """Three steps, of which each array has had another number."""
    lists = example(dtype, 4)
    lists[3] = [np.asarray(a * a) for a in lists[3]]
    found = [on_device(xp, arrays, strided=i == 2) for i, arrays in enumerate(lists)]
    for step in (1, 2, 3):
        options = 0.05, 0.8, 0.95, 1e-3, decay, decoupled, [step + i for i in range(len(SIZES))]
        steps.adam_step(*found, *options)
        readable.adam_step(*lists, *options)
    same(xp, found, lists, dtype)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("momentum, decay, tensorflow", [*itertools.product((0.0, 0.9), (0.0, 0.3), (False, True))])
def test_rmsprop(xp, dtype, momentum, decay, tensorflow):
    lists = example(dtype, 4)
    lists[2] = [np.asarray(a * a) for a in lists[2]]
    lists = lists if momentum else [*lists[:3], []]
    found = [on_device(xp, arrays, strided=i == 2) for i, arrays in enumerate(lists)]
    for lr in (0.05, 0.02):
        options = lr, 0.8, 0.1, momentum, decay, tensorflow
        steps.rmsprop_step(*found, *options)
        readable.rmsprop_step(*lists, *options)
    same(xp, found, lists, dtype)


STEPS = {
    "sgd_step": lambda p, g, m, s: (p, g, [], [], 0.1, 0.0, 0.0, 0.01, False),
    "adam_step": lambda p, g, m, s: (p, g, m, s, 0.1, 0.8, 0.95, 1e-3, 0.0, False, [1] * len(p)),
    "rmsprop_step": lambda p, g, m, s: (p, g, s, m, 0.1, 0.8, 1e-3, 0.9, 0.0, False),
}


@pytest.mark.parametrize("name", STEPS)
def test_strided_gradients(xp, name):
    """Their copies live until the kernel has been launched, and are not changed under its hands."""
    lists = example(np.float32, 4)
    lists[3] = [np.asarray(a * a) for a in lists[3]]
    found = [on_device(xp, arrays, strided=i == 1) for i, arrays in enumerate(lists)]
    getattr(steps, name)(*STEPS[name](*found))
    getattr(readable, name)(*STEPS[name](*lists))
    same(xp, found, lists, np.float32)


def test_parameters_of_two_dtypes(xp):
    """A launch for each; both are stepped."""
    host = [np.ones(5, np.float32), np.ones(7, np.float64), np.ones(3, np.float32)]
    params = on_device(xp, host)
    steps.sgd_step(params, on_device(xp, host), [], [], 0.25, 0.0, 0.0, 0.0, False)
    for p in params:
        np.testing.assert_array_equal(xp.asnumpy(p), np.full(p.shape, 0.75))


def test_one_launch_for_all(xp, monkeypatch):
    host, grads = example(np.float32)
    params, device_grads = on_device(xp, host), on_device(xp, grads)
    launches = []
    right = launch.Kernel.__call__
    monkeypatch.setattr(launch.Kernel, "__call__", lambda self, *args, **o: launches.append(right(self, *args, **o)))
    steps.sgd_step(params, device_grads, [], [], 0.1, 0.0, 0.0, 0.0, False)
    assert len(launches) == 1


def test_infinite_parameters_without_decay(xp):
    params = on_device(xp, [np.array([np.inf, 1.0], np.float32)])
    steps.sgd_step(params, on_device(xp, [np.ones(2, np.float32)]), [], [], 0.5, 0.0, 0.0, 0.0, False)
    np.testing.assert_array_equal(xp.asnumpy(params[0]), [np.inf, 0.5])


def test_a_recorded_step_with_other_numbers(xp, device):
    """Adam's corrections and the rate change from replay to replay; the graph is the same."""
    lists = example(np.float32, 4)
    lists[3] = [np.asarray(a * a) for a in lists[3]]
    found = [on_device(xp, arrays) for arrays in lists]
    rates = {1: 0.1, 2: 0.05, 3: 0.025}
    recording, stream = Recording(device), xp.cuda.Stream()
    kernel = launch.kernel("steps.cu", "adam_step", np.float32)  # compiled before the recording begins
    assert kernel is not None

    def step(number):
        steps.adam_step(*found, rates[number], 0.8, 0.95, 1e-3, 0.0, False, [number] * len(SIZES))

    with stream:
        stream.begin_capture()
        with recording.recorded():
            step(1)
        graph = stream.end_capture()
    for number in rates:
        with recording.renewed(0):
            step(number)
        recording.write(stream)
        graph.launch(stream)
        stream.synchronize()
        readable.adam_step(*lists, rates[number], 0.8, 0.95, 1e-3, 0.0, False, [number] * len(SIZES))
        same(xp, found, lists, np.float32)


@pytest.mark.parametrize("dtype", BOTH)
def test_unscale(xp, dtype):
    """In place, views too; one ∞ or NaN anywhere is found, and so is what only becomes ∞."""
    (host,) = example(dtype, 1)
    spoilt = [None] + [(i, value) for i, p in enumerate(host) if p.size for value in (np.inf, -np.inf, np.nan)]
    spoilt += [(7, np.finfo(dtype).max)]
    for strided, case in itertools.product((False, True), spoilt):
        lists = [p.copy() for p in host]
        if case:
            lists[case[0]].flat[-1] = case[1]
        found = on_device(xp, lists, strided)
        finite = steps.unscale(found, 2.5)
        with np.errstate(over="ignore"):
            wanted = readable.unscale(lists, 2.5)
        assert (finite.shape, finite.dtype) == ((), bool)
        assert bool(xp.asnumpy(finite)) == wanted == (case is None)
        same(xp, [found], [lists], dtype)


def test_unscale_of_nothing_and_of_two_dtypes(xp):
    assert bool(xp.asnumpy(steps.unscale([], 2.0)))
    assert bool(xp.asnumpy(steps.unscale(on_device(xp, [np.zeros((0, 3), np.float32)]), 2.0)))
    arrays = on_device(xp, [np.ones(5, np.float32), np.full(3, np.inf)])
    assert not bool(xp.asnumpy(steps.unscale(arrays, 2.0)))
    np.testing.assert_array_equal(xp.asnumpy(arrays[0]), np.full(5, 2))
