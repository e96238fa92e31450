"""Where windows fall: all geometry of convolution and pooling, in plain numbers and NumPy.

Notation, used by every op and kernel:

    N images, C input channels of H × W, K output channels of P × Q, kernels of R × S taps

    output (p, q), tap (r, s)  reads  input (p·stride + r·dilation − top,  q·stride + s·dilation − left)

Positions outside of the input are padding: zeros for convolution and average pooling, −∞ for max pooling. The four
sides are padded independently, so TF-SAME, which puts the odd row at the bottom, is nothing special. The extent of a
dilated kernel is dilation·(taps − 1) + 1, and along an axis of `size` elements

    outputs = ⌊(size + before + after − extent) / stride⌋ + 1          (⌈ ⌉ with ceil_mode)

Windows need not tile the input: left-over rows and columns are simply not read. With ceil_mode the last window may
hang over the end (by less than a stride, as the formula says; so may the only one), but only if it starts inside the
input or the padding before it (as in PyTorch and Caffe).
Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError

Pair = tuple[int, int]
MOST_ELEMENTS = 2**34  # of an array that an op makes: 64 GB in float32; who asks for more has mistyped a number
MOST_PLACES = 2**31 - 1  # of one image with its padding: max pooling numbers them in 32 bits


class Window(NamedTuple):
    """A kernel's size and how it moves. `pad` is ((top, bottom), (left, right))."""

    kernel: Pair
    stride: Pair = (1, 1)
    pad: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @property
    def extent(self) -> Pair:
        """Rows and columns that a dilated kernel spans."""
        rows, columns = ((taps - 1) * d + 1 for taps, d in zip(self.kernel, self.dilation, strict=True))
        return rows, columns

    @functools.lru_cache(maxsize=4096)  # noqa: B019  (a Window is a small tuple, and every op asks this)
    def output_size(self, size: tuple[int, ...]) -> Pair:
        """(H, W) -> (P, Q). Raises ShapeError where the window is larger than the padded input."""
        p, q = (self._outputs(axis, size[axis]) for axis in (0, 1))
        h, w = (max(size[axis] + sum(self.pad[axis]), self.extent[axis]) for axis in (0, 1))
        if h * w > MOST_PLACES:
            raise ShapeError(
                f"padding {self.pad} and windows of {self.extent} make images of {h} × {w}, {h * w:.1e} elements: "
                "pad less or use a smaller kernel"
            )
        return p, q

    def _outputs(self, axis: int, size: int) -> int:
        before, after = self.pad[axis]
        extent, stride = self.extent[axis], self.stride[axis]
        room = size + before + after - extent
        count = room // stride + 1
        if self.ceil_mode and room % stride and count * stride < size + before:
            count += 1
        if count < 1:
            raise ShapeError(
                f"a window of {extent} {('rows', 'columns')[axis]} (kernel {self.kernel}, dilation {self.dilation}) "
                f"does not fit into {size} with padding {before} + {after}: pad more or use a smaller kernel"
            )
        return count

    def transposed_size(self, size: tuple[int, ...], output_padding: Pair = (0, 0)) -> Pair:
        """(P, Q) -> the smallest (H, W) whose windows give (P, Q), plus output_padding at the bottom and right."""
        h, w = (
            (size[axis] - 1) * self.stride[axis] + self.extent[axis] - sum(self.pad[axis]) + output_padding[axis]
            for axis in (0, 1)
        )
        return h, w

    def valid_outputs(self, axis: int, tap: int, size: int, outputs: int) -> Pair:
        """The outputs first ≤ o < last whose given tap reads inside of the input rather than padding."""
        start = tap * self.dilation[axis] - self.pad[axis][0]  # where output 0 reads; may be negative
        stride = self.stride[axis]
        first = max(0, -(start // stride))  # ⌈−start / stride⌉
        last = max(0, min(outputs, -((start - size) // stride)))  # ⌈(size − start) / stride⌉
        return min(first, last), last

    def overhang(self, size: tuple[int, ...]) -> tuple[Pair, Pair]:
        """The padding that makes every window whole: `pad`, plus what ceil_mode's last window needs at the end."""
        outputs = self.output_size(size)
        (top, bottom), (left, right) = (
            (
                self.pad[axis][0],
                max(
                    self.pad[axis][1],
                    (outputs[axis] - 1) * self.stride[axis] + self.extent[axis] - size[axis] - self.pad[axis][0],
                ),
            )
            for axis in (0, 1)
        )
        return (top, bottom), (left, right)

    def counts(self, size: tuple[int, ...], include_pad: bool) -> np.ndarray:
        """How many positions each window of an average covers, (P, Q): with or without the padding in `pad`.

        What hangs over the declared padding (ceil_mode) is never counted, as in PyTorch and Caffe.
        """
        outputs = self.output_size(size)
        per_axis = []
        for axis in (0, 1):
            before, after = self.pad[axis] if include_pad else (0, 0)
            position = (
                np.arange(outputs[axis])[:, None] * self.stride[axis]
                + np.arange(self.kernel[axis])[None, :] * self.dilation[axis]
                - self.pad[axis][0]
            )
            per_axis.append(((position >= -before) & (position < size[axis] + after)).sum(axis=1))
        return per_axis[0][:, None] * per_axis[1][None, :]


@functools.lru_cache(maxsize=1024)
def bins(size: int, outputs: int) -> tuple[Pair, ...]:
    """Adaptive pooling along one axis: output o covers ⌊o·size / outputs⌋ ≤ i < ⌈(o + 1)·size / outputs⌉.

    Bins cover the input and are never empty. They overlap where outputs does not divide size, and with more outputs
    than elements the elements repeat. Source: He et al. 2014, "Spatial pyramid pooling", appendix A.
    """
    return tuple((o * size // outputs, -(-(o + 1) * size // outputs)) for o in range(outputs))


def is_whole(value: Any) -> bool:
    """An integer, Python's or NumPy's; a bool is none."""
    return type(value) is int or (isinstance(value, int | np.integer) and not isinstance(value, bool))


def one_line(value: Any) -> str:
    """repr(value) for an error message, on one line and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def pair(value: Any, name: str, least: int) -> Pair:
    """An int, or two, as (rows, columns); raises ArgumentError if one is no integer or below `least`."""
    if type(value) is int and least <= value < 2**31:
        return value, value
    plain = value.tolist() if isinstance(value, np.ndarray) else value
    values = tuple(plain) if isinstance(plain, tuple | list) else (plain, plain)
    if len(values) != 2 or not all(map(is_whole, values)) or min(values) < least:
        raise ArgumentError(
            f"{name} must be an integer ≥ {least} or two of them (rows, columns), got {one_line(value)}"
        )
    if max(values) >= 2**31:
        raise ArgumentError(f"{name} must be below 2³¹, got {one_line(value)}")
    return int(values[0]), int(values[1])


def same_padding(size: tuple[int, ...], kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """TensorFlow's SAME: ⌈size / stride⌉ outputs, an odd row or column of padding at the bottom or right."""

    def split(axis: int) -> Pair:
        outputs = -(-size[axis] // stride[axis])
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (outputs - 1) * stride[axis] + extent - size[axis])
        return total // 2, total - total // 2

    return split(0), split(1)


def make_window(
    size: tuple[int, ...], kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Window:
    """The Window that the arguments of a layer mean, for an input of `size` (H, W).

    padding: an int, (rows, columns), ((top, bottom), (left, right)), "valid" (none) or "same" (TF-SAME).
    """
    kernel, stride, dilation = pair(kernel, "kernel_size", 1), pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    if isinstance(padding, np.ndarray):
        padding = padding.tolist()
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ArgumentError(f'padding must be numbers, "same" or "valid", got {padding!r}')
        pad = same_padding(size, kernel, stride, dilation) if padding == "same" else ((0, 0), (0, 0))
    elif isinstance(padding, tuple | list) and any(isinstance(side, tuple | list) for side in padding):
        if len(padding) != 2:
            raise ArgumentError(f"padding by sides is ((top, bottom), (left, right)), got {one_line(padding)}")
        pad = pair(padding[0], "padding (top, bottom)", 0), pair(padding[1], "padding (left, right)", 0)
    else:
        rows, columns = pair(padding, "padding", 0)
        pad = (rows, rows), (columns, columns)
    return Window(kernel, stride, pad, dilation, bool(ceil_mode))
