"""Pooling layers, with PyTorch's names and arguments."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..kernels.window import make_window
from ..ops.adaptive import output_size_of
from ..ops.arguments import flag
from ..tensor import Tensor
from .module import Module


class _Pool(Module):
    """What pools with windows share: kernel_size, stride (by default the same), padding."""

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding = padding
        make_window((1, 1), self.kernel_size, self.stride, padding, dilation)  # raises ArgumentError if one is wrong

    def extra_repr(self) -> str:
        text = f"{self.kernel_size}, stride {self.stride}, padding {self.padding}"
        for name in ("ceil_mode", "return_indices"):
            if getattr(self, name, False):
                text += f", {name}"
        return text


class MaxPool2d(_Pool):
    """The largest of each window: see ops.max_pool2d. stride defaults to kernel_size.

    return_indices: the result is a pair, of the maxima and of their places for MaxUnpool2d.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__(kernel_size, stride, padding, dilation)
        self.dilation = dilation
        self.return_indices = flag("MaxPool2d", "return_indices", return_indices)
        self.ceil_mode = flag("MaxPool2d", "ceil_mode", ceil_mode)

    def forward(self, x: Tensor, after_relu: bool = False) -> Any:
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        if not self.return_indices:
            return (ops.relu_max_pool2d if after_relu else ops.max_pool2d)(x, *options)
        return ops.max_pool2d(ops.relu(x) if after_relu else x, *options, return_indices=True)


class MaxUnpool2d(_Pool):
    """Zeros, and each number put back where MaxPool2d(..., return_indices=True) found it: see ops.max_unpool2d."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__(kernel_size, stride, padding)

    def forward(self, x: Tensor, indices: Any, output_size: Any = None) -> Tensor:
        return ops.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool2d(_Pool):
    """The mean of each window: see ops.avg_pool2d. stride defaults to kernel_size."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = flag("AvgPool2d", "ceil_mode", ceil_mode)
        self.count_include_pad = flag("AvgPool2d", "count_include_pad", count_include_pad)

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AdaptiveAvgPool2d(Module):
    """The mean of each of output_size bins, whatever the input's size: see ops.adaptive_avg_pool2d.

    AdaptiveAvgPool2d(1) is global average pooling.
    """

    def __init__(self, output_size: Any):
        super().__init__()
        output_size_of("AdaptiveAvgPool2d", output_size)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest of each of output_size bins, whatever the input's size: see ops.adaptive_max_pool2d."""

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        output_size_of("AdaptiveMaxPool2d", output_size)
        self.output_size = output_size
        self.return_indices = flag("AdaptiveMaxPool2d", "return_indices", return_indices)

    def forward(self, x: Tensor) -> Any:
        return ops.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"{self.output_size}"
