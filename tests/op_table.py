"""The op table: one row per op, from which all property tests are made (properties.py has the properties).

A row says what the op is (function), what it should give (oracle), which calls are worth trying (inputs, edges), how
often it can be differentiated (order), where it cannot (kinks), and what it keeps alive for backward (keeps).
An op without a row fails a test.
"""

from __future__ import annotations

import numpy as np

from minicnn import ops
from minicnn.device import generator
from minicnn.ops.arithmetic import COMPARISONS

from . import strategies as inputs
from .op_rows.activation import ACTIVATIONS
from .op_rows.arrays import ARRAYS
from .op_rows.conv import VARIANTS
from .op_rows.fused import FUSED
from .op_rows.loss import LOSSES
from .op_rows.norm import NORMALISATION
from .op_rows.pool import POOLING
from .op_rows.resize import RESIZE
from .op_rows.row import Op, edge, edges_of_one, edges_of_reduction, edges_of_two
from .oracles import at_kinks, naive, philox, windows

NOT_OPS = {
    "interpolate",  # another name of resize
    "swish",  # another name of silu
    "to",  # chooses between cast and a move to another device: tested with the devices
}


# --- functions of tensors and attributes, where the op's own signature is another -------------------------------------


def seeded_dropout(x, p, seed, call):
    """ops.dropout at one place of the random stream."""
    before = generator.seed, generator.calls
    generator.manual_seed(seed)
    generator.calls = call
    try:
        return ops.dropout(x, p)
    finally:
        generator.seed, generator.calls = before


def reshaped(x, shape):
    return ops.reshape(x, shape)  # which takes the sizes one by one as well


def transposed(x, axes):
    return ops.transpose(x, axes)


def linear_composed(x, w, b):
    y = ops.matmul(x, ops.transpose(w))
    return y if b is None else y + b


def mean_composed(x, axis, keepdims):
    total = ops.sum(x, axis, keepdims)
    return total * (total.size / x.size)


def max_composed(x, axis, keepdims):
    """The largest by comparing in pairs, axis after axis from the last."""
    for a in sorted(naive.axes_of(axis, x.ndim), reverse=True):
        parts = [x[(slice(None),) * a + (slice(i, i + 1),)] for i in range(x.shape[a])]
        while len(parts) > 1:
            parts = [ops.maximum(parts[0], parts[1]), *parts[2:]]
        x = parts[0] if keepdims else ops.squeeze(parts[0], a)
    return x


# --- the table --------------------------------------------------------------------------------------------------------

TABLE = (
    # elementwise
    Op("add", ops.add, naive.add, inputs.broadcasting(), order=2, analytic=True, affine="all", edges=edges_of_two()),
    Op("sub", ops.sub, naive.sub, inputs.broadcasting(), order=2, analytic=True, affine="all",
       composition=lambda a, b: a + -b, edges=edges_of_two()),
    Op("mul", ops.mul, naive.mul, inputs.broadcasting(), order=3, analytic=True, affine="all", keeps=(0, 1),
       edges=edges_of_two()),
    Op("div", ops.div, naive.div, inputs.broadcasting("nonzero"), order=3, analytic=True, affine=(0,), keeps=(0, 1),
       composition=lambda a, b: a * b**-1, edges=edges_of_two("nonzero")),
    Op("neg", ops.neg, naive.neg, inputs.arrays(), order=2, analytic=True, affine="all", edges=edges_of_one()),
    Op("pow", ops.pow, naive.power, inputs.power_inputs, order=2, analytic=True, keeps=(0,),
       edges=edges_of_one("nonzero", exponent=2)),
    Op("pow (of tensors)", ops.pow, naive.power_of_tensors, inputs.broadcasting("positive"), order=2, analytic=True,
       keeps=(0, 1, "y"), composition=lambda x, e: ops.exp(e * ops.log(x)), edges=edges_of_two("positive")),
    Op("exp", ops.exp, naive.exp, inputs.arrays(), order=3, analytic=True, keeps=("y",), edges=edges_of_one()),
    Op("log", ops.log, naive.log, inputs.arrays(values="positive"), order=3, analytic=True, keeps=(0,),
       edges=edges_of_one("positive")),
    Op("sqrt", ops.sqrt, naive.sqrt, inputs.arrays(values="positive"), order=3, analytic=True, keeps=("y",),
       composition=lambda x: x**0.5, edges=edges_of_one("positive")),
    Op("abs", ops.abs, naive.absolute, inputs.arrays(values="nonzero"), order=2, kinks="0",
       at_kinks=at_kinks.zero_at_zero(-1.0), keeps=("own",), edges=edges_of_one()),
    Op("maximum", ops.maximum, naive.maximum, inputs.broadcasting("distinct"), order=2, kinks="ties",
       at_kinks=at_kinks.half_each(1), keeps=("own",), edges=edges_of_two()),
    Op("minimum", ops.minimum, naive.minimum, inputs.broadcasting("distinct"), order=2, kinks="ties",
       at_kinks=at_kinks.half_each(-1), keeps=("own",), edges=edges_of_two()),
    Op("where", lambda a, b, condition: ops.where(condition, a, b), naive.where, inputs.where_inputs, order=2,
       analytic=True, affine="all", keeps=("own",),
       edges=(edge((0, 2), (2,), condition=np.array(True)), edge((), (), condition=np.array(False)))),
    Op("compare", ops.compare, naive.compare, order=0,
       inputs=inputs.with_options(inputs.broadcasting("ties"), how=["less", "less_equal", "greater", "greater_equal",
                                                                    "equal", "not_equal"]),
       edges=(edge((0, 2), (1,), how="less"), edge((), (), how="equal"),
              *(edge((3, 4), (4,), values="ties", how=how) for how in COMPARISONS)),
       dtype=lambda dtype, attributes: np.bool_),
    Op("cast", ops.cast, naive.cast, inputs.with_options(inputs.arrays(), dtype=["float32", "float64"]), order=1,
       smooth=False, kinks="rounding", at_kinks=at_kinks.straight_through,
       edges=(edge((0, 2), dtype="float32"), edge((), dtype="float32"), edge((2, 2), values="large", dtype="int64")),
       dtype=lambda dtype, attributes: np.dtype(attributes["dtype"])),
    # reductions
    Op("sum", ops.sum, naive.sum, inputs.reduction_inputs(), order=2, analytic=True, affine="all",
       edges=(*edges_of_reduction(), edge((2, 0), axis=1, keepdims=False), edge((0,), axis=None, keepdims=True))),
    Op("mean", ops.mean, naive.mean, inputs.reduction_inputs(), order=2, analytic=True, affine="all",
       composition=mean_composed, edges=edges_of_reduction()[:2]),
    Op("max", ops.max, naive.max, inputs.reduction_inputs("distinct"), order=2, kinks="ties",
       at_kinks=at_kinks.equal_shares(max), keeps=("own",), composition=max_composed, edges=edges_of_reduction()[:2]),
    Op("min", ops.min, naive.min, inputs.reduction_inputs("distinct"), order=2, kinks="ties",
       at_kinks=at_kinks.equal_shares(min), keeps=("own",), edges=edges_of_reduction()[:2]),
    Op("argmax", ops.argmax, naive.argmax, inputs.axis_inputs("ties"), order=0,
       edges=(edge((1, 1), axis=0), edge((0, 3), axis=1)), dtype=lambda dtype, attributes: np.int64),
    Op("sum_to", ops.sum_to, naive.sum_to, inputs.sum_to_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 3), shape=(1, 3)), edge((2, 0), shape=(1,)), edge((2, 1), shape=()),
              edge((2, 4, 1), shape=(1, 1)))),
    # shape
    Op("reshape", reshaped, naive.reshape, inputs.reshape_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 3), shape=(3, 0, 2)), edge((0, 3), shape=(-1, 3)), edge((1,), shape=()),
              edge((), shape=(1, 1)))),
    Op("flatten", ops.flatten, naive.flatten, inputs.flatten_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 2, 3), start_axis=1), edge((1,), start_axis=0), edge((), start_axis=0))),
    Op("transpose", transposed, naive.transpose, inputs.transpose_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 2, 3), axes=(1, 2, 0)), edge((1, 1), axes=(1, 0)))),
    Op("broadcast_to", ops.broadcast_to, naive.broadcast_to, inputs.broadcast_to_inputs, order=2, analytic=True,
       affine="all", edges=(edge((1, 2), shape=(0, 2)), edge((), shape=(2, 1)), edge((0,), shape=(2, 0)))),
    Op("squeeze", ops.squeeze, naive.squeeze, inputs.squeeze_inputs, order=2, analytic=True, affine="all",
       edges=(edge((1, 0), axis=0), edge((1, 1), axis=None), edge((1,), axis=-1))),
    Op("expand_dims", ops.expand_dims, naive.expand_dims, inputs.expand_dims_inputs, order=2, analytic=True,
       affine="all", edges=(edge((0,), axis=0), edge((), axis=-1))),
    Op("getitem", ops.getitem, naive.getitem, inputs.getitem_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 3), index=(slice(None), 1)), edge((3,), index=slice(2, 1)), edge((1,), index=0),
              edge((3, 2), index=np.zeros(0, int)), edge((), index=...))),
    Op("add_at", ops.add_at, naive.add_at, inputs.add_at_inputs, order=2, analytic=True,
       affine="all", edges=(edge((0,), index=slice(2, 1), shape=(3,)), edge((1,), index=[0], shape=(1,)),
                            edge((5,), index=np.array([1, 0, 1, 1, 0]), shape=(2,)))),
    Op("concat", lambda *tensors, axis: ops.concat(tensors, axis), naive.concat, inputs.concat_inputs, order=2,
       analytic=True, affine="all",
       edges=(edge((0, 2), (1, 2), axis=0), edge((1, 0), (1, 0), axis=1), edge((1,), axis=0))),
    Op("stack", lambda *tensors, axis: ops.stack(tensors, axis), naive.stack, inputs.stack_inputs, order=2,
       analytic=True, affine="all", edges=(edge((0,), (0,), axis=0), edge((), (), axis=0), edge((1, 1), axis=-1))),
    Op("pad", ops.pad, naive.pad, inputs.pad_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 2), widths=((1, 0), (0, 1))), edge((), widths=()), edge((1,), widths=((0, 0),)))),
    # products
    Op("matmul", ops.matmul, naive.matmul, inputs.matmul_inputs, order=3, analytic=True, affine="all", keeps=(0, 1),
       edges=(edge((0, 2), (2, 3)), edge((2, 0), (0, 3)), edge((1, 1), (1, 1)), edge((0,), (0,)),
              edge((0, 2, 3), (1, 3, 2)), edge((2, 3), (3, 0)))),
    Op("linear", ops.linear, naive.linear, inputs.linear_inputs, order=3, analytic=True, affine="all", keeps=(0, 1),
       composition=linear_composed,
       edges=(edge((0, 3), (2, 3), (2,)), edge((1, 1), (1, 1), (1,)), edge((2, 0, 3), (2, 3), None))),
    # convolution
    Op("conv2d", ops.conv2d, windows.conv2d, inputs.conv2d_inputs, order=3, analytic=True, affine="all", keeps=(0, 1),
       edges=(edge((0, 2, 4, 3), (3, 2, 2, 2), (3,), padding=1), edge((1, 1, 1, 1), (1, 1, 1, 1), (1,)),
              edge((1, 3, 1, 5), (2, 3, 1, 3), None, stride=2), edge((2, 2, 3, 4), (2, 2, 1, 1), None, stride=2),
              edge((2, 4, 3, 4), (4, 1, 3, 3), (4,), groups=4, padding="same"))),
    Op("conv_transpose2d", ops.conv_transpose2d, windows.conv_transpose2d, inputs.conv_transpose2d_inputs, order=3,
       analytic=True, affine="all", keeps=(0, 1),
       edges=(edge((0, 2, 2, 3), (2, 3, 2, 2), (3,)), edge((1, 1, 1, 1), (1, 1, 1, 1), (1,)),
              edge((1, 4, 2, 1), (4, 1, 3, 2), (4,), groups=4, stride=2),
              edge((2, 2, 2, 2), (2, 1, 2, 2), None, stride=3, output_padding=(2, 1)))),
    Op("conv2d_weight", ops.conv2d_weight, windows.conv2d_weight, inputs.conv2d_weight_inputs, order=3, analytic=True,
       affine="all", keeps=(0, 1),
       edges=(edge((0, 2, 4, 3), (0, 3, 3, 2), kernel_size=2), edge((1, 1, 1, 1), (1, 1, 1, 1), kernel_size=1))),
    # activations
    Op("relu", ops.relu, naive.relu, inputs.arrays(values="nonzero"), order=2, kinks="0",
       at_kinks=at_kinks.zero_at_zero(0.0), composition=lambda x: ops.maximum(x, 0.0), keeps=("y",),
       edges=edges_of_one()),
    Op("sigmoid", ops.sigmoid, naive.sigmoid, inputs.arrays(), order=3, analytic=True, keeps=("y",),
       composition=lambda x: 1.0 / (1.0 + ops.exp(-x)), edges=(*edges_of_one(), edge((5,), values="large"))),
    Op("tanh", ops.tanh, naive.tanh, inputs.arrays(), order=3, analytic=True, keeps=("y",),
       composition=lambda x: 2.0 * ops.sigmoid(2.0 * x) - 1.0, edges=(*edges_of_one(), edge((5,), values="large"))),
    Op("scaled_tanh", ops.scaled_tanh, naive.scaled_tanh, inputs.arrays(), order=3, analytic=True, keeps=("y",),
       composition=lambda x: 1.7159 * ops.tanh(x * (2 / 3)), edges=edges_of_one()),
    Op("softmax", ops.softmax, naive.softmax, inputs.axis_inputs(), order=3, analytic=True, keeps=("y",),
       composition=lambda x, axis: ops.exp(x) / ops.sum(ops.exp(x), axis, keepdims=True),
       edges=(edge((0, 3), axis=1), edge((2, 0), axis=1), edge((2, 1), axis=1), edge((3, 4), values="large", axis=0))),
    Op("log_softmax", ops.log_softmax, naive.log_softmax, inputs.axis_inputs(), order=3, analytic=True, keeps=("y",),
       composition=lambda x, axis: ops.log(ops.softmax(x, axis)),
       edges=(edge((0, 3), axis=1), edge((2, 0), axis=1), edge((2, 1), axis=1), edge((3, 4), values="large", axis=0))),
    # noise
    Op("dropout", seeded_dropout, philox.dropout, inputs.dropout_inputs, order=2, analytic=True, affine="all",
       keeps=("own",), edges=edges_of_one(p=0.5, seed=3, call=1)),
)  # fmt: skip

TABLE += ACTIVATIONS
TABLE += ARRAYS + RESIZE
TABLE += NORMALISATION
TABLE += POOLING + VARIANTS
TABLE += LOSSES
TABLE += FUSED

ROWS = {row.name: row for row in TABLE}
