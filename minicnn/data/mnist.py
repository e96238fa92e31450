"""MNIST, inside the package: 60,000 + 10,000 handwritten digits, 28×28 pixels of 8 bits.

Background is 0, ink is 255, levels between come from anti-aliasing. Each digit was scaled to fit 20×20 pixels and
placed with its centre of mass in the middle of the 28×28 field.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998. Copyright Yann LeCun and Corinna Cortes; derived from NIST Special Databases 3
and 1. Licence: Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0); see mnist/README.md beside this file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from .dataset import ArrayDataset
from .idx import read_idx

EMBEDDED = Path(__file__).parent / "mnist"
DIGITS = tuple("0123456789")


def lenet_input(images: np.ndarray) -> np.ndarray:
    """What LeNet-5 sees: 2 more pixels of background on each side, and levels near zero.

        x = 0.005·p − 0.1        background p = 0 -> −0.1,  ink p = 255 -> 1.175

    images (B, H, W) uint8 -> x (B, 1, H+4, W+4) float32.
    Source: LeCun et al. 1998, section II.B. The paper says "mean roughly 0, and variance roughly 1"; the mean of the
    60,000 training inputs is 0.028, their variance 0.123.
    """
    count, height, width = images.shape
    x = np.zeros((count, 1, height + 4, width + 4), np.float32)  # raw level 0 is background: the border is mapped too
    x[:, 0, 2:-2, 2:-2] = images
    x *= np.float32(0.005)
    x -= np.float32(0.1)
    return x


class MNIST(ArrayDataset):
    """MNIST.train() and MNIST.test(): .images (N, 28, 28) uint8, .labels (N,) int64, .classes "0" to "9".

    batch(indices) -> x (B, 1, 32, 32) float32 as lenet_input makes it, y (B,) int64.
    In the file order of the training set the classes are mixed, so train[:1000] is a fair sample.
    Raises DataError if the images are not (N, 28, 28) uint8, or do not fit their labels.
    """

    def __init__(self, images: ArrayLike, labels: ArrayLike, source: str = "MNIST"):
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise DataError(
                f"{source}: expected images of shape (N, 28, 28) and type uint8, "
                f"found {images.shape} of {images.dtype}: "
                "for other images use ArrayDataset with a transform of their own"
            )
        super().__init__(images, labels, DIGITS, lenet_input, source)

    @classmethod
    def train(cls, folder: str | os.PathLike[str] | None = None) -> Self:
        """The 60,000 training images; from IDX files in `folder` (see find) instead of the embedded ones, if given."""
        return cls._read(folder, "train")

    @classmethod
    def test(cls, folder: str | os.PathLike[str] | None = None) -> Self:
        """The 10,000 test images; from IDX files in `folder` (see find) instead of the embedded ones, if given."""
        return cls._read(folder, "t10k")

    @classmethod
    def _read(cls, folder: str | os.PathLike[str] | None, split: str) -> Self:
        directory = EMBEDDED if folder is None else Path(folder)
        image_file = find(directory, f"{split}-images", "idx3-ubyte")
        label_file = find(directory, f"{split}-labels", "idx1-ubyte")
        return cls(read_idx(image_file), read_idx(label_file), f"{image_file} with {label_file.name}")


def find(folder: Path, name: str, kind: str) -> Path:
    """The first of train-images-idx3-ubyte, train-images.idx3-ubyte, and each of them with .gz, that is in the folder.

    Raises DataError if the folder or all of these files are missing.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a folder of MNIST's IDX files, found no such folder: "
            "check the path, or leave out folder= for the set inside minicnn"
        )
    names = [f"{name}-{kind}", f"{name}.{kind}", f"{name}-{kind}.gz", f"{name}.{kind}.gz"]
    for candidate in names:
        if (folder / candidate).is_file():  # some archives have a folder of the same name, and the file inside it
            return folder / candidate
    raise DataError(
        f"{folder}: expected one of the files {', '.join(names)}, found none of them: "
        "put the file there, or leave out folder= for the set inside minicnn"
    )
