"""A naive oracle of resizing: places as fractions, and for each output pixel a loop over all input pixels."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def two(value) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def shares(p: int, inputs: int, outputs: int, step: Fraction, mode: str, align_corners: bool) -> list[float]:
    """How much of each input pixel output pixel p is made of: a hat of width 1 around its place."""
    if mode == "nearest":
        left = max(i for i in range(inputs) if i <= p * step)
        return [float(i == left) for i in range(inputs)]
    if align_corners:
        place = Fraction(p * (inputs - 1), outputs - 1) if outputs > 1 else Fraction(0)
    else:
        place = (p + Fraction(1, 2)) * step - Fraction(1, 2)
    place = min(max(place, Fraction(0)), Fraction(inputs - 1))
    return [float(max(0, 1 - abs(place - i))) for i in range(inputs)]


def resize(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    sides = []
    for axis in (0, 1):
        inputs = x.shape[2 + axis]
        if size is not None:
            outputs = two(size)[axis]
            step = Fraction(inputs, outputs)
        else:
            factor = Fraction(str(two(scale_factor)[axis]))  # as it is written in decimals
            outputs, step = math.floor(inputs * factor), 1 / factor
        sides.append([shares(p, inputs, outputs, step, mode, align_corners) for p in range(outputs)])
    rows, columns = sides
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for n, c, p, q in np.ndindex(*y.shape):
        terms = [rows[p][h] * columns[q][w] * x[n, c, h, w] for h, w in np.ndindex(*x.shape[2:])]
        y[n, c, p, q] = math.fsum(terms)
    return y
