"""Images whose channels stand in blocks of 16: the layout that convolutions are fastest in, private to this folder.

    plain   (N, C, H, W)            every channel a plane
    blocks  (N, ⌈C/16⌉, H, W, 16)   every pixel a vector: 64 bytes, one register of AVX-512, two of AVX2

                 pixel 0          pixel 1          pixel 2
    plane 0     [ c0 c1 ... c15 ][ c0 c1 ... c15 ][ c0 c1 ... c15 ] ...
    plane 1     [ c16 ...   c31 ][ c16 ...

A convolution multiplies one number of x by 16 weights and adds to 16 sums, with no operand ever transposed, for any
size of kernel and plane; a pooling window is a maximum of vectors; batch norm's numbers are vectors as well. A Blocked
looks like an array of shape (N, C, H, W) to those who only ask for shape and dtype, as ops do. Kernels that know
blocks (KNOWS_BLOCKED in __init__.py) read and return them; for all others the book makes plain arrays first, and so
does Tensor.data for whoever looks at the numbers. Channels past C are 0: sums over channels need not know C.

Exactly one of blocks and plain array is the truth. Once the plain array has been handed out somebody may write into
it, so from then on blocks are made of it when a kernel asks.

    bytes      either way 8 for each number
    measured   to blocks 17 GB/s with one thread, back 15 (8 images of 64 × 56 × 56); a copy 20
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .memory import empty

BLOCK = 16  # channels


class Blocked:
    """An array of shape (N, C, H, W), of numbers of 4 bytes, in blocks of channels."""

    __slots__ = ("__weakref__", "_blocks", "_plain", "dtype", "room", "shape")
    ndim = 4
    base = None  # what NumPy calls the owner of a view's memory

    def __init__(self, shape: tuple[int, ...], blocks: np.ndarray, room: Any = None):
        self.shape, self.dtype = shape, blocks.dtype
        self.room = room  # behind the last block, for more channels: see blocked_joining.concat
        self._blocks: np.ndarray | None = blocks
        self._plain: np.ndarray | None = None

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any = np.float32) -> Blocked:
        """With any content. Whoever makes one writes all of it, 0 in the channels past C."""
        return cls(tuple(shape), empty(blocks_shape(shape), dtype))

    @property
    def size(self) -> int:
        n, c, h, w = self.shape
        return n * c * h * w

    @property
    def nbytes(self) -> int:
        """Of memory, that of the channels past C included."""
        array = self._plain if self._blocks is None else self._blocks
        assert array is not None
        return array.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> np.ndarray:
        """(N, ⌈C/16⌉, H, W, 16), in C order, to be read only."""
        images = self.images()
        if not images.flags.c_contiguous:
            images = self._blocks = _moves("blocked_joining").contiguous(images)
        return images

    def images(self) -> np.ndarray:
        """The same for whoever heeds strides: an image in C order, but maybe far from the next one, as in a slice."""
        return _to_blocks(self.plain()) if self._blocks is None else self._blocks

    def plain(self) -> np.ndarray:
        """(N, C, H, W), handed out: the same array every time, and the truth from now on."""
        if self._plain is None:
            self._plain, self._blocks = self.copy(), None
        return self._plain

    get = plain  # device.to_host asks every array that is not NumPy's for this

    def copy(self) -> np.ndarray:
        """(N, C, H, W), the caller's own."""
        return _to_plain(self.blocks(), self.shape) if self._plain is None else self._plain.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.plain(), dtype=dtype, copy=copy)


def blocks_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    n, c, h, w = shape
    return n, -(-c // BLOCK), h, w, BLOCK


def blocked(x: Any) -> Blocked:
    """x, or blocks made of an array (N, C, H, W)."""
    return x if type(x) is Blocked else Blocked(x.shape, _to_blocks(x))


def plain(x: Any) -> Any:
    """x, or for a Blocked an array (N, C, H, W) that kernels may read; likewise what stands in a list or tuple."""
    if type(x) is Blocked:
        return x.copy() if x._plain is None else x._plain
    if type(x) is tuple or type(x) is list:
        return type(x)(map(plain, x))
    return x


def _to_blocks(x: np.ndarray) -> np.ndarray:
    assert x.dtype.itemsize == 4, "blocks are made of numbers of 4 bytes"
    blocks = empty(blocks_shape(x.shape), x.dtype)
    if blocks.size:
        _moves("interleave").interleave(np.ascontiguousarray(x), blocks)
    return blocks


def _to_plain(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    x = empty(shape, blocks.dtype)
    if x.size:
        _moves("interleave").separate(blocks, x)
    return x


def _moves(module: str) -> Any:
    return importlib.import_module(f".{module}", __package__)  # brings Numba: not before it is needed
