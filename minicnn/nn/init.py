"""Initialisers, by their published names. Each overwrites a tensor in place, and returns it.

fan_in is how many inputs feed one output, fan_out how many outputs one input feeds: for weights (K, C/groups, R, S)
C/groups·R·S and K·R·S, for (outputs, inputs) the two sizes. Numbers come from Philox4x32-10 under minicnn.manual_seed:
one seed gives one network, on every device. `with skip():` builds without numbers, for weights that are loaded.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import kernels
from ..device import generator
from ..errors import ArgumentError, ShapeError
from ..kernels import reference
from ..tensor import Tensor


class _Skipping(threading.local):
    now = False


_skipping = _Skipping()


@contextlib.contextmanager
def skip() -> Iterator[None]:
    """Inside, initialisers leave tensors as they are, and draw no numbers: for networks whose weights are loaded next,
    or that are only counted. Weights of layers made inside hold anything."""
    before, _skipping.now = _skipping.now, True
    try:
        yield
    finally:
        _skipping.now = before


_CHUNK = 1 << 16  # numbers drawn at a time, each chunk from a call of its own: they stay in the cache


def _fill(tensor: Tensor, draw: Callable[[int, np.dtype], np.ndarray]) -> Tensor:
    """Overwrite the tensor with draw(n, dtype), chunk by chunk. dtype: the precision to compute in."""
    if _skipping.now:
        return tensor
    precision = np.dtype(np.float32 if tensor.dtype == np.float32 else np.float64)
    in_place = isinstance(tensor.data, np.ndarray) and tensor.data.flags.c_contiguous
    values = tensor.data.reshape(-1) if in_place else np.empty(tensor.size, tensor.dtype)
    for start in range(0, tensor.size, _CHUNK):
        part = values[start : start + _CHUNK]
        part[:] = draw(min(tensor.size, _CHUNK), precision)[: part.size]
    if not in_place:
        return tensor.copy_(values.reshape(tensor.shape))
    tensor.version[0] += 1
    return tensor


def _words(n: int) -> np.ndarray:
    seed, call = generator.next_call()
    quick = kernels if n == _CHUNK else reference  # few numbers are not worth the start-up of the device's own Philox
    return np.asarray(quick.random_bits(seed, call, n))


def _uniform(n: int, precision: Any = np.float64) -> np.ndarray:
    """n numbers in (0, 1), the middles of 2³² equal cells; in float32, the upper ones round to 1."""
    values = _words(n).astype(precision)
    values += 0.5
    values *= 2.0**-32
    return values


def _normal(n: int, precision: Any = np.float64) -> np.ndarray:
    """n standard normal numbers: Box and Muller 1958, cosine and sine of one angle side by side."""
    pairs = _uniform(2 * ((n + 1) // 2), precision).reshape(2, -1)
    radius, angle = np.sqrt(-2 * np.log(pairs[0])), 2 * np.pi * pairs[1]
    np.multiply(radius, np.cos(angle), out=pairs[0])
    np.multiply(radius, np.sin(angle), out=pairs[1])
    return pairs.reshape(-1)[:n]


def _affine(values: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """scale·values + shift, in place."""
    values *= scale
    values += shift
    return values


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight. Raises ShapeError for tensors with fewer than two axes."""
    if tensor.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need a weight of two axes or more, got shape {tensor.shape}")
    taps = math.prod(tensor.shape[2:])
    return tensor.shape[1] * taps, tensor.shape[0] * taps


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much to enlarge weights before a nonlinearity: 1, tanh 5/3, relu √2, leaky_relu √(2/(1+a²))."""
    gains = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ArgumentError(f"no gain is known for {nonlinearity!r}: choose one of {', '.join([*gains, 'leaky_relu'])}")
    return gains[nonlinearity]


def constant_(tensor: Tensor, value: float) -> Tensor:
    """All elements equal to value."""
    return tensor if _skipping.now else tensor.copy_(np.full(tensor.shape, value))


def zeros_(tensor: Tensor) -> Tensor:
    """All elements 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All elements 1."""
    return constant_(tensor, 1.0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b)."""
    return _fill(tensor, lambda n, precision: _affine(_uniform(n), b - a, a))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std²)."""
    return _fill(tensor, lambda n, precision: _affine(_normal(n, precision), std, mean))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """N(mean, std²) within [a, b]: what falls outside is drawn again. Raises ArgumentError if [a, b] is far off."""
    if not a < b or a > mean + 4 * std or b < mean - 4 * std:
        raise ArgumentError(f"trunc_normal_ needs a < b near mean {mean} (within 4 std {std}), got [{a}, {b}]")

    def within(n: int, precision: np.dtype) -> np.ndarray:
        values = _affine(_normal(n, precision), std, mean)
        while (outside := (values < a) | (values > b)).any():
            values[outside] = mean + std * _normal(int(outside.sum()), precision)
        return values

    return _fill(tensor, within)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(±gain·√(6 / (fan_in + fan_out))). Source: Glorot and Bengio 2010, equation 16."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, gain²·2 / (fan_in + fan_out)). Source: Glorot and Bengio 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))))


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f'mode must be "fan_in" or "fan_out", got {mode!r}')
    return fans(tensor)[mode == "fan_out"]


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(±gain·√(3 / fan)). Source: He et al. 2015, "Delving deep into rectifiers", section 2.2."""
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, gain² / fan). Source: He et al. 2015, equation 10."""
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


def lecun_normal_(tensor: Tensor) -> Tensor:
    """N(0, 1 / fan_in). Source: LeCun et al. 1998, "Efficient BackProp", equation 16."""
    return normal_(tensor, 0.0, 1 / math.sqrt(fans(tensor)[0]))


def lecun_uniform_(tensor: Tensor) -> Tensor:
    """U(±√(3 / fan_in)), of the same variance. Source: LeCun et al. 1998, "Efficient BackProp"."""
    bound = math.sqrt(3 / fans(tensor)[0])
    return uniform_(tensor, -bound, bound)


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Orthonormal rows or columns (whichever are fewer), axes after the first flattened. Source: Saxe et al. 2013."""
    fans(tensor)
    if _skipping.now:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    random = _normal(rows * columns).reshape(max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(random)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return tensor.copy_(gain * (q if rows >= columns else q.T).reshape(tensor.shape))
