"""Ops: what can be computed with Tensors and differentiated, one idea a file, forward and backward on one screen.

The functions named here are the whole vocabulary; METHODS attaches those that belong to a Tensor (x.sum(), x + y).
"""

from __future__ import annotations

from typing import Any

from .. import device as devices
from ..autograd import backward, retain_grad
from ..tensor import Tensor
from .activation import (
    elu,
    hard_sigmoid,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    relu6,
    scaled_tanh,
    selu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from .adaptive import adaptive_avg_pool2d, adaptive_max_pool2d, global_avg_pool2d, global_max_pool2d
from .arguments import expect
from .arithmetic import (
    Move,
    abs,
    add,
    cast,
    compare,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    sqrt,
    sub,
    where,
)
from .conv import conv2d, conv2d_weight, conv_transpose2d
from .dropout import dropout, dropout2d, stochastic_depth
from .einsum import einsum
from .elementary import clip, cos, expm1, floor, log1p, pow, reciprocal, round, sign, sin, square
from .elementwise_loss import (
    binary_cross_entropy_with_logits,
    huber_loss,
    l1_loss,
    mse_loss,
    sigmoid_focal_loss,
    smooth_l1_loss,
)
from .fused import conv2d_act, conv2d_relu_max_pool2d
from .gates import gelu, hard_swish, mish, silu, swish
from .indexing import add_at, gather, getitem, iterate, scatter_add, take
from .joining import chunk, concat, flip, repeat, roll, split, stack, tile, tril, triu
from .linear import linear, linear_relu, matmul
from .loss import cross_entropy, nll_loss
from .lrn import local_response_norm
from .norm import batch_norm, batch_norm_act, group_norm, layer_norm
from .pad import pad
from .pool import avg_pool2d, max_pool2d, max_unpool2d, relu_max_pool2d
from .reduction import argmax, argmin, logsumexp, max, mean, min, prod, std, sum, sum_to, var
from .resize import interpolate, resize
from .shape import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flatten,
    moveaxis,
    reshape,
    squeeze,
    swapaxes,
    transpose,
)

__all__ = [
    "abs", "add", "argmax", "avg_pool2d", "broadcast_to", "cast", "compare", "concat", "conv2d", "conv2d_weight",
    "conv_transpose2d", "cross_entropy", "div", "dropout", "exp", "expand_dims", "flatten", "getitem", "linear",
    "log", "log_softmax", "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mse_loss", "mul",
    "neg", "pad", "pow", "relu", "relu_max_pool2d", "reshape", "scaled_tanh", "sigmoid", "softmax", "sqrt", "squeeze",
    "stack", "sub", "sum", "sum_to", "tanh", "to", "transpose", "where",
    # pooling
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "global_avg_pool2d", "global_max_pool2d", "max_unpool2d",
    # normalisation
    "batch_norm", "batch_norm_act", "group_norm", "layer_norm", "local_response_norm",
    # more of what arrays do
    "add_at", "argmin", "broadcast_arrays", "chunk", "clip", "cos", "einsum", "expm1", "flip", "floor", "gather",
    "interpolate", "log1p", "logsumexp", "moveaxis", "prod", "reciprocal", "repeat", "resize", "roll", "round",
    "scatter_add", "sign", "sin", "split", "square", "std", "swapaxes", "take", "tile", "tril", "triu", "var",
    # activations, noise
    "dropout2d", "elu", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "mish", "prelu", "relu6", "selu", "silu",
    "softplus", "stochastic_depth", "swish",
    # more losses
    "binary_cross_entropy_with_logits", "huber_loss", "l1_loss", "nll_loss", "sigmoid_focal_loss", "smooth_l1_loss",
    # fused
    "conv2d_act", "conv2d_relu_max_pool2d", "linear_relu",
]  # fmt: skip


def to(x: Tensor, target: Any = None, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """x on another device or in another dtype: x.to("float64"), x.to("reference"), x.to(dtype=..., device=...).

    A change of dtype is differentiable. Raises DeviceError or DTypeError for what does not exist.
    """
    expect("to", x)
    if isinstance(target, str) and devices.is_device(target):
        device = target
    elif target is not None:
        dtype = target
    y = x if dtype is None else cast(x, dtype)
    if device is None or devices.check(device) == y.device:
        return y
    return Move.apply(y, device=device)


METHODS = {
    # operators
    "__add__": add,
    "__radd__": lambda x, other: add(other, x),
    "__sub__": sub,
    "__rsub__": lambda x, other: sub(other, x),
    "__mul__": mul,
    "__rmul__": lambda x, other: mul(other, x),
    "__truediv__": div,
    "__rtruediv__": lambda x, other: div(other, x),
    "__pow__": pow,
    "__rpow__": lambda x, base: pow(base, x),
    "__matmul__": matmul,
    "__rmatmul__": lambda x, other: matmul(other, x),
    "__neg__": neg,
    "__abs__": abs,
    "__getitem__": getitem,
    "__iter__": iterate,
    "__lt__": lambda x, other: compare(x, other, "less"),
    "__le__": lambda x, other: compare(x, other, "less_equal"),
    "__gt__": lambda x, other: compare(x, other, "greater"),
    "__ge__": lambda x, other: compare(x, other, "greater_equal"),
    "__eq__": lambda x, other: compare(x, other, "equal"),
    "__ne__": lambda x, other: compare(x, other, "not_equal"),
    # methods
    "abs": abs,
    "argmax": argmax,
    "astype": cast,
    "broadcast_to": broadcast_to,
    "exp": exp,
    "flatten": flatten,
    "log": log,
    "log_softmax": log_softmax,
    "matmul": matmul,
    "max": max,
    "mean": mean,
    "min": min,
    "pad": pad,
    "pow": pow,
    "relu": relu,
    "reshape": reshape,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "sqrt": sqrt,
    "squeeze": squeeze,
    "sum": sum,
    "sum_to": sum_to,
    "tanh": tanh,
    "to": to,
    "transpose": transpose,
    # more of what arrays do
    "argmin": argmin,
    "chunk": chunk,
    "clip": clip,
    "cos": cos,
    "expm1": expm1,
    "flip": flip,
    "floor": floor,
    "gather": gather,
    "log1p": log1p,
    "logsumexp": logsumexp,
    "moveaxis": moveaxis,
    "permute": transpose,
    "prod": prod,
    "reciprocal": reciprocal,
    "repeat": repeat,
    "roll": roll,
    "round": round,
    "sign": sign,
    "sin": sin,
    "split": split,
    "square": square,
    "std": std,
    "swapaxes": swapaxes,
    "take": take,
    "tile": tile,
    "tril": tril,
    "triu": triu,
    "unsqueeze": expand_dims,
    "var": var,
    # the graph
    "backward": backward,
    "retain_grad": retain_grad,
    # attributes
    "T": property(transpose),
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
