"""The sizes of a convolution as the .cu files want them: geometry.cuh says what they are."""

from __future__ import annotations

import math

from ..window import Window


def phases(window: Window) -> tuple[list[int], list[int], int]:
    """How a transposed convolution goes by phases of its stride: steps between the taps of one phase and the leaps that
    go with them (geometry.cuh), each for rows and columns; and how many taps a phase has at most."""
    both = list(zip(window.kernel, window.stride, window.dilation, strict=True))
    steps = [stride // math.gcd(stride, dilation) for _, stride, dilation in both]
    leaps = [dilation // math.gcd(stride, dilation) for _, stride, dilation in both]
    return steps, leaps, math.prod(-(-taps // step) for (taps, _, _), step in zip(both, steps, strict=True))


def geometry_of(x: tuple[int, ...], y: tuple[int, ...], window: Window, groups: int) -> tuple[int, ...]:
    """GEOMETRY of the .cu files, for images of shape x and outputs of shape y."""
    (top, _), (left, _) = window.pad
    return (*x, *y[1:], *window.kernel, *window.stride, top, left, *window.dilation, groups)
