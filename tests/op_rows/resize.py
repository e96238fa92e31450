"""The row of resizing."""

from __future__ import annotations

from minicnn import ops

from ..oracles import resize
from ..strategies import Case, Choices
from .row import Op, edge


def resize_inputs(choose: Choices) -> Case:
    """Larger and smaller, by whole and by odd ratios, another one for rows than for columns, from and to one pixel."""
    height = choose.integer(1, 5)
    size = height, height + choose.one_of(1, 2)
    target = choose.one_of(
        {"size": (choose.integer(1, 7), choose.integer(1, 7))},
        {"size": choose.integer(2, 6)},
        {"scale_factor": choose.one_of(2, 3, 1.5, 2.3)},
        {"scale_factor": choose.one_of((2, 0.6), (1.7, 3.0), (1, 0.5))},
    )
    mode, corners = choose.one_of(("nearest", False), ("bilinear", False), ("bilinear", True))
    return Case(((2, 2, *size),), {**target, "mode": mode, "align_corners": corners}, seed=choose.seed())


LINEAR = {"mode": "bilinear"}
CORNERS = {"mode": "bilinear", "align_corners": True}

RESIZE = (
    Op("resize", ops.resize, resize.resize, resize_inputs, order=2, analytic=True, affine="all",
       edges=(edge((0, 2, 3, 2), size=4), edge((2, 0, 2, 3), size=2, **LINEAR),
              edge((1, 1, 1, 1), size=(3, 2), **LINEAR), edge((1, 1, 1, 1), size=1, **CORNERS),
              edge((1, 1, 4, 5), size=1, **CORNERS), edge((1, 1, 4, 5), size=1, **LINEAR),
              edge((1, 2, 3, 7), size=(9, 2)), edge((1, 1, 7, 9), size=(2, 3), **LINEAR),
              edge((1, 1, 10, 3), scale_factor=(0.1, 2.1)), edge((1, 1, 7, 3), scale_factor=(0.3, 1.0), **LINEAR))),
)  # fmt: skip
