"""gradcheck must accept what is right and reject what is wrong: each of its promises is tried with a wrong backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from minicnn import diagnose, ops
from minicnn.errors import ArgumentError, GradcheckError
from minicnn.function import Function, is_grad_enabled
from minicnn.gradcheck import gradcheck
from minicnn.probing import away_from_zero
from minicnn.tensor import Tensor

RANDOM = np.random.default_rng(0)  # no two arrays are equal: a gradient for the wrong input would pass


def normal(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.standard_normal(shape))


def positive(*shape: int) -> np.ndarray:
    return RANDOM.random(shape) + 0.3


def op(forward: Callable, backward: Callable) -> Callable[..., Any]:
    """An op from two lines: forward(*arrays), and backward(gy, *inputs), the inputs being Tensors."""

    class Wrong(Function):
        def forward(self, *arrays):
            self.save(*arrays)
            return forward(*arrays)

        def backward(self, *gradients):
            return backward(*gradients, *self.saved)

    return Wrong.apply


def square(backward: Callable) -> Callable[..., Any]:
    return op(lambda x: x * x, backward)


# --- what is right passes ---------------------------------------------------------------------------------------------

LABELS = np.array([0, 2, 1, 0])

RIGHT = {
    "identity": (lambda x: x, [normal(3)]),
    "constant": (lambda x: x * 0.0, [normal(3)]),
    "sum": (ops.sum, [normal(3, 4)]),
    "tanh": (ops.tanh, [normal(3, 4)]),
    "sigmoid": (ops.sigmoid, [normal(3, 4)]),
    "exp": (ops.exp, [normal(3, 4)]),
    "log": (ops.log, [positive(3, 4)]),
    "sqrt": (ops.sqrt, [positive(3, 4)]),
    "cube": (lambda x: x**3, [normal(3, 4)]),
    "relu": (ops.relu, [normal(3, 4)]),
    "abs": (ops.abs, [normal(7)]),
    "add": (ops.add, [normal(3, 1), normal(4)]),
    "mul": (ops.mul, [normal(2, 3, 4), normal(3, 1)]),
    "div": (ops.div, [normal(3, 4), positive(4)]),
    "maximum": (ops.maximum, [normal(3, 4), normal(4)]),
    "where": (partial(ops.where, np.array([True, False, True])), [normal(3), normal(3)]),
    "max": (partial(ops.max, axis=1), [normal(3, 4)]),
    "getitem": (lambda x: x[np.array([0, 0, 2])], [normal(3, 2)]),
    "concat": (lambda a, b: ops.concat([a, b, a], axis=1), [normal(2, 3), normal(2, 1)]),
    "matmul": (ops.matmul, [normal(2, 3, 4), normal(4, 2)]),
    "linear": (ops.linear, [normal(3, 4), normal(2, 4), normal(2)]),
    "softmax": (partial(ops.softmax, axis=1), [normal(3, 4)]),
    "log_softmax": (partial(ops.log_softmax, axis=0), [normal(3, 4)]),
    "cross_entropy": (ops.cross_entropy, [normal(4, 3), LABELS]),
    "mse_loss": (ops.mse_loss, [normal(3, 4), normal(3, 4)]),
    "conv2d": (partial(ops.conv2d, stride=2, padding=1), [normal(2, 2, 5, 5), normal(3, 2, 3, 3), normal(3)]),
    "conv_transpose2d": (partial(ops.conv_transpose2d, stride=2), [normal(1, 2, 3, 3), normal(2, 2, 3, 3)]),
    "max_pool2d": (partial(ops.max_pool2d, kernel_size=3, stride=2, padding=1), [normal(2, 2, 5, 5)]),
    "avg_pool2d": (partial(ops.avg_pool2d, kernel_size=3, stride=2, padding=1), [normal(2, 2, 5, 5)]),
    "two outputs": (lambda x, y: (x * y, x.exp()), [normal(3), normal(3)]),
    "one input unused": (lambda x, y: x * x, [normal(3), normal(3)]),
    "one number": (ops.tanh, [normal()]),
    "steep line": (lambda x: x * 1e6, [normal(5)]),  # of order 2: gradients of 1e6 that do not change at all
    "large numbers": (ops.mul, [1e6 * normal(5), 1e-6 * normal(5)]),
}


@pytest.mark.parametrize("order", (1, 2, 3))
@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_pass(name, order):
    function, inputs = RIGHT[name]
    assert gradcheck(function, inputs, order=order) is True


ANALYTIC = (
    "constant", "tanh", "sigmoid", "exp", "log", "sqrt", "cube", "mul", "div", "matmul", "linear", "softmax",
    "log_softmax", "cross_entropy", "conv2d", "conv_transpose2d", "avg_pool2d", "two outputs",
)  # fmt: skip


@pytest.mark.parametrize("order", (1, 2))
@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_steps_agree_to_fourteen_digits(name, order):
    function, inputs = RIGHT[name]
    gradcheck(function, inputs, order=order, rtol=1e-14, atol=1e-300, complex_step=True)


@pytest.mark.parametrize("seed", range(20))
def test_any_seed_will_do(seed):
    function, inputs = RIGHT["conv2d"]
    gradcheck(function, inputs, order=2, seed=seed)


# --- what is wrong is rejected, and named -----------------------------------------------------------------------------


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(0)


def normalised(x: np.ndarray) -> np.ndarray:
    return centred(x) / x.std(0)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(1, keepdims=True)


def pairs(x: np.ndarray) -> np.ndarray:
    """A window of 2 with stride 1, as in conv: inner elements are read twice."""
    return x[:-1] * 2 + x[1:] * 3


def pairs_assigned(gy: Tensor, x: Tensor) -> Tensor:
    """col2im with = for +=: the second window overwrites what the first had left."""
    gx = np.zeros_like(x.data)
    gx[:-1] = 2 * gy.data
    gx[1:] = 3 * gy.data
    return Tensor(gx)


def conv_assigned(x: np.ndarray, w: np.ndarray, windows: int) -> np.ndarray:
    """The input gradient of a 3×3 convolution whose windows overwrite each other; here x is the cotangent."""
    gx = np.zeros((len(x), w.shape[1], windows + 2, windows + 2))
    for p in range(windows):
        for q in range(windows):
            gx[:, :, p : p + 3, q : q + 3] = np.einsum("nk,kcrs->ncrs", x[:, :, p, q], w)
    return gx


def readers(x: Tensor, size: int) -> Tensor:
    """How many windows read each pixel."""
    h, w = (np.convolve(np.ones(n - size + 1), np.ones(size)) for n in x.shape[2:])
    return Tensor(np.outer(h, w))


def spoilt(g: Tensor, index: tuple[int, ...], by: float) -> Tensor:
    array = g.data.copy()
    array[index] += by
    return Tensor(array)


class Pair(Function):
    """y = x·2, z = x·3, but a gradient of zeros in y is taken for an output that nobody used."""

    def forward(self, x):
        return x * 2, x * 3

    def backward(self, gy, gz):
        return gy * 2 + gz * 3 if gy.data.any() else None


class Product(Function):
    """y = a·b, but a is only scaled if b needs a gradient too."""

    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, gy):
        a, b = self.saved
        return gy * b * (1.0 if self.needs_grad(1) else 2.0), gy * a


class Counting(Function):
    """The second backward differs from the first."""

    calls = 0

    def forward(self, x):
        return x * 2

    def backward(self, gy):
        type(self).calls += 1
        return gy * (2.0 + 1e-9 * self.calls)


class Noise(Function):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return x + 1e-9 * self.calls

    def backward(self, gy):
        return gy


class Recorded(Function):
    """Differs between training and no_grad()."""

    def forward(self, x):
        return x * (2 if is_grad_enabled() else 3)

    def backward(self, gy):
        return gy * 2


class ChangesInput(Function):
    def forward(self, x):
        x += 1
        return x * 2

    def backward(self, gy):
        return gy * 2


class ChangesSaved(Function):
    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, gy):
        (x,) = self.saved
        g = gy * 2 * x
        x.data[...] *= -1
        return g


class ChangesCotangent(Function):
    def forward(self, x):
        return x * 2

    def backward(self, gy):
        gy.data[...] *= 2
        return gy


class LabelsChanged(Function):
    def forward(self, x, labels):
        labels[0] += 1
        return x * 2

    def backward(self, gy):
        return gy * 2


WHERE = (3, 5)  # the one wrong element of "one element"

# name: (function, inputs, what the message says)
WRONG = {
    "zero": (square(lambda gy, x: gy * 0.0), [normal(3, 4)], "all zero"),
    "none": (square(lambda gy, x: None), [normal(3, 4)], "all zero"),
    "detached": (lambda x: (x.detach() * x.detach()), [normal(3, 4)], "all zero"),
    "zero of a large function": (op(lambda x: 1e7 * x * x, lambda gy, x: gy * 0.0), [normal(3, 4)], "all zero"),
    "zero of a tiny function": (op(lambda x: 1e-12 * x * x, lambda gy, x: gy * 0.0), [normal(3, 4)], "all zero"),
    "37 times": (square(lambda gy, x: gy * x * 74.0), [normal(3, 4)], "constant factor 37"),
    "37 times, tiny": (op(lambda x: 1e-12 * x, lambda gy, x: gy * 37e-12), [normal(3, 4)], "constant factor 37"),
    "twice": (square(lambda gy, x: gy * x * 4.0), [normal(3, 4)], "constant factor 2:"),
    "half": (square(lambda gy, x: gy * x), [normal(3, 4)], "constant factor 1/2:"),
    "a little": (square(lambda gy, x: gy * x * 2.00001), [normal(3, 4)], "right to 1e-05"),
    "one part in ten thousand": (square(lambda gy, x: gy * x * 2.0002), [normal(3, 4)], "constant factor 1.0001"),
    "huge": (square(lambda gy, x: gy * x * 2e30), [normal(3, 4)], "constant factor 1e+30"),
    "sign": (square(lambda gy, x: gy * x * -2.0), [normal(3, 4)], "flipped sign"),
    "of another input": (op(lambda a, b: a * 2, lambda gy, a, b: (gy * 2, gy)), [normal(5), normal(5)], "not depend"),
    "nan": (square(lambda gy, x: gy * x * np.nan), [normal(3, 4)], "NaN"),
    "mean for sum": (op(lambda x: x.sum(0), lambda gy, x: gy.broadcast_to(x.shape) / 4.0), [normal(4, 3)], "1/4"),
    "transposed": (square(lambda gy, x: (gy * x * 2.0).T), [normal(4, 4)], "transposed"),
    "transposed in memory": (
        square(lambda gy, x: (gy * x * 2.0).T.reshape(x.shape)), [normal(3, 4)], "transposed",
    ),
    "transposed shape": (square(lambda gy, x: (gy * x * 2.0).T), [normal(3, 4)], "transposed"),
    "broadcast not summed": (op(np.add, lambda gy, a, b: (gy, gy)), [normal(3, 4), normal(4)], "not summed"),
    "first row of a broadcast": (op(np.add, lambda gy, a, b: (gy, gy[0])), [normal(3, 4), normal(4)], "overwriting"),
    "summed, not broadcast": (op(lambda x: x.sum(0), lambda gy, x: gy), [normal(3, 4)], "not broadcast back"),
    "summed too much": (
        square(lambda gy, x: (gy * x * 2.0).sum(axis=0, keepdims=True).broadcast_to(x.shape)),
        [normal(3, 4)], "summed along axis 0",
    ),
    "averaged": (
        square(lambda gy, x: (gy * x * 2.0).mean(axis=1, keepdims=True).broadcast_to(x.shape)),
        [normal(3, 4)], "averaged along axis 1",
    ),
    "all in one place": (
        square(lambda gy, x: Tensor(np.eye(3)[:1].T * (gy.data * x.data * 2).sum(0))), [normal(3, 4)], "right sum",
    ),
    "mean term": (op(centred, lambda gy, x: gy), [normal(5, 4)], "missing mean term: analytic − numeric is constant"),
    "mean and variance terms": (
        op(normalised, lambda gy, x: gy / Tensor(x.data.std(0))), [normal(6, 4)], "terms of a mean and a variance",
    ),
    "softmax without the sum": (op(softmax, lambda gy, x: x.softmax(1) * gy), [normal(3, 5)], "as softmax has one"),
    "col2im assigns": (op(pairs, pairs_assigned), [normal(6)], "overwriting"),
    "col2im of a convolution assigns": (
        op(
            lambda x, w: ops.conv2d(Tensor(x), Tensor(w)).data,
            lambda gy, x, w: (Tensor(conv_assigned(gy.data, w.data, 3)), ops.conv2d_weight(x, gy, 3)),
        ),
        [normal(2, 2, 5, 5), normal(3, 2, 3, 3)], "overwriting",
    ),
    "overlaps averaged": (
        op(pairs, lambda gy, x: (ops.pad(gy * 2, [(0, 1)]) + ops.pad(gy * 3, [(1, 0)])) / Tensor([1.0, 2, 2, 2, 1.0])
           .astype("float64")),
        [normal(5)], "averaged where it should be summed",
    ),
    "averages of windows that overlap": (
        op(
            lambda x, w: ops.conv2d(Tensor(x), Tensor(w)).data,
            lambda gy, x, w: (ops.conv_transpose2d(gy, w) / readers(x, 3), ops.conv2d_weight(x, gy, 3)),
        ),
        [normal(2, 2, 5, 4), normal(3, 2, 3, 3)], "whole numbers from 1 to 6, at each place the number of windows",
    ),
    "counted twice": (
        square(lambda gy, x: gy * x * Tensor(np.array([2.0, 4.0, 2.0, 4.0]))), [normal(3, 4)], "counted several times",
    ),
    "shifted": (
        square(lambda gy, x: ops.pad((gy * x * 2.0)[:, :-1], [(0, 0), (1, 0)])), [normal(3, 4)],
        "shifted by one along axis 1",
    ),
    "flipped": (square(lambda gy, x: (gy * x * 2.0)[::-1]), [normal(4, 3)], "flipped along axis 0"),
    "permuted": (square(lambda gy, x: (gy * x * 2.0)[np.array([2, 0, 3, 1])]), [normal(4, 3)], "wrong places"),
    "one element": (
        square(lambda gy, x: spoilt(gy * x * 2.0, WHERE, 0.01 * gy.data[WHERE])), [normal(40, 50)],
        "wrong at 1 of 2000 elements, worst at index (3, 5)",
    ),
    "too large to examine": (square(lambda gy, x: gy * x), [normal(41, 50)], "2050 elements are too many"),
    "too large, and zero": (square(lambda gy, x: gy * 0), [normal(41, 50)], "all zero"),
    "right for ones only": (op(lambda x: x * 2, lambda gy, x: gy.mean().broadcast_to(x.shape) * 2), [normal(5)],
                            "wrong gradient"),
    "ones for the cotangent": (op(lambda x: x * 2, lambda gy, x: Tensor(np.full(5, 2.0))), [normal(5)], "zeros"),
    "affine": (op(lambda x: x * 2, lambda gy, x: gy * 2 + 1e-6), [normal(5)], "a cotangent of zeros"),
    "clipped": (op(lambda x: x * 2, lambda gy, x: ops.minimum(gy, 9.0) * 2), [normal(5)], "not linear"),
    "squared": (op(lambda x: x * 2, lambda gy, x: gy * gy * 2), [normal(5)], "not linear"),
    "small gradients dropped": (
        op(lambda x: x * 2, lambda gy, x: ops.where(np.abs(gy.data) > 1e-6, gy, 0.0) * 2), [normal(5)], "not linear",
    ),
    "one output alone": (Pair.apply, [normal(5)], "each output alone"),
    "one input alone": (Product.apply, [normal(5), normal(5)], "no other input requires one"),
    "another each time": (Counting.apply, [normal(5)], "two backward passes"),
    "noise": (Noise.apply, [normal(5)], "two calls"),
    "not under no_grad": (Recorded.apply, [normal(5)], "no_grad()"),
    "changes an input": (ChangesInput.apply, [normal(5)], "changes input 0, shape (5,), in place"),
    "changes what it saved": (ChangesSaved.apply, [normal(5)], "changes an input in place"),
    "changes the cotangent": (ChangesCotangent.apply, [normal(5)], "changes its cotangent in place"),
    "changes labels": (
        lambda x, labels: LabelsChanged.apply(x, labels=labels), [normal(5), np.arange(3)], "changes input 1",
    ),
    "another dtype": (lambda x: x.to("float32"), [normal(5)], "output 0 is float32"),
    "nothing to differentiate": (lambda x: x > 0, [normal(5)], "no output is floating-point"),
    "infinite": (ops.log, [np.zeros(3)], "NaN or inf here"),
    "shape depends on values": (lambda x: x[np.abs(x.data) < 1e-9], [np.array([0.0, 1.0])], "shape of an output"),
    "second of two outputs": (
        op(lambda x: (x * 2, x * 3), lambda gy, gz, x: gy * 2 + gz * 4), [normal(5)], "wrong gradient in input 0",
    ),
    "second input": (op(np.multiply, lambda gy, a, b: (gy * b, gy * b)), [normal(5), normal(5)], "gradient in input 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_rejected_and_named(name):
    function, inputs, says = WRONG[name]
    with pytest.raises(GradcheckError) as caught:
        gradcheck(function, inputs)
    assert says in str(caught.value), str(caught.value)


@pytest.mark.parametrize("seed", range(1, 25))
@pytest.mark.parametrize("name", ("zero", "37 times", "mean and variance terms", "right for ones only", "one element"))
def test_no_seed_lets_a_wrong_gradient_pass(name, seed):
    function, inputs, _ = WRONG[name]
    with pytest.raises(GradcheckError):
        gradcheck(function, inputs, seed=seed)


def test_zero_gradients_under_a_ones_cotangent_do_not_pass():
    """The vacuous check of other engines: Σ softmax = 1 for every x, so under ones any multiple of 0 looks right."""
    ones = op(softmax, lambda gy, x: (x.softmax(1) * (gy - (gy * x.softmax(1)).sum(axis=1, keepdims=True))) * 37.0)
    with pytest.raises(GradcheckError, match="constant factor 37"):
        gradcheck(ones, [normal(3, 5)])
    gradcheck(lambda x: ones(x).sum(), [normal(3, 5)])  # here the gradient is 0, and 37 × 0 is right


# --- second derivatives -----------------------------------------------------------------------------------------------


class TanhOfConstant(Function):
    """First derivative right; for the second, y counts as a constant."""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, gy):
        return gy * Tensor(1 - self.y * self.y)


class ForgetsWhenRecorded(Function):
    """Under create_graph the gradient is another, though a consistent one."""

    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, gy):
        (x,) = self.saved
        return gy * x * (3.0 if is_grad_enabled() else 2.0)


class TimesConstant(Function):
    """y = 2·x; the gradient's own backward is wrong, so what is wrong is the derivative in the cotangent."""

    def forward(self, x):
        return 2 * x

    def backward(self, gy):
        return op(lambda g: 2 * g, lambda v, g: v * 3.0)(gy)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (TanhOfConstant, ("wrong gradient in input 0", "order 2", "all zero")),
        (ForgetsWhenRecorded, ("create_graph=True changes the gradient in input 0", "order 2")),
        (TimesConstant, ("wrong gradient in cotangent 0", "order 2", "constant factor 1.5")),
    ],
)
def test_order_two_finds_what_order_one_cannot(wrong, says):
    gradcheck(wrong.apply, [normal(3, 4)])
    with pytest.raises(GradcheckError) as caught:
        gradcheck(wrong.apply, [normal(3, 4)], order=2)
    assert all(words in str(caught.value) for words in says), str(caught.value)


def test_order_three_finds_what_order_two_cannot():
    first = op(lambda x: 3 * x * x, lambda gy, x: gy * Tensor(6 * x.data))  # its derivative is right, once
    cube = op(lambda x: x**3, lambda gy, x: gy * first(x))
    gradcheck(cube, [normal(5)], order=2)
    with pytest.raises(GradcheckError, match="order 3"):
        gradcheck(cube, [normal(5)], order=3)


# --- kinks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (ops.relu, np.zeros((3, 4))),
        (ops.abs, np.array([0.0, 1e-9, -3.0, 0.0])),
        (partial(ops.max, axis=1), np.ones((3, 4))),
        (partial(ops.max_pool2d, kernel_size=2), np.zeros((1, 2, 4, 4))),
        (lambda x: ops.maximum(x, 2.0 * x), np.zeros(4)),
    ],
)
def test_kinks_are_left_and_then_checked(function, x):
    with pytest.raises(GradcheckError, match="kink"):
        gradcheck(function, [x], attempts=1)
    gradcheck(function, [x], order=2)


def test_a_kink_excuses_no_wrong_gradient():
    wrong = op(lambda x: np.maximum(x, 0), lambda gy, x: ops.where(x.data > 0, gy * 2, 0.0))
    with pytest.raises(GradcheckError, match="constant factor 2"):
        gradcheck(wrong, [np.zeros(6)])


def test_small_kinks_count_too():
    """A kink of a thousandth of the slope, in the middle, where two-sided differences agree at every step."""
    bent = op(lambda x: x + 1e-3 * np.abs(x), lambda gy, x: gy * (1 + 1e-3 * Tensor(np.sign(x.data))))
    with pytest.raises(GradcheckError, match="kink"):
        gradcheck(bent, [np.zeros(4)], attempts=1)
    gradcheck(bent, [np.zeros(4)])


def test_a_function_that_is_smooth_nowhere_is_reported():
    rough = op(lambda x: x + sum(0.5**k * np.cos(7.0**k * x) for k in range(20)), lambda gy, x: gy)  # Weierstrass 1872
    with pytest.raises(GradcheckError, match="could be measured in 8 attempts"):
        gradcheck(rough, [normal(4)])


@pytest.mark.parametrize("seed", range(24))
def test_rounding_is_not_taken_for_a_wrong_gradient(seed):
    """In float32 a small step may give a slope that looks consistent and is not: another step must find it again."""
    with contextlib.suppress(GradcheckError):
        gradcheck(lambda x: x.to("float32").to("float64") * 2, [np.array([0.3])], seed=seed)
        return  # by luck it was measured, and it is right
    with pytest.raises(GradcheckError, match="could be measured in 8 attempts"):
        gradcheck(lambda x: x.to("float32").to("float64") * 2, [np.array([0.3])], seed=seed)


def test_a_slope_that_rounding_hides_is_reported():
    with pytest.raises(GradcheckError, match="rounding hides"):
        gradcheck(op(lambda x: x + 1e12, lambda gy, x: gy * 0.0), [normal(4)])


def test_steep_functions_get_smaller_steps():
    gradcheck(ops.relu, [1e-3 * normal(500)], attempts=1)
    gradcheck(lambda x: (x * 3e4).tanh(), [1e-5 * normal(6)], order=2)
    gradcheck(ops.log, [np.array([1e-5, 1.0])])


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", (np.asarray, Tensor))
def test_inputs_are_promoted_and_left_alone(wrap):
    x, labels, seen = normal(4, 3).astype(np.float32), LABELS.copy(), []

    def function(logits, given):
        assert given is labels
        seen.append(logits.dtype)
        return ops.cross_entropy(logits, given)

    before = x.copy()
    gradcheck(function, [wrap(x), labels], rtol=1e-8)
    assert set(seen) == {np.dtype(np.float64)}
    assert x.dtype == np.float32 and np.array_equal(x, before)


def test_even_a_function_that_changes_its_input_does_not_change_the_caller_s():
    x = normal(5)
    before = x.copy()
    with pytest.raises(GradcheckError, match="in place"):
        gradcheck(ChangesInput.apply, [x])
    assert np.array_equal(x, before)


def test_tensors_keep_their_device():
    seen = set()

    def function(x):
        seen.add(x.device)
        return x.tanh()

    gradcheck(function, [Tensor(normal(3), device="reference")])
    assert seen == {"reference"}


def test_no_elements_are_refused_unless_they_are_meant():
    with pytest.raises(ArgumentError, match="compare nothing"):
        gradcheck(ops.tanh, [normal(0, 3)])
    gradcheck(ops.tanh, [normal(0, 3)], order=3, allow_empty=True)


def test_options_that_make_no_sense():
    with pytest.raises(ArgumentError, match="no floating-point array"):
        gradcheck(ops.tanh, [np.arange(3)])
    with pytest.raises(ArgumentError, match="order"):
        gradcheck(ops.tanh, [normal(3)], order=0)
    with pytest.raises(ArgumentError, match="attempts"):
        gradcheck(ops.tanh, [normal(3)], attempts=0)
    with pytest.raises(ArgumentError, match="returns Tensors, not a ndarray"):
        gradcheck(lambda x: x.numpy(), [normal(3)])


def test_complex_steps_judge_and_refuse():
    with pytest.raises(GradcheckError, match="constant factor 3"):
        gradcheck(square(lambda gy, x: gy * x * 6.0), [normal(5)], complex_step=True)
    with pytest.raises(GradcheckError, match="complex_step is for analytic"):
        gradcheck(op(np.abs, lambda gy, x: gy * Tensor(np.sign(x.data))), [normal(5)], complex_step=True)
    gradcheck(ops.tanh, [normal(5)], complex_step=True)


# --- the message, and chance ------------------------------------------------------------------------------------------


FACTORS = [normal(3, 2), normal(3, 2)]


def message(**options: Any) -> str:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(op(np.multiply, lambda gy, a, b: (gy * b, gy * a * 5.0)), FACTORS, **options)
    return str(caught.value)


def test_the_message_tells_what_where_and_how_to_see_it_again():
    lines = message(seed=7).splitlines()
    assert lines[0].startswith(
        "wrong: wrong gradient in input 1, shape (3, 2), order 1, seed 7: a guess: it looks like a constant"
    )
    assert all(words in lines[1] for words in ("by backward", "by differences", "relative error 8.0e-01", "rtol 1e-06"))
    assert lines[2].split() == ["index", "analytic", "numeric"]
    assert len(lines) == 3 + 5  # the five worst of six elements
    *_, analytic, numeric = lines[3].split()
    assert float(analytic) == pytest.approx(5 * float(numeric), rel=1e-5)


def test_differences_are_extrapolated():
    """At a step of 1e-3, plain differences of eˣ are off by 2e-7; the number in the message must be right to 1e-9."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(op(np.exp, lambda gy, x: gy * x.exp() * 2.0), [np.zeros(1)])
    numbers = str(caught.value).splitlines()[1].split()
    assert numbers[-1] == "1e-03)" and float(numbers[5]) == pytest.approx(float(numbers[2]) / 2, rel=3e-9)


def test_seed_and_sample_choose_the_numbers():
    assert message(seed=7) == message(seed=7) != message(seed=8).replace("seed 8", "seed 7")
    assert "sample 0" in message(samples=2)


def test_samples_draw_anew():
    cotangents = set()

    def backward(gy, x):
        cotangents.add(gy.data.tobytes())
        return gy * 2

    def count(samples: int) -> int:
        cotangents.clear()
        gradcheck(op(lambda x: x * 2, backward), [normal(3)], samples=samples)
        return len(cotangents)

    assert count(3) == 3 * count(1)


def test_random_vectors_are_never_near_zero_nor_ones():
    drawn = away_from_zero(np.random.default_rng(0), (10_000,))
    assert np.abs(drawn).min() >= 0.25
    assert 0.4 < (drawn > 0).mean() < 0.6 and drawn.std() > 0.5
    assert isinstance(away_from_zero(np.random.default_rng(0), ()), np.ndarray)


def test_every_rule_of_the_diagnosis_is_met_above():
    """A rule that no wrong gradient reaches would be a guess that nobody has seen."""
    texts = []
    for function, inputs, _ in WRONG.values():
        with pytest.raises(GradcheckError) as caught:
            gradcheck(function, inputs)
        texts.append(str(caught.value))
    signs = {
        "zero": "all zero", "factor": "constant factor", "transposed": "a transposed", "flipped": "a gradient flipped",
        "shifted": "shifted", "overwritten": "overwriting", "counted": "ratios are whole",
        "constant_missing": "missing mean", "unfounded": "does not depend on", "misplaced": "right sum",
        "linear_missing": "α + β·x", "output_missing": "missing sum", "wrongly_summed": "broadcast back, where",
        "permuted": "wrong places",
    }  # fmt: skip
    assert set(signs) == {rule.__name__ for rule in diagnose.RULES}
    for sign in signs.values():
        assert any(sign in text for text in texts), sign
