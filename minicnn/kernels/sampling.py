"""Where resized images read: for one axis, in whole numbers, so that nothing is off by one through rounding.

Output p of P reads the input, of H elements, at a place a/b between them:

    nearest                    a/b = p · step                    y[p] = x[⌊a/b⌋]
    bilinear, half pixels      a/b = (p + ½) · step − ½          y[p] = (1 − t) · x[⌊a/b⌋] + t · x[⌊a/b⌋ + 1]
    bilinear, corners aligned  a/b = p · (H − 1) / (P − 1)       likewise; t is what ⌊ ⌋ cuts off

step is H/P, or 1/scale_factor where that is given. Half pixels: a pixel is a square around its place, and the outer
edges of both images meet; what lies beyond the outermost places is the outermost pixel. Corners aligned: the outermost
places meet. For H = 2 and P = 4 the places are

    nearest   0   ½   1   1½          half pixels   −¼   ¼   ¾   1¼          corners aligned   0   ⅓   ⅔   1

These are the conventions of PyTorch's interpolate. Its "nearest" rounds down, so it reads left of the nearest pixel.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import NamedTuple

import numpy as np

MODES = ("nearest", "bilinear")


class Sampling(NamedTuple):
    """One axis: `inputs` elements read at `outputs` places."""

    inputs: int
    outputs: int
    step: Fraction
    mode: str
    align_corners: bool

    @functools.lru_cache(maxsize=1024)  # noqa: B019  (a Sampling is a small tuple)
    def taps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each output the elements at both sides of its place, and the share t of the second."""
        p = np.arange(self.outputs)
        if self.mode == "nearest":
            a, b = p * self.step.numerator, self.step.denominator
        elif self.align_corners:
            a, b = p * (self.inputs - 1), max(1, self.outputs - 1)
        else:
            a, b = (2 * p + 1) * self.step.numerator - self.step.denominator, 2 * self.step.denominator
        a = np.clip(a, 0, b * (self.inputs - 1))
        low = a // b
        if self.mode == "nearest":
            return low, low, np.zeros(self.outputs)
        return low, np.minimum(low + 1, self.inputs - 1), (a - low * b) / b

    @functools.lru_cache(maxsize=1024)  # noqa: B019
    def bands(self, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
        """The taps as a band: y[i] = Σ_k weights[i, k] · x[start[i] + k], and the same for the adjoint.

        Places never go back, so what reads one input are neighbours, too. Ends of the band have weight 0.
        """
        low, high, share = self.taps()
        if transposed:
            start = np.searchsorted(low, np.arange(self.inputs) - 1)
            count = np.searchsorted(low, np.arange(self.inputs), side="right") - start
            length = self.outputs
        else:
            start, count, length = low, high - low + 1, self.inputs
        width = min(int(count.max(initial=1)), length)
        start = np.minimum(start, length - width)
        reads = start[:, None] + np.arange(width)
        ours, theirs = (np.arange(len(start))[:, None], reads)[:: -1 if transposed else 1]
        weights = np.where(low[ours] == theirs, 1 - share[ours], 0) + np.where(high[ours] == theirs, share[ours], 0)
        return start, weights
