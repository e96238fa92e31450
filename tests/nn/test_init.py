"""Initialisers: the variance and the bounds of their papers, and streams that depend on the seed alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import init

SHAPE = (200, 50, 3, 2)  # fan_in 300, fan_out 1200
FAN_IN, FAN_OUT = 300, 1200


def made(function, *args, **options):
    minicnn.manual_seed(11)
    return function(Tensor(np.empty(SHAPE)), *args, **options).numpy()


@pytest.mark.parametrize(
    ("function", "options", "variance"),
    [
        (init.xavier_uniform_, {}, 2 / (FAN_IN + FAN_OUT)),
        (init.xavier_normal_, {"gain": 2.0}, 4 * 2 / (FAN_IN + FAN_OUT)),
        (init.kaiming_uniform_, {"nonlinearity": "relu"}, 2 / FAN_IN),
        (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, 2 / FAN_OUT),
        (init.kaiming_uniform_, {"a": math.sqrt(5)}, 1 / (3 * FAN_IN)),
        (init.lecun_normal_, {}, 1 / FAN_IN),
        (init.lecun_uniform_, {}, 1 / FAN_IN),
        (init.normal_, {"mean": 0.0, "std": 3.0}, 9.0),
        (init.uniform_, {"a": -2.0, "b": 2.0}, 16 / 12),
        (init.trunc_normal_, {}, 0.774),  # of a normal cut at two standard deviations
    ],
)
def test_mean_and_variance(function, options, variance):
    values = made(function, **options)
    assert values.var() == pytest.approx(variance, rel=0.03)  # 60,000 numbers: three standard errors of a variance
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)


def test_bounds():
    assert np.abs(made(init.kaiming_uniform_, a=math.sqrt(5))).max() <= 1 / math.sqrt(FAN_IN)
    assert np.abs(made(init.trunc_normal_, std=5.0)).max() <= 2.0


def test_normal_numbers_have_normal_tails():
    values = made(init.normal_)
    for bound, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        assert (np.abs(values) > bound).mean() == pytest.approx(share, rel=0.25 if bound == 3 else 0.05)


def test_orthogonal_rows_or_columns():
    for shape in ((4, 9), (9, 4), (4, 2, 3)):
        matrix = init.orthogonal_(Tensor(np.empty(shape)), gain=2.0).numpy().reshape(shape[0], -1)
        product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_constants():
    tensor = Tensor(np.empty(3))
    assert init.zeros_(tensor).numpy().tolist() == [0, 0, 0] and init.ones_(tensor).numpy().tolist() == [1, 1, 1]


def test_the_seed_decides_on_every_device():
    first = made(init.normal_)
    with minicnn.use("reference"):
        np.testing.assert_array_equal(made(init.normal_), first)
    minicnn.manual_seed(12)
    assert (init.normal_(Tensor(np.empty(SHAPE))).numpy() != first).mean() > 0.99


def test_bad_arguments():
    with pytest.raises(ShapeError, match="two axes"):
        init.xavier_uniform_(Tensor(np.empty(3)))
    with pytest.raises(ArgumentError, match="fan_in"):
        init.kaiming_normal_(Tensor(np.empty((2, 2))), mode="fan")
    with pytest.raises(ArgumentError, match="gain"):
        init.calculate_gain("swash")
    with pytest.raises(ArgumentError, match="near mean"):
        init.trunc_normal_(Tensor(np.empty(3)), a=10, b=11)


@pytest.mark.parametrize("shape", [(3, 1 << 16), (70_001,), (1 << 16,), (65_535,)])
@pytest.mark.parametrize("function", [init.normal_, init.uniform_, init.trunc_normal_])
def test_large_tensors_are_drawn_in_parts_that_differ_and_are_complete(function, shape):
    minicnn.manual_seed(4)
    first, second = (function(Tensor(np.full(shape, np.nan, np.float32))).numpy().ravel() for _ in range(2))
    assert np.isfinite(first).all()
    parts = [first[at : at + 50_000] for at in range(0, first.size, 1 << 16)] + [second[:50_000]]
    for i, part in enumerate(parts):
        for other in parts[:i]:
            length = min(len(part), len(other))
            assert (part[:length] != other[:length]).mean() > 0.99


def test_single_precision_is_as_normal_as_double():
    minicnn.manual_seed(6)
    single = init.normal_(Tensor(np.empty(300_001, np.float32))).numpy()
    minicnn.manual_seed(6)
    double = init.normal_(Tensor(np.empty(300_001))).numpy()
    np.testing.assert_allclose(single, double, atol=2e-3)  # a word near 2³² is rounded to 1, its radius to 0
    assert np.abs(single - double).mean() < 1e-6


INITIALISERS = [getattr(init, name) for name in dir(init) if name.endswith("_") and not name.startswith("_")]


@pytest.mark.parametrize("function", INITIALISERS, ids=lambda function: function.__name__)
def test_skipped_initialisers_draw_nothing_and_write_nothing(function):
    minicnn.manual_seed(3)
    tensor = Tensor(np.full((4, 3, 2, 2), 7.0))
    with init.skip():
        with init.skip():
            pass
        assert function(tensor, *([1.0] if function is init.constant_ else [])) is tensor
        assert minicnn.nn.Linear(3, 2).weight.shape == (2, 3)
    assert (tensor.numpy() == 7).all()
    np.testing.assert_array_equal(init.uniform_(tensor).numpy(), made_after_seed(3))


def made_after_seed(seed):
    minicnn.manual_seed(seed)
    return init.uniform_(Tensor(np.empty((4, 3, 2, 2)))).numpy()
