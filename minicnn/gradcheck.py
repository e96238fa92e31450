"""gradcheck: is what backward computes the derivative of what forward computes?

For y = f(x), backward turns a cotangent c, of the shape of y, into the gradient g = Jᵀ·c. For a direction v,

    ⟨g, v⟩ = ⟨c, J·v⟩ = d/dt ⟨c, f(x + t·v)⟩ at t = 0

The left side is backward; the right side needs forward only and is measured in float64, by central differences

    D(h) = (φ(h) − φ(−h)) / 2h,   φ(t) = ⟨c, f(x + t·v) − f(x)⟩,   derivative = (4·D(h) − D(2h)) / 3 + O(h⁴)

with Richardson's extrapolation, or by a complex step, Im φ(i·h) / h, which subtracts nothing and so needs no choice of h.

c and v are random with no component near 0, so one pair of numbers judges every element: a backward with g + e for g
passes only if ⟨e, v⟩ is within the tolerance, which for a random v happens with about the probability rtol. The
cotangent is never all ones: the gradient of softmax or batch norm is then 0, and anything times 0 would pass.

A kink (ReLU at 0, two equal maxima) has no derivative. It shows where the slopes to the left and to the right, or at h
and 2h, differ by more than a smooth curve can; then a smaller h, another direction and a point nearby are tried.

What it cannot see: a wrong forward with a matching backward; a branch that these inputs do not take; an element whose
error is below rtol of the whole gradient's size; the gradient chosen at a kink itself; what happens in float32 only.

Sources: Richardson 1911 for the extrapolation; Squire and Trapp 1998, "Using complex variables to estimate derivatives
of real functions". Random directions are how Chainer and HIPS autograd test, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import autograd
from . import device as devices
from .diagnose import Evidence, diagnose, shape_hint, table
from .errors import ArgumentError, GradcheckError, GraphError
from .function import enable_grad, no_grad
from .tensor import Tensor

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)  # times the size of the input; the first that is consistent is used
COMPLEX_STEP = 1e-20
SCALES = (2.0, -(2.0**30), 2.0**-30)  # powers of two are exact, so a linear backward scales to the last bit
GROSS = 1e-2  # atol never excuses an error of this part of a derivative that was clearly measured
SMALL = 2000  # up to so many elements, a failure is examined element by element
EPS = float(np.finfo(np.float64).eps)

Arrays = list[np.ndarray]


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    seed: int = 0,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    complex_step: bool = False,
    samples: int = 1,
    attempts: int = 8,
) -> bool:
    """True if the gradients of function(*inputs) are its derivatives; GradcheckError with a diagnosis if not.

    function: Tensors -> a Tensor or a tuple of them, the same at each call. inputs: arrays or Tensors; floating ones
    are copied to float64 and differentiated, everything else (labels, options) is passed on as it is.
    order: 2 checks the gradient of the gradient too, in the inputs and in the cotangent; 3 the one after it.
    rtol is relative to the gradient's size; atol is for rounding where the gradient is 0.
    complex_step: exact to rounding (rtol=1e-14), for functions that are analytic and take complex numbers.
    samples: repeat with so many cotangents and directions. attempts: how often to move away from kinks before giving
    up, which is an error. The same seed checks the same numbers.

    Besides: two backwards give the same bytes; they change neither inputs nor cotangents; a cotangent 0 gives 0, and
    k·c gives k times the gradient of c; with several outputs, each may be used alone, and with several inputs, each may
    be the only one that requires a gradient; recording changes neither values nor gradients.
    """
    if min(order, samples, attempts) < 1 or min(rtol, atol) < 0:
        raise ArgumentError("gradcheck needs order, samples and attempts ≥ 1, and tolerances ≥ 0")
    for sample in range(samples):
        problem = Problem.of(function, inputs)
        before = None
        for depth in range(1, order + 1):
            random = np.random.default_rng([seed, sample, depth])
            context = f"order {depth}, seed {seed}" + (f", sample {sample}" if samples > 1 else "")
            check = Check(problem, random, context, rtol, atol, complex_step, attempts)
            with enable_grad(), np.errstate(all="ignore"):  # steps out of a domain give NaN, which is looked for
                check.run(before)
            problem, before = problem.gradient(check.cotangents), check.gradients
    return True


class Problem(NamedTuple):
    """A function and the point where it is checked: values[k] is a float64 array if k is one of `places`."""

    function: Callable[..., Any]
    name: str
    values: list[Any]
    places: list[int]  # of the floating inputs, which are differentiated
    labels: list[str]
    devices: list[str]

    @classmethod
    def of(cls, function: Callable[..., Any], inputs: Sequence[Any]) -> Problem:
        values, places, where = [], [], []
        for place, value in enumerate(inputs):
            floating = isinstance(value, Tensor | np.ndarray | np.generic) and value.dtype.kind == "f"
            if floating:
                places.append(place)
                value_device = value.device if isinstance(value, Tensor) else devices.current()
                value = np.array(value.numpy() if isinstance(value, Tensor) else value, np.float64)
            values.append(value)
            where.append(value_device if floating else "")
        if not places:
            raise ArgumentError("gradcheck got no floating-point array to differentiate by")
        function_ = getattr(function, "func", function)  # functools.partial
        name = getattr(function_, "__name__", type(function_).__name__)
        return cls(function, name, values, places, [f"input {place}" for place in range(len(values))], where)

    def gradient(self, cotangents: Arrays) -> Problem:
        """The next order: (inputs, cotangents) -> gradients, as a function that is itself differentiable."""

        def gradient(*arguments: Any) -> tuple[Tensor, ...]:
            with enable_grad():
                inputs = list(arguments[: len(self.values)])
                leaves = []
                for place in self.places:
                    if not inputs[place].requires_grad:
                        inputs[place] = inputs[place].detach().requires_grad_()
                    leaves.append(inputs[place])
                outputs = floating(self.function(*inputs))
                found = pull(self.name, outputs, leaves, arguments[len(self.values) :], create_graph=True)
            return tuple(
                Tensor(np.zeros_like(leaf.numpy()), device=leaf.device) if g is None else g
                for leaf, g in zip(leaves, found, strict=True)
            )

        count = len(self.values)
        new = range(count, count + len(cotangents))
        labels = [f"the cotangent of output {k}" for k in range(len(cotangents))]
        here = [self.devices[self.places[0]]] * len(cotangents)
        return Problem(
            gradient,
            self.name if self.name.startswith("gradient of") else f"gradient of {self.name}",
            [*self.values, *cotangents],
            [*self.places, *new],
            [*self.labels, *labels],
            [*self.devices, *here],
        )


def floating(result: Any) -> list[Tensor]:
    """The outputs that can have a gradient."""
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    for output in outputs:
        if not isinstance(output, Tensor):
            raise ArgumentError(f"gradcheck needs a function that returns Tensors, this one returned {type(output).__name__}")
    return [output for output in outputs if output.dtype.kind in "fc"]


def pull(
    name: str, outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Any], create_graph: bool = False
) -> list[Tensor | None]:
    """Jᵀ·c for each leaf, None for those that are not connected; a cotangent None is that of an unused output."""
    used = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if c is not None and y.requires_grad]
    if not used:
        return [None] * len(leaves)
    ys, cs = zip(*used, strict=True)
    try:
        return list(autograd.grad(ys, leaves, cs, retain_graph=True, create_graph=create_graph, allow_unused=True))
    except GraphError as error:
        raise GradcheckError(f"{name}: {error}{_shape_hint(str(error))}") from error
