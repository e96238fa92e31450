"""Faults of convolution that show only in the geometries of op_rows/conv.py."""

from __future__ import annotations

import numpy as np

from minicnn.kernels import window
from minicnn.ops import arguments
from minicnn.ops.conv import Conv2d, ConvTranspose2d

from .planting import Fault, after_backward, attribute, forward, kernel


def channels_in_turn(right):
    """Output k reads channel k mod C, as if the outputs of a channel did not stand side by side."""

    def conv2d(x, w, b, window, groups):
        outputs, channels = len(w), x.shape[1]
        if groups != channels:
            return right(x, w, b, window, groups)
        order = np.arange(outputs) % channels
        return right(x[:, order], w, b, window, outputs)

    return conv2d


def columns_and_rows(part):
    """The kernel gets a window of which one part is swapped."""

    def wrong(right):
        def conv2d(x, w, b, window, groups):
            return right(x, w, b, window._replace(**{part: getattr(window, part)[::-1]}), groups)

        return conv2d

    return wrong


def padding_swapped(right):
    def make_window(size, kernel, stride=1, padding=0, *rest):
        whole = isinstance(padding, tuple) and all(isinstance(p, int) for p in padding)
        return right(size, kernel, stride, padding[::-1] if whole else padding, *rest)

    return make_window


def same_without_dilation(right):
    return lambda size, kernel, stride, dilation: right(size, kernel, stride, (1, 1))


def same_of_multiples(size, kernel, stride, dilation):
    """kernel − stride, as if every size were a multiple of the stride."""
    total = [max(0, (k - 1) * d + 1 - s) for k, s, d in zip(kernel, stride, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def left_over_on_top(right):
    """The rows and columns that no window reaches are put at the beginning."""

    def conv_transpose2d(gy, w, b, window, groups, output_size):
        smallest = window.transposed_size(gy.shape[2:])
        missing = [max(0, m - n) for m, n in zip(output_size, smallest, strict=True)]
        gx = right(gy, w, b, window, groups, output_size)
        return np.roll(gx, missing, axis=(2, 3))

    return conv_transpose2d


def holes_not_cleared(right):
    """What no window reads is left as memory was: here, 1."""

    def conv_transpose2d(gy, w, b, window, groups, output_size):
        gx = right(gy, w, b, window, groups, output_size)
        reached = right(np.ones_like(gy), np.ones_like(w), None, window, groups, output_size)
        return np.where(reached == 0, 1, gx).astype(gx.dtype)

    return conv_transpose2d


def groups_share_a_gradient(right):
    """Every group gets the mean weight gradient of all."""

    def conv2d_weight(x, gy, window, groups, bias):
        gw, gb = right(x, gy, window, groups, bias)
        each = gw.reshape(groups, gw.shape[0] // groups, *gw.shape[1:])
        return np.broadcast_to(each.mean(axis=0), each.shape).reshape(gw.shape), gb

    return conv2d_weight


def everything_kept(right):
    def forward(self, x, w, b, window, groups):
        y = right(self, x, w, b, window, groups)
        self.save(x, w)
        return y

    return forward


GEOMETRY = (
    Fault("a weight that is learnt alone is kept", "conv2d (depthwise)", "save_for_backward of all that forward got",
          forward(Conv2d, everything_kept), "nothing_for_nobody"),
    Fault("outputs of depthwise channels in turn", "conv2d (depthwise)", "weights moved from TensorFlow's order",
          kernel("conv2d", channels_in_turn), "forward_is_the_oracle"),
    Fault("groups share a weight gradient", "conv2d (depthwise)", "an einsum with one letter for two axes",
          kernel("conv2d_weight", groups_share_a_gradient), "gradient_is_the_derivative"),
    Fault("a bias gradient that nobody asked for", "conv_transpose2d (stride above kernel)", "needs_input_grad ignored",
          after_backward(ConvTranspose2d, lambda self, gy, gx, gw, gb: (gx, gw, gy.sum(axis=(0, 2, 3)))),
          "nothing_for_nobody"),
    Fault("depthwise bias gradient of one channel for all", "conv2d (depthwise)", "a sum over one axis too many",
          after_backward(Conv2d, lambda self, gy, gx, gw, gb: (gx, gw, gb if gb is None else gb * 0.0 + gb.mean())),
          "gradient_is_the_adjoint"),
    Fault("padding (rows, columns) swapped", "conv2d (1×7 and 7×1)", "Inception ports that count x before y",
          kernel("make_window", padding_swapped, arguments), "forward_is_the_oracle"),
    Fault("strides of rows and columns swapped", "conv2d (1×7 and 7×1)", "code that was only run with square strides",
          kernel("conv2d", columns_and_rows("stride")), "forward_is_the_oracle"),
    Fault("dilations of rows and columns swapped", "conv2d (dilated)", "code that was only run with square dilations",
          kernel("conv2d", columns_and_rows("dilation")), "forward_is_the_oracle"),
    Fault("SAME as if there were no dilation", "conv2d (dilated)", "SAME added before dilation was",
          kernel("same_padding", same_without_dilation, window), "forward_is_the_oracle"),
    Fault("SAME as kernel − stride", "conv2d (TF-SAME)", "the formula for sizes that the stride divides",
          attribute(window, "same_padding", same_of_multiples), "forward_is_the_oracle"),
    Fault("unread pixels at the wrong end", "conv2d (stride above kernel)", "gradients padded to the size of the input",
          kernel("conv_transpose2d", left_over_on_top), "gradient_is_the_derivative"),
    Fault("gradient of unread pixels is not cleared", "conv2d (stride above kernel)", "np.empty for np.zeros",
          kernel("conv_transpose2d", holes_not_cleared), "gradient_is_the_derivative"),
    Fault("output_padding at the top", "conv_transpose2d (stride above kernel)", "deconvolution layers",
          kernel("conv_transpose2d", left_over_on_top), "forward_is_the_oracle"),
)  # fmt: skip
