"""Rows of fused ops: two or three ops in one pass."""

from __future__ import annotations

import dataclasses

import numpy as np

from minicnn import ops

from .. import strategies as inputs
from ..oracles import naive, windows
from ..strategies import Case, Choices
from .row import Op, edge


def conv_pool_inputs(choose: Choices) -> Case:
    """Mostly the pooling that has a fast path, 2 × 2 side by side, on sizes odd and even."""
    size, (groups, c, k) = (choose.integer(5, 9), choose.integer(5, 9)), inputs._channels(choose)
    options = inputs._movement(choose, size)
    kernel = options.pop("kernel")
    options["stride"] = choose.one_of(1, 1, (1, 2), (2, 1))
    options["pool_size"] = choose.one_of(2, 2, 2, (2, 1), 1)
    options["pool_stride"] = choose.one_of(None, None, 1, 2)
    options["ceil_mode"] = choose.one_of(False, False, True)
    options["flat"] = choose.maybe()
    if min(windows.output_size(size, kernel, options["stride"], options["padding"], options["dilation"])) < 2:
        options["pool_size"] = 1
    bias = (k,) if choose.integer(0, 3) else None
    shapes = ((choose.integer(1, 3), c, *size), (k, c // groups, *kernel), bias)
    return Case(shapes, {**options, "groups": groups}, seed=choose.seed())


POOLING = ("pool_size", "pool_stride", "pool_padding", "pool_dilation", "ceil_mode")


def split_options(options):
    """Those of the convolution, and those of the pooling under its own names."""
    options = {name: value for name, value in options.items() if name != "flat"}
    taken = {name: options.pop(name) for name in POOLING if name in options}
    taken.setdefault("pool_size", 2)
    return options, {name.replace("pool_size", "kernel_size").replace("pool_", ""): taken[name] for name in taken}


def conv_pool_composed(x, w, b, **options):
    convolving, pooling = split_options(options)
    y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, b, **convolving)), **pooling)
    return ops.flatten(y, 1) if options.get("flat") else y


def conv_pool_oracle(x, w, b, **options):
    convolving, pooling = split_options(options)
    y = windows.relu_max_pool2d(windows.conv2d(x, w, b, **convolving), **pooling)
    return y.reshape(len(y), y[0].size if len(y) else 0) if options.get("flat") else y


def conv_act_inputs(choose: Choices) -> Case:
    """Results below 0, between 0 and 6, and above 6."""
    case = inputs.conv2d_inputs(choose)
    options = {**case.attributes, "activation": choose.one_of("relu", "relu6")}
    return dataclasses.replace(case, values="wide", attributes=options)


def conv_act_oracle(x, w, b, activation="relu", **options):
    return np.minimum(np.maximum(windows.conv2d(x, w, b, **options), 0), 6 if activation == "relu6" else np.inf)


def conv_act_composed(x, w, b, activation="relu", **options):
    return getattr(ops, activation)(ops.conv2d(x, w, b, **options))


FUSED = (
    Op("conv2d_act", ops.conv2d_act, conv_act_oracle, conv_act_inputs, order=2, kinks="0 and 6",
       composition=conv_act_composed,
       keeps=(0, 1, "y"),
       edges=(edge((0, 2, 4, 3), (3, 2, 2, 2), (3,), padding=1), edge((1, 1, 1, 1), (1, 1, 1, 1), (1,)),
              edge((2, 2, 3, 4), (2, 2, 1, 1), None, stride=2, activation="relu6"))),
    Op("conv2d_relu_max_pool2d", ops.conv2d_relu_max_pool2d, conv_pool_oracle, conv_pool_inputs, order=2, kinks="ties",
       composition=conv_pool_composed, keeps=(0, 1, "own"),
       edges=(edge((0, 2, 4, 5), (3, 2, 1, 2), (3,)), edge((1, 1, 2, 2), (1, 1, 1, 1), (1,)),
              edge((2, 1, 5, 5), (3, 1, 2, 2), None), edge((1, 2, 2, 9), (2, 2, 1, 8), (2,)),
              edge((2, 4, 7, 6), (4, 1, 3, 3), (4,), groups=4, padding="same"),
              edge((2, 2, 3, 4), (2, 2, 2, 2), (2,), padding=((3, 0), (0, 3))))),
    Op("linear_relu", ops.linear_relu, lambda x, w, b: np.maximum(naive.linear(x, w, b), 0), inputs.linear_inputs,
       order=2, kinks="0", composition=lambda x, w, b: ops.relu(ops.linear(x, w, b)), keeps=(0, 1, "y"),
       edges=(edge((0, 3), (2, 3), (2,)), edge((1, 1), (1, 1), (1,)), edge((2, 0, 3), (2, 3), None))),
)  # fmt: skip
