"""What kernels of this book need besides what they are given and what they return, told before anything runs.

    scratch       a band of columns or pixels in each thread's caches
    packed        the weights of a convolution in the order of its tiles, made for each call
    transformed   by Winograd, 36 numbers for each 9 weights; for their gradient, so much of the images at a time
    unpooled      between a convolution and its pooling, where these are two kernels: the images in full
    room          behind what concat has made, for what the next concat joins to it

nn/memory.py predicts with it how much memory a training step takes. Numba is not needed to know, so it is not imported:
the rules here repeat, roughly, what convolution.py decides and blocked_winograd.py plans. tests/nn/test_memory.py
measures steps, and tells when they no longer do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..window import Window
from .threads import get_num_threads

Shape = tuple[int, ...]
BLOCK = 16  # channels
BAND_BYTES = 1 << 19
BAND_OF_TILES_BYTES = 1_200_000  # images as Winograd transforms them, and the products, of one thread
WORTH = 1 << 20  # multiply-adds from which on images are kept in blocks


def image_bytes(shape: Shape, dtype: Any) -> int:
    """What images of this shape take between kernels: in blocks of 16 channels, unless they are fewer, or no images."""
    itemsize = np.dtype(dtype).itemsize
    if len(shape) == 4 and itemsize == 4 and shape[1] >= BLOCK and shape[2] * shape[3] > 1:
        shape = (shape[0], -(-shape[1] // BLOCK), BLOCK, *shape[2:])
    return math.prod(shape) * itemsize


def scratch_bytes() -> int:
    """Of all threads together, whatever they do."""
    return get_num_threads() * BAND_BYTES


def convolution_bytes(kernel: str, x: Shape, w: Shape, y: Shape, window: Window, groups: int, dtype: Any) -> int:
    """What a kernel takes for the convolution of images x with weights w to y, or for a gradient of it."""
    itemsize = np.dtype(dtype).itemsize
    weights = math.prod(w) * itemsize
    if not _in_blocks(x, w, y, groups, itemsize):
        return weights
    pooled = "pool" in kernel
    needed = weights + (image_bytes(y, dtype) if pooled else 0)
    if groups > 1 or not _by_winograd(x, window, y):
        return needed
    transformed = 4 * weights
    if "weight" in kernel or kernel.endswith("gradient"):
        band = max(get_num_threads() * BAND_OF_TILES_BYTES, 4 * transformed)
        needed += min(band, 9 * (image_bytes(x, dtype) + image_bytes(y, dtype)) // 4)
    return needed + transformed


def room_for(parts: Sequence[Shape], filled: tuple[int, int] | None) -> int:
    """For how many channels concat takes memory when it joins images of these shapes, 0 if the first have room behind
    them (blocked_joining.Room). filled: (channels there, channels there is room for) if concat has made the first."""
    channels = sum(part[1] for part in parts)
    if filled is None or any(part[1] % BLOCK for part in parts[:-1]):
        return channels
    newest = filled[0] == parts[0][1]
    return 0 if newest and channels <= filled[1] else 2 * channels


def _in_blocks(x: Shape, w: Shape, y: Shape, groups: int, itemsize: int) -> bool:
    """As convolution.py decides for images that come as planes."""
    enough = w[0] >= BLOCK and (x[1] >= BLOCK or x[1] <= 4) and math.prod(y) * math.prod(w[1:]) >= WORTH
    return itemsize == 4 and enough and (groups == 1 or w[0] % (groups * BLOCK) == 0)


def _by_winograd(x: Shape, window: Window, y: Shape) -> bool:
    """As blocked_winograd.fits: 3 × 3, and planes that fill most of their 4 × 4 tiles."""
    square = window.kernel == (3, 3) and window.stride == (1, 1) and window.dilation == (1, 1)
    return square and x[1] > 4 and 36 * -(-y[2] // 4) * -(-y[3] // 4) < 0.75 * 9 * y[2] * y[3]
