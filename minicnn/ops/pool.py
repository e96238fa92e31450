"""Pooling. Once the windows are placed, and for max pooling the winners known, each op is linear.

max:  max_gather picks the winners out of x,  max_scatter puts gradients back to them:  each the other's gradient
mean: avg_pool2d averages windows,            avg_unpool2d spreads a gradient over them: likewise

max_unpool2d is max_scatter for users, who may bring indices of their own: one place takes one number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import device as devices
from .. import kernels
from ..errors import ArgumentError, DTypeError, MinicnnError, ShapeError
from ..function import Function
from ..kernels.window import Pair, Window, make_window
from ..tensor import Tensor
from .arguments import array_of, expect_images, flag, refuse_huge, sizes_of, window_for, window_of


class MaxPool2d(Function):
    """y[n, c, p, q] = max over the taps (r, s) of x[n, c, p·stride + r·dilation − top, q·stride + s·dilation − left]

    x (N, C, H, W) -> y (N, C, P, Q), and the flat places h·W + w of the winners if asked for. Padding counts as −∞,
    never as 0. The gradient goes to the first maximum of each window, in row-major order; where windows overlap,
    gradients add up. NaN counts as largest.
    Source: Ranzato et al. 2007; the first network with overlapping windows is Krizhevsky et al. 2012, section 3.4.
    """

    name = "max_pool2d"

    def forward(self, x, window, return_indices=False):
        y, self.indices = kernels.max_pool2d(x, window)
        self.size = x.shape[2:]
        return (y, kernels.cast(self.indices, "int64")) if return_indices else y

    def backward(self, gy, _=None):
        return MaxScatter.apply(gy, indices=self.indices, size=self.size)


class ReLUMaxPool2d(Function):
    """max_pool2d(relu(x)) in one pass: the full-sized relu(x) is neither written nor kept.

    The gradient goes to the first maximum of each window if that is above 0, and is lost otherwise (index −1).
    """

    name = "relu_max_pool2d"

    def forward(self, x, window):
        y, self.indices = kernels.relu_max_pool2d(x, window)
        self.size = x.shape[2:]
        return y

    def backward(self, gy):
        return MaxScatter.apply(gy, indices=self.indices, size=self.size)


class MaxScatter(Function):
    """gx[n, c, i] = Σ gy[n, c, p, q] over the windows whose winner is i: gradients go back to the winners."""

    def forward(self, gy, indices, size):
        self.indices = indices
        return kernels.max_pool2d_scatter(gy, indices, size)

    def backward(self, v):
        return MaxGather.apply(v, indices=self.indices)


class MaxGather(Function):
    """y[n, c, p, q] = x[n, c, winner of window (p, q)]."""

    def forward(self, x, indices):
        self.indices, self.size = indices, x.shape[2:]
        return kernels.max_pool2d_gather(x, indices)

    def backward(self, gy):
        return MaxScatter.apply(gy, indices=self.indices, size=self.size)


class MaxUnpool2d(Function):
    """y[n, c, indices[n, c, p, q]] = x[n, c, p, q], and 0 elsewhere: max_pool2d undone, but for what it threw away.

    x, indices (N, C, P, Q) -> y (N, C, H, W). Of several that name one place the last in row-major order stays; the
    others are covered, and get no gradient. Linear in x: gx picks gy at the indices.
    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1 ("switches").
    """

    name = "max_unpool2d"

    def forward(self, x, indices, size):
        y, self.indices = kernels.max_unpool2d(x, indices, size)
        return y

    def backward(self, gy):
        return MaxGather.apply(gy, indices=self.indices)


class AvgPool2d(Function):
    """y[n, c, p, q] = 1/count · Σ over the taps (r, s) of x[n, c, p·stride + r − top, q·stride + s − left]

    x (N, C, H, W) -> y (N, C, P, Q); padding counts as 0. count is how many positions of the window lie on the input
    and, with count_include_pad, the padding. Linear, so the gradient is its adjoint, avg_unpool2d.
    Source: LeCun et al. 1998, section II.B ("sub-sampling"), without its coefficient and bias.
    """

    name = "avg_pool2d"

    def forward(self, x, window, count_include_pad):
        self.options = {"window": window, "count_include_pad": count_include_pad}
        self.size = x.shape[2:]
        return kernels.avg_pool2d(x, window, count_include_pad)

    def backward(self, gy):
        return AvgUnpool2d.apply(gy, **self.options, size=self.size)


class AvgUnpool2d(Function):
    """gx[n, c, h, w] = Σ gy[n, c, p, q] / count[p, q] over the windows (p, q) that read (h, w)."""

    name = "avg_unpool2d"

    def forward(self, gy, window, count_include_pad, size):
        self.options = {"window": window, "count_include_pad": count_include_pad}
        return kernels.avg_pool2d_transpose(gy, window, count_include_pad, size)

    def backward(self, v):
        return AvgPool2d.apply(v, **self.options)


# --- what users call --------------------------------------------------------------------------------------------------


def max_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest x of each window: x (N, C, H, W) -> (N, C, P, Q). stride defaults to kernel_size, the other options
    are those of conv2d.

    ceil_mode rounds P and Q up: a last window may hang over the end, if it starts inside. return_indices: also give
    the places h·W + w of the winners in x (N, C, P, Q), int64, without gradient; −1 for a window of padding only.
    Raises ShapeError if x is not four-dimensional or the window does not fit, ArgumentError for options out of range.
    """
    window = _window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return MaxPool2d.apply(x, window=window, return_indices=flag("max_pool2d", "return_indices", return_indices))


def max_unpool2d(
    x: Tensor, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Zeros, and each x put back where max_pool2d(..., return_indices=True) found it: (N, C, P, Q) -> (N, C, H, W).

    indices: integers of the shape of x, 0 ≤ index < H·W, or −1 for "nowhere"; of equal ones the last counts.
    kernel_size, stride and padding are those of the pooling. Several H give one P: output_size, (H, W) or (N, C, H, W),
    says which; by default the smallest that needs no ceil_mode. Raises ShapeError if shapes do not fit, or no such
    pooling gives (P, Q) from output_size; DTypeError for indices that are no integers, ArgumentError if one is out of
    range.
    """
    expect_images("max_unpool2d", x)
    size = _unpooled_size(x, kernel_size, kernel_size if stride is None else stride, padding, output_size)
    return MaxUnpool2d.apply(x, indices=_places(x, indices, size), size=size)


def relu_max_pool2d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """max_pool2d(relu(x), ...), faster and in less memory. Errors as max_pool2d."""
    window = _window("relu_max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return ReLUMaxPool2d.apply(x, window=window)


def avg_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean x of each window: x (N, C, H, W) -> (N, C, P, Q). stride defaults to kernel_size.

    count_include_pad: whether padding counts as zeros (PyTorch's default) or not at all (TensorFlow's rule). What
    ceil_mode lets hang over the padding never counts. Errors as max_pool2d.
    """
    window = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    include = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return AvgPool2d.apply(x, window=window, count_include_pad=include)


def _window(op: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Window:
    expect_images(op, x)
    return pool_window(op, x.shape, kernel_size, stride, padding, dilation, ceil_mode)


def pool_window(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Window:
    """The window of a pooling of images of that shape, if it fits. stride None: kernel_size."""
    flag(op, "ceil_mode", ceil_mode)
    stride = kernel_size if stride is None else stride
    return window_for(op, shape, kernel_size, stride, padding, dilation, ceil_mode)


def _unpooled_size(x: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Pair:
    """(H, W) of max_unpool2d: what was asked for, if a pooling with these options makes (P, Q) of it."""
    window = window_of("max_unpool2d", x, kernel_size, stride, padding, 1, fits=False)
    outputs = x.shape[2:]
    if output_size is not None:
        sizes = sizes_of("max_unpool2d", x, output_size)
        if len(sizes) not in (2, 4) or (len(sizes) == 4 and sizes[:2] != x.shape[:2]):
            raise ShapeError(f"max_unpool2d of x {x.shape} takes output_size (H, W) or (N, C, H, W), got {sizes}")
        h, w = sizes[-2:]
    elif padding == "same":
        h, w = outputs[0] * window.stride[0], outputs[1] * window.stride[1]
    else:
        h, w = window.transposed_size(outputs)
    refuse_huge("max_unpool2d", x, (*x.shape[:2], h, w))
    if not any(_pools_to(outputs, (h, w), window, padding, ceil_mode) for ceil_mode in (False, True)):
        raise ShapeError(
            f"max_unpool2d of x {x.shape}: no max_pool2d with kernel {window.kernel}, stride {window.stride}, padding "
            f"{padding} makes {outputs[0]} × {outputs[1]} of {h} × {w}: give its options, and its input's size as "
            "output_size"
        )
    return h, w


def _pools_to(outputs: tuple[int, ...], size: Pair, window: Window, padding: Any, ceil_mode: bool) -> bool:
    try:
        return make_window(size, window.kernel, window.stride, padding, 1, ceil_mode).output_size(size) == outputs
    except MinicnnError:
        return False


def _places(x: Tensor, indices: Any, size: Pair) -> np.ndarray:
    places = (
        devices.to_host(indices.data) if isinstance(indices, Tensor) else array_of("max_unpool2d", "indices", indices)
    )
    if places.dtype.kind not in "iu":
        raise DTypeError(f"max_unpool2d takes integers as indices, got {places.dtype} of shape {places.shape}")
    if places.shape != x.shape:
        raise ShapeError(f"max_unpool2d expects indices of the shape of x, {x.shape}, got shape {places.shape}")
    if places.size and not (places.min() >= -1 and places.max() < size[0] * size[1]):
        worst = places[(places < -1) | (places >= size[0] * size[1])].reshape(-1)[0]
        raise ArgumentError(
            f"max_unpool2d of x {x.shape} got index {worst}, but {size[0]} × {size[1]} has {size[0] * size[1]} places, "
            "from 0: indices count h·W + w without padding, W being that of output_size"
        )
    return places
