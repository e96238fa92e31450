"""Rows of activations, and of dropout for channels and branches."""

from __future__ import annotations

import math

from minicnn import ops
from minicnn.device import generator

from .. import strategies as inputs
from ..oracles import activation as oracles
from ..oracles import philox
from ..strategies import Case, Choices
from .row import Op, edge, edges_of_one

# --- recipes and functions --------------------------------------------------------------------------------------------


def prelu_inputs(choose: Choices) -> Case:
    """One slope for all, or one for each channel; more than one axis before and after the channels."""
    shape = choose.shape()
    channels = shape[1] if len(shape) > 1 and choose.integer(0, 3) else 1
    return Case((shape, (channels,)), {}, "nonzero", choose.seed())


def dropout2d_inputs(choose: Choices) -> Case:
    case = inputs.dropout_inputs(choose)
    return Case((choose.shape((4, 4), (2, 3)),), case.attributes, seed=case.seed)


def stochastic_depth_inputs(choose: Choices) -> Case:
    case = inputs.dropout_inputs(choose)
    options = {**case.attributes, "mode": choose.one_of("row", "row", "batch")}
    return Case((choose.shape((1, 4), (2, 5)),), options, seed=case.seed)


def seeded(op):
    """An op at one place of the random stream."""

    def function(x, seed, call, **options):
        before = generator.seed, generator.calls
        generator.manual_seed(seed)
        generator.calls = call
        try:
            return op(x, **options)
        finally:
            generator.seed, generator.calls = before

    return function


def per_channel(weight, x):
    return ops.reshape(weight, (weight.size, *[1] * (x.ndim - 2))) if weight.size > 1 else weight


def prelu_composed(x, weight):
    return ops.relu(x) - ops.relu(-x) * per_channel(weight, x)


def leaky_composed(x, negative_slope):
    return ops.maximum(x, 0.0) + negative_slope * ops.minimum(x, 0.0)


def elu_composed(x, alpha):
    return ops.relu(x) + alpha * (ops.exp(ops.minimum(x, 0.0)) - 1.0)


def softplus_composed(x, beta, threshold):
    return ops.where(x * beta > threshold, x, ops.log(1.0 + ops.exp(x * beta)) / beta)


def gelu_tanh_composed(x, approximate):
    return x * 0.5 * (1.0 + ops.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * (x * x * x))))


PIECES = inputs.arrays(values="pieces")
LARGE = (edge((7,), values="large"),)
SOFTPLUS = ({"beta": 1.0, "threshold": 20.0}, {"beta": 2.0, "threshold": 20.0}, {"beta": 0.5, "threshold": 20.0},
            {"beta": 1.0, "threshold": 3.0}, {"beta": 2.0, "threshold": 6.0})  # fmt: skip


def softplus_inputs(choose: Choices) -> Case:
    """Thresholds that are met, where the function has a step: between the numbers drawn, and at one of the threes."""
    case = PIECES(choose)
    return Case(case.shapes, choose.one_of(*SOFTPLUS), case.values, case.seed)


# --- the rows ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = (
    # pieces of straight lines
    Op("relu6", ops.relu6, oracles.relu6, PIECES, order=2, kinks="0 and 6", at_kinks=oracles.relu6_at_kinks,
       ties="threes", composition=lambda x: ops.minimum(ops.relu(x), 6.0), keeps=("y",),
       edges=edges_of_one("pieces") + LARGE),
    Op("hard_sigmoid", ops.hard_sigmoid, oracles.hard_sigmoid, PIECES, order=2, kinks="−3 and 3",
       at_kinks=oracles.hard_sigmoid_at_kinks, ties="threes", keeps=("y",),
       composition=lambda x: ops.minimum(ops.relu(x + 3.0), 6.0) / 6.0, edges=edges_of_one("pieces") + LARGE),
    Op("leaky_relu", ops.leaky_relu, oracles.leaky_relu, order=2, kinks="0",
       inputs=inputs.with_options(inputs.arrays(values="nonzero"), negative_slope=[0.01, 0.2, 1.5, 0.0]),
       at_kinks=oracles.leaky_relu_at_kinks, composition=leaky_composed, keeps=("y",),
       edges=edges_of_one("nonzero", negative_slope=0.3)),
    Op("leaky_relu (of a negative slope)", ops.leaky_relu, oracles.leaky_relu, order=2, kinks="0",
       inputs=inputs.with_options(inputs.arrays(values="nonzero"), negative_slope=[-0.5, -2]),
       at_kinks=oracles.leaky_relu_at_kinks, composition=leaky_composed, keeps=(0,)),
    Op("prelu", ops.prelu, oracles.prelu, prelu_inputs, order=2, kinks="0", at_kinks=oracles.prelu_at_kinks,
       affine=(1,), composition=prelu_composed, keeps=(0, 1),
       edges=(edge((0, 3), (3,), values="nonzero"), edge((2, 0), (1,)), edge((2, 0, 3), (0,)), edge((3,), (1,)),
              edge((), (1,), values="nonzero"), edge((1, 1, 1), (1,), values="nonzero"))),
    # exponentials
    Op("elu", ops.elu, oracles.elu, order=3, kinks="0, unless alpha = 1", at_kinks=oracles.elu_at_kinks,
       inputs=inputs.with_options(inputs.arrays(values="nonzero"), alpha=[1.0, 0.3, 2.0, 0]),
       composition=elu_composed, keeps=("y",),
       edges=(*edges_of_one("nonzero", alpha=0.7), edge((7,), values="large", alpha=1.5))),
    Op("selu", ops.selu, oracles.selu, inputs.arrays(values="nonzero"), order=3, kinks="0",
       at_kinks=oracles.selu_at_kinks, keeps=("y",), edges=edges_of_one("nonzero") + LARGE),
    Op("softplus", ops.softplus, oracles.softplus, softplus_inputs, order=3, kinks="threshold",
       at_kinks=oracles.softplus_at_kinks, ties="threes", composition=softplus_composed, keeps=(0,),
       edges=(*edges_of_one("pieces", beta=1.5, threshold=20.0), edge((7,), values="large", beta=1.0, threshold=20.0),
              edge((7,), values="large", beta=0.5, threshold=1e30),
              edge((9,), values="pieces", beta=2.0, threshold=6.0))),
    # gates
    Op("silu", ops.silu, oracles.silu, inputs.arrays(), order=3, analytic=True, composition=lambda x: x *
       ops.sigmoid(x), keeps=(0,), edges=edges_of_one() + LARGE),
    Op("gelu", ops.gelu, oracles.gelu, inputs.with_options(inputs.arrays(), approximate=["none"]), order=3, keeps=(0,),
       edges=(*edges_of_one(approximate="none"), edge((7,), values="large", approximate="none"))),
    Op("gelu (by tanh)", ops.gelu, oracles.gelu, inputs.with_options(inputs.arrays(), approximate=["tanh"]), order=3,
       analytic=True, composition=gelu_tanh_composed, keeps=(0,),
       edges=(*edges_of_one(approximate="tanh"), edge((7,), values="large", approximate="tanh"))),
    Op("hard_swish", ops.hard_swish, oracles.hard_swish, PIECES, order=2, kinks="−3 and 3",
       at_kinks=oracles.hard_swish_at_kinks, ties="threes", composition=lambda x: x * ops.hard_sigmoid(x), keeps=(0,),
       edges=edges_of_one("pieces") + LARGE),
    Op("mish", ops.mish, oracles.mish, inputs.arrays(), order=3, analytic=True, keeps=(0,),
       composition=lambda x: x * ops.tanh(ops.log(1.0 + ops.exp(x))), edges=edges_of_one() + LARGE),
    # noise
    Op("dropout2d", seeded(ops.dropout2d), philox.dropout2d, dropout2d_inputs, order=2, analytic=True, affine="all",
       keeps=("own",), edges=tuple(edge(shape, p=0.5, seed=3, call=1) for shape in
                                   ((0, 2, 3, 3), (2, 0, 1, 2), (2, 3, 0, 2), (1, 1, 1, 1)))),
    Op("stochastic_depth", seeded(ops.stochastic_depth), philox.stochastic_depth, stochastic_depth_inputs, order=2,
       analytic=True, affine="all", keeps=("own",),
       edges=(edge((0, 2), p=0.5, seed=3, call=1, mode="row"), edge((0,), p=0.5, seed=3, call=1, mode="batch"),
              edge((2, 0), p=0.5, seed=3, call=1, mode="row"), edge((1,), p=0.5, seed=3, call=1, mode="row"))),
)  # fmt: skip
