"""Rows of what arrays do besides arithmetic: functions, statistics, picking, moving about, padding, einsum."""

from __future__ import annotations

import numpy as np

from minicnn import ops

from .. import strategies as inputs
from ..oracles import arrays, naive
from ..strategies import Case, Choices
from .row import Op, edge, edges_of_one, edges_of_reduction

# --- recipes ----------------------------------------------------------------------------------------------------------


def clip_inputs(choose: Choices) -> Case:
    bounds = choose.one_of({"min": -1.0}, {"max": 0.0}, {"min": -1.0, "max": 1.0}, {"min": 0, "max": None},
                           {"min": 1.0, "max": -1.0})  # fmt: skip
    return Case((choose.shape(),), bounds, seed=choose.seed())


def clip_by_tensors_inputs(choose: Choices) -> Case:
    case = inputs.broadcasting("distinct", 3)(choose)
    x, low, high = case.shapes
    return Case(choose.one_of((x, low, high), (x, low), (x, None, high)), {}, case.values, case.seed)


def gather_inputs(choose: Choices) -> Case:
    """Positions that repeat, from either end, and fewer or more of them than the axis is long."""
    shape = choose.shape((2, 3))
    axis = choose.integer(0, len(shape) - 1)
    rng = np.random.default_rng(choose.seed())
    index = rng.integers(-shape[axis], shape[axis], arrays.replaced(shape, axis, choose.integer(1, 6)))
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


def swapaxes_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 4))
    a, b = (choose.integer(-len(shape), len(shape) - 1) for _ in range(2))
    return Case((shape,), {"axis1": a, "axis2": b}, seed=choose.seed())


def moveaxis_inputs(choose: Choices) -> Case:
    shape = choose.shape((3, 4))
    source, destination = choose.one_of((0, -1), (-1, 0), (1, 0), ((0, 1), (-1, 0)), ((2, 0), (0, 1)), ((0,), (1,)))
    return Case((shape,), {"source": source, "destination": destination}, seed=choose.seed())


def split_inputs(choose: Choices) -> Case:
    """Parts of different sizes, one of them perhaps empty, so that a shifted slice shows."""
    shape, axis = choose.shape((2, 3)), choose.integer(0, 1)
    sizes = choose.one_of([1, 2], [3, 1, 2], (2, 0, 3), 2, 3)
    length = 6 if isinstance(sizes, int) else sum(sizes)
    shape = arrays.replaced(shape, axis, length)
    return Case((shape,), {"sections": sizes, "axis": choose.one_of(axis, axis - len(shape))}, seed=choose.seed())


def chunk_inputs(choose: Choices) -> Case:
    shape, axis = choose.shape((2, 3)), choose.integer(0, 1)
    shape = arrays.replaced(shape, axis, choose.integer(3, 7))
    return Case((shape,), {"chunks": choose.integer(2, 5), "axis": axis}, seed=choose.seed())


def flip_inputs(choose: Choices) -> Case:
    case = inputs.reduction_inputs()(choose)
    return Case(case.shapes, {"axis": case.attributes["axis"]}, seed=case.seed)


def roll_inputs(choose: Choices) -> Case:
    """Lengths of 3 and 4: moving by half the length would be its own inverse."""
    shift, axis = choose.one_of((1, 0), (-1, 1), (5, -1), (2, None), ((1, -1), (0, 1)), ((-2, 4), (-1, 0)))
    return Case((choose.shape((2, 3), (3, 4)),), {"shift": shift, "axis": axis}, seed=choose.seed())


def repeat_inputs(choose: Choices) -> Case:
    shape = choose.shape((2, 3))
    axis = choose.one_of(None, 0, 1, -1)
    length = int(np.prod(shape)) if axis is None else shape[axis]
    each = [choose.integer(0, 3) for _ in range(length)]
    return Case((shape,), {"repeats": choose.one_of(2, 3, each), "axis": axis}, seed=choose.seed())


def tile_inputs(choose: Choices) -> Case:
    reps = choose.one_of(2, (3,), (2, 1), (1, 3, 2), (2, 1, 1, 2))
    return Case((choose.shape((1, 3)),), {"reps": reps}, seed=choose.seed())


def triangle_inputs(choose: Choices) -> Case:
    return Case((choose.shape((2, 3)),), {"k": choose.integer(-2, 2)}, seed=choose.seed())


def pad_with_copies_inputs(mode: str) -> inputs.Recipe:
    """Reflecting, up to the length less one; with edges, also beyond the length."""

    def recipe(choose: Choices) -> Case:
        shape = choose.shape((1, 3))
        widths = tuple(
            (choose.integer(0, most), choose.integer(0, most))
            for most in ((size - 1 if mode == "reflect" else size + 1) for size in shape)
        )
        return Case((shape,), {"widths": widths, "mode": mode}, seed=choose.seed())

    return recipe


FORMULAS = {  # with the sizes of "..." of each operand
    "ij,jk->ik": (), "ij,kj->ki": (), "bij,bjk->bik": (), "nchw,ndhw->ncd": (), "i,j->ij": (), "ij,ij->": (),
    "ijk->ki": (), "ij->": (), "kj,ji": (), "ba": (), " ij , jk -> i ": (), "ij,jk,kl->il": (), "ij,j,ik->k": (),
    "...ij,...jk->...ik": ((2,), (2,)), "...i,ij": ((3, 2), ()), "i...,i...->...": ((3, 1), (2,)),
    "...,...i->i...": ((2, 1), (1, 3)),
}  # fmt: skip


def einsum_inputs(choose: Choices) -> Case:
    """All names of different sizes, so that a transposed gradient does not fit, or all of one, so that it does."""
    formula = choose.one_of(*FORMULAS)
    terms = formula.replace(" ", "").partition("->")[0].split(",")
    names = sorted(set("".join(terms)) - {"."})
    sizes = dict(zip(names, [2, 3, 4, 5, 2] if choose.maybe() else [3] * 5, strict=False))
    rests = FORMULAS[formula] or ((),) * len(terms)
    shapes = [tuple(n for part in arrays.axes_named(term, len(rest)) for n in [sizes.get(part) or rest[part]])
              for term, rest in zip(terms, rests, strict=True)]  # fmt: skip
    return Case(tuple(shapes), {"formula": formula}, seed=choose.seed())


# --- functions of tensors and attributes, where the op's own signature is another -------------------------------------


def split_and_joined(x, sections, axis):
    return ops.concat(ops.split(x, sections, axis)[::-1], axis)


def chunked_and_joined(x, chunks, axis):
    return ops.concat(ops.chunk(x, chunks, axis)[::-1], axis)


def elements(x, axis) -> int:
    return int(np.prod([x.shape[a] for a in naive.axes_of(axis, x.ndim)]))


def var_composed(x, axis, keepdims, correction):
    deviation = x - ops.mean(x, axis, True)
    return ops.sum(deviation * deviation, axis, keepdims) * (1 / (elements(x, axis) - correction))


# --- the rows ---------------------------------------------------------------------------------------------------------

LINEAR = {"order": 2, "analytic": True, "affine": "all"}

FUNCTIONS = (
    Op("log1p", ops.log1p, arrays.log1p, inputs.arrays(values="positive"), order=3, analytic=True, keeps=(0,),
       composition=lambda x: ops.log(x + 1.0), edges=(*edges_of_one(), edge((5,), values="tiny"))),
    Op("expm1", ops.expm1, arrays.expm1, inputs.arrays(), order=3, analytic=True, keeps=("y",),
       composition=lambda x: ops.exp(x) - 1.0, edges=(*edges_of_one(), edge((5,), values="tiny"))),
    Op("sin", ops.sin, arrays.sin, inputs.arrays(), order=3, analytic=True, keeps=(0,), edges=edges_of_one(),
       composition=lambda x: ops.cos(x - np.pi / 2)),
    Op("cos", ops.cos, arrays.cos, inputs.arrays(), order=3, analytic=True, keeps=(0,), edges=edges_of_one(),
       composition=lambda x: ops.sin(x + np.pi / 2)),
    Op("reciprocal", ops.reciprocal, arrays.reciprocal, inputs.arrays(values="nonzero"), order=3, analytic=True,
       keeps=("y",), composition=lambda x: 1.0 / x, edges=edges_of_one("nonzero")),
    Op("square", ops.square, arrays.square, inputs.arrays(), order=2, analytic=True, keeps=(0,), edges=edges_of_one()),
    Op("sign", ops.sign, arrays.sign, inputs.arrays(values="nonzero"), order=2, kinks="0",
       at_kinks=arrays.no_gradient, edges=(*edges_of_one(), edge((7,), values="ties"))),
    Op("floor", ops.floor, arrays.floor, inputs.arrays(), order=2, kinks="whole numbers", at_kinks=arrays.no_gradient,
       edges=edges_of_one()),
    Op("round", ops.round, arrays.round, inputs.arrays(), order=2, kinks="halves",
       edges=(*edges_of_one(), edge((7,), values="halves"))),
    Op("clip", ops.clip, arrays.clip, clip_inputs, order=2, kinks="bounds", at_kinks=arrays.bounds_belong_to_x,
       keeps=("own",), composition=lambda x, min=-np.inf, max=None: -ops.maximum(
           -ops.maximum(x, -np.inf if min is None else min), -np.inf if max is None else -max),
       edges=edges_of_one(min=-1.0, max=1.0)),
    Op("clip (by tensors)", ops.clip, arrays.clip, clip_by_tensors_inputs, order=2, kinks="bounds",
       at_kinks=arrays.bounds_belong_to_x, keeps=("own",),
       edges=(edge((0,), (0,), (1,)), edge((2, 0), None, (1,)), edge((1, 3), (0, 1, 3)), edge((), (), (2, 2)))),
)  # fmt: skip

STATISTICS = (
    Op("var", ops.var, arrays.var, inputs.with_options(inputs.reduction_inputs(), correction=[0, 1, 0.5]), order=3,
       analytic=True, keeps=(0,), composition=var_composed,
       edges=tuple(edge(*case.shapes, correction=0, **case.attributes) for case in edges_of_reduction())),
    Op("std", ops.std, arrays.std, inputs.with_options(inputs.reduction_inputs("distinct"), correction=[0, 1, 1.5]),
       order=2, analytic=True, keeps=(0, "y"),
       edges=tuple(edge(*case.shapes, correction=0, **case.attributes) for case in edges_of_reduction())),
    Op("logsumexp", ops.logsumexp, arrays.logsumexp, inputs.reduction_inputs(), order=3, analytic=True, keeps=(0, "y"),
       composition=lambda x, axis, keepdims: ops.log(ops.sum(ops.exp(x), axis, keepdims)),
       edges=(*edges_of_reduction(), edge((2, 0), axis=1, keepdims=False), edge((0,), axis=None, keepdims=True),
              edge((3, 4), values="large", axis=0, keepdims=False))),
    Op("prod", ops.prod, arrays.prod, inputs.reduction_inputs("nonzero"), order=3, analytic=True, keeps=(0, "own"),
       edges=(*edges_of_reduction("ties"), edge((2, 0), axis=1, keepdims=False), edge((0,), axis=None, keepdims=True),
              edge((3, 5), values="ties", axis=1, keepdims=False))),
    Op("argmin", ops.argmin, arrays.argmin, inputs.axis_inputs("ties"), order=0,
       edges=(edge((1, 1), axis=0), edge((0, 3), axis=1)), dtype=lambda dtype, attributes: np.int64),
)  # fmt: skip

NONE = np.zeros(0, int)

PICKING = (
    Op("gather", ops.gather, arrays.gather, gather_inputs, **LINEAR, keeps=("own",),
       edges=(edge((3, 0), axis=0, index=np.zeros((2, 0), int)), edge((2, 3), axis=1, index=np.zeros((2, 0), int)),
              edge((1, 1), axis=-1, index=[[0, 0, -1]]), edge((3,), axis=0, index=np.uint8([2, 2, 0])))),
    Op("scatter_add", lambda x, src, axis, index: ops.scatter_add(x, axis, index, src), arrays.scatter_add,
       scatter_add_inputs, **LINEAR, keeps=("own",),
       edges=(edge((3, 0), (2, 0), axis=0, index=np.zeros((2, 0), int)),
              edge((2, 3), (2, 0), axis=1, index=np.zeros((2, 0), int)),
              edge((1, 1), (1, 3), axis=-1, index=np.array([[0, 0, -1]])))),
    Op("take", ops.take, arrays.take, take_inputs, **LINEAR, keeps=("own",),
       edges=(edge((3, 0), indices=[1, 1], axis=0), edge((2, 3), indices=NONE, axis=1), edge((0,), indices=[], axis=0),
              edge((), indices=[0, 0], axis=None), edge((1,), indices=0, axis=0))),
)  # fmt: skip

MOVING = (
    Op("swapaxes", ops.swapaxes, arrays.swapaxes, swapaxes_inputs, **LINEAR,
       edges=(edge((0, 2, 3), axis1=0, axis2=2), edge((1,), axis1=0, axis2=-1))),
    Op("moveaxis", ops.moveaxis, arrays.moveaxis, moveaxis_inputs, **LINEAR,
       edges=(edge((0, 2, 3), source=0, destination=-1), edge((1,), source=0, destination=0))),
    Op("broadcast_arrays", lambda *tensors: ops.stack(ops.broadcast_arrays(*tensors), -1), arrays.broadcast_arrays,
       inputs.broadcasting(count=3), **LINEAR, edges=(edge((1, 2), (0, 1)), edge((), (2,)), edge((), ()))),
    Op("split", split_and_joined, arrays.split, split_inputs, **LINEAR,
       edges=(edge((0, 2), sections=3, axis=0), edge((2, 0), sections=[2, 0], axis=0), edge((1,), sections=1, axis=0))),
    Op("chunk", chunked_and_joined, arrays.chunk, chunk_inputs, **LINEAR,
       edges=(edge((0, 2), chunks=3, axis=0), edge((5, 0), chunks=2, axis=0), edge((1,), chunks=4, axis=0))),
    Op("flip", ops.flip, arrays.flip, flip_inputs, **LINEAR,
       edges=(edge((0, 2), axis=0), edge((), axis=None), edge((1, 1), axis=(0, 1)))),
    Op("roll", ops.roll, arrays.roll, roll_inputs, **LINEAR,
       edges=(edge((0, 2), shift=1, axis=0), edge((), shift=3, axis=None), edge((1,), shift=10**30, axis=0))),
    Op("repeat", ops.repeat, arrays.repeat, repeat_inputs, **LINEAR, keeps=("own",),
       edges=(edge((0, 2), repeats=2, axis=0), edge((), repeats=3, axis=None), edge((2, 3), repeats=0, axis=1),
              edge((1,), repeats=[2], axis=0))),
    Op("tile", ops.tile, arrays.tile, tile_inputs, **LINEAR,
       edges=(edge((0, 2), reps=(2, 3)), edge((), reps=3), edge((2, 3), reps=(0, 1)), edge((2,), reps=()))),
    Op("tril", ops.tril, arrays.tril, triangle_inputs, **LINEAR, keeps=("own",),
       edges=(edge((0, 2), k=0), edge((1, 1), k=-1), edge((2, 2), k=10**30))),
    Op("triu", ops.triu, arrays.triu, triangle_inputs, **LINEAR, keeps=("own",),
       edges=(edge((0, 2), k=0), edge((1, 1), k=-1), edge((2, 2), k=10**30))),
    Op("pad (reflect)", ops.pad, arrays.pad_with_copies, pad_with_copies_inputs("reflect"), **LINEAR,
       edges=(edge((0, 2), widths=((0, 0), (1, 1)), mode="reflect"), edge((), widths=(), mode="reflect"),
              edge((1, 4), widths=((0, 0), (3, 3)), mode="reflect"))),
    Op("pad (edge)", ops.pad, arrays.pad_with_copies, pad_with_copies_inputs("edge"), **LINEAR,
       edges=(edge((0, 2), widths=((0, 0), (1, 3)), mode="edge"), edge((), widths=(), mode="edge"),
              edge((1, 1), widths=((3, 0), (0, 2)), mode="edge"))),
)  # fmt: skip

CONTRACTION = (
    Op("einsum", lambda *tensors, formula: ops.einsum(formula, *tensors), arrays.einsum, einsum_inputs, order=3,
       analytic=True, affine="all", keeps=(0, 1, 2, "own"),
       edges=(edge((0, 2), (2, 3), formula="ij,jk->ik"), edge((2, 0), (0, 3), formula="ij,jk->ik"),
              edge((2, 0), formula="ij->i"), edge((), (2,), formula=",i->i"), edge((1, 3), (3, 2), formula="kj,ji"),
              edge((1, 0, 2), (3, 1, 2), formula="...i,...i->...i"))),
)  # fmt: skip

ARRAYS = FUNCTIONS + STATISTICS + PICKING + MOVING + CONTRACTION
