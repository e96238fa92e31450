"""Local response normalisation: each channel is divided by a power of what its neighbours add up to.

    channels   0   1   2   3   4   5        size 5: from c − 2 to c + 2        size 4: from c − 2 to c + 1
                   └───────┼───────┘
                         c = 3            s[3] = k + α·(x[1]² + x[2]² + x[3]² + x[4]² + x[5]²),   y[3] = x[3]/s[3]^β

Bright neighbours dim a channel, at the same place in the image. Beyond the ends are zeros.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import kernels
from ..errors import ArgumentError
from ..function import Function
from ..kernels.window import is_whole, one_line
from ..tensor import Tensor
from .arguments import flag, is_number
from .norm import expect_channels


class ChannelSum(Function):
    """y[n, c, i] = Σ x[n, j, i] over the channels c − before ≤ j ≤ c + after that exist; the adjoint swaps the two."""

    def forward(self, x, before, after):
        self.window = before, after
        return kernels.channel_sum(x, before, after)

    def backward(self, gy):
        before, after = self.window
        return ChannelSum.apply(gy, before=after, after=before)


class Form(NamedTuple):
    """The window and the constants of the formula."""

    before: int
    after: int
    alpha: float
    beta: float
    k: float


class LocalResponseNorm(Function):
    """y = x·s^−β,  s = k + α·W(x²), where W sums over the channels c − before to c + after

    x (N, C, ...) -> y. Each x acts on all channels whose window it lies in, so the window is turned around, Wᵀ:
    gx = gy·s^−β − 2αβ·x·Wᵀ(gy·x·s^(−β−1)).
    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3.
    """

    def forward(self, x, form):
        self.save(x)
        self.form = form
        return kernels.local_response_norm(x, *form)

    def backward(self, gy):
        return LocalResponseNormGradient.apply(gy, self.saved[0], form=self.form)


class LocalResponseNormGradient(Function):
    """gx = gy·s^−β − 2αβ·x·Wᵀ(gy·x·s^(−β−1))

    Its own backward is plain ops. For a cotangent v of gx, with u = W(v·x), it differentiates

        L = Σ v·gx = Σ gy·(v·s^−β − 2αβ·u·x·s^(−β−1)),   in which x acts directly, through u, and through s.
    """

    def forward(self, gy, x, form):
        self.save(gy, x)
        self.form = form
        return kernels.local_response_norm_gradient(gy, x, *form)

    def backward(self, v):
        gy, x = self.saved
        before, after, alpha, beta, k = self.form

        def window(t: Tensor) -> Tensor:
            return ChannelSum.apply(t, before=before, after=after)

        def adjoint(t: Tensor) -> Tensor:
            return ChannelSum.apply(t, before=after, after=before)

        c = 2 * alpha * beta
        s, u = k + alpha * window(x * x), window(v * x)
        first, second = s**-beta, s ** (-beta - 1)
        g_gy = v * first - c * u * x * second
        gs = gy * (c * (beta + 1) * u * x * s ** (-beta - 2) - beta * v * second)
        gx = 2 * alpha * x * adjoint(gs) - c * (u * gy * second + v * adjoint(gy * x * second))
        return g_gy, gx


# --- what users call --------------------------------------------------------------------------------------------------


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, divide_alpha: bool = True
) -> Tensor:
    """x / (k + α·Σ x²)^beta, the sum over `size` neighbouring channels of x (N, C, ...); beyond the ends are zeros.

    divide_alpha: α is alpha/size, so that it weighs a mean of squares (PyTorch, Caffe, ONNX); if False, alpha itself
    (Krizhevsky et al. 2012, TensorFlow). The window of channel c is c − ⌊size/2⌋ to c + ⌊(size − 1)/2⌋: an even one
    reaches further down, as in PyTorch; ONNX lets it reach further up. Defaults are PyTorch's; AlexNet's are size 5,
    alpha 1e-4 not divided, beta 0.75, k 2.
    Raises ShapeError if x has no channels axis, ArgumentError for options out of range.
    """
    expect_channels("local_response_norm", x)
    if not is_whole(size) or size < 1:
        raise ArgumentError(f"local_response_norm takes a size ≥ 1, an odd number as a rule, got {one_line(size)}")
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        if not is_number(value) or value < 0 or (name == "k" and value == 0):
            least = "above 0, since an x of zeros would be divided by 0 otherwise" if name == "k" else "≥ 0"
            raise ArgumentError(f"local_response_norm of x {x.shape} takes {name} {least}, got {one_line(value)}")
    if flag("local_response_norm", "divide_alpha", divide_alpha):
        alpha = alpha / size
    most = max(x.shape[1] - 1, 0)
    before, after = min(size // 2, most), min((size - 1) // 2, most)
    return LocalResponseNorm.apply(x, form=Form(before, after, float(alpha), float(beta), float(k)))
