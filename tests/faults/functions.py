"""Faults of activations and dropout."""

from __future__ import annotations

import numpy as np

from minicnn.device import generator
from minicnn.kernels import reference
from minicnn.ops.activation import LogSoftmax, ReLU, ScaledTanh, Sigmoid, Softmax, Tanh
from minicnn.ops.dropout import Dropout

from .planting import Fault, after_backward, attribute, backward, forward, kernel


def overflowing_softmax(x, axis):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def refuse_empty(right):
    def softmax(x, axis):
        x.max()
        return right(x, axis)

    return softmax


def open_at_zero(right):
    def forward(self, x):
        y = right(self, x)
        self.save(np.where(x >= 0, 1, -1).astype(x.dtype))  # what backward compares with 0
        return y

    return forward


def mask_redrawn(self, gy):
    seed, call = generator.next_call()
    return Dropout.apply(gy, p=0.5, seed=seed, call=call, decisions=gy.shape)


ACTIVATIONS = (
    Fault("backward lets everything through", "relu", "the mask forgotten", backward(ReLU, lambda self, gy: gy * 1.0),
          "gradient_is_the_derivative"),
    Fault("gradient 1 at 0", "relu", "x >= 0 as the mask", forward(ReLU, open_at_zero), "gradient_at_kinks"),
    Fault("1 − y for 1 − y²", "tanh", "coursework", backward(Tanh, lambda self, gy: gy * (1.0 - self.saved[0])),
          "gradient_is_the_derivative"),
    Fault("factor 1 − y forgotten", "sigmoid", "coursework", backward(Sigmoid, lambda self, gy: gy * self.saved[0]),
          "gradient_is_the_derivative"),
    Fault("slope 2/3 forgotten in backward", "scaled_tanh", "LeNet-5 re-implementations",
          after_backward(ScaledTanh, lambda self, gy, gx: gx * 1.5), "gradient_is_the_derivative"),
    Fault("softmax without the sum: y·(1 − y)", "softmax", "sigmoid's formula, element by element",
          backward(Softmax, lambda self, gy: gy * self.saved[0] * (1.0 - self.saved[0])), "gradient_is_the_derivative"),
    Fault("gradient 0: right for a cotangent of ones", "softmax", "what DeZero's checker lets pass",
          backward(Softmax, lambda self, gy: gy * 0.0), "gradient_is_the_derivative"),
    Fault("overflow: the largest logit is not subtracted", "softmax", "most first versions",
          attribute(reference, "softmax", overflowing_softmax), "forward_is_the_oracle"),
    Fault("an empty batch crashes", "softmax", "the last batch of a filtered data set",
          kernel("softmax", refuse_empty), "sizes_zero_and_one"),
    Fault("sum over the last axis, whatever axis is", "softmax", "segmentation models: the class axis is 1",
          after_backward(Softmax, lambda self, gy, gx: (y := self.saved[0]) * (gy - (gy * y).sum(-1, keepdims=True))),
          "gradient_is_the_derivative"),
    Fault("y for e^y", "log_softmax", "softmax's backward, copied",
          backward(LogSoftmax, lambda self, gy: gy - self.saved[0] * gy.sum(axis=self.axis, keepdims=True)),
          "gradient_is_the_derivative"),
    Fault("mask redrawn in backward", "dropout", "layers without a saved mask", backward(Dropout, mask_redrawn),
          "gradient_is_the_derivative"),
    Fault("no rescaling by 1/(1 − p)", "dropout", "the paper scales at test time instead",
          forward(Dropout, lambda right: lambda self, x, p, **place: right(self, x, p, **place) * x.dtype.type(1 - p)),
          "forward_is_the_oracle"),
    Fault("scaled by 1/p", "dropout", "p taken for the probability to keep",
          forward(Dropout, lambda right: lambda self, x, p, **place: right(self, x, 1 - p, **place)),
          "forward_is_the_oracle"),
)  # fmt: skip
