"""What PyTorch calls the ops of the table: a function for each, of torch's tensors and the row's attributes.

A row is looked up by its name, or by that of its op, if its variant says nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op_table import Op
from ..oracles import philox
from .late import F, torch
from .torch_windows import (
    avg_pool2d,
    conv2d,
    conv2d_relu_max_pool2d,
    conv2d_weight,
    conv_transpose2d,
    max_pool2d,
    max_pool2d_indices,
    max_unpool2d,
    resize,
)

# --- arrays -----------------------------------------------------------------------------------------------------------


def dims(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def reduction(name):
    """torch.<name> over our axis; all of them where there is none."""
    return lambda x, axis, keepdims, **options: getattr(torch, name)(x, dims(x, axis), keepdim=keepdims, **options)


def positions(shape, pick):
    """Where in x, counted through x, the numbers of pick(x) stand: NumPy says where, PyTorch does the rest."""
    return torch.from_numpy(np.array(pick(np.arange(math.prod(shape)).reshape(shape))))


def picked(x, pick):
    return x.reshape(-1)[positions(x.shape, pick)]


def wrapped(index, size):
    """Positions counted from the end, which torch.gather does not take."""
    return torch.from_numpy(np.asarray(index, np.int64) % size)


def add_at(v, index, shape):
    places = positions(shape, lambda x: x[index]).reshape(-1)
    return torch.zeros(math.prod(shape), dtype=v.dtype).index_add(0, places, v.reshape(-1)).reshape(shape)


def pad(x, widths, value=0.0):
    return F.pad(x, [width for sides in reversed(widths) for width in sides], value=value)


def pad_with_copies(x, widths, mode):
    """PyTorch copies along three axes at most, and asks for two axes that it leaves alone."""
    mode = {"reflect": "reflect", "edge": "replicate"}[mode]
    return F.pad(x[None, None], [width for sides in reversed(widths) for width in sides], mode)[0, 0] if widths else x


def clip(x, low=None, high=None):
    """PyTorch does not stretch x to the bounds."""
    return torch.clamp(
        x.broadcast_to(np.broadcast_shapes(*(t.shape for t in (x, low, high) if t is not None))), low, high
    )


def prod(x, axis, keepdims):
    """Axis by axis."""
    for a in sorted((a % x.ndim for a in np.atleast_1d(dims(x, axis))), reverse=True):
        x = torch.prod(x, int(a), keepdims)
    return x


def joined(parts, axis):
    return torch.cat(parts[::-1], axis)


def split(x, sections, axis):
    return joined(
        torch.split(x, x.shape[axis] // sections if isinstance(sections, int) else list(sections), axis), axis
    )


def repeat(x, repeats, axis):
    return torch.repeat_interleave(x, torch.tensor(repeats) if isinstance(repeats, list) else repeats, axis)


def tile(x, reps):
    return torch.tile(x, (reps,) if isinstance(reps, int) else reps)


# --- normalisation ----------------------------------------------------------------------------------------------------


def ones(w, shape, x):
    """A weight for those that PyTorch cannot do without when it differentiates twice."""
    return torch.ones(shape, dtype=x.dtype) if w is None else w


def batch_norm(x, w, b, past=None, momentum=0.1, eps=1e-5, offset=0.0):
    """With the statistics of the batch, or those that batches of the past have left."""
    w = ones(w, x.shape[1], x)
    if past is None:
        return F.batch_norm(x + offset, None, None, w, b, True, momentum, eps)
    mean, var = torch.zeros(x.shape[1], dtype=x.dtype), torch.ones(x.shape[1], dtype=x.dtype)
    for batch in past:
        F.batch_norm(torch.from_numpy(batch), mean, var, None, None, True, momentum)
    return F.batch_norm(x, mean, var, w, b, False, momentum, eps)


def batch_norm_act(x, w, b, residual, activation, **options):
    y = batch_norm(x, w, b, **options)
    y = y if residual is None else y + residual
    return y if activation is None else getattr(F, activation)(y)


def group_norm(x, w, b, num_groups, eps=1e-5):
    return F.group_norm(x, num_groups, ones(w, x.shape[1], x), b, eps)


def layer_norm(x, w, b, normalized_shape, eps=1e-5):
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return F.layer_norm(x, shape, ones(w, shape, x), b, eps)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, divide_alpha=True):
    """PyTorch always divides by the size, and wants an axis beside the channels."""
    y = F.local_response_norm(x if x.ndim > 2 else x[..., None], size, alpha * (1 if divide_alpha else size), beta, k)
    return y.reshape(x.shape)


# --- losses -----------------------------------------------------------------------------------------------------------


def constants(loss):
    """The arrays among the options as torch's tensors."""

    def called(*inputs, **options):
        arrays = {name: torch.from_numpy(value) for name, value in options.items() if isinstance(value, np.ndarray)}
        return loss(*inputs, **{**options, **arrays})

    return called


def of_probability(loss):
    """The second input becomes a probability, as in the row."""
    return lambda x, scores, per=0.1, **options: loss(x, scores * per + 0.5, **options)


def binary_cross_entropy(x, target, pos_weight=None, **options):
    if isinstance(pos_weight, float):
        pos_weight = torch.tensor(pos_weight, dtype=x.dtype)
    return F.binary_cross_entropy_with_logits(x, target, pos_weight=pos_weight, **options)


def sigmoid_focal_loss(x, targets, alpha=0.25, gamma=2.0, reduction="none"):
    """By its formula: PyTorch itself has none."""
    t = targets.to(x.dtype)
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    wrong = torch.sigmoid(x) * (1 - t) + torch.sigmoid(-x) * t
    losses = losses * wrong**gamma * (1.0 if alpha < 0 else alpha * t + (1 - alpha) * (1 - t))
    return losses if reduction == "none" else getattr(losses, reduction)()


# --- noise ------------------------------------------------------------------------------------------------------------


def masked(draw):
    """The mask is what ours makes of ones: PyTorch draws from another stream."""
    return lambda x, **stream: x * torch.from_numpy(draw(np.ones(x.shape), **stream))


# --- the table --------------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    # elementwise
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda x: -x,
    "pow": torch.pow,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda a, b, condition: torch.where(torch.from_numpy(condition), a, b),
    "compare": lambda a, b, how: getattr(torch, {"equal": "eq"}.get(how, how))(a, b),
    "cast": lambda x, dtype: getattr(x, {"float32": "float", "float64": "double", "int64": "long"}[dtype])(),
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sin": torch.sin,
    "cos": torch.cos,
    "reciprocal": torch.reciprocal,
    "square": torch.square,
    "sign": torch.sign,
    "floor": torch.floor,
    "round": torch.round,
    "clip": torch.clamp,
    "clip (by tensors)": clip,
    # reductions
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "max": reduction("amax"),
    "min": reduction("amin"),
    "var": reduction("var"),
    "std": reduction("std"),
    "logsumexp": reduction("logsumexp"),
    "prod": prod,
    "argmin": lambda x, axis: torch.argmin(x, dim=axis),
    "argmax": lambda x, axis: torch.argmax(x, dim=axis),
    "sum_to": lambda x, shape: x.sum_to_size(shape),
    # shape
    "reshape": lambda x, shape: x.reshape(shape),
    "flatten": lambda x, start_axis: x.flatten(start_axis),
    "transpose": lambda x, axes: x.permute(axes),
    "broadcast_to": lambda x, shape: x.broadcast_to(shape),
    "squeeze": lambda x, axis: x.squeeze() if axis is None else x.squeeze(axis),
    "expand_dims": lambda x, axis: x.unsqueeze(axis),
    "getitem": lambda x, index: picked(x, lambda a: a[index]),
    "add_at": add_at,
    "gather": lambda x, index, axis: torch.gather(x, axis, wrapped(index, x.shape[axis])),
    "scatter_add": lambda x, src, axis, index: torch.scatter_add(x, axis, wrapped(index, x.shape[axis]), src),
    "take": lambda x, indices, axis: picked(x, lambda a: np.take(a, indices, axis)),
    "swapaxes": lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
    "moveaxis": torch.moveaxis,
    "broadcast_arrays": lambda *xs: torch.stack(torch.broadcast_tensors(*xs), -1),
    "split": split,
    "chunk": lambda x, chunks, axis: joined(torch.chunk(x, chunks, axis), axis),
    "flip": lambda x, axis: torch.flip(x, np.atleast_1d(dims(x, axis)).astype(int).tolist()),
    "roll": lambda x, shift, axis: torch.roll(x, shift if isinstance(shift, tuple) else int(shift % 60), axis),
    "repeat": repeat,
    "tile": tile,
    "tril": lambda x, k: torch.tril(x, min(k, x.shape[1])),
    "triu": lambda x, k: torch.triu(x, min(k, x.shape[1])),
    "concat": lambda *xs, axis: torch.cat(xs, axis),
    "stack": lambda *xs, axis: torch.stack(xs, axis),
    "pad": pad,
    "pad (reflect)": pad_with_copies,
    "pad (edge)": pad_with_copies,
    # products
    "matmul": lambda a, b: a @ b,
    "linear": F.linear,
    "einsum": lambda *xs, formula: torch.einsum(formula, *xs),
    # convolution and pooling
    "conv2d": conv2d,
    "conv2d_relu_max_pool2d": conv2d_relu_max_pool2d,
    "conv2d_act": lambda *xs, activation="relu", **options: getattr(F, activation)(conv2d(*xs, **options)),
    "linear_relu": lambda x, w, b: F.relu(F.linear(x, w, b)),
    "conv_transpose2d": conv_transpose2d,
    "conv2d_weight": conv2d_weight,
    "max_pool2d": max_pool2d,
    "relu_max_pool2d": lambda x, **options: max_pool2d(F.relu(x), **options),
    "avg_pool2d": avg_pool2d,
    "max_pool2d (indices)": max_pool2d_indices,
    "max_unpool2d": max_unpool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "adaptive_max_pool2d": F.adaptive_max_pool2d,
    "adaptive_max_pool2d (indices)": lambda x, output_size: F.adaptive_max_pool2d(x, output_size, True)[1],
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "global_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 1),
    "resize": resize,
    # activations
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(x * (2 / 3)),
    "softmax": lambda x, axis: F.softmax(x, dim=axis),
    "log_softmax": lambda x, axis: F.log_softmax(x, dim=axis),
    "relu6": F.relu6,
    "hard_sigmoid": lambda x: F.relu6(x + 3.0) / 6.0,  # F.hardsigmoid cannot be differentiated twice
    "leaky_relu": F.leaky_relu,
    "prelu": F.prelu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "hard_swish": F.hardswish,
    "mish": F.mish,
    # normalisation
    "batch_norm": batch_norm,
    "batch_norm_act": batch_norm_act,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
    # losses
    "cross_entropy": constants(F.cross_entropy),
    "cross_entropy (of probabilities)": of_probability(constants(F.cross_entropy)),
    "nll_loss": constants(F.nll_loss),
    "binary_cross_entropy_with_logits": of_probability(constants(binary_cross_entropy)),
    "sigmoid_focal_loss": constants(sigmoid_focal_loss),
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": F.huber_loss,
    # noise
    "dropout": masked(philox.dropout),
    "dropout2d": masked(philox.dropout2d),
    "stochastic_depth": masked(philox.stochastic_depth),
}


def function_of(op: Op) -> Callable[..., Any]:
    return FUNCTIONS[op.name if op.name in FUNCTIONS else op.op_name]
