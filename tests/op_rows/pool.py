"""Rows of pooling: windows, what undoes them, and bins that adapt to the input."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from minicnn import ops

from .. import strategies as inputs
from ..oracles import at_kinks, pool, windows
from ..strategies import Case, Choices, Recipe
from .row import Op, edge, edges_of_windows

# --- recipes ----------------------------------------------------------------------------------------------------------


def with_ties(recipe: Recipe) -> Recipe:
    """The same calls on numbers of which many are equal."""
    return lambda choose: dataclasses.replace(recipe(choose), values="ties")


def max_unpool2d_inputs(choose: Choices) -> Case:
    """Indices from anywhere in the image, one of them twice and perhaps one −1: a pooling would not give such, users
    may. Sizes are those of a pooling, whose output alone does not tell them."""
    size = inputs._size(choose)
    options = inputs._movement(choose, size, most_padding=1, dilated=False)
    options["kernel_size"] = options.pop("kernel")
    del options["dilation"]
    movement = options["kernel_size"], options["stride"], options["padding"]
    outputs = windows.output_size(size, *movement, ceil_mode=choose.maybe())
    shape = (2, 2, *outputs)
    rng = np.random.default_rng(choose.seed())
    indices = rng.integers(0, size[0] * size[1], shape).astype(choose.one_of("int64", "int32"))
    indices[0, 1, 0, 0] = indices[0, 1, -1, -1]
    indices[1, 0, -1, 0] = choose.one_of(-1, 0)
    if pool.max_unpool2d(np.zeros((0, 0, *outputs)), None, *movement).shape[2:] != size or choose.maybe():
        options["output_size"] = choose.one_of(size, (2, 2, *size))
    return Case((shape,), {"indices": indices, **options}, seed=choose.seed())


def adaptive_inputs(values: str = "smooth") -> Recipe:
    """Bins of unequal size, that overlap; of one element; with None; and more of them than elements."""

    def recipe(choose: Choices) -> Case:
        size = inputs._size(choose)
        rows, columns = (choose.one_of(2, 3, 4, length - 1, length + 1, None) for length in size)
        output_size = (rows, columns) if rows is None or choose.maybe() else rows
        return Case(((2, 2, *size),), {"output_size": output_size}, values, choose.seed())

    return recipe


def planes(values: str = "smooth") -> Recipe:
    return lambda choose: Case(((2, 3, *inputs._size(choose)),), values=values, seed=choose.seed())


# --- edges ------------------------------------------------------------------------------------------------------------

# Every padding beside every rounding, where each matters: 5 rows of 3 by 2 leave none over, 4 columns one.
COMBINATIONS = [
    {"kernel_size": 3, "stride": 2, "padding": padding, "ceil_mode": ceil_mode}
    for padding, ceil_mode in itertools.product((0, 1, ((0, 1), (1, 0)), "same"), (False, True))
]


def edges_of_combinations(**options) -> tuple[Case, ...]:
    """And an only window that hangs over, on two sides."""
    hanging = edge((1, 2, 2, 3), values="distinct", kernel_size=(3, 4), stride=(2, 3), ceil_mode=True, **options)
    return *(edge((1, 1, 5, 4), values="distinct", **each, **options) for each in COMBINATIONS), hanging


def edges_of_bins() -> tuple[Case, ...]:
    """An empty batch, no channels, one pixel, more bins than elements, one bin, all that there are, no rows."""
    calls = (
        ((0, 2, 4, 5), 2), ((2, 0, 4, 5), 3), ((1, 1, 1, 1), 1), ((1, 1, 1, 1), (3, 2)), ((1, 2, 5, 3), (1, 1)),
        ((1, 2, 7, 5), (3, None)), ((1, 1, 2, 3), (5, 7)), ((1, 1, 3, 10), (None, 4)), ((1, 2, 0, 3), (None, 2)),
    )  # fmt: skip
    return tuple(edge(shape, values="distinct", output_size=output_size) for shape, output_size in calls)


def edges_of_planes() -> tuple[Case, ...]:
    return tuple(edge(shape, values="distinct") for shape in ((0, 2, 3, 4), (2, 0, 3, 4), (1, 1, 1, 1), (1, 2, 1, 5)))


def unpool_edge(shape, indices, **options) -> Case:
    return edge(shape, indices=np.array(indices, np.int64).reshape(shape), **options)


EDGES_OF_UNPOOLING = (
    unpool_edge((0, 2, 2, 2), [], kernel_size=2),
    unpool_edge((2, 0, 2, 2), [], kernel_size=2),
    unpool_edge((1, 1, 1, 1), [0], kernel_size=1),
    unpool_edge((1, 1, 2, 2), [-1] * 4, kernel_size=2),
    unpool_edge((1, 1, 2, 2), [0, 8, 0, 8], kernel_size=2, output_size=(3, 3)),  # of ceil_mode
    unpool_edge((1, 1, 2, 2), [24, 24, 24, 24], kernel_size=2, output_size=(1, 1, 5, 5)),
    unpool_edge((1, 2, 2, 1), [0, 2, 1, 0], kernel_size=3, stride=2, padding="same", output_size=(3, 1)),
    unpool_edge((1, 1, 2, 1), [7, 0], kernel_size=3, stride=2, padding="same"),
    unpool_edge((1, 1, 2, 2), [11, 1, 2, 3], kernel_size=2, padding=((1, 0), (0, 0))),
    unpool_edge((1, 1, 1, 1), [1], kernel_size=1, stride=4, output_size=(2, 4)),
)


# --- compositions -----------------------------------------------------------------------------------------------------


def bin_by_bin(reduce):
    """Adaptive pooling as a reduction of one slice after the other, put together again."""

    def composed(x, output_size):
        wanted = (output_size, output_size) if isinstance(output_size, int) else output_size
        rows, columns = (pool.bin_members(n, given or n) for n, given in zip(x.shape[2:], wanted, strict=True))
        return ops.concat([
            ops.concat([reduce(x[:, :, h[0] : h[-1] + 1, w[0] : w[-1] + 1], (2, 3), True) for w in columns], 3)
            for h in rows
        ], 2)  # fmt: skip

    return composed


def max_with_indices(x, **options):
    return ops.max_pool2d(x, **options, return_indices=True)[0]


def adaptive_max_with_indices(x, output_size):
    return ops.adaptive_max_pool2d(x, output_size, return_indices=True)[0]


def int64(dtype, attributes):
    return np.int64


POOLING = (
    Op("max_pool2d", ops.max_pool2d, windows.max_pool2d, inputs.max_pool2d_inputs, order=2, kinks="ties",
       at_kinks=at_kinks.first_of_window, keeps=("own",), edges=edges_of_windows() + edges_of_combinations()),
    Op("max_pool2d (with indices)", max_with_indices, windows.max_pool2d, inputs.max_pool2d_inputs, order=1,
       kinks="ties", at_kinks=at_kinks.first_of_window, keeps=("own",)),
    Op("max_pool2d (indices)", lambda x, **options: ops.max_pool2d(x, **options, return_indices=True)[1],
       pool.max_pool2d_indices, with_ties(inputs.max_pool2d_inputs), order=0, dtype=int64,
       edges=edges_of_windows() + edges_of_combinations()),
    Op("relu_max_pool2d", ops.relu_max_pool2d, windows.relu_max_pool2d, inputs.max_pool2d_inputs, order=2,
       kinks="ties", composition=lambda x, **options: ops.max_pool2d(ops.relu(x), **options), keeps=("y", "own"),
       edges=edges_of_windows()),
    Op("max_unpool2d", ops.max_unpool2d, pool.max_unpool2d, max_unpool2d_inputs, order=2, analytic=True, affine="all",
       keeps=("own",), edges=EDGES_OF_UNPOOLING),
    Op("avg_pool2d", ops.avg_pool2d, windows.avg_pool2d, inputs.avg_pool2d_inputs, order=2, analytic=True, affine="all",
       edges=edges_of_windows(count_include_pad=True) + edges_of_windows(count_include_pad=False)
       + edges_of_combinations(count_include_pad=True) + edges_of_combinations(count_include_pad=False)),
    Op("adaptive_avg_pool2d", ops.adaptive_avg_pool2d, pool.adaptive_avg_pool2d, adaptive_inputs(), order=2,
       analytic=True, affine="all", composition=bin_by_bin(ops.mean), edges=edges_of_bins()),
    Op("adaptive_max_pool2d", ops.adaptive_max_pool2d, pool.adaptive_max_pool2d, adaptive_inputs("distinct"), order=2,
       kinks="ties", at_kinks=pool.first_of_bin, keeps=("own",), composition=bin_by_bin(ops.max),
       edges=edges_of_bins()),
    Op("adaptive_max_pool2d (with indices)", adaptive_max_with_indices, pool.adaptive_max_pool2d,
       adaptive_inputs("distinct"), order=1, kinks="ties", at_kinks=pool.first_of_bin, keeps=("own",)),
    Op("adaptive_max_pool2d (indices)", lambda x, output_size: ops.adaptive_max_pool2d(x, output_size, True)[1],
       pool.adaptive_max_pool2d_indices, adaptive_inputs("ties"), order=0, dtype=int64, edges=edges_of_bins()),
    Op("global_avg_pool2d", ops.global_avg_pool2d, pool.global_avg_pool2d, planes(), order=2, analytic=True,
       affine="all", composition=lambda x: ops.mean(x, (2, 3), keepdims=True), edges=edges_of_planes()),
    Op("global_max_pool2d", ops.global_max_pool2d, pool.global_max_pool2d, planes("distinct"), order=2, kinks="ties",
       at_kinks=pool.first_of_bin, keeps=("own",), composition=lambda x: ops.max(x, (2, 3), keepdims=True),
       edges=edges_of_planes()),
)  # fmt: skip
