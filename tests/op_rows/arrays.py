"""Rows of what arrays do besides arithmetic: picking by position, moving about, statistics, einsum."""

from __future__ import annotations

import numpy as np

from minicnn import ops

from ..oracles import arrays
from ..strategies import Case, Choices
from .row import Op, edge

# --- recipes ----------------------------------------------------------------------------------------------------------


def gather_inputs(choose: Choices) -> Case:
    """Positions that repeat, from either end, and fewer or more of them than the axis is long."""
    shape = choose.shape((2, 3))
    axis = choose.integer(0, len(shape) - 1)
    length = choose.integer(1, 6)
    index = np.random.default_rng(choose.seed()).integers(
        -shape[axis], shape[axis], (*shape[:axis], length, *shape[axis + 1 :])
    )
    return Case((shape,), {"axis": choose.one_of(axis, axis - len(shape)), "index": index}, seed=choose.seed())


def scatter_add_inputs(choose: Choices) -> Case:
    case = gather_inputs(choose)
    return Case((*case.shapes, case.attributes["index"].shape), case.attributes, seed=case.seed)


def take_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 3))
    axis = choose.one_of(None, choose.integer(-len(shape), len(shape) - 1))
    length = int(np.prod(shape)) if axis is None else shape[axis]
    rng = np.random.default_rng(choose.seed())
    indices = rng.integers(-length, length, choose.one_of((), (1,), (5,), (2, 3)))
    return Case((shape,), {"indices": indices, "axis": axis}, seed=choose.seed())


# --- the rows ---------------------------------------------------------------------------------------------------------

NONE = np.zeros(0, int)

ARRAYS = (
    # picking by position
    Op("gather", ops.gather, arrays.gather, gather_inputs, order=2, analytic=True, affine="all", keeps=("own",),
       edges=(edge((3, 0), axis=0, index=np.zeros((2, 0), int)), edge((2, 3), axis=1, index=np.zeros((2, 0), int)),
              edge((1, 1), axis=-1, index=[[0, 0, -1]]), edge((3,), axis=0, index=np.uint8([2, 2, 0])))),
    Op("scatter_add", lambda x, src, axis, index: ops.scatter_add(x, axis, index, src), arrays.scatter_add,
       scatter_add_inputs, order=2, analytic=True, affine="all", keeps=("own",),
       edges=(edge((3, 0), (2, 0), axis=0, index=np.zeros((2, 0), int)),
              edge((2, 3), (2, 0), axis=1, index=np.zeros((2, 0), int)),
              edge((1, 1), (1, 3), axis=-1, index=np.array([[0, 0, -1]])))),
    Op("take", ops.take, arrays.take, take_inputs, order=2, analytic=True, affine="all", keeps=("own",),
       edges=(edge((3, 0), indices=[1, 1], axis=0), edge((2, 3), indices=NONE, axis=1), edge((0,), indices=[], axis=0),
              edge((), indices=[0, 0], axis=None), edge((1,), indices=0, axis=0))),
)  # fmt: skip
