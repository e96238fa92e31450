"""Einsum: products and sums of arrays, told by naming their axes. Its gradients are einsums again.

einsum("nchw,ndhw->ncd", x, x)      what occurs on the left only (h, w) is summed over
einsum("ij,jk", a, b)               without "->": what occurs once, in alphabetical order, here ik
einsum("...ij,...jk->...ik", a, b)  "..." are all axes that have no name; they broadcast
"""

from __future__ import annotations

import math
import string
from typing import Any

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..function import Function
from ..tensor import Tensor
from .arguments import expect, of_one_dtype, one_line, refuse_huge

NAMES = string.ascii_letters


class Einsum(Function):
    """y[output] = Σ x₀[terms₀] · x₁[terms₁] · …, over all values of the names that are not in `output`.

    Linear in each operand: gx₀ = einsum(gy, x₁, … -> terms₀). A name that x₀ alone has, and y has not, was summed away
    without a factor, so the gradient is the same all along it.
    """

    any_dtype = True

    def forward(self, *arrays, terms, output):
        self.terms, self.output = terms, output
        self.shapes = tuple(array.shape for array in arrays)
        wanted = [self.needs_grad(k) for k in range(len(arrays))]
        self.save(*(a if any(wanted[:k] + wanted[k + 1 :]) else None for k, a in enumerate(arrays)))
        if len(arrays) > 1:
            sizes = dict(pair for both in zip(terms, self.shapes, strict=True) for pair in zip(*both, strict=True))
            self.macs = math.prod(sizes.values())
        return kernels.einsum(arrays[0], arrays[1:], f"{','.join(terms)}->{output}")

    def backward(self, gy):
        return tuple(self.gradient(k, gy) if self.needs_grad(k) else None for k in range(len(self.terms)))

    def gradient(self, k: int, gy: Tensor) -> Tensor:
        """In operand k: gy and the other operands, contracted to its names."""
        term, shape = self.terms[k], self.shapes[k]
        others = [*self.saved[:k], *self.saved[k + 1 :]]
        terms = (self.output, *self.terms[:k], *self.terms[k + 1 :])
        known = "".join(name for name in term if any(name in other for other in terms))
        g = Einsum.apply(gy, *others, terms=terms, output=known)
        kept = tuple(size if name in known else 1 for name, size in zip(term, shape, strict=True))
        return g.reshape(kept).broadcast_to(shape)


def einsum(formula: str, *operands: Tensor) -> Tensor:
    """Σ of products of the operands by their axes' names: see the examples above.

    Raises ArgumentError for a formula that cannot be read or takes a diagonal, ShapeError if an operand has not the
    axes it names, two sizes have one name, or no memory holds the result.
    """
    for position, tensor in enumerate(operands):
        expect("einsum", tensor, f"operands[{position}]")
    terms, output = _names_for_the_rest(formula, *_parsed(formula, operands), operands)
    sizes = _sizes(formula, terms, operands)
    refuse_huge("einsum", operands[0], tuple(sizes[name] for name in output))
    named = [_unstretched(term, tensor, sizes) for term, tensor in zip(terms, operands, strict=True)]
    tensors = of_one_dtype("einsum", [tensor for _, tensor in named])
    return Einsum.apply(*tensors, terms=tuple(term for term, _ in named), output=output)


# --- reading the formula ----------------------------------------------------------------------------------------------

REST = "..."


def _parsed(formula: Any, operands: tuple[Tensor, ...]) -> tuple[list[str], str | None]:
    """The names of each operand's axes, and those of the result, None if it is not said."""
    if not isinstance(formula, str):
        raise ArgumentError(f'einsum takes a formula such as "ij,jk->ik" first, got {one_line(formula)}')
    left, arrow, output = formula.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, output):
        names = term.replace(REST, "", 1)
        if not all(name in NAMES for name in names):
            raise _bad(formula, f"{term!r} has more than letters and one '...'")
        for name in names:
            if names.count(name) > 1:
                raise _bad(formula, f"{name!r} occurs twice in {term!r}, and diagonals are not taken: index them first")
    if len(terms) != len(operands):
        raise _bad(formula, f"it is of {len(terms)} operands, but there are {len(operands)}")
    for name in output.replace(REST, ""):
        if name not in left:
            raise _bad(formula, f"{name!r} of the result is in no operand")
    if arrow and REST in left and REST not in output:
        raise _bad(formula, "'...' of the operands must be in the result: sum over axes that have names")
    if REST in output and REST not in left:
        raise _bad(formula, "'...' of the result is in no operand")
    return terms, output if arrow else None


def _bad(formula: str, why: str) -> ArgumentError:
    return ArgumentError(f"einsum {one_line(formula)}: {why}")


def _names_for_the_rest(
    formula: str, terms: list[str], output: str | None, operands: tuple[Tensor, ...]
) -> tuple[list[str], str]:
    """Letters that are free in place of "...", counted from the last axis; and the result, where it is not said."""
    unused = [name for name in NAMES if not any(name in term for term in terms)]
    counts = []
    for term, tensor in zip(terms, operands, strict=True):
        rest = tensor.ndim - len(term.replace(REST, ""))
        if rest < 0 or (rest > 0 and REST not in term):
            raise ShapeError(f"einsum {one_line(formula)}: {term!r} does not name the axes of shape {tensor.shape}")
        counts.append(rest)
    most = max(counts)
    if most > len(unused):
        raise _bad(formula, f"there are not enough letters for {most} more axes")
    rest_names = "".join(unused[:most])
    if output is None:
        once = sorted(name for name in set("".join(terms)) - {"."} if sum(name in term for term in terms) == 1)
        output = REST + "".join(once)
    named = [term.replace(REST, rest_names[most - count :]) for term, count in zip(terms, counts, strict=True)]
    return named, output.replace(REST, rest_names)


def _sizes(formula: str, terms: list[str], operands: tuple[Tensor, ...]) -> dict[str, int]:
    """The size of each name. ShapeError if it has two; among the axes of "...", 1 goes with any."""
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, operands, strict=True):
        for name, size in zip(term, tensor.shape, strict=True):
            known = sizes.setdefault(name, size)
            if known != size and (name in formula or 1 not in (known, size)):
                what = f"axes named {name!r} differ" if name in formula else "the axes of '...' do not broadcast"
                shapes = " and ".join(str(operand.shape) for operand in operands)
                raise ShapeError(f"einsum {one_line(formula)} of shapes {shapes}: {what}")
            sizes[name] = size if known == 1 else known
    return sizes


def _unstretched(term: str, tensor: Tensor, sizes: dict[str, int]) -> tuple[str, Tensor]:
    """Without the axes of size 1 that are longer in another operand: to multiply by them needs no name."""
    stays = [size == sizes[name] for name, size in zip(term, tensor.shape, strict=True)]
    shape = tuple(size for size, stay in zip(tensor.shape, stays, strict=True) if stay)
    return "".join(name for name, stay in zip(term, stays, strict=True) if stay), tensor.reshape(shape)
