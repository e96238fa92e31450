"""ONNX's operators, said with minicnn.ops.

A function takes an operator's inputs as Tensors (None where one is left out) and its attributes by their ONNX names,
and gives its output, or several in a tuple. Attributes that say again what an input shows, such as kernel_shape, end up
in `_`. Nothing here computes: every number comes from an op, and what has no op is not here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import Tensor, ops

from .onnx_windows import avg_pool, conv, conv_transpose, host, max_pool, max_unpool, resize

Operator = Callable[..., Any]


def plain(option: Any) -> Any:
    """An input that is an option (axes, a shape) as plain numbers, as attributes are already."""
    return host(option).tolist() if isinstance(option, Tensor) else option


def several(op: Operator) -> Operator:
    return lambda *tensors: functools.reduce(op, tensors)


def comparison(how: str) -> Operator:
    return lambda a, b: ops.compare(a, b, how)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def placed(op: Operator) -> Operator:
    """Before version 7, b was laid on the axes of a from `axis` on."""

    def called(a, b, broadcast=0, axis=None):
        return op(a, b if axis is None else ops.reshape(b, *b.shape, *(1,) * (a.ndim - axis - b.ndim)))

    return called


def power(x, exponent):
    """A single exponent is a number to us, so that x may be negative."""
    return ops.pow(x, exponent.item() if exponent.size == 1 else exponent)


def clipped(x, low=None, high=None, *, min=None, max=None):
    low, high = min if low is None else low, max if high is None else high
    return x if low is high is None else ops.clip(x, low, high)


def product(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=1):
    y = ops.matmul(ops.transpose(a) if transA else a, ops.transpose(b) if transB else b) * alpha
    return y if c is None else y + c * beta


# --- reductions -------------------------------------------------------------------------------------------------------


def reduction(op: Operator) -> Operator:
    def reduced(x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
        axes = tuple(plain(axes) or ()) or None
        return x if axes is None and noop_with_empty_axes else op(x, axes, bool(keepdims))

    return reduced


def extreme(op: Operator) -> Operator:
    """argmax or argmin; the last of equal ones is the first from behind."""

    def called(x, *, axis=0, keepdims=1, select_last_index=0):
        index = x.shape[axis] - 1 - op(ops.flip(x, axis), axis) if select_last_index else op(x, axis)
        return ops.expand_dims(index, axis) if keepdims else index

    return called


# --- shape ------------------------------------------------------------------------------------------------------------


def reshaped(x, shape=None, *, allowzero=0):
    """0 keeps a size, unless it is allowed to mean none."""
    return ops.reshape(x, [x.shape[i] if s == 0 and not allowzero else s for i, s in enumerate(plain(shape))])


def flattened(x, *, axis=1):
    start = axis + x.ndim if axis < 0 else axis
    return ops.reshape(x, math.prod(x.shape[:start]), math.prod(x.shape[start:]))


def unsqueezed(x, axes):
    axes = plain(axes)
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = ops.expand_dims(x, axis)
    return x


def split(x, sizes=None, *, axis=0, split=None, num_outputs=None, outputs):
    """Into as many parts as there are outputs, the last one perhaps smaller."""
    sizes = plain(sizes) or split
    if sizes is None:
        part = -(-x.shape[axis] // outputs)
        sizes = [min(part, x.shape[axis] - i * part) for i in range(outputs)]
    return tuple(ops.split(x, sizes, axis=axis))


def sliced(x, starts=None, ends=None, axes=None, steps=None):
    starts, ends, steps = plain(starts), plain(ends), plain(steps)
    index = [slice(None)] * x.ndim
    for i, axis in enumerate(plain(axes) or range(len(starts))):
        index[axis] = slice(starts[i], ends[i], steps[i] if steps else None)
    return x[tuple(index)]


def padded(x, pads=None, value=None, axes=None, *, mode="constant", **_):
    """Negative widths crop."""
    pads, axes = plain(pads), plain(axes) or range(x.ndim)
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = pads[i], pads[i + len(axes)]
    inside = tuple(slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(widths, x.shape, strict=True))
    return ops.pad(x[inside], [(max(0, a), max(0, b)) for a, b in widths], mode, plain(value) or 0.0)


def along(x, axis):
    return (slice(None),) * (axis % x.ndim)


def gather_nd(x, indices, *, batch_dims=0):
    batches = np.indices(indices.shape[:batch_dims] + (1,) * (indices.ndim - 1 - batch_dims))[:batch_dims]
    return x[(*batches, *np.moveaxis(host(indices), -1, 0))]


def scatter_elements(x, indices, updates, *, axis=0, reduction="none"):
    """Replacing is adding the difference, as long as no place is named twice."""
    difference = {"none": updates - ops.gather(x, axis, indices), "add": updates}[reduction]
    return ops.scatter_add(x, axis, indices, difference)


def scatter_nd(x, indices, updates, *, reduction="none"):
    index = tuple(np.moveaxis(host(indices), -1, 0))
    return x + ops.add_at({"none": updates - x[index], "add": updates}[reduction], index, x.shape)


def constant(**given):
    """value is a tensor; value_float, value_ints, ... are numbers."""
    ((name, value),) = given.items()
    return value if name == "value" else Tensor(np.array(value, np.float32 if "float" in name else np.int64))


def filled(shape, *, value=None):
    return ops.broadcast_to(Tensor(np.zeros(1, np.float32)) if value is None else value, plain(shape))


# --- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, **_):
    """ONNX weighs the old statistics, and tracks the biased variance: the unbiased one is (n − 1)/n too large."""
    running_mean, running_var = Tensor(host(mean).copy()), Tensor(host(var).copy())
    y = ops.batch_norm(x, running_mean, running_var, scale, bias, bool(training_mode), 1 - momentum, epsilon)
    kept, n = var * momentum, x.size / x.shape[1]
    return y, running_mean, kept + (running_var - kept) * ((n - 1) / n)


def local_response_norm(x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    return ops.local_response_norm(x, size, alpha, beta, bias)


def layer_norm(x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    axes = tuple(range(axis % x.ndim, x.ndim))
    shape = x.shape[axis % x.ndim :]
    y = ops.layer_norm(
        x, shape, ops.broadcast_to(scale, shape), None if bias is None else ops.broadcast_to(bias, shape), epsilon
    )
    return y, ops.mean(x, axes, keepdims=True), (ops.var(x, axes, keepdims=True, correction=0) + epsilon) ** -0.5


def group_norm(x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    return ops.group_norm(x, num_groups, scale, bias, epsilon)


def instance_norm(x, scale, bias, *, epsilon=1e-5, **_):
    return ops.group_norm(x, x.shape[1], scale, bias, epsilon)


# --- activations and losses -------------------------------------------------------------------------------------------


def selu(x, *, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875):
    """Ours has the constants of the paper, which are ONNX's when it names no others."""
    default = math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.0507010, rel_tol=1e-6)
    return ops.selu(x) if default else ops.elu(x, alpha) * gamma


def prelu(x, slope):
    """A slope for each channel is our op; one for each element is said with relu."""
    if slope.shape == (1,) or slope.shape in ((x.shape[1:2]), (*x.shape[1:2], *(1,) * (x.ndim - 2))):
        return ops.prelu(x, ops.reshape(slope, -1))
    return ops.relu(x) - slope * ops.relu(-x)


def from_axis_on(op: Operator) -> Operator:
    """Before version 13: over all axes from `axis` on together."""

    def called(x, *, axis=1):
        return ops.reshape(op(flattened(x, axis=axis), 1), x.shape)

    return called


def dropout(x, ratio=None, training_mode=None, **_):
    ratio = 0.5 if ratio is None else plain(ratio)
    y = ops.dropout(x, ratio, training=bool(plain(training_mode)))
    return y, Tensor(np.ones(x.shape, bool))


def nll_loss(log_p, labels, weight=None, *, reduction="mean", ignore_index=-100):
    return ops.nll_loss(log_p, labels, weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy(x, labels, weight=None, *, reduction="mean", ignore_index=-100):
    loss = ops.cross_entropy(x, labels, weight=weight, ignore_index=ignore_index, reduction=reduction)
    return loss, ops.log_softmax(x, axis=1)


# --- the table --------------------------------------------------------------------------------------------------------

OPERATORS: dict[str, Operator] = {
    # arithmetic
    "Add": placed(ops.add),
    "Sub": placed(ops.sub),
    "Mul": placed(ops.mul),
    "Div": placed(ops.div),
    "Pow": power,
    "Neg": ops.neg,
    "Abs": ops.abs,
    "Exp": ops.exp,
    "Log": ops.log,
    "Sqrt": ops.sqrt,
    "Reciprocal": ops.reciprocal,
    "Sin": ops.sin,
    "Cos": ops.cos,
    "Sign": ops.sign,
    "Floor": ops.floor,
    "Round": ops.round,
    "Sum": several(ops.add),
    "Mean": lambda *xs: several(ops.add)(*xs) / float(len(xs)),
    "Max": several(ops.maximum),
    "Min": several(ops.minimum),
    "Clip": clipped,
    "MatMul": ops.matmul,
    "Gemm": product,
    "Einsum": lambda *xs, equation: ops.einsum(equation, *xs),
    "Equal": comparison("equal"),
    "Less": comparison("less"),
    "LessOrEqual": comparison("less_equal"),
    "Greater": comparison("greater"),
    "GreaterOrEqual": comparison("greater_equal"),
    "Where": ops.where,
    "Cast": lambda x, *, to, **_: ops.cast(x, to),
    "CastLike": lambda x, like, **_: ops.cast(x, like.dtype),
    # reductions
    "ReduceSum": reduction(ops.sum),
    "ReduceMean": reduction(ops.mean),
    "ReduceMax": reduction(ops.max),
    "ReduceMin": reduction(ops.min),
    "ReduceLogSumExp": reduction(ops.logsumexp),
    "ReduceLogSum": reduction(lambda x, *how: ops.log(ops.sum(x, *how))),
    "ReduceL1": reduction(lambda x, *how: ops.sum(ops.abs(x), *how)),
    "ReduceL2": reduction(lambda x, *how: ops.sqrt(ops.sum(ops.square(x), *how))),
    "ReduceSumSquare": reduction(lambda x, *how: ops.sum(ops.square(x), *how)),
    "ArgMax": extreme(ops.argmax),
    "ArgMin": extreme(ops.argmin),
    "ReduceProd": reduction(ops.prod),
    # shape
    "Identity": lambda x: x,
    "Reshape": reshaped,
    "Flatten": flattened,
    "Transpose": lambda x, *, perm=(): ops.transpose(x, *perm),
    "Squeeze": lambda x, axes=None: ops.squeeze(x, plain(axes)),
    "Unsqueeze": unsqueezed,
    "Expand": lambda x, shape: ops.broadcast_to(x, np.broadcast_shapes(x.shape, plain(shape))),
    "Concat": lambda *xs, axis=1: ops.concat(xs, axis),
    "Split": split,
    "Tile": lambda x, repeats: ops.tile(x, plain(repeats)),
    "Slice": sliced,
    "Pad": padded,
    "Trilu": lambda x, k=None, *, upper=1: (ops.triu if upper else ops.tril)(x, plain(k) or 0),
    "Gather": lambda x, indices, *, axis=0: x[(*along(x, axis), indices)],
    "GatherElements": lambda x, indices, *, axis=0: ops.gather(x, axis, indices),
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "Scatter": scatter_elements,
    "ScatterND": scatter_nd,
    # numbers about tensors
    "Constant": constant,
    "Size": lambda x: Tensor(np.array(x.size)),
    "Shape": lambda x, *, start=0, end=None: Tensor(np.array(x.shape[start:end], np.int64)),
    "ConstantOfShape": filled,
    # convolution and pooling
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "AveragePool": avg_pool,
    "GlobalAveragePool": ops.global_avg_pool2d,
    "GlobalMaxPool": ops.global_max_pool2d,
    "Resize": resize,
    "Upsample": lambda x, scales, *, mode: resize(x, None, scales, mode=mode),
    # normalisation
    "BatchNormalization": batch_norm,
    "LRN": local_response_norm,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "Dropout": dropout,
    # activations and losses
    "Relu": ops.relu,
    "Sigmoid": ops.sigmoid,
    "Tanh": ops.tanh,
    "PRelu": prelu,
    "Softmax": lambda x, *, axis=-1: ops.softmax(x, axis),
    "LogSoftmax": lambda x, *, axis=-1: ops.log_softmax(x, axis),
    "LeakyRelu": lambda x, *, alpha=0.01: ops.leaky_relu(x, alpha),
    "Elu": lambda x, *, alpha=1.0, **_: ops.elu(x, alpha),
    "Selu": selu,
    "Gelu": lambda x, *, approximate="none": ops.gelu(x, approximate),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: ops.hard_sigmoid((x * alpha + (beta - 0.5)) * 6.0),
    "HardSwish": ops.hard_swish,
    "Swish": lambda x, *, alpha=1.0: ops.silu(x * alpha) / alpha,
    "Mish": ops.mish,
    "Softplus": ops.softplus,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "NegativeLogLikelihoodLoss": nll_loss,
}

OLDER = {  # what some meant before a version of the operator set
    "Softmax": (13, from_axis_on(ops.softmax)),
    "LogSoftmax": (13, from_axis_on(ops.log_softmax)),
}


def operator_of(name: str, version: int) -> Operator:
    before, operator = OLDER.get(name, (0, None))
    return operator if operator and version < before else OPERATORS[name]
