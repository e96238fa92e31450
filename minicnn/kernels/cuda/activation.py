"""Activations: activation.cu, called with as many threads as there are 16 bytes in x."""

from __future__ import annotations

from typing import Any

from .launch import contiguous, empty, kernel, library

PACK = 16  # bytes that a thread reads at once


def packs(x: Any) -> int:
    """The threads that a kernel made of elementwise.cuh can use on x."""
    return -(-x.nbytes // PACK)


def elementwise(file: str, name: str, *arrays: Any, numbers: tuple[float, ...] = ()) -> Any:
    """y of the shape of arrays, which are all of one shape: y[i] = name(arrays[0][i], ..., *numbers)."""
    first = arrays[0]
    y = empty(first.shape, first.dtype)
    values = (y, *map(contiguous, arrays), *map(float, numbers), y.size)
    kernel(file, name, first.dtype)(packs(first), values)
    return y


def _of_one(name: str, x: Any, *numbers: float) -> Any:
    return elementwise("activation.cu", name, x, numbers=numbers)


def _of_two(name: str, g: Any, x: Any, *numbers: float) -> Any:
    return elementwise("activation.cu", name, g, x, numbers=numbers)


# --- what kernels/__init__.py says of them ----------------------------------------------------------------------------


def relu(x: Any) -> Any:
    return _of_one("relu", x)


def relu_mask(g: Any, y: Any) -> Any:
    return _of_two("relu_mask", g, y)


def tanh(x: Any) -> Any:
    return _of_one("hyperbolic_tangent", x)  # CUDA has a function tanh already


def sigmoid(x: Any) -> Any:
    return _of_one("sigmoid", x)


def relu6(x: Any) -> Any:
    return _of_one("relu6", x)


def hard_sigmoid(x: Any) -> Any:
    return _of_one("hard_sigmoid", x)


def clip_mask(g: Any, y: Any, low: float, high: float) -> Any:
    return _of_two("clip_mask", g, y, low, high)


def elu(x: Any, alpha: float, scale: float) -> Any:
    return _of_one("elu", x, alpha, scale)


def softplus(x: Any, beta: float, threshold: float) -> Any:
    return _of_one("softplus", x, beta, threshold)


def sign(x: Any) -> Any:
    return _of_one("sign", x) if x.dtype.kind in "fV" else library().sign(x)


def silu(x: Any) -> Any:
    return _of_one("silu", x)


def silu_slope(g: Any, x: Any) -> Any:
    return _of_two("silu_slope", g, x)


def gelu(x: Any) -> Any:
    return _of_one("gelu", x)


def gelu_slope(g: Any, x: Any) -> Any:
    return _of_two("gelu_slope", g, x)


def gelu_tanh(x: Any) -> Any:
    return _of_one("gelu_tanh", x)


def gelu_tanh_slope(g: Any, x: Any) -> Any:
    return _of_two("gelu_tanh_slope", g, x)


def hard_swish(x: Any) -> Any:
    return _of_one("hard_swish", x)


def hard_swish_slope(g: Any, x: Any) -> Any:
    return _of_two("hard_swish_slope", g, x)


def mish(x: Any) -> Any:
    return _of_one("mish", x)


def mish_slope(g: Any, x: Any) -> Any:
    return _of_two("mish_slope", g, x)


def leak(g: Any, x: Any, slope: Any) -> Any:
    """g where x > 0, else slope·g; one slope, or one for each place along axis 1."""
    g, x, slope = contiguous(g), contiguous(x), contiguous(slope)
    y = empty(g.shape, g.dtype)
    if slope.size == 1:
        kernel("activation.cu", "leak", g.dtype)(packs(g), (y, g, x, slope, g.size))
    else:
        inner = g.size // max(g.shape[0] * g.shape[1], 1)
        kernel("activation.cu", "leak_channels", g.dtype)(g.size, (y, g, x, slope, slope.size, inner, g.size))
    return y
