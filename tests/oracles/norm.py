"""Naive oracles of normalisation: for each group of numbers its mean and variance, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable

import numpy as np


def moments(numbers: list[float]) -> tuple[float, float]:
    """Mean and the sum of squared distances from it."""
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.fsum((number - mean) ** 2 for number in numbers)


def standardised(x: np.ndarray, eps: float, group: Callable[[tuple], Hashable]) -> np.ndarray:
    """(x − mean) / √(var + eps), each number among those whose group(index) is the same."""
    members: dict = {}
    for index in np.ndindex(*x.shape):
        members.setdefault(group(index), []).append(index)
    result = np.zeros(x.shape)
    for indices in members.values():
        mean, squares = moments([float(x[index]) for index in indices])
        for index in indices:
            result[index] = (x[index] - mean) / math.sqrt(squares / len(indices) + eps)
    return result


def scaled(x_hat: np.ndarray, w, b, place: Callable[[tuple], tuple]) -> np.ndarray:
    """w·x̂ + b, with the elements of w and b at place(index)."""
    result = np.zeros(x_hat.shape)
    for index in np.ndindex(*x_hat.shape):
        scale = 1.0 if w is None else w[place(index)]
        result[index] = scale * x_hat[index] + (0.0 if b is None else b[place(index)])
    return result


def of_channel(index: tuple) -> tuple:
    return (index[1],)


def batch_norm(x, w=None, b=None, eps=1e-5, offset=0.0):
    return scaled(standardised(x + offset, eps, of_channel), w, b, of_channel)


def running_statistics(past, channels: int, momentum: float) -> tuple[list[float], list[float]]:
    """What batches leave behind in statistics that began as mean 0 and variance 1."""
    means, variances = [0.0] * channels, [1.0] * channels
    for batch in past:
        for c in range(channels):
            numbers = [float(batch[index]) for index in np.ndindex(*batch.shape) if index[1] == c]
            mean, squares = moments(numbers)
            means[c] += momentum * (mean - means[c])
            variances[c] += momentum * (squares / (len(numbers) - 1) - variances[c])
    return means, variances


def batch_norm_of_the_past(x, w=None, b=None, past=(), momentum=0.1, eps=1e-5):
    """In evaluation, after training on the batches of the past."""
    means, variances = running_statistics(past, x.shape[1], momentum)
    x_hat = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        x_hat[index] = (x[index] - means[index[1]]) / math.sqrt(variances[index[1]] + eps)
    return scaled(x_hat, w, b, of_channel)


def batch_norm_act(x, w=None, b=None, residual=None, activation="relu", past=None, eps=1e-5):
    y = batch_norm(x, w, b, eps) if past is None else batch_norm_of_the_past(x, w, b, past, eps=eps)
    most = {"relu": math.inf, "relu6": 6.0}
    for index in np.ndindex(*x.shape):
        y[index] += 0.0 if residual is None else residual[index]
        if activation is not None:
            y[index] = sorted((0.0, y[index], most[activation]))[1]
    return y


def group_norm(x, w=None, b=None, num_groups=1, eps=1e-5):
    in_group = x.shape[1] // num_groups
    return scaled(standardised(x, eps, lambda index: (index[0], index[1] // in_group)), w, b, of_channel)


def layer_norm(x, w=None, b=None, normalized_shape=(), eps=1e-5):
    axes = len(normalized_shape) if isinstance(normalized_shape, tuple | list) else 1
    before = x.ndim - axes
    return scaled(standardised(x, eps, lambda index: index[:before]), w, b, lambda index: index[before:])


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, divide_alpha=True):
    """The window of channel c as PyTorch pads it: ⌊size/2⌋ zeros in front of the channels, the rest behind."""
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        n, c, *rest = index
        lane = [0.0] * (size // 2) + [float(x[(n, j, *rest)]) for j in range(x.shape[1])] + [0.0] * ((size - 1) // 2)
        squares = [number * number for number in lane[c : c + size]]
        assert len(squares) == size
        weight = alpha / size if divide_alpha else alpha
        y[index] = x[index] / math.pow(k + weight * math.fsum(squares), beta)
    return y
