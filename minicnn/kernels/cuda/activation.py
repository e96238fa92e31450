"""Activations: activation.cu, called with as many threads as there are 16 bytes in x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .launch import contiguous, empty, kernel

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


def _of(name: str, arrays: int = 1) -> Callable[..., Any]:
    """The function of activation.cu that takes so many arrays, and then numbers."""

    def activation(*args: Any) -> Any:
        return elementwise("activation.cu", name, *args[:arrays], numbers=args[arrays:])

    return activation


relu = _of("relu")
relu_mask = _of("relu_mask", arrays=2)
tanh = _of("hyperbolic_tangent")  # CUDA has a function tanh already
sigmoid = _of("sigmoid")
relu6 = _of("relu6")
hard_sigmoid = _of("hard_sigmoid")
clip_mask = _of("clip_mask", arrays=2)
elu = _of("elu")
softplus = _of("softplus")
sign = _of("sign")
silu = _of("silu")
silu_slope = _of("silu_slope", arrays=2)
gelu = _of("gelu")
gelu_slope = _of("gelu_slope", arrays=2)
gelu_tanh = _of("gelu_tanh")
gelu_tanh_slope = _of("gelu_tanh_slope", arrays=2)
hard_swish = _of("hard_swish")
hard_swish_slope = _of("hard_swish_slope", arrays=2)
mish = _of("mish")
mish_slope = _of("mish_slope", arrays=2)


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
