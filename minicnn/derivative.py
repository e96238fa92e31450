"""Derivatives, checked: is what backward computes the derivative of what forward computes?

For y = f(x), backward turns a cotangent c, of the shape of y, into the gradient g = Jᵀ·c. For a direction v,

    ⟨g, v⟩ = ⟨c, J·v⟩ = d/dt ⟨c, f(x + t·v)⟩ at t = 0

The left side is backward; the right side needs forward only and is measured in float64, by central differences

    D(h) = (φ(h) − φ(−h)) / 2h,   φ(t) = ⟨c, f(x + t·v) − f(x)⟩,   derivative = (4·D(h) − D(2h)) / 3 + O(h⁴)

with Richardson's extrapolation, or by a complex step, Im φ(i·h) / h, which subtracts nothing, so that h can be 1e-20.

c and v are random with no component near 0, so one pair of numbers judges every element: a backward that gives g + e
passes only if ⟨e, v⟩ is within the tolerance. For e of size δ·|g| that happens with a probability of about rtol/δ, one
in a million for a gradient that is 0 or doubled; samples=2 squares it. A direction orthogonal to v would add no more
than any other. The cotangent is never all ones: the gradient of softmax is then 0, and 37 times 0 is right.

A kink (ReLU at 0, two equal maxima) has no derivative. It shows where the slopes to the left and to the right, or at h
and 2h, differ by more than a smooth curve can; then a smaller h, another direction and a point nearby are tried.

What it cannot see: a wrong forward with a matching backward; what other inputs would do (another branch, another shape,
two inputs that are equal here); an error in one element below rtol of the whole gradient's size; a slope below the last
digit of the function's values; the gradient chosen at a kink itself; what happens in float32 only.

Sources: Richardson 1911 for the extrapolation; Squire and Trapp 1998, "Using complex variables to estimate derivatives
of real functions". Random directions are how Chainer and HIPS autograd test, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import device as devices
from .diagnose import diagnose, gather, table
from .errors import ArgumentError, GradcheckError
from .function import enable_grad, no_grad
from .probing import Arrays, array_of, away_from_zero, floating, has_array, norm, nudged, pull, same
from .tensor import Tensor

# Times the size of the input; the first that is consistent is used. No multiples: rounding would repeat itself in them.
STEPS = tuple(1e-3 / 9.7313**k for k in range(6))
COMPLEX_STEP = 1e-20
SCALES = (2.0, -(2.0**30), 2.0**-30)  # powers of two are exact, so a linear backward scales to the last bit
GROSS = 1e-2  # atol never excuses an error of this part of a derivative that was clearly measured
SMALL = 2000  # up to so many elements, a failure is examined element by element
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Settings:
    """How hard to look: see gradcheck."""

    order: int = 1
    seed: int = 0
    rtol: float = 1e-6
    atol: float = 1e-9
    complex_step: bool = False
    samples: int = 1
    attempts: int = 8

    def __post_init__(self) -> None:
        if min(self.order, self.samples, self.attempts) < 1 or min(self.rtol, self.atol) < 0:
            raise ArgumentError("gradcheck needs order, samples and attempts ≥ 1, and tolerances ≥ 0")


def check_derivatives(function: Callable[..., Any], inputs: Sequence[Any], settings: Settings) -> None:
    """Raises GradcheckError, with a guess at the mistake, if the gradients of function(*inputs) are not derivatives."""
    for sample in range(settings.samples):
        problem = Problem.of(function, inputs)
        before = None
        for depth in range(1, settings.order + 1):
            random = np.random.default_rng([settings.seed, sample, depth])
            context = f"order {depth}, seed {settings.seed}" + (f", sample {sample}" if settings.samples > 1 else "")
            check = Check(problem, random, context, settings)
            with enable_grad(), np.errstate(all="ignore"):  # steps out of a domain give NaN, which is looked for
                check.run(before)
            problem, before = problem.gradient(check.name, check.cotangents), check.gradients


class Problem(NamedTuple):
    """A function and the point where it is checked: floating values as float64 Tensors, others as they were given."""

    function: Callable[..., Any]
    name: str
    values: list[Any]
    labels: list[str]

    @classmethod
    def of(cls, function: Callable[..., Any], inputs: Sequence[Any]) -> Problem:
        values = list(inputs)
        for place, value in enumerate(inputs):
            if isinstance(value, Tensor | np.ndarray | np.generic) and value.dtype.kind == "f":
                device = value.device if isinstance(value, Tensor) else None
                values[place] = Tensor(np.asarray(array_of(value), np.float64), device=device)
        inner = getattr(function, "func", function)  # of a functools.partial
        name = getattr(inner, "__name__", type(inner).__name__)
        problem = cls(function, name, values, [f"input {place}" for place in range(len(values))])
        if not problem.places:
            raise ArgumentError(f"gradcheck of {name} got no floating-point array to differentiate by")
        return problem

    @property
    def places(self) -> list[int]:
        """Which inputs are differentiated."""
        return [k for k, value in enumerate(self.values) if isinstance(value, Tensor) and value.dtype.kind == "f"]

    def gradient(self, name: str, cotangents: Arrays) -> Problem:
        """The next order: (inputs, cotangents) -> gradients, a function that can itself be differentiated."""
        count, places = len(self.values), self.places

        def gradient(*arguments: Any) -> tuple[Tensor, ...]:
            inputs = list(arguments[:count])
            with enable_grad():
                for place in places:
                    if not inputs[place].requires_grad:
                        inputs[place] = inputs[place].detach().requires_grad_()
                leaves = [inputs[place] for place in places]
                found = pull(name, floating(self.function(*inputs)), leaves, arguments[count:], create_graph=True)
            return tuple(x.detach() * 0 if g is None else g for x, g in zip(leaves, found, strict=True))

        device = self.values[places[0]].device
        values = [*self.values, *(Tensor(c, device=device) for c in cotangents)]
        return Problem(gradient, name, values, [*self.labels, *(f"cotangent {k}" for k in range(len(cotangents)))])


class Slope(NamedTuple):
    """A numeric derivative along one direction."""

    value: float
    spread: float  # how far the estimates it is made of disagree
    noise: float  # how far rounding alone can move it
    step: float
    sides: tuple[float, float]  # one-sided slopes, left and right

    def confirms(self, other: Slope, within: float) -> bool:
        return abs(self.value - other.value) <= within and max(self.spread, self.noise) <= within

    def doubt(self, tolerance: float) -> str:
        """Why it is not known to within the tolerance; "" if it is."""
        if not np.isfinite([self.value, self.spread]).all():
            return "values nearby are NaN or inf"
        if self.spread > max(tolerance, self.noise):
            return (
                f"with step {self.step:.0e} the slope is {self.sides[0]:.6g} to the left, {self.sides[1]:.6g} to the "
                "right, which no smooth curve explains: a kink, or a function that is rough everywhere"
            )
        if max(self.spread, self.noise) > tolerance:
            return f"rounding hides the slope: it is known to ±{self.noise:.0e}, the tolerance is {tolerance:.0e}"
        return ""


@dataclass
class Check:
    """One order of one sample: run() returns if everything holds, and leaves the cotangents and gradients it used."""

    problem: Problem
    random: np.random.Generator
    context: str
    settings: Settings

    def run(self, before: Arrays | None) -> None:
        """before: the gradients of the order below, which this order's function has computed again, recording them."""
        self.name = self.problem.name
        self.labels = [self.problem.labels[place] for place in self.problem.places]
        point = [array_of(self.problem.values[place]) for place in self.problem.places]
        values = self.values(point)
        if not same(values, self.values(point)):
            self.fail("two calls with the same inputs give different results: restart its random numbers in each call")
        leaves, outputs = self.call(point, self.problem.places)
        if not outputs:
            self.fail("no output is floating-point, so there is nothing to differentiate")
        if before is None and outputs[0].grad_fn is not None and outputs[0].grad_fn.name != self.name:
            op = outputs[0].grad_fn.name
            self.name = op if self.name in ("<lambda>", "apply") else f"{self.name} (last op {op})"
        if not same(values, map(array_of, outputs)):
            self.fail("the result under no_grad() differs from the one that is recorded")
        for k, y in enumerate(values):
            if y.dtype != np.float64:
                self.fail(f"output {k} is {y.dtype} for float64 inputs: differences need that precision")
            if not np.isfinite(y).all():
                self.fail(f"output {k} has NaN or inf here")
        for label, plain, recorded in zip(self.labels, before or [], values, strict=False):
            self.equal(plain, recorded, f"create_graph=True changes the gradient in {label}")
        self.cotangents = [away_from_zero(self.random, y.shape) for y in values]
        self.gradients = self.pull(leaves, outputs, self.cotangents)
        self.check_backward(point, leaves, outputs)
        for index, x in enumerate(point):
            if x.size:
                self.check_derivative(index, point)

    def check_backward(self, point: Arrays, leaves: list[Tensor], outputs: list[Tensor]) -> None:
        """What a backward owes whatever the derivative is: it is one linear map of the cotangents."""
        if not same(self.gradients, self.pull(leaves, outputs, self.cotangents)):
            self.fail("two backward passes give different gradients: backward depends on how often it was called")
        zeros = self.pull(leaves, outputs, [0 * c for c in self.cotangents])
        for label, x, g, zero in zip(self.labels, point, self.gradients, zeros, strict=True):
            if g.shape != x.shape or g.dtype != x.dtype:
                self.fail(f"{label} has shape {x.shape}, {x.dtype}, but its gradient {g.shape}, {g.dtype}")
            if not np.isfinite(g).all():
                self.fail(f"the gradient in {label} is NaN or inf at {np.count_nonzero(~np.isfinite(g))} elements")
            if zero.any():
                self.fail(f"a cotangent of zeros gives a gradient in {label} that is not zero")
        for k in SCALES:
            scaled = self.pull(leaves, outputs, [k * c for c in self.cotangents])
            for label, g, kg in zip(self.labels, self.gradients, scaled, strict=True):
                if not np.array_equal(k * g, kg):
                    self.fail(f"backward is not linear: {k:g} × cotangent does not give {k:g} × gradient in {label}")
        if len(outputs) > 1:
            total: Arrays = [np.zeros_like(g) for g in self.gradients]
            for used in range(len(outputs)):
                alone = [c if k == used else None for k, c in enumerate(self.cotangents)]
                total = [t + g for t, g in zip(total, self.pull(leaves, outputs, alone), strict=True)]
            for label, g, t in zip(self.labels, self.gradients, total, strict=True):
                self.equal(g, t, f"gradients in {label} of each output alone do not add up to that of all outputs")
        if len(leaves) > 1:
            for label, place, g in zip(self.labels, self.problem.places, self.gradients, strict=True):
                alone_g = self.pull(*self.call(point, [place]), self.cotangents)[0]
                self.equal(g, alone_g, f"the gradient in {label} changes if no other input requires one")

    def check_derivative(self, index: int, point: Arrays) -> None:
        """⟨g, v⟩ against a measured slope, at the point itself or, if it lies on a kink, as near as possible."""
        why = ""
        for attempt in range(self.settings.attempts):
            arrays, gradient = point, self.gradients[index]
            if attempt:
                arrays = [nudged(self.random, x, 1e-3 * attempt) for x in point]
                gradient = self.pull(*self.call(arrays, self.problem.places), self.cotangents)[index]
            v = away_from_zero(self.random, gradient.shape)
            analytic, size = float((gradient * v).sum()), norm([gradient * v])
            suspect, nearest = None, np.inf
            for slope in self.slopes(arrays, index, v, gradient):
                error = abs(analytic - slope.value)
                nearest = np.fmin(nearest, error)
                # Rounding can look like a slope, once: the next step must agree, and no larger one speak for backward.
                if suspect is not None and slope.confirms(suspect, error / 10) and error <= 10 * nearest:
                    self.explain(suspect, index, arrays, gradient, analytic, attempt)
                suspect, tolerance = None, self.settings.atol + self.settings.rtol * max(size, abs(slope.value))
                why = slope.doubt(tolerance) if np.isfinite(size) else "the gradient nearby is NaN or inf"
                if not why:
                    measured = max(slope.spread, slope.noise) <= 1e-5 * abs(slope.value)
                    gross = measured and error > max(GROSS * abs(slope.value), self.settings.rtol * size)
                    if error <= tolerance and not gross:
                        return
                    suspect, why = slope, "the slope is another with each step: the function is rough everywhere"
        self.fail(
            f"no derivative in {self.labels[index]}, shape {point[index].shape}, could be measured in "
            f"{self.settings.attempts} attempts at and near this point: {why}"
        )

    def slopes(self, arrays: Arrays, index: int, v: np.ndarray, gradient: np.ndarray) -> Iterator[Slope]:
        """Derivatives along v with smaller and smaller steps."""
        if self.settings.complex_step:
            slope = sum(float(t.sum()) for t in self.terms(arrays, index, v, COMPLEX_STEP))
            yield from [Slope(slope, 0, 0, COMPLEX_STEP, (slope, slope))] * 2
            return
        x, centre = arrays[index], self.values(arrays)
        size = max(1.0, float(np.abs(x).max()))

        def change(t: float) -> Arrays:
            moved = zip(self.cotangents, self.moved(arrays, index, t * v), centre, strict=True)
            return [c * (y - y0) for c, y, y0 in moved]

        # What does not change at all in the largest step is constant; everything else is rounded, at every step.
        rounded = [c * y * (d != 0) for c, y, d in zip(self.cotangents, centre, change(STEPS[0] * size), strict=True)]
        lost = 8 * EPS * (norm(rounded) + norm([gradient * x]))
        for step in STEPS:
            h = step * size
            far_left, left, right, far_right = (sum(float(d.sum()) for d in change(k * h)) for k in (-2, -1, 1, 2))
            near, far = (right - left) / (2 * h), (far_right - far_left) / (4 * h)
            jump = (2 * (right + left) - (far_right + far_left) / 2) / h  # right slope − left slope, as h → 0
            yield Slope((4 * near - far) / 3, max(abs(near - far), abs(jump)), lost / h, h, (-left / h, right / h))

    def terms(self, arrays: Arrays, index: int, v: np.ndarray, h: float) -> Arrays:
        """c·(J·v) before it is summed, for each output."""
        if self.settings.complex_step:
            return [c * y.imag / h for c, y in zip(self.cotangents, self.moved(arrays, index, 1j * h * v), strict=True)]
        both = zip(self.cotangents, self.moved(arrays, index, h * v), self.moved(arrays, index, -h * v), strict=True)
        return [c * (up - down) / (2 * h) for c, up, down in both]

    def explain(
        self, slope: Slope, index: int, arrays: Arrays, gradient: np.ndarray, analytic: float, attempt: int
    ) -> NoReturn:
        """Raise the error of a wrong gradient, with a guess at the mistake and the worst elements."""
        x, rows = arrays[index], ""
        if x.size <= SMALL:
            values = self.values(arrays)
            y = values[0] if len(values) == 1 and values[0].shape == x.shape else None
            evidence = gather(lambda v: self.terms(arrays, index, v, slope.step), gradient, x, y)
            guess, rows = diagnose(evidence), "\n" + table(gradient, evidence.numeric)
        else:
            zero = "" if gradient.any() else "a guess: it looks like a gradient that is all zero; "
            guess = f"{zero}{x.size} elements are too many to examine one by one, a smaller input gets a diagnosis"
        relative = abs(analytic - slope.value) / max(abs(analytic), abs(slope.value))
        self.fail(
            f"wrong gradient in {self.labels[index]}, shape {x.shape}, {self.context}: {guess}\n"
            f"  ⟨gradient, v⟩: {analytic:.9g} by backward, {slope.value:.9g} by differences; relative error "
            f"{relative:.1e}, rtol {self.settings.rtol:.0e} (attempt {attempt}, step {slope.step:.0e}){rows}",
            guess,
        )

    # --- calling the function and its backward ---

    def call(self, arrays: Arrays, tracked: Sequence[int] = ()) -> tuple[list[Tensor], list[Tensor]]:
        """function at copies of the arrays -> (those inputs that are tracked, floating outputs)."""
        arguments = list(self.problem.values)
        for place, array in zip(self.problem.places, arrays, strict=True):
            arguments[place] = Tensor(array.copy(), place in tracked, device=arguments[place].device)
        held = [(label, a) for label, a in zip(self.problem.labels, arguments, strict=True) if has_array(a)]
        kept = [array_of(argument).copy() for _, argument in held]
        outputs = floating(self.problem.function(*arguments))
        for (label, argument), before in zip(held, kept, strict=True):
            if not same([before], [array_of(argument)]):
                self.fail(f"the function changes {label}, shape {before.shape}, in place")
        return [arguments[place] for place in tracked], outputs

    def values(self, arrays: Arrays) -> Arrays:
        with no_grad():
            return [array_of(y) for y in self.call(arrays)[1]]

    def moved(self, arrays: Arrays, index: int, by: np.ndarray) -> Arrays:
        """Values of the function with input `index` moved; moved by complex numbers, all of it becomes complex."""
        arrays = [np.asarray(x + by) if k == index else x for k, x in enumerate(arrays)]
        if np.iscomplexobj(by):
            with devices.use("reference"):
                values = self.values([x.astype(np.complex128) for x in arrays])
            if not all(np.iscomplexobj(y) for y in values):
                self.fail("an output is real for complex inputs: complex_step is for analytic functions")
        else:
            values = self.values(arrays)
        if [y.shape for y in values] != [c.shape for c in self.cotangents]:
            self.fail("the shape of an output depends on the values of the inputs")
        return values

    def pull(self, leaves: list[Tensor], outputs: list[Tensor], cotangents: Sequence[np.ndarray | None]) -> Arrays:
        """Jᵀ·c as arrays, zeros where an input is not connected."""
        kept = [array_of(leaf).copy() for leaf in leaves]
        used = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if c is not None]
        given = [Tensor(c.copy(), device=y.device) for y, c in used]
        found = pull(self.name, [y for y, _ in used], leaves, given)
        if not same((c for _, c in used), map(array_of, given)):
            self.fail("backward changes its cotangent in place")
        if not same(kept, map(array_of, leaves)):
            self.fail("backward changes an input in place")
        return [np.zeros_like(x) if g is None else array_of(g) for x, g in zip(kept, found, strict=True)]

    def equal(self, a: np.ndarray, b: np.ndarray, otherwise: str) -> None:
        """Equal up to rounding; not to the byte, since other kernels may have computed it."""
        worst = float(np.abs(a - b).max(initial=0))
        if not worst <= self.settings.atol + self.settings.rtol * norm([a]):
            self.fail(f"{otherwise}, by up to {worst:.1e}")

    def fail(self, sentence: str, guess: str = "") -> NoReturn:
        where = "" if self.context in sentence else f" ({self.context})"
        error = GradcheckError(f"{self.name}: {sentence}{where}")
        error.guess = guess
        raise error
