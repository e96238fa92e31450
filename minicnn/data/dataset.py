"""A data set: N examples that can be asked for a batch."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError


class Dataset(Protocol):
    """What DataLoader needs: a length, and the examples at some indices as arrays."""

    def __len__(self) -> int: ...

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]: ...


class ArrayDataset:
    """Images and labels held as two arrays; a batch is converted when it is asked for, never the whole set.

    images (N, ...), any dtype; labels (N,) integers, each the index of a name in `classes`, kept as int64.
    transform: images (B, ...) -> network inputs x (B, C, H, W), applied to every batch; None leaves them as they are.
    source: what messages call this data set.
    Raises DataError if images and labels do not pair up, or a label has no class.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        classes: Sequence[str],
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        source: str = "data set",
    ):
        images, labels = np.asarray(images), np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(
                f"{source}: expected labels of shape (N,) and an integer type, found {labels.shape} of {labels.dtype}: "
                "give the index of each image's class"
            )
        if images.ndim == 0 or len(images) != len(labels):
            raise DataError(
                f"{source}: expected one label for each image, found images {images.shape} and labels {labels.shape}: "
                "take both from the same release and the same split"
            )
        strays = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(strays):
            raise DataError(
                f"{source}: expected labels from 0 to {len(classes) - 1}, "
                f"found {labels[strays[0]]} at index {strays[0]}: "
                "check that this is the right label file, and that its classes count from 0"
            )
        self.images = images
        self.labels = labels.astype(np.int64)
        self.classes = tuple(classes)
        self.transform = transform
        self.source = source

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """indices: B integers, in any order -> x (B, C, H, W), y (B,) int64; both are new arrays."""
        indices = _integer_array(indices, self.source)
        images = self.images[indices]
        x = images if self.transform is None else self.transform(images)
        return x, self.labels[indices]

    def __getitem__(self, chosen: Any) -> Self:
        """A data set of the chosen examples: dataset[:1000] shares the memory of this one, dataset[[3, 1]] copies."""
        if not isinstance(chosen, slice):
            chosen = _integer_array(chosen, self.source)
        part = copy.copy(self)
        part.images, part.labels = self.images[chosen], self.labels[chosen]
        return part

    def subset(self, n: int) -> Self:
        """The first n examples, 1 ≤ n ≤ N."""
        return self[: whole_number("subset size n", n, 1, len(self))]


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value as an int, if it is an integer (of Python or NumPy, but not a bool) with low ≤ value ≤ high."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < low or (high is not None and number > high):
        raise DataError(f"{name}: expected a whole number {bounds}, found {value!r}: pass an int in this range")
    return number


def _integer_array(indices: Any, source: str) -> np.ndarray:
    """Refuses what NumPy would take to mean something else: a single index, a mask, a matrix of indices."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{source}: expected a list of integer indices, found {array.dtype} of shape {array.shape}: "
            "one example is [i], a mask becomes indices by np.flatnonzero(mask)"
        )
    return array
