"""cpu/steps.py beside the readable steps, which tests/optim compares with formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.kernels.cpu import steps, threads
from minicnn.kernels.reference import steps as readable

from .test_microkernels import before_a_wall

SIZES = [(3,), (16,), (5, 7), (), (2, 3, 33), (1,), (0, 4)]
OPTIONS = [o for o in itertools.product((0.0, 0.9), (0.0, 0.3), (0.0, 0.01), (False, True)) if o[0] or not o[3]]


@pytest.fixture
def eager_threads(monkeypatch):
    monkeypatch.setattr(steps, "SMALL", 0)
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("momentum, dampening, decay, nesterov", OPTIONS)
def test_sgd(dtype, count, momentum, dampening, decay, nesterov, eager_threads):
    """Three steps; one parameter joins at the second, with a fresh velocity."""
    eager_threads(count)
    rng = np.random.default_rng(0)
    params, grads = ([before_a_wall(rng.standard_normal(size).astype(dtype)) for size in SIZES] for _ in range(2))
    velocities = [before_a_wall(np.zeros_like(p)) for p in params] if momentum else []
    expected = [[a.copy() for a in arrays] for arrays in (params, velocities)]
    kept = [g.copy() for g in grads]
    for step in range(3):
        which = slice(0, None) if step else slice(1, None)
        fresh = [step == 0 or (step == 1 and i == 0) for i in range(len(params))][which] if momentum else []
        options = fresh, 0.05, momentum, dampening, decay, nesterov
        steps.sgd_step(params[which], grads[which], velocities[which], *options)
        readable.sgd_step(expected[0][which], grads[which], expected[1][which], *options)
    tolerance = 20 * np.finfo(dtype).eps
    for arrays, wanted in zip((params, velocities), expected, strict=True):
        for a, b in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for g, before in zip(grads, kept, strict=True):
        np.testing.assert_array_equal(g, before)


def test_strided_parameters_and_other_dtypes():
    """What has no plain memory of one floating type is left to the readable steps."""
    for p in (np.ones((4, 6), np.float32).T, np.ones((4, 6), np.float16), np.ones(6, np.float32)[::2]):
        g = np.full_like(p, 2)
        steps.sgd_step([p], [g], [], [], 0.25, 0.0, 0.0, 0.0, False)
        np.testing.assert_array_equal(p, np.full_like(p, 0.5))
