"""What gradcheck probes a function with: random points and directions, and gradients pulled back from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import autograd
from . import device as devices
from .diagnose import shape_hint
from .errors import ArgumentError, GradcheckError, GraphError
from .tensor import Tensor

Arrays = list[np.ndarray]


def pull(
    name: str, outputs: list[Tensor], leaves: list[Tensor], cotangents: Sequence[Any], create_graph: bool = False
) -> list[Tensor | None]:
    """Jᵀ·c for each leaf, None for those that are not connected."""
    used = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if y.requires_grad]
    if not used:
        return [None] * len(leaves)
    ys, cs = zip(*used, strict=True)
    try:
        return list(autograd.grad(ys, leaves, cs, retain_graph=True, create_graph=create_graph, allow_unused=True))
    except GraphError as error:  # a gradient of another shape or dtype, or one too few
        raise GradcheckError(f"{name}: {error}{shape_hint(str(error))}") from error


def floating(result: Any) -> list[Tensor]:
    """The outputs that can have a gradient."""
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    for y in outputs:
        if not isinstance(y, Tensor):
            raise ArgumentError(f"gradcheck needs a function that returns Tensors, not a {type(y).__name__}")
    return [y for y in outputs if y.dtype.kind in "fc"]


def away_from_zero(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers moved outward by 1/4, so that each one counts."""
    z = random.standard_normal(shape)
    return np.asarray(z + np.copysign(0.25, z))


def nudged(random: np.random.Generator, x: np.ndarray, by: float) -> np.ndarray:
    """A point near x: elements move in proportion to their size, to stay in the domain, and enough to leave a kink."""
    largest = float(np.abs(x).max(initial=0)) or 1.0
    return np.asarray(x + by * (np.abs(x) + 0.1 * largest) * away_from_zero(random, x.shape))


def norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(float((a * a).sum()) for a in arrays)))


def same(a: Iterable[np.ndarray], b: Iterable[np.ndarray]) -> bool:
    """Equal to the byte: a NaN equals itself, and −0 is not 0."""
    return [(x.dtype, x.shape, x.tobytes()) for x in a] == [(x.dtype, x.shape, x.tobytes()) for x in b]


def has_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def array_of(value: Any) -> np.ndarray:
    return devices.to_host(value.data) if isinstance(value, Tensor) else np.asarray(value)
