"""Faults of fused ops: what goes wrong when two or three passes become one."""

from __future__ import annotations

import numpy as np

from minicnn.kernels import cpu, reference
from minicnn.ops.activation import ReLUMask
from minicnn.ops.conv import conv2d_gradients
from minicnn.ops.fused import Conv2dAct

from .planting import Fault, after_backward, kernel


def bias_after_relu(right):
    def conv2d_relu_max_pool2d(x, w, b, window, groups, pool):
        y, indices = right(x, w, None, window, groups, pool)
        return y if b is None else y + b[:, None, None], indices

    return conv2d_relu_max_pool2d


def winners_before_relu(right):
    def conv2d_relu_max_pool2d(x, w, b, window, groups, pool):
        y, _ = right(x, w, b, window, groups, pool)
        return y, reference.max_pool2d(reference.conv2d(x, w, b, window, groups), pool)[1]

    return conv2d_relu_max_pool2d


def tiles_assumed(right):
    """As if each number of gy belonged into the 2 × 2 pixels below it."""

    def gradient(gy, indices, x, w, window, groups, pool, needs):
        cols = window.output_size(x.shape[2:])[1]
        p, q = np.indices(gy.shape[2:])
        inside = (indices // cols // 2 == p) & (indices % cols // 2 == q)
        return right(gy, np.where(inside, indices, np.int32(-1)), x, w, window, groups, pool, needs)

    return gradient


def bias_ignores_relu(right):
    def linear_gradient(gy, y, x, w, needs):
        gx, gw, gb = right(gy, y, x, w, needs)
        return gx, gw, gy.sum(axis=0) if needs[2] else gb

    return linear_gradient


def last_tile_missing(right):
    """gw by tiles of 2 outputs, of which an incomplete last one is left out."""

    def linear_gradient(gy, y, x, w, needs):
        gx, gw, gb = right(gy, y, x, w, needs)
        if gw is not None:
            gw[len(gw) // 2 * 2 :] = 0
        return gx, gw, gb

    return linear_gradient


def without_cap(right):
    return lambda x, w, b, window, groups, cap: right(x, w, b, window, groups, np.inf)


FUSED = (
    Fault("relu6 without its 6", "conv2d_act", "relu taken for relu6 in MobileNet ports",
          kernel("conv2d_act", without_cap), "forward_is_the_oracle"),
    Fault("gradient of a fused relu6 above 6", "conv2d_act", "relu's mask for relu6",
          after_backward(Conv2dAct, lambda self, gy, *found: conv2d_gradients(self, ReLUMask.apply(
              gy, y=self.saved[2].data))), "gradient_is_the_derivative"),
    Fault("bias added after relu", "conv2d_relu_max_pool2d", "an epilogue in the wrong order",
          kernel("conv2d_relu_max_pool2d", bias_after_relu), "forward_is_the_oracle"),
    Fault("winners of the pooling without relu", "conv2d_relu_max_pool2d", "an argmax taken before the activation",
          kernel("conv2d_relu_max_pool2d", winners_before_relu), "gradient_is_the_derivative"),
    Fault("gradient as if windows were tiles of 2 × 2", "conv2d_relu_max_pool2d", "this project, before it landed",
          kernel("conv2d_relu_max_pool2d_gradient", tiles_assumed), "gradient_is_the_derivative"),
    Fault("bias gradient where relu is off", "linear_relu", "a bias summed before the mask is applied",
          kernel("linear_gradient", bias_ignores_relu), "gradient_is_the_derivative"),
    Fault("relu left out of the gradient", "linear_relu", "backward of linear, copied",
          kernel("linear_gradient", lambda right: lambda gy, y, *rest: right(gy, None, *rest)),
          "gradient_is_the_derivative"),
    Fault("an incomplete tile of the weight gradient is left out", "linear", "tiled kernels without a tail",
          kernel("linear_gradient", last_tile_missing, cpu), "device_equals_reference", device="cpu"),
)  # fmt: skip
