"""Initialisers, by their published names. Each overwrites a tensor in place, and returns it.

fan_in is how many inputs feed one output, fan_out how many outputs one input feeds: for weights (K, C/groups, R, S)
C/groups·R·S and K·R·S, for (outputs, inputs) the two sizes. Numbers come from Philox4x32-10 under minicnn.manual_seed:
one seed gives one network, on every device.
"""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..device import generator
from ..errors import ArgumentError, ShapeError
from ..kernels import reference
from ..tensor import Tensor

_LARGE = 1 << 20  # from here on the device's own Philox is worth its start-up; the words are the same


def _words(n: int) -> np.ndarray:
    seed, call = generator.next_call()
    return np.asarray((kernels if n >= _LARGE else reference).random_bits(seed, call, n))


def _uniform(n: int) -> np.ndarray:
    """n float64 in (0, 1), the middles of 2³² equal cells."""
    return (_words(n) + 0.5) / 2.0**32


def _normal(n: int) -> np.ndarray:
    """n standard normal numbers: Box and Muller 1958, cosine and sine of one angle side by side."""
    pairs = _uniform(2 * ((n + 1) // 2)).reshape(2, -1)
    radius, angle = np.sqrt(-2 * np.log(pairs[0])), 2 * np.pi * pairs[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


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
    return tensor.copy_(np.full(tensor.shape, value))


def zeros_(tensor: Tensor) -> Tensor:
    """All elements 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All elements 1."""
    return constant_(tensor, 1.0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b)."""
    return tensor.copy_((a + (b - a) * _uniform(tensor.size)).reshape(tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std²)."""
    return tensor.copy_((mean + std * _normal(tensor.size)).reshape(tensor.shape))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """N(mean, std²) within [a, b]: what falls outside is drawn again. Raises ArgumentError if [a, b] is far off."""
    if not a < b or a > mean + 4 * std or b < mean - 4 * std:
        raise ArgumentError(f"trunc_normal_ needs a < b near mean {mean} (within 4 std {std}), got [{a}, {b}]")
    values = mean + std * _normal(tensor.size)
    while (outside := (values < a) | (values > b)).any():
        values[outside] = mean + std * _normal(int(outside.sum()))
    return tensor.copy_(values.reshape(tensor.shape))


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
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    random = _normal(rows * columns).reshape(max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(random)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return tensor.copy_(gain * (q if rows >= columns else q.T).reshape(tensor.shape))
