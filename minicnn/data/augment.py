"""Augmentation: other pictures of the same thing, in every epoch, and the same ones whenever a run is repeated.

What happens to an example depends on nothing but (seed, epoch, number of examples, its index): not on the order of the
batches, their size, or where a run was resumed. Each example has its own row of words of Philox4x32-10:

    key = seed, counter = 2⁶³ + epoch       words (N, W): W is what all steps together take for one example
                                            (the loader's order has the counter epoch: crops do not go with places)

    plain = ArrayDataset(images, labels, classes, Normalize(mean, std))
    train = Augmented(plain, RandomCrop(4), RandomHorizontalFlip(), seed=seed)
"""

from __future__ import annotations

import copy
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from ..kernels.reference import random_bits
from .dataset import Dataset, whole_number


class Normalize:
    """The transform of an ArrayDataset of 8-bit images:  x = (p/255 − mean)/std,  channel by channel.

    images (B, H, W, C) or (B, H, W) of uint8 -> x (B, C, H, W) float32. mean and std: C numbers each, on the scale of 0
    to 1. Raises DataError if they are not, or images are others.
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike):
        self.mean, self.std = (np.atleast_1d(np.asarray(values, np.float64)) for values in (mean, std))
        good = self.mean.ndim == 1 and self.mean.shape == self.std.shape and np.isfinite(self.mean).all()
        if not good or not (np.isfinite(self.std) & (self.std > 0)).all():
            raise DataError(
                f"Normalize: expected a mean and a positive std for each channel, found {mean!r} and {std!r}: "
                "give as many numbers to both"
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if images.ndim == 3:
            images = images[..., None]
        channels = len(self.mean)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
            raise DataError(
                f"Normalize: expected images (B, H, W, {channels}) of uint8, found {images.shape} of {images.dtype}: "
                "channels come last in images, and first in what this makes of them"
            )
        scale, shift = 1 / (255 * self.std), -self.mean / self.std
        x = np.empty((len(images), channels, *images.shape[1:3]), np.float32)
        for c in range(channels):
            np.multiply(images[..., c], np.float32(scale[c]), out=x[:, c])
            x[:, c] += np.float32(shift[c])
        return x


class Step(Protocol):
    """One kind of change: x (B, C, H, W) and words (B, words) uint32 -> x, another array."""

    words: int  # random numbers for one example

    def __call__(self, x: np.ndarray, words: np.ndarray) -> np.ndarray: ...


class RandomCrop:
    """Pad each side by `padding`, and cut the old size out of it, anywhere: what ResNets on CIFAR are trained with.

    mode: "constant" pads with zeros, the mean colour of normalised images (He et al. 2016, section 4.2); "reflect" with
    the image mirrored at its border, as Wide ResNets do (Zagoruyko and Komodakis 2016, section 3).
    """

    words = 2

    def __init__(self, padding: int, mode: str = "constant"):
        self.padding = whole_number("RandomCrop padding", padding, 0)
        if mode not in ("constant", "reflect"):
            raise DataError(f'RandomCrop mode: expected "constant" or "reflect", found {mode!r}: choose one of these')
        self.mode: Any = mode

    def __call__(self, x: np.ndarray, words: np.ndarray) -> np.ndarray:
        h, w = x.shape[2:]
        pad = self.padding
        if self.mode == "reflect" and pad >= min(h, w):
            raise DataError(
                f"RandomCrop: expected images larger than the padding of {pad} that mirrors them, found {h} × {w}: "
                "pad less, or with zeros"
            )
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), self.mode)
        top, left = _below(2 * pad + 1, words[:, 0]), _below(2 * pad + 1, words[:, 1])
        cut = np.empty(x.shape, x.dtype)
        for image in range(len(x)):  # a slice for each: to choose all pixels by indices takes three times as long
            p, q = top[image], left[image]
            cut[image] = padded[image, :, p : p + h, q : q + w]
        return cut


class RandomHorizontalFlip:
    """Mirror an image with probability p, left to right."""

    words = 1

    def __init__(self, p: float = 0.5):
        if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
            raise DataError(f"RandomHorizontalFlip p: expected a probability from 0 to 1, found {p!r}: pass a number")
        self.p = p

    def __call__(self, x: np.ndarray, words: np.ndarray) -> np.ndarray:
        flipped = words[:, 0] < self.p * 2**32
        y = x.copy()
        y[flipped] = x[flipped, :, :, ::-1]
        return y


class Augmented:
    """A data set whose examples go through random steps, one after the other, anew in each epoch.

    DataLoader tells it which epoch it is; batch() by itself gives that of `epoch`, 0 at first.
    Raises DataError for a seed out of range, or without steps.
    """

    def __init__(self, dataset: Dataset, *steps: Step, seed: int = 0):
        if not steps:
            raise DataError("Augmented: expected steps, found none: give RandomCrop(4) or RandomHorizontalFlip()")
        self.dataset, self.steps = dataset, steps
        self.seed = whole_number("Augmented seed", seed, 0, 2**64 - 1)
        self.epoch = 0
        self._words: tuple[int, np.ndarray] | None = None  # an epoch, and the words of all examples in it

    def __len__(self) -> int:
        return len(self.dataset)

    def at_epoch(self, epoch: int) -> Self:
        """The same examples as they are in that epoch."""
        part = copy.copy(self)
        part.epoch = whole_number("Augmented epoch", epoch, 0, 2**63 - 1)
        return part

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """indices: B integers, in any order -> x (B, C, H, W), y (B,), both new arrays."""
        x, y = self.dataset.batch(indices)
        if x.ndim != 4:
            raise DataError(
                f"Augmented: expected a data set that gives x of shape (B, C, H, W), found {x.shape}: "
                "give it a transform such as Normalize"
            )
        words, first = self._words_of(np.asarray(indices)), 0
        for step in self.steps:
            x = step(x, words[:, first : first + step.words])
            first += step.words
        return x, y

    def _words_of(self, indices: np.ndarray) -> np.ndarray:
        if self._words is None or self._words[0] != self.epoch:
            width = sum(step.words for step in self.steps)
            words = random_bits(self.seed, 2**63 + self.epoch, len(self) * width)
            self._words = self.epoch, words.reshape(len(self), width)
        return self._words[1][indices]


def _below(n: int, words: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to n − 1, of equal chance but for one in 2³²/n."""
    return ((words.astype(np.uint64) * np.uint64(n)) >> np.uint64(32)).astype(np.intp)
