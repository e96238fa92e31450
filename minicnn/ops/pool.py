"""Pooling. Once the windows are placed, and for max pooling the winners known, each op is linear.

max:  max_gather picks the winners out of x,  max_scatter puts gradients back to them:  each the other's gradient
mean: avg_pool2d averages windows,            avg_unpool2d spreads a gradient over them: likewise
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..function import Function
from ..kernels.window import Window
from ..tensor import Tensor
from .activation import ReLUMask
from .arguments import expect_images, flag, window_of


class MaxPool2d(Function):
    """y[n, c, p, q] = max over the taps (r, s) of x[n, c, p·stride + r·dilation − top, q·stride + s·dilation − left]

    x (N, C, H, W) -> y (N, C, P, Q). Padding counts as −∞, never as 0. The gradient goes to the first maximum of each
    window, in row-major order; where windows overlap, gradients add up. NaN counts as largest.
    Source: Ranzato et al. 2007; the first network with overlapping windows is Krizhevsky et al. 2012, section 3.4.
    """

    name = "max_pool2d"

    def forward(self, x, window):
        y, self.indices = kernels.max_pool2d(x, window)
        self.size = x.shape[2:]
        return y

    def backward(self, gy):
        return MaxScatter.apply(gy, indices=self.indices, size=self.size)


class ReLUMaxPool2d(Function):
    """max_pool2d(relu(x)) in one pass: the full-sized relu(x) is neither written nor kept.

    The gradient goes to the first maximum of each window if that is above 0, and is lost otherwise.
    """

    name = "relu_max_pool2d"

    def forward(self, x, window):
        y, self.indices = kernels.relu_max_pool2d(x, window)
        self.save(y)
        self.size = x.shape[2:]
        return y

    def backward(self, gy):
        passed = ReLUMask.apply(gy, y=self.saved[0].data)
        return MaxScatter.apply(passed, indices=self.indices, size=self.size)


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
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The largest x of each window: x (N, C, H, W) -> (N, C, P, Q). stride defaults to kernel_size.

    ceil_mode rounds P and Q up: a last window may hang over the end, if it starts inside. Raises ShapeError if x is
    not four-dimensional or the window does not fit, ArgumentError for options out of range.
    """
    return MaxPool2d.apply(x, window=_window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode))


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

    count_include_pad: whether padding counts as zeros (PyTorch's default) or not at all. Errors as max_pool2d.
    """
    window = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    include = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return AvgPool2d.apply(x, window=window, count_include_pad=include)


def _window(op: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Window:
    expect_images(op, x)
    flag(op, "ceil_mode", ceil_mode)
    return window_of(op, x, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)
