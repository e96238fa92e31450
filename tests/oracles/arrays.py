"""Naive oracles for what arrays do besides arithmetic: picking by position, moving about, statistics, einsum."""

from __future__ import annotations

import math

import numpy as np

from .naive import filled, flat

# --- picking by position ----------------------------------------------------------------------------------------------


def replaced(index: tuple[int, ...], axis: int, position: int) -> tuple[int, ...]:
    return (*index[:axis], position, *index[axis + 1 :])


def gather(x, axis, index):
    axis, index = axis % x.ndim, np.asarray(index)
    return filled(index.shape, lambda place: x[replaced(place, axis, int(index[place]))])


def scatter_add(x, src, axis, index):
    axis, total = axis % x.ndim, x.copy()
    for place in np.ndindex(*src.shape):
        total[replaced(place, axis, int(index[place]))] += src[place]
    return total


def take(x, indices, axis):
    indices = np.asarray(indices)
    if axis is None:
        numbers = flat(x)
        return filled(indices.shape, lambda place: numbers[indices[place]])
    axis %= x.ndim

    def number(place):
        before, middle, after = place[:axis], place[axis : axis + indices.ndim], place[axis + indices.ndim :]
        return x[(*before, int(indices[middle]), *after)]

    return filled((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), number)
