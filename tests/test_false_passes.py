"""Six ways in which a gradient check passes without having checked anything, each designed out of gradcheck.

Every test plants the mistake that its way hides, shows that it hides (where gradcheck can be talked into it), and that
gradcheck, choosing for itself, finds it. The op table's own recipes are held to the same.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

from minicnn import derivative, gradcheck, ops, use
from minicnn.candidate import of_arrays
from minicnn.causes import SUBJECTS
from minicnn.causes.cause import Cause, gradient
from minicnn.causes.subject import Wanted
from minicnn.errors import ArgumentError, GradcheckError
from minicnn.function import Function
from minicnn.tensor import Tensor

from .coursework import conv_assigns, conv_backward, conv_forward
from .op_table import TABLE
from .strategies import examples

CASES = {op: subject.cases(Wanted(len(subject.arrays)), 12, seed=0) for op, subject in SUBJECTS.items()}
WINDOWED = [op for op, subject in SUBJECTS.items() if "stride" in subject.options]


def rejects(function, inputs=None, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(function, inputs, **options)
    return caught.value


def wrong(op, **formulas):
    return Cause("", op, "", gradient(**formulas)).plant(SUBJECTS[op].function)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape)


# --- 1: a cotangent of ones -------------------------------------------------------------------------------------------


def test_a_cotangent_of_ones():
    """Σ softmax = 1: under ones its gradient is 0, and 37 times that is right."""
    times_37 = wrong("softmax", x=lambda c: 37 * c.gx)
    gradcheck(lambda x: times_37(x).sum(), [normal(3, 5)])
    rejects(times_37, [normal(3, 5)])
    rejects(times_37, like="softmax")
    for op, cases in CASES.items():
        for case in cases:
            assert case.cotangent.size < 2 or case.cotangent.std() > 0.05, op
            assert np.abs(case.cotangent).min() >= 0.25, "an element that does not count"


# --- 2: square and equal sizes ----------------------------------------------------------------------------------------


def test_equal_sizes():
    """Divided by the number of classes for that of images: right if there are as many."""
    confused = wrong("cross_entropy", logits=lambda c: c.glogits * c.logits.shape[0] / c.logits.shape[1])
    labels = np.array([0, 2, 1])
    gradcheck(lambda z: confused(z, labels), [normal(3, 3)])
    rejects(confused, like="cross_entropy")


@pytest.mark.parametrize("op", SUBJECTS)
def test_sizes_differ_in_most_calls_and_are_equal_in_some(op):
    unequal = [all(len(set(a.shape)) == a.ndim for a in case.arrays) for case in CASES[op]]
    assert len(CASES[op]) == 12 and sum(unequal) >= 7 and not all(unequal)


# --- 3: one image, one channel ----------------------------------------------------------------------------------------


def test_one_image():
    """The batch sum is forgotten: right for a batch of one."""
    first = wrong("linear", bias=lambda c: c.gy[0])
    gradcheck(first, [normal(1, 4), normal(3, 4), normal(3)])
    rejects(first, [normal(1, 4), normal(3, 4), normal(3)], like="linear")


@pytest.mark.parametrize("op", SUBJECTS)
def test_there_are_several_of_everything(op):
    """Sizes of 1 only where broadcasting or depthwise convolution is what is tried."""
    for case in CASES[op]:
        for array in case.arrays:
            assert 1 not in array.shape or len(SUBJECTS[op].forms) > 1, f"{op}: {array.shape}"
            assert array.size > 1


# --- 4: windows that stand alone --------------------------------------------------------------------------------------


def test_windows_that_do_not_overlap():
    """= for += in the input gradient of a convolution, seen only where two windows read one pixel."""
    assigns = of_arrays(conv_forward, conv_assigns)
    gradcheck(lambda *arrays: assigns(*arrays, stride=2), [normal(2, 1, 4, 6), normal(1, 1, 2, 2), normal(1)])
    assert rejects(assigns, like="conv2d").causes


@pytest.mark.parametrize("op", WINDOWED)
def test_windows_overlap(op):
    def overlap(case) -> bool:
        kernel = case.options.get("kernel_size", case.arrays[-1].shape)
        kernel = case.arrays[1].shape[2:] if len(case.arrays) > 1 else np.broadcast_to(kernel, 2)
        dilation = np.broadcast_to(case.options.get("dilation", 1), 2)
        extent = dilation * (np.asarray(kernel) - 1) + 1
        return bool((np.broadcast_to(case.options["stride"], 2) < extent).any())

    assert sum(map(overlap, CASES[op])) >= 9
    assert overlap(CASES[op][0])


# --- 5: the judged forward as its own oracle --------------------------------------------------------------------------


def test_a_wrong_forward_with_its_own_right_gradient():
    """Differences of a wrong function are its right derivatives: only another forward can tell."""

    def normalised_over_images(x):
        e = ops.exp(x)
        return e / e.sum(axis=0, keepdims=True)

    gradcheck(normalised_over_images, [normal(3, 5)], order=2)
    assert "wrong output" in str(rejects(normalised_over_images, like="softmax"))


def test_an_op_is_no_judge_of_itself():
    for itself in (ops.tanh, lambda x: ops.tanh(x * 1.0)):
        with pytest.raises(ArgumentError, match="judged by itself"):
            gradcheck(itself, like="tanh")


def test_the_output_is_judged_first():
    """Else a wrong gradient would be explained that is right for the function as it is."""

    class Both(Function):
        def forward(self, x):
            return np.tanh(x) + 1

        def backward(self, gy):
            return gy * 5.0

    assert "wrong output" in str(rejects(Both, like="tanh"))


# --- 6: nothing compared, nobody looks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs",
    [[np.zeros((0, 3))], [np.arange(3)], [np.zeros((2, 0)), np.zeros(0)], []],
    ids=["none", "int", "two", "no"],
)
def test_nothing_to_compare_is_no_pass(inputs):
    with pytest.raises(ArgumentError):
        gradcheck(lambda *arrays: Tensor(np.zeros(3)), inputs)


def test_nobody_has_to_look_at_the_result():
    """`gradcheck(f, x)` on a line of its own fails if f does: there is no False."""
    source = inspect.getsource(gradcheck)
    returned = {ast.unparse(node.value) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Return)}
    assert returned == {"True"}


def test_derivatives_are_compared_in_every_call(monkeypatch):
    """Counted: each input of each call is measured, or an error says why it was not."""
    measured = []
    right = derivative.Check.check_derivative

    def counted(self, index, point):
        measured.append(index)
        right(self, index, point)

    monkeypatch.setattr(derivative.Check, "check_derivative", counted)
    with use("reference"):
        gradcheck((conv_forward, conv_backward), like="conv2d")
    assert len(measured) == 3 * 12
    measured.clear()
    gradcheck(ops.mul, [normal(3), normal(2, 3)], order=2)
    assert len(measured) == 2 + 3


@pytest.mark.parametrize("op", [row for row in TABLE if row.order and row.smooth], ids=str)
def test_the_recipes_of_the_op_table_leave_something_to_compare(op):
    """No recipe draws only what its properties skip: numbers without a difference quotient, no elements."""
    compared = 0
    for case in examples(op.inputs, 4):
        y = op.oracle(*case.arrays(), **case.attributes)
        y = y[0] if isinstance(y, tuple) else y
        some = any(array is not None and array.size > 1 for array in case.arrays())
        compared += some and np.size(y) > 0 and case.values != "large" and np.isfinite(y).all()
    assert compared >= 3


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_can_fail(path):
    """It asserts, expects an error, or calls something that does: a test without any of these is a line of green."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            parts = (part for statement in node.body for part in ast.walk(statement))
            assert any(isinstance(part, ast.Call | ast.Assert) for part in parts), f"{node.name} does nothing"
