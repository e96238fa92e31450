"""Rows of normalisation.

A group of two numbers that share a mean and a variance is x̂ = ±1 whatever they are, and its gradient 0: too few to
show anything. So groups have at least three, most of them more; and eps is large enough to count, or as usual.
"""

from __future__ import annotations

import numpy as np

from minicnn import Tensor, ops

from ..oracles import norm as oracles
from ..strategies import Case, Choices
from .row import Op, edge

# --- recipes ----------------------------------------------------------------------------------------------------------


def _batch(choose: Choices) -> tuple[int, ...]:
    """Features, sequences or images, several of each, of two or three channels."""
    n, c = choose.integer(2, 3), choose.integer(2, 3)
    return choose.one_of((n + 2, c), (n, c, choose.integer(2, 4)), (n, c, 2, 3), (n, c, 3, 2))


def _weights(choose: Choices, shape: tuple[int, ...]) -> list[tuple[int, ...] | None]:
    """Weight and bias, as a rule both."""
    return list(choose.one_of((shape, shape), (shape, shape), (shape, None), (None, shape), (None, None)))


def _eps(choose: Choices) -> float:
    return choose.one_of(1e-5, 0.4, 0.1)


def _past(choose: Choices, shape: tuple[int, ...]) -> np.ndarray:
    """Batches of other numbers, neither around 0 nor of variance 1."""
    return 1.5 + 3 * np.random.default_rng(choose.seed()).standard_normal((choose.integer(1, 3), *shape))


def batch_norm_inputs(choose: Choices) -> Case:
    shape = _batch(choose)
    weights = _weights(choose, shape[1:2])
    return Case((shape, *weights), {"eps": _eps(choose)}, seed=choose.seed())


def evaluation_inputs(choose: Choices) -> Case:
    shape = _batch(choose)
    options = {"past": _past(choose, shape), "momentum": choose.one_of(0.1, 0.3, 1.0), "eps": _eps(choose)}
    return Case((shape, *_weights(choose, shape[1:2])), options, seed=choose.seed())


def batch_norm_act_inputs(choose: Choices) -> Case:
    """With a past in evaluation, without in training; of the sums, some lie below 0, some above 6."""
    shape = _batch(choose)
    weights, residual = _weights(choose, shape[1:2]), choose.one_of(shape, shape, None)
    options = {
        "activation": choose.one_of("relu", "relu", "relu6", None),
        "past": choose.one_of(None, None, _past(choose, shape)),
        "eps": _eps(choose),
    }
    return Case((shape, *weights, residual), options, "pieces", choose.seed())


def group_norm_inputs(choose: Choices) -> Case:
    """More than one channel a group in most cases: the first channels of an image, not every second."""
    groups, in_group = choose.one_of((2, 2), (2, 3), (3, 2), (1, 3), (3, 1))
    pixels = choose.one_of((3,), (2, 2), (1, 4))
    shape = (2, groups * in_group, *pixels)
    return Case((shape, *_weights(choose, shape[1:2])), {"num_groups": groups, "eps": _eps(choose)}, seed=choose.seed())


def layer_norm_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 4), (2, 3))
    axes = choose.integer(1, len(shape) - 1)
    last = shape[-axes:] if axes > 1 else (choose.integer(3, 4),)
    shape = (*shape[: len(shape) - axes], *last)
    normalized_shape = choose.one_of(last, list(last), last[0]) if axes == 1 else last
    options = {"normalized_shape": normalized_shape, "eps": _eps(choose)}
    return Case((shape, *_weights(choose, last)), options, seed=choose.seed())


def local_response_norm_inputs(choose: Choices) -> Case:
    """alpha is large, so that every channel of a window counts; windows odd and even, and wider than all channels."""
    channels, pixels = choose.integer(3, 6), choose.one_of((2, 2), (3,), (), (1, 2))
    options = {
        "size": choose.one_of(3, 5, 2, 4, 1, 2 * channels),
        "alpha": choose.one_of(1.0, 0.5, 2.0),
        "beta": choose.one_of(0.75, 0.5, 1.0, 0.6, 2.0),
        "k": choose.one_of(1.0, 2.0, 0.5),
        "divide_alpha": choose.maybe(),
    }
    return Case(((2, channels, *pixels),), options, seed=choose.seed())


# --- functions --------------------------------------------------------------------------------------------------------


def trained_on(past, x, momentum=0.1):
    """Running statistics that have seen the batches of the past."""
    channels, dtype = x.shape[1], x.dtype
    mean, var = (Tensor(np.full(channels, value, dtype), device=x.device) for value in (0, 1))
    for batch in past:
        ops.batch_norm(Tensor(batch.astype(dtype), device=x.device), mean, var, training=True, momentum=momentum)
    return mean, var


def in_training(x, w, b, eps=1e-5, offset=0.0):
    return ops.batch_norm(x + offset if offset else x, None, None, w, b, training=True, eps=eps)


def in_evaluation(x, w, b, past, momentum=0.1, eps=1e-5):
    mean, var = trained_on(past, x, momentum)
    y = ops.batch_norm(x, mean, var, w, b, eps=eps)
    mean.copy_(np.full(mean.shape, np.nan))  # what training does to them later must not reach backward
    return y


def batch_norm_act(x, w, b, residual, activation, past=None, eps=1e-5):
    mean, var = (None, None) if past is None else trained_on(past, x)
    return ops.batch_norm_act(x, mean, var, w, b, residual, activation, past is None, eps=eps)


def per_channel(c, x):
    return c.reshape(c.size, *(1,) * (x.ndim - 2))


def affine(x_hat, w, b):
    y = x_hat if w is None else x_hat * w
    return y if b is None else y + b


def by_channel(x_hat, w, b):
    return affine(x_hat, *(None if c is None else per_channel(c, x_hat) for c in (w, b)))


def standardised(x, axes, eps):
    centred = x - x.mean(axes, keepdims=True)
    return centred / ops.sqrt((centred * centred).mean(axes, keepdims=True) + eps)


def batch_norm_composed(x, w, b, eps, offset=0.0):
    return by_channel(standardised(x + offset, (0, *range(2, x.ndim)), eps), w, b)


def evaluation_composed(x, w, b, past, momentum, eps):
    mean, var = (per_channel(s, x) for s in trained_on(past, x, momentum))
    return by_channel((x - mean) / ops.sqrt(var + eps), w, b)


def batch_norm_act_composed(x, w, b, residual, activation, past, eps):
    y = batch_norm_composed(x, w, b, eps) if past is None else evaluation_composed(x, w, b, past, 0.1, eps)
    y = y if residual is None else y + residual
    y = y if activation is None else ops.maximum(y, 0.0)
    return ops.minimum(y, 6.0) if activation == "relu6" else y


def group_norm_composed(x, w, b, num_groups, eps):
    grouped = x.reshape(x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:])
    return by_channel(standardised(grouped, tuple(range(2, grouped.ndim)), eps).reshape(x.shape), w, b)


def layer_norm_composed(x, w, b, normalized_shape, eps):
    axes = len(normalized_shape) if isinstance(normalized_shape, tuple | list) else 1
    return affine(standardised(x, tuple(range(-axes, 0)), eps), w, b)


def local_response_norm_composed(x, size, alpha, beta, k, divide_alpha):
    squares = ops.pad(x * x, [(0, 0), (size // 2, (size - 1) // 2), *[(0, 0)] * (x.ndim - 2)])
    total = squares[:, : x.shape[1]]
    for shift in range(1, size):
        total = total + squares[:, shift : shift + x.shape[1]]
    return x / (k + (alpha / size if divide_alpha else alpha) * total) ** beta


# --- rows -------------------------------------------------------------------------------------------------------------

PAST = np.random.default_rng(7).standard_normal((2, 3, 2, 2))

NORMALISATION = (
    Op("batch_norm", in_training, oracles.batch_norm, batch_norm_inputs, order=3, analytic=True, affine=(1, 2),
       keeps=(0, 1, "own"), composition=batch_norm_composed,
       edges=(edge((4, 0, 2), (0,), (0,)), edge((3, 1), (1,), (1,)), edge((1, 2, 1, 3), (2,), (2,)),
              edge((3, 2), None, None), edge((6, 2, 3, 3), (2,), (2,), values="ties", offset=1000.0),
              edge((3, 2, 2), (2,), (2,), values="large"))),
    Op("batch_norm (evaluation)", in_evaluation, oracles.batch_norm_of_the_past, evaluation_inputs, order=2,
       analytic=True, affine="all", keeps=(0, 1, "own"), composition=evaluation_composed,
       edges=(edge((0, 2, 2), (2,), (2,), past=PAST), edge((1, 2), (2,), (2,), past=PAST),
              edge((2, 2, 0, 3), (2,), (2,), past=PAST), edge((1, 2, 1, 1), None, None, past=PAST),
              edge((2, 0), (0,), (0,), past=PAST[:, :, :0].copy()))),
    Op("batch_norm_act", batch_norm_act, oracles.batch_norm_act, batch_norm_act_inputs, order=2, kinks="0 and 6",
       keeps=(0, 1, "y", "own"), composition=batch_norm_act_composed,
       edges=(edge((0, 2, 2), (2,), (2,), (0, 2, 2), activation="relu", past=PAST),
              edge((4, 0, 1), (0,), (0,), (4, 0, 1), activation="relu"),
              edge((3, 1), (1,), (1,), (3, 1), activation="relu6"),
              edge((3, 2, 2), (2,), (2,), (3, 2, 2), values="large", activation="relu6"))),
    Op("group_norm", lambda x, w, b, **options: ops.group_norm(x, weight=w, bias=b, **options), oracles.group_norm,
       group_norm_inputs, order=2, analytic=True, affine=(1, 2), keeps=(1, "y", "own"), composition=group_norm_composed,
       edges=(edge((0, 4, 2), (4,), (4,), num_groups=2), edge((2, 4, 0), (4,), (4,), num_groups=2),
              edge((1, 2), (2,), (2,), num_groups=2), edge((2, 0, 3), (0,), (0,), num_groups=1),
              edge((2, 4, 3), (4,), (4,), values="large", num_groups=2))),
    Op("layer_norm", lambda x, w, b, **options: ops.layer_norm(x, weight=w, bias=b, **options), oracles.layer_norm,
       layer_norm_inputs, order=2, analytic=True, affine=(1, 2), keeps=(1, "y", "own"), composition=layer_norm_composed,
       edges=(edge((0, 3), (3,), (3,), normalized_shape=3), edge((2, 0), (0,), (0,), normalized_shape=(0,)),
              edge((2, 1), (1,), (1,), normalized_shape=1), edge((3,), (3,), (3,), normalized_shape=(3,)),
              edge((2, 3), (3,), (3,), values="large", normalized_shape=(3,)))),
    Op("local_response_norm", ops.local_response_norm, oracles.local_response_norm, local_response_norm_inputs,
       order=3, analytic=True, keeps=(0,), composition=local_response_norm_composed,
       edges=(edge((0, 3, 2), size=3), edge((2, 0, 3), size=3), edge((2, 3, 0), size=2), edge((1, 1), size=5),
              edge((1, 3, 1, 1), size=1, alpha=1.0), edge((2, 4, 3), values="large", size=3, alpha=1.0),
              edge((2, 7, 300), size=4, alpha=1.0), edge((1, 3, 2), size=6, alpha=1.0))),
)  # fmt: skip
