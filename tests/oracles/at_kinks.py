"""The gradients that ops promise where there is no derivative: at ties, at 0, and for a rounding.

Each function takes the cotangent, the arrays and the attributes, and returns one gradient per array.
"""

from __future__ import annotations

import numpy as np

from . import naive, windows


def zero_at_zero(slope_below: float):
    """relu (slope 0 below 0, 1 above) and abs (−1 below, 1 above): the gradient at 0 itself is 0."""

    def gradient(gy, x):
        return [naive.elementwise(lambda g, a: g if a > 0 else slope_below * g if a < 0 else 0.0, gy, x)]

    return gradient


def equal_shares(better):
    """max and min: the gradient is divided among the numbers that share first place."""

    def gradient(gy, x, axis=None, keepdims=False):
        axes = naive.axes_of(axis, x.ndim)
        place = lambda index: tuple(0 if a in axes else i for a, i in enumerate(index))  # noqa: E731
        groups: dict = {}
        for index in np.ndindex(*x.shape):
            groups.setdefault(place(index), []).append(index)
        gy = gy.reshape([1 if a in axes else size for a, size in enumerate(x.shape)])
        gx = np.zeros(x.shape)
        for group, members in groups.items():
            best = better(x[index] for index in members)
            winners = [index for index in members if x[index] == best]
            for index in winners:
                gx[index] = gy[group] / len(winners)
        return [gx]

    return gradient


def half_each(sign: int):
    """maximum (sign 1) and minimum (−1): the gradient goes to the winner, half to each where they are equal."""

    def gradient(gy, a, b):
        ga, gb = np.zeros(a.shape), np.zeros(b.shape)
        for index in np.ndindex(*gy.shape):
            difference = sign * (naive.at(a, index) - naive.at(b, index))
            share = 0.5 if difference == 0 else float(difference > 0)
            for g, part in ((ga, share), (gb, 1 - share)):
                own = index[len(index) - g.ndim :]
                g[tuple(0 if size == 1 else i for i, size in zip(own, g.shape, strict=True))] += part * gy[index]
        return [ga, gb]

    return gradient


def first_of_window(gy, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """max_pool2d: the first maximum of a window, in row-major order, gets its gradient."""
    gx = np.zeros(x.shape)
    for (n, c, p, q), seen in windows.pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode):
        if seen:
            best = max(x[n, c, h, w] for h, w in seen)
            h, w = next(place for place in seen if x[n, c, place[0], place[1]] == best)
            gx[n, c, h, w] += gy[n, c, p, q]
    return [gx]


def straight_through(gy, x, dtype):
    """cast: steps of a rounding are not seen, the gradient is that of the identity."""
    return [naive.elementwise(lambda g, _: g, gy, x)]
