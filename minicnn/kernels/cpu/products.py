"""Matrix products by NumPy's BLAS, with as many of BLAS's threads as are worth their noise.

BLAS's own threads go on spinning for milliseconds after each product, on the cores that the next kernels need
(workers.py). So small products are left to one thread; large ones get all of them. The products of small linear layers
have kernels of their own (dense.py).

    operations   2·M·N·K        bytes   (M·K + K·N + M·N)·itemsize
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .threads import get_num_threads

LARGE = 1 << 25  # operations: what one core does in about half a millisecond


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., M, K) · (..., K, N) -> (..., M, N); leading axes broadcast."""
    with _blas_threads(2 * a.size * b.shape[-1]):
        return np.matmul(a, b)


def einsum(x: np.ndarray, others: tuple[np.ndarray, ...], formula: str) -> np.ndarray:
    """np.einsum by matrix products, in the order of operands that costs least."""
    arrays = (x, *others)
    order, operations = _einsum_path(formula, tuple(array.shape for array in arrays))
    with _blas_threads(operations):
        return np.einsum(formula, *arrays, optimize=order)


@functools.lru_cache(maxsize=1024)
def _einsum_path(formula: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, int]:
    """NumPy's order of pairs, and how many operations all names together make."""
    order, _ = np.einsum_path(formula, *(np.broadcast_to(np.float32(0), shape) for shape in shapes), optimize="greedy")
    terms = formula.partition("->")[0].split(",")
    sizes = dict(pair for both in zip(terms, shapes, strict=True) for pair in zip(*both, strict=True))
    return order, 2 * math.prod(sizes.values())


class _blas_threads:
    """As many threads as a product of so many operations is worth, for as long as the block lasts."""

    __slots__ = ("before", "wanted")

    def __init__(self, operations: int):
        self.wanted = get_num_threads() if operations >= LARGE else 1

    def __enter__(self) -> None:
        self.before = [library.get_num_threads() for library in _blas()]
        self._set([self.wanted] * len(self.before))

    def __exit__(self, *exc: object) -> None:
        self._set(self.before)  # the rest of the process keeps what it had chosen

    def _set(self, counts: list[int]) -> None:
        for library, count, before in zip(_blas(), counts, self.before, strict=True):
            if self.wanted != before:
                library.set_num_threads(count)


@functools.cache
def _blas() -> list[Any]:
    """The BLAS libraries of this process, as threadpoolctl finds them."""
    from threadpoolctl import ThreadpoolController  # when first needed: it searches through all loaded libraries

    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
