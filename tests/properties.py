"""What is true of every op: one function per property, of a row of the op table, a case and a device.

The property tests (test_op_properties.py) try them on many cases; the fault tests (test_checks_catch_faults.py) on few,
with something broken. Each raises if the property does not hold, and by nothing else says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import Tensor, grad, no_grad, use
from minicnn import device as devices
from minicnn.gradcheck import gradcheck

from .op_table import Op
from .strategies import Case

FLOATS = (np.float64, np.float32)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "int64": 0, "bool": 0}  # of the largest number of an array


@dataclass(frozen=True)
class Property:
    """A property: its name, the check, the rows it is about, and whether it can differ between devices."""

    name: str
    check: Callable[[Op, Case, str], None]
    applies: Callable[[Op], bool]
    on_every_device: bool = True
    at_edges: bool = False  # holds at Op.edges too, where there may be no elements

    def __str__(self) -> str:
        return self.name


PROPERTIES: list[Property] = []


def about(applies: Callable[[Op], bool] = lambda op: True, **options: bool) -> Callable:
    """Enter a check into PROPERTIES, under its own name."""

    def enter(check: Callable[[Op, Case, str], None]) -> Callable[[Op, Case, str], None]:
        PROPERTIES.append(Property(check.__name__, check, applies, **options))
        return check

    return enter


def has_gradient(op: Op) -> bool:
    return op.order > 0


# --- running an op ----------------------------------------------------------------------------------------------------

Arrays = Sequence[np.ndarray | None]


def tensors_of(arrays: Arrays, device: str, requires_grad: bool = True) -> list[Tensor | None]:
    return [None if array is None else Tensor(array, requires_grad, device=device) for array in arrays]


def call(op: Op, case: Case, tensors: Sequence[Tensor | None], device: str) -> Tensor:
    with use(device):
        return op.function(*tensors, **case.attributes)


def forward(op: Op, case: Case, arrays: Arrays, device: str) -> np.ndarray:
    return host(call(op, case, tensors_of(arrays, device, requires_grad=False), device))


def host(tensor: Tensor) -> np.ndarray:
    """What is in a tensor, as NumPy's, wherever it is."""
    return devices.to_host(tensor.data)


def cotangent_for(case: Case, y: Tensor) -> np.ndarray:
    return case.cotangent(y.shape, y.dtype)


def gradients(op: Op, case: Case, arrays: Arrays, device: str, cotangent: np.ndarray | None = None) -> list[np.ndarray]:
    """The gradient in each array that is there, of the op's result contracted with the cotangent."""
    tensors = tensors_of(arrays, device)
    y = call(op, case, tensors, device)
    y.backward(cotangent_for(case, y) if cotangent is None else cotangent)
    return grads_of(tensors)


def grads_of(tensors: Sequence[Tensor | None]) -> list[np.ndarray]:
    found = []
    for tensor in tensors:
        if tensor is not None:
            assert tensor.grad is not None, f"no gradient reached the input of shape {tensor.shape}"
            found.append(host(tensor.grad))
    return found


def present(arrays: Sequence[Any]) -> list[Any]:
    return [array for array in arrays if array is not None]


def copies(arrays: Arrays) -> list[np.ndarray | None]:
    return [None if array is None else array.copy() for array in arrays]


def close(actual: Any, expected: Any, what: str, tolerance: float | None = None, terms: float = 0.0) -> None:
    """Equal shapes, and numbers that differ by no more than rounding, measured by the largest of them.

    terms: the size of what they are sums of, if that may be larger: it is what was rounded.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if tolerance is None:
        tolerance = TOLERANCE[str(actual.dtype)]
    finite = expected[np.isfinite(expected)]
    scale = max(terms, float(np.abs(finite).max()) if finite.size else 1.0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def all_close(
    actual: Sequence, expected: Sequence, what: str, tolerance: float | None = None, terms: float = 0.0
) -> None:
    assert len(actual) == len(expected)
    for position, (a, e) in enumerate(zip(actual, expected, strict=True)):
        close(a, e, f"{what} {position}", tolerance, terms)


# --- what an op computes ----------------------------------------------------------------------------------------------


def _forward_is_the_oracle(op: Op, case: Case, device: str, dtype: Any) -> None:
    arrays = case.arrays(dtype)
    y = forward(op, case, arrays, device)
    expected = op.oracle(*[None if a is None else a.astype(np.float64) for a in arrays], **case.attributes)
    tolerance = max(TOLERANCE[str(y.dtype)], TOLERANCE[str(np.dtype(dtype))])
    tolerance = tolerance if y.dtype.kind == "f" else 0
    close(y, expected, "forward against the oracle", tolerance, terms_of(op, arrays))


def terms_of(op: Op, arrays: list[Any]) -> float:
    """A sum may all but cancel, and be one number; then its terms are what was rounded."""
    return math.prod(float(np.abs(a).max(initial=0)) for a in present(arrays)) if op.affine == "all" else 0.0


@about(at_edges=True)
def forward_is_the_oracle(op: Op, case: Case, device: str) -> None:
    """In float64, to the last digits."""
    _forward_is_the_oracle(op, case, device, np.float64)


@about(at_edges=True)
def forward_is_the_oracle_in_float32(op: Op, case: Case, device: str) -> None:
    _forward_is_the_oracle(op, case, device, np.float32)


@about(at_edges=True)
def dtype_is_kept(op: Op, case: Case, device: str) -> None:
    """float32 in, float32 out, of the result and of every gradient; and nothing is recorded where no gradient is."""
    for dtype in map(np.dtype, FLOATS):
        tensors = tensors_of(case.arrays(dtype), device)
        y = call(op, case, tensors, device)
        assert y.dtype == op.dtype(dtype, case.attributes), f"{dtype} in, {y.dtype} out"
        assert y.requires_grad == (y.dtype.kind == "f"), "recorded without a gradient, or not recorded"
        if y.requires_grad:
            y.backward(cotangent_for(case, y))
            assert all(g.dtype == dtype for g in grads_of(tensors)), "a gradient has another dtype than its tensor"


@about(lambda op: bool(op.composition))
def equals_its_composition(op: Op, case: Case, device: str) -> None:
    """A fused op is the plain ops it stands for, in its gradient and second derivative too."""
    results = []
    for function in (op.function, op.composition):
        tensors = tensors_of(case.arrays(), device)
        with use(device):
            y = function(*tensors, **case.attributes)
            leaves = present(tensors)
            first = grad(y, leaves, Tensor(cotangent_for(case, y)), create_graph=True)
            total = sum_of_products(case, first)
            second = grad(total, leaves, allow_unused=True) if total.requires_grad else (None,) * len(leaves)
        zeros = [np.zeros(leaf.shape) for leaf in leaves]
        results.append([host(y), *[host(g) for g in first],
                        *[z if g is None else host(g) for g, z in zip(second, zeros, strict=True)]])  # fmt: skip
    all_close(results[0], results[1], "result, gradients, second derivatives", 1e-9)


def sum_of_products(case: Case, tensors: Sequence[Tensor]) -> Tensor:
    """One number that depends on all of them, each element with its own weight."""
    terms = [(t * Tensor(case.cotangent(t.shape), device=t.device)).sum() for t in tensors]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


# --- derivatives ------------------------------------------------------------------------------------------------------


def function_of(op: Op, case: Case) -> Callable[..., Tensor]:
    """The op as a function of the tensors that are there."""

    def function(*tensors: Tensor) -> Tensor:
        given = iter(tensors)
        return op.function(*[None if shape is None else next(given) for shape in case.shapes], **case.attributes)

    return function


def _gradcheck(op: Op, case: Case, device: str, **options: Any) -> None:
    if case.values == "large" or not np.isfinite(op.oracle(*case.arrays(), **case.attributes)).all():
        return  # an edge whose result should be flat to the last digit, or infinite: differences say nothing
    with use(device):
        inputs = present(case.arrays())
        gradcheck(function_of(op, case), inputs, seed=case.seed % 2**32, allow_empty=True, **options)


@about(lambda op: op.order >= 1 and op.smooth, at_edges=True)
def gradient_is_the_derivative(op: Op, case: Case, device: str) -> None:
    _gradcheck(op, case, device)


@about(lambda op: op.order >= 2, at_edges=True)
def second_derivative(op: Op, case: Case, device: str) -> None:
    _gradcheck(op, case, device, order=2)


@about(lambda op: op.order >= 3, on_every_device=False)
def third_derivative(op: Op, case: Case, device: str) -> None:
    _gradcheck(op, case, device, order=3)


@about(lambda op: op.analytic, on_every_device=False)
def complex_step_derivative(op: Op, case: Case, device: str) -> None:
    """Im f(x + ih) / h has no cancellation: the derivative to the last digits."""
    _gradcheck(op, case, "reference", complex_step=True)


@about(lambda op: op.at_kinks is not None)
def gradient_at_kinks(op: Op, case: Case, device: str) -> None:
    """Where there is no derivative, the gradient that the docstring promises."""
    case = dataclasses.replace(case, values=op.ties)
    arrays = case.arrays()
    y = call(op, case, tensors_of(arrays, device), device)
    expected = op.at_kinks(cotangent_for(case, y).astype(np.float64), *arrays, **case.attributes)
    all_close(gradients(op, case, arrays, device), expected, "gradient at a kink, input")


@about(lambda op: bool(op.affine))
def gradient_is_the_adjoint(op: Op, case: Case, device: str) -> None:
    """⟨v, f(x) − f(0)⟩ = ⟨gradient, x⟩ in every input in which f is affine."""
    arrays = case.arrays()
    y = forward(op, case, arrays, device)
    v = case.cotangent(y.shape)
    found = iter(gradients(op, case, arrays, device, v))
    for position, array in enumerate(arrays):
        if array is None:
            continue
        g = next(found)
        if op.affine == "all" or position in op.affine:
            without = copies(arrays)
            without[position] = np.zeros_like(array)
            terms = v * (y - forward(op, case, without, device))
            close(np.vdot(g, array), terms.sum(), f"adjoint in input {position}", 1e-11 * (1 + np.abs(terms).sum()))


@about(has_gradient)
def zero_cotangent_gives_zero(op: Op, case: Case, device: str) -> None:
    arrays = case.arrays()
    y = forward(op, case, arrays, device)
    for g in gradients(op, case, arrays, device, np.zeros_like(y)):
        assert not g.any(), "a zero cotangent gave a gradient that is not zero"


@about(has_gradient)
def float32_gradient_is_the_float64_gradient(op: Op, case: Case, device: str) -> None:
    """Differences need float64; the kernels for float32, which users run, are judged by those for float64."""
    arrays = case.arrays(np.float32)
    y = forward(op, case, arrays, device)
    v = case.cotangent(y.shape, np.float32)
    wide = [None if a is None else a.astype(np.float64) for a in arrays]
    in_wide = op.dtype(np.dtype(np.float64), case.attributes)
    expected = gradients(op, case, wide, device, v.astype(in_wide))
    terms = float(np.abs(v).max(initial=0))  # a slope or a bias of one number is a sum that may all but cancel
    all_close(gradients(op, case, arrays, device, v), expected, "float32 gradient, input", 2e-5, terms)


@about(has_gradient, on_every_device=False)
def each_gradient_by_itself(op: Op, case: Case, device: str) -> None:
    """An input's gradient does not depend on which others need one, nor on whether backward is recorded."""
    arrays = case.arrays()
    expected = iter(gradients(op, case, arrays, device))
    for position, array in enumerate(arrays):
        if array is None:
            continue
        tensors = tensors_of(arrays, device, requires_grad=False)
        tensors[position].requires_grad_()
        y = call(op, case, tensors, device)
        v = cotangent_for(case, y)
        (alone,) = grad(y, tensors[position], v, retain_graph=True)
        (recorded,) = grad(y, tensors[position], v, create_graph=True)
        wanted = next(expected)
        close(alone.data, wanted, f"gradient of input {position} alone")
        close(recorded.data, wanted, f"recorded gradient of input {position}")


# Gradients that cost next to nothing, or come along with others: by Function, in which inputs.
GIVEN_AWAY = {
    "Add": (0, 1),
    "Sub": (0,),
    "Maximum": (0, 1),
    "Concat": range(9),
    "BatchNorm": range(4),
    "FixedNorm": (3,),
}


@about(has_gradient, on_every_device=False)
def nothing_for_nobody(op: Op, case: Case, device: str) -> None:
    """If one input alone needs a gradient, no other is computed; and where the op is affine in it, it is not kept."""
    arrays = case.arrays()
    for position, array in enumerate(arrays):
        if array is None or len(present(arrays)) == 1:
            continue
        tensors = tensors_of(arrays, device, requires_grad=False)
        tensors[position].requires_grad_()
        y = call(op, case, tensors, device)
        nodes = nodes_of(y)
        is_view = any(owner(y.data) is owner(a) for a in present(arrays))  # which holds its owner anyway
        if (op.affine == "all" or position in op.affine) and not is_view:
            kept = [a for node in nodes if node.name != "batch_norm" for a in arrays_in([node._saved, vars(node)])]
            assert not any(owner(a) is owner(array) and a.size > 1 for a in kept), (
                f"input {position} is kept for others' gradients"
            )
        for node in nodes:
            returned = node.backward(*[Tensor(np.ones(shape, dtype), device=device) for shape, dtype in node.outputs])
            given_away = GIVEN_AWAY.get(type(node).__name__, ())
            for i, g in enumerate(returned if isinstance(returned, tuple) else (returned,)):
                assert g is None or node.active[i] or i in given_away, (
                    f"{node.name} computes the gradient of input {i} for nobody"
                )


# --- arrays of all kinds ----------------------------------------------------------------------------------------------


def in_reverse_order(array: Any, xp: Any) -> Any:
    return xp.ascontiguousarray(array.T).reshape(array.shape[::-1]).T  # of no axes it makes one


def every_second(array: Any, xp: Any) -> Any:
    wide = xp.full((*array.shape, 2), np.nan, array.dtype)
    wide[..., 1] = array
    return wide[..., 1]


def backwards(array: Any, xp: Any) -> Any:
    every = (..., *[slice(None, None, -1)] * array.ndim)
    return array[every].copy()[every]


def inside_of_a_larger(array: Any, xp: Any) -> Any:
    border = xp.full(tuple(size + 2 for size in array.shape), np.nan, array.dtype)
    inside = border[(..., *[slice(1, -1)] * array.ndim)]
    inside[...] = array
    return inside


# The same numbers in memory in other ways. What lies between them is NaN: who reads past a stride will show it.
LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "axes in reverse order": in_reverse_order,
    "every second element": every_second,
    "backwards": backwards,
    "inside of a larger array": inside_of_a_larger,
}


@about(at_edges=True)
def layout_does_not_matter(op: Op, case: Case, device: str) -> None:
    """Permuted, strided, reversed and offset views, of inputs and cotangent, give what contiguous arrays give."""
    for dtype in FLOATS:
        arrays = case.arrays(dtype)
        y = forward(op, case, arrays, device)
        differentiable = op.order > 0 and y.dtype.kind == "f"
        v = case.cotangent(y.shape, y.dtype) if differentiable else y
        expected = gradients(op, case, arrays, device, v) if differentiable else []
        for layout in LAYOUTS:

            def view(array: np.ndarray, layout: str = layout) -> Any:
                return LAYOUTS[layout](devices.move(array, device), devices.array_library(device))

            viewed = [None if array is None else view(array) for array in arrays]
            close(forward(op, case, viewed, device), y, layout, terms=terms_of(op, arrays))
            if differentiable:
                found = gradients(op, case, viewed, device, Tensor(view(v), device=device))
                all_close(found, expected, f"{layout}: gradient of input")


@about(at_edges=True)
def sizes_zero_and_one(op: Op, case: Case, device: str) -> None:
    """Every gradient has the shape of its input, also where nothing is left; nothing in gives zero."""
    tensors = tensors_of(case.arrays(), device)
    y = call(op, case, tensors, device)
    if y.requires_grad:
        y.backward(cotangent_for(case, y))
        for tensor, g in zip(present(tensors), grads_of(tensors), strict=True):
            assert g.shape == tensor.shape
            assert not np.isnan(g).any(), "a gradient is NaN"
            assert y.size or not g.any(), "no output, but a gradient that is not zero"


@about(at_edges=True)
def nothing_given_is_modified(op: Op, case: Case, device: str) -> None:
    """Inputs, attributes, cotangent and result stay as they were; read-only arrays will do; backward repeats itself."""
    for writeable in (True, False):
        arrays = case.arrays()
        attributes = [value for value in case.attributes.values() if isinstance(value, np.ndarray)]
        tensors = tensors_of(arrays, device)
        y = forward(op, case, case.arrays(), device)
        v = case.cotangent(y.shape, y.dtype)
        watched = [*present(arrays), *attributes, v]
        before = copies(watched)
        for array in watched:
            array.flags.writeable = writeable
        expected, y = y, call(op, case, tensors, device)
        np.testing.assert_array_equal(host(y), expected, "another result of arrays that are read-only or recorded")
        result = host(y).copy()
        if y.requires_grad:
            y.backward(v, retain_graph=True)
            first = copies(grads_of(tensors))
            for tensor in present(tensors):
                tensor.grad = None
            y.backward(v)
            for a, b in zip(first, grads_of(tensors), strict=True):
                np.testing.assert_array_equal(a, b, "a second backward through the same graph")
        inputs = [host(tensor) for tensor in present(tensors)]  # where they are copies, on another device
        for array, copy in zip([*watched, *inputs, host(y)], [*before, *present(case.arrays()), result], strict=True):
            np.testing.assert_array_equal(array, copy, "an array that was given, or the result, has changed")


# --- devices and repetition -------------------------------------------------------------------------------------------


@about(at_edges=True)
def device_equals_reference(op: Op, case: Case, device: str) -> None:
    """Forward and gradients, in both precisions."""
    if device == "reference":
        return
    for dtype in FLOATS:
        arrays = case.arrays(dtype)
        expected = forward(op, case, arrays, "reference")
        close(forward(op, case, arrays, device), expected, f"{device} against reference", terms=terms_of(op, arrays))
        if op.order and expected.dtype.kind == "f":
            v = case.cotangent(expected.shape, expected.dtype)
            pairs = gradients(op, case, arrays, device, v), gradients(op, case, arrays, "reference", v)
            all_close(*pairs, f"gradient on {device} against reference, input", terms=float(np.abs(v).max(initial=0)))


@about(at_edges=True)
def two_runs_give_the_same_bytes(op: Op, case: Case, device: str) -> None:
    """Also if the second is not recorded."""
    arrays = case.arrays(np.float32)
    results = []
    for _ in range(2):
        tensors = tensors_of(arrays, device)
        y = call(op, case, tensors, device)
        if y.requires_grad:
            y.backward(cotangent_for(case, y))
        results.append([host(y).tobytes(), *[host(t.grad).tobytes() for t in present(tensors) if t.grad is not None]])
    assert results[0] == results[1], "two runs differ"
    with no_grad():
        assert host(call(op, case, tensors, device)).tobytes() == results[0][0], "without recording the result differs"


# --- the graph --------------------------------------------------------------------------------------------------------


@about(has_gradient, on_every_device=False)
def two_uses_add_up(op: Op, case: Case, device: str) -> None:
    """Of one tensor in two calls, in two backwards, and in two places of one call."""
    arrays = case.arrays()
    y = forward(op, case, arrays, device)
    v, w = case.cotangent(y.shape, y.dtype), np.flip(case.cotangent(y.shape, y.dtype)).copy()
    separate = [a + b for a, b in zip(gradients(op, case, arrays, device, v), gradients(op, case, arrays, device, w),
                                      strict=True)]  # fmt: skip
    tensors = tensors_of(arrays, device)
    ones, twos = (call(op, case, tensors, device) for _ in range(2))
    together = grad([ones, twos], present(tensors), [v, w], retain_graph=True)
    all_close([g.data for g in together], separate, "two calls, input")
    ones.backward(v)
    twos.backward(w)
    all_close(grads_of(tensors), separate, "two backwards, input")

    if len(arrays) > 1 and all(array is not None and array.shape == arrays[0].shape for array in arrays):
        if op.kinks:
            return  # a tensor compared with itself is a tie
        same = [arrays[0]] * len(arrays)
        y = forward(op, case, same, device)
        v = case.cotangent(y.shape, y.dtype)
        (tensor,) = tensors_of([arrays[0]], device)
        call(op, case, [tensor] * len(arrays), device).backward(v)
        close(tensor.grad.data, np.sum(gradients(op, case, same, device, v), axis=0), "one tensor in all places")


@about(has_gradient, on_every_device=False)
def gradients_share_no_memory(op: Op, case: Case, device: str) -> None:
    """Writing into one gradient changes no other, no input, no result and no cotangent; recorded ones neither."""
    for create_graph in (False, True):
        leaves = tensors_of(case.arrays(), device)
        given = [None if leaf is None else leaf + 0.0 for leaf in leaves]  # hands its gradient on as it is
        y = call(op, case, given, device)
        v = cotangent_for(case, y)
        (other,) = tensors_of([np.zeros(y.shape, y.dtype)], device)  # a second consumer of the cotangent
        total = y + other
        for inner in (y, total):
            inner.retain_grad()
        total.backward(v, create_graph=create_graph)
        grads = grads_of([*leaves, y, other, total])
        everything = [*grads, *(t.data for t in present(leaves)), y.data, v]
        before = copies(everything)
        for position, gradient in enumerate(grads):
            gradient[...] = np.nan
            for later in range(position + 1, len(everything)):
                what = f"gradient {position} shares memory with array {later}, {create_graph=}"
                np.testing.assert_array_equal(everything[later], before[later], what)


def nodes_of(tensor: Tensor) -> list[Any]:
    """The Functions from which a tensor was made."""
    found: dict[int, Any] = {}
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            waiting += [edge.node for edge in node.edges if edge is not None]
    return list(found.values())


@contextlib.contextmanager
def no_garbage_collector() -> Iterator[None]:
    """What dies inside does so by itself: its last reference went."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@about(has_gradient, on_every_device=False)
def memory_is_released(op: Op, case: Case, device: str) -> None:
    """No reference cycles: the graph dies with its result, no collector needed; and backward frees what it kept."""
    with no_garbage_collector():
        for create_graph in (False, True):
            leaves = tensors_of(case.arrays(), device)
            inner = [None if leaf is None else leaf + 0.0 for leaf in leaves]
            y = call(op, case, inner, device)
            nodes = nodes_of(y)
            watched = [weakref.ref(thing) for thing in (y, y.data, *nodes, *present(inner))]
            y.backward(cotangent_for(case, y), create_graph=create_graph)
            if not create_graph:
                assert all(not node._saved and not vars(node) for node in nodes), "backward freed nothing"
            for leaf in present(leaves):
                leaf.grad = None
            del nodes, y, inner
            alive = [ref() for ref in watched if ref() is not None]
            assert not alive, f"kept alive by a reference cycle: {[type(thing).__name__ for thing in alive]}"


def owner(array: np.ndarray) -> Any:
    """Whoever owns the memory that an array looks at: a small view keeps all of it alive."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def arrays_in(thing: Any) -> Iterator[np.ndarray]:
    """All arrays that can be reached through containers and tensors."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, Tensor):
        yield thing.data
    elif isinstance(thing, dict):
        yield from arrays_in(list(thing.values()))
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from arrays_in(part)
    elif hasattr(thing, "array"):  # an entry of what forward saved
        yield from arrays_in(thing.array)


@about(has_gradient, on_every_device=False)
def keeps_what_it_declares(op: Op, case: Case, device: str) -> None:
    """Between forward and backward: the inputs, the result or the masks of Op.keeps; single numbers do not count."""
    leaves = tensors_of(case.arrays(), device)
    given = [None if leaf is None else leaf + 0.0 for leaf in leaves]  # inside of a graph, so that no leaf is held
    before = {id(node) for tensor in present(given) for node in nodes_of(tensor)}
    y = call(op, case, given, device)
    if y.data.base is not None or any(y is tensor for tensor in given):
        return  # a view holds its owner anyway
    may = [owner(given[i].data) for i in op.keeps if isinstance(i, int) and i < len(given) and given[i] is not None]
    may += [owner(y.data)] if "y" in op.keeps else []
    may += [owner(array) for array in arrays_in(case.attributes)]
    kept = {}
    for node in nodes_of(y):
        if id(node) not in before:
            kept |= {id(owner(a)): owner(a) for a in arrays_in([node._saved, vars(node)])}
    extra = [a for a in kept.values() if not any(a is allowed for allowed in may) and a.size > 1]
    foreign = [a for a in extra if any(a is owner(t.data) for t in [*present(given), y])]
    assert not foreign, f"keeps an input or result of shape {foreign[0].shape}, which is not declared"
    if "own" in op.keeps:
        room = sum(max(t.size, y.size) for t in present(given))
        assert sum(a.size for a in extra) <= room, "keeps more than a mask for each input"
    else:
        assert not extra, f"keeps an array of shape {extra[0].shape}, which is not declared"
