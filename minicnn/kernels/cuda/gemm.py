"""Products of matrices: our own, so that whole training steps can be captured in a CUDA graph, or cuBLAS by choice.

`use_cublas(True)` sends matmul to CuPy's, that is to cuBLAS: faster where matrices are large, but not capturable (CuPy
refuses cuBLAS during capture), and its bits depend on its version. Linear layers always take ours: they add the bias,
apply the relu, and in the gradient mask by it, in the same pass.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import sum as add_up
from . import tensor_cores
from .launch import contiguous, empty, kernel, library
from .parts import ENOUGH, add_parts, parts_for, pieces_of

# name -> rows and columns of a tile of gemm.cu
TILES = {"flat": (32, 128), "medium": (64, 64), "large": (128, 128)}

_cublas = False


def use_cublas(choice: bool) -> None:
    """From now on matmul is cuBLAS's (True) or ours (False, as at the start)."""
    global _cublas
    _cublas = bool(choice)


def matmul(a: Any, b: Any) -> Any:
    """(..., M, K) · (..., K, N) -> (..., M, N); leading axes broadcast."""
    if _cublas or a.dtype.name not in ("bfloat16", "float16", "float32", "float64"):
        return library().matmul(a, b)
    if a.ndim == b.ndim == 2 and tensor_cores.suits(a.dtype, "products"):
        return tensor_cores.matmul(a, b)
    if math.prod(b.shape[:-2]) == 1 and a.ndim >= b.ndim and a.flags.c_contiguous:  # one b for all: one product
        y = _product(a.reshape(1, math.prod(a.shape[:-1]), a.shape[-1]), b.reshape(1, *b.shape[-2:]))
        return y.reshape(*a.shape[:-1], b.shape[-1])
    return _product(a, b)


def linear(x: Any, w: Any, b: Any, relu: bool) -> Any:
    """x (N, I), w (O, I), b (O,) | None -> max(x·wᵀ + b, 0), or without max."""
    if tensor_cores.suits(x.dtype, "products"):
        return tensor_cores.linear(x, w, b, relu)
    return _product(x, w.swapaxes(0, 1), bias=b, relu=relu)


def linear_gradient(gy: Any, y: Any, x: Any, w: Any, needs: Any) -> tuple:
    """gx = g·w, gw = gᵀ·x, gb = Σ g with g = gy where y > 0 (or everywhere); None for what `needs` does not name."""
    gx = gw = gb = None
    gy, mask = contiguous(gy), None if y is None else contiguous(y)
    if tensor_cores.suits(gy.dtype, "products"):
        gx, gw = tensor_cores.linear_gradient(gy, y, x, w, needs)
    else:
        gx = _product(gy, w, mask=mask) if needs[0] else None
        gw = _product(gy.swapaxes(0, 1), x, mask=mask) if needs[1] else None
    if needs[2]:
        gb = empty(gy.shape[1:], gy.dtype)
        blocks = -(-gy.shape[1] // 32)
        kernel("gemm.cu", "column_sum", gy.dtype)(
            (blocks,), (gb, gy, gy if mask is None else mask, *gy.shape, mask is not None)
        )
    return gx, gw, gb


def einsum(x: Any, others: tuple, formula: str) -> Any:
    """As np.einsum, operand after operand: each joins the product so far, as a matmul over the names that go."""
    terms, _, output = formula.partition("->")
    first, *rest = terms.split(",")
    for position, (term, array) in enumerate(zip(rest, others, strict=True)):
        later = set(output).union(*rest[position + 1 :])
        x, first = _join(x, first, array, term, later)
    x, first = _without(x, first, set(output))
    return x.transpose([first.index(name) for name in output])


def _join(x: Any, x_names: str, y: Any, y_names: str, wanted: set[str]) -> tuple[Any, str]:
    """x times y, with only the names that are still wanted."""
    x, x_names = _without(x, x_names, wanted | set(y_names))
    y, y_names = _without(y, y_names, wanted | set(x_names))
    shared = [name for name in x_names if name in y_names]
    batch = [name for name in shared if name in wanted]
    gone = [name for name in shared if name not in wanted]
    ours, theirs = ([name for name in names if name not in shared] for names in (x_names, y_names))
    size = dict(zip(x_names + y_names, x.shape + y.shape, strict=True))

    def arranged(array: Any, names: str, *groups: list[str]) -> Any:
        array = array.transpose([names.index(name) for group in groups for name in group])
        return array.reshape([math.prod(size[name] for name in group) for group in groups])

    product = matmul(arranged(x, x_names, batch, ours, gone), arranged(y, y_names, batch, gone, theirs))
    left = [*batch, *ours, *theirs]
    return product.reshape([size[name] for name in left]), "".join(left)


def _without(x: Any, names: str, wanted: set[str]) -> tuple[Any, str]:
    """x summed over the names that nobody wants."""
    gone = tuple(axis for axis, name in enumerate(names) if name not in wanted)
    return (add_up(x, gone, False) if gone else x), "".join(name for name in names if name in wanted)


# --- one launch -------------------------------------------------------------------------------------------------------


def _product(a: Any, b: Any, bias: Any = None, mask: Any = None, relu: bool = False) -> Any:
    """relu(a · b + bias), a taken as 0 where the mask, which lies in memory as a does, is not above 0."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, k), n = a.shape[-2:], b.shape[-1]
    y = empty((*lead, m, n), a.dtype)
    if y.size == 0:
        return y
    batch = _two_levels(lead, a, b)
    if batch is None:
        return _product(*(contiguous(library().broadcast_to(x, (*lead, *x.shape[-2:]))) for x in (a, b)))
    a, am, ak = _as_stored(a)
    b, bk, bn = _as_stored(b)
    many = math.prod(lead)
    name = tile_for(m, n, many)
    rows, columns = TILES[name]
    blocks = -(-m // rows) * -(-n // columns) * many
    pieces, piece = pieces_of(blocks, k)
    parts = parts_for(y, pieces)
    kernel("gemm.cu", f"gemm_{name}", y.dtype)(
        (blocks * pieces,),
        (
            y, parts, a, a if mask is None else mask, b, b if bias is None else contiguous(bias),
            m, n, k, am, ak, bk, bn, *batch, many, pieces, piece, mask is not None, bias is not None, relu,
        ),
    )  # fmt: skip
    if pieces > 1:
        add_parts(y, parts, pieces, bias, cap=math.inf if relu else None)
    return y


def tile_for(m: int, n: int, many: int) -> str:
    """The largest tile that still gives every multiprocessor something to do."""
    if m <= 32:
        return "flat"
    blocks = -(-m // 128) * -(-n // 128) * many
    return "large" if m > 64 and n > 64 and 2 * blocks >= ENOUGH else "medium"


def _as_stored(x: Any) -> tuple[Any, int, int]:
    """x, or its transpose, or a copy: what is contiguous; and how far apart the rows and the columns of x are in it."""
    if not x.flags.c_contiguous and x.swapaxes(-1, -2).flags.c_contiguous:
        return x.swapaxes(-1, -2), 1, x.shape[-2]
    return contiguous(x), x.shape[-1], 1


def _two_levels(lead: tuple[int, ...], a: Any, b: Any) -> tuple[int, int, int, int, int] | None:
    """Leading axes as two: the size of the inner one, and the steps along both in a and in b, 0 where they repeat.

    None if broadcasting makes it more than two.
    """
    axes: list[tuple[int, int, int]] = []  # size, step in a, step in b; the innermost first
    steps = [x.shape[-1] * x.shape[-2] for x in (a, b)]
    for axis in range(1, len(lead) + 1):
        size = lead[-axis]
        own = [x.shape[-2 - axis] if axis <= x.ndim - 2 else 1 for x in (a, b)]
        step_a, step_b = (step if count > 1 else 0 for step, count in zip(steps, own, strict=True))
        steps = [step * count for step, count in zip(steps, own, strict=True)]
        if size == 1:
            continue
        if axes and (step_a, step_b) == (axes[-1][0] * axes[-1][1], axes[-1][0] * axes[-1][2]):
            axes[-1] = (axes[-1][0] * size, *axes[-1][1:])
        else:
            axes.append((size, step_a, step_b))
    if len(axes) > 2:
        return None
    (inner, a_inner, b_inner), (_, a_outer, b_outer) = (*axes, (1, 0, 0), (1, 0, 0))[:2]
    return inner, a_outer, a_inner, b_outer, b_inner
