"""gradcheck with `like` names a mistake exactly or not at all."""

from __future__ import annotations

import dataclasses
import functools
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import gradcheck, ops, use
from minicnn.causes import CAUSES, SUBJECTS, norms
from minicnn.causes.cause import Cause, arguments, gradient, result
from minicnn.errors import ArgumentError, GradcheckError, GraphError

from .coursework import RIGHT, WRONG, affine_forward, batch_mean, conv_backward, conv_forward, softmax_forward
from .faults import PLANTED
from .faults.naming import said_of
from .op_table import ROWS
from .properties import PROPERTIES
from .strategies import examples

ALL = [cause for causes in CAUSES.values() for cause in causes]
BY_NAME = {cause.name: cause for cause in ALL}


def complaint(function, like, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught, use("reference"):
        gradcheck(function, like=like, **options)
    return caught.value


def with_mistakes(*causes: Cause):
    """The op with all of them in it."""
    return functools.reduce(lambda op, cause: cause.plant(op), causes, SUBJECTS[causes[0].op].function)


# --- what is known is named -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ALL, ids=str)
def test_a_mistake_is_named_and_its_smallest_call_shows_it(cause):
    wrong = with_mistakes(cause)
    error = complaint(wrong, cause.op)
    assert error.causes == [(cause.name,)], str(error)
    assert f'The cause is "{cause.name}"' in str(error) and cause.seen_in in str(error)
    shown = {cause.op: wrong}
    with pytest.raises((AssertionError, GraphError, ValueError)), use("reference"):  # the last: its own backward's
        exec(error.snippet, shown)
    assert all(len(line) <= 100 for line in error.snippet.splitlines())
    assert error.snippet.count(",") < 80, "that is not small"
    with use("reference"):
        exec(error.snippet, {cause.op: SUBJECTS[cause.op].function})  # what is right stands it


@pytest.mark.parametrize("op, function, names", WRONG, ids=[f"{op}: {names[0]}" for op, _, names in WRONG])
def test_coursework_gets_the_right_name(op, function, names):
    """Written again, in loops and by other formulas."""
    assert [set(mistakes) for mistakes in complaint(function, op).causes] == [set(names)]


PLANTED_HERE = [fault for fault in PLANTED if fault.op.split(" ")[0] in SUBJECTS]


@functools.cache
def said(fault):
    return said_of(fault)


@pytest.mark.parametrize("fault", PLANTED_HERE, ids=lambda fault: f"{fault.op}: {fault.name}")
def test_no_fault_of_the_engine_is_misnamed(fault):
    """Planted elsewhere, in kernels and backwards: where it changes numbers, its own name is the only one allowed."""
    assert said(fault).causes in ([], [(fault.name,)]), "one mistake has one name, here and in minicnn/causes"


def test_most_are_named():
    named = [fault.name for fault in PLANTED_HERE if said(fault).causes]
    assert len(named) >= 50
    assert set(BY_NAME) & {fault.name for fault in PLANTED} == set(named), "one table: a name means one mistake"


PAIRS = [
    ("gradient of the first row only in the bias", "weight gradient averaged over the batch, in linear"),
    ("weight gradient flipped", "bias gradient averaged over the batch"),
    ("kernel flipped, as in mathematics", "bias gradient of the first image only"),
    ("transpose forgotten where the matrix is square", "second transpose forgotten where the matrix is square"),
    ("sign of the gradient", "gradient not divided by N"),
    ("factor 2 forgotten in backward", "the target's gradient has the sign of x's"),
    ("square of the divisor forgotten", "minus sign of the divisor's gradient forgotten"),
    ("amplitude forgotten in backward", "slope 2/3 forgotten in backward"),
    ("bias subtracted", "weight gradient transposed where it is square"),
    ("count_include_pad ignored", "gradient not divided by the count"),
]


@pytest.mark.parametrize("names", PAIRS, ids=" + ".join)
def test_two_mistakes_are_named_together(names):
    error = complaint(with_mistakes(*map(BY_NAME.get, names)), BY_NAME[names[0]].op)
    assert [set(pair) for pair in error.causes] == [set(names)]
    assert " together with " in str(error)


# --- what is not known gets no name -----------------------------------------------------------------------------------


def shifted(g, axis):
    return np.roll(g, 1, axis)


UNKNOWN = [
    Cause("twice the gradient", "softmax", "", gradient(x=lambda c: 2 * c.gx)),
    Cause("mean for sum", "softmax", "", gradient(x=lambda c: c.y * (c.gy - (c.gy * c.y).mean(c.axis, keepdims=True)))),
    Cause("a thousandth too large", "tanh", "", gradient(x=lambda c: 1.001 * c.gx)),
    Cause("one element", "tanh", "", gradient(x=lambda c: c.gx * (1 + 0.3 * (c.x == c.x.max())))),
    Cause("(1 − y)²", "sigmoid", "", gradient(x=lambda c: c.gy * c.y * (1 - c.y) ** 2)),
    Cause("leaks", "relu", "", gradient(x=lambda c: np.where(c.x > 0, c.gy, 0.01 * c.gy))),
    Cause("leaks forward", "relu", "", result(lambda c: ops.where(c.x.data > 0, c.x, c.x * 0.01))),
    Cause("axis 0", "log_softmax", "", gradient(x=lambda c: c.gy - np.exp(c.y) * c.gy.sum(0, keepdims=True))),
    Cause("broadcast not undone, and halved", "add", "", gradient(a=lambda c: c.gy / 2, b=lambda c: c.gy / 2)),
    Cause("transposed, and halved", "linear", "", gradient(weight=lambda c: c.gweight.T / 2)),
    Cause("weight decay", "linear", "", gradient(weight=lambda c: c.gweight + 0.01 * c.weight)),
    Cause("no bias gradient", "linear", "", gradient(bias=lambda c: 0 * c.gbias)),
    Cause("rows in reverse", "linear", "", gradient(x=lambda c: c.gx[::-1])),
    Cause("1/x²", "log", "", gradient(x=lambda c: c.gy / c.x**2)),
    Cause("n − 1", "mean", "", gradient(x=lambda c: c.gx * (c.x.size / c.gy.size) / (c.x.size / c.gy.size - 0.5))),
    Cause("divided by the outputs", "conv2d", "", gradient(weight=lambda c: c.gweight / c.gy[0, 0].size)),
    Cause("one pixel further", "conv2d", "", gradient(x=lambda c: shifted(c.gx, 3))),
    Cause("last row of taps forgotten", "conv2d", "",
          gradient(weight=lambda c: c.gweight * (np.arange(c.weight.shape[2]) > 0)[:, None])),
    Cause("channels in reverse", "conv2d", "", arguments(x=lambda c: c.x[:, ::-1])),
    Cause("rows in reverse, forward", "max_pool2d", "", result(lambda c: c.y[:, :, ::-1])),
    Cause("divided twice", "avg_pool2d", "", gradient(x=lambda c: c.gx / 4)),
    Cause("of the label alone", "cross_entropy", "", gradient(logits=lambda c: np.where(c.glogits < 0, c.glogits, 0))),
    Cause("too much of the mean term", "batch_norm", "",
          gradient(x=lambda c: c.gx - 0.3 * norms.normal(c).scale * norms.normal(c).mean(c.gy))),
    Cause("a bit of x̂", "batch_norm", "", gradient(x=lambda c: c.gx + 0.1 * norms.normal(c).x_hat * c.gy.sum())),
    Cause("smoothed", "cross_entropy", "", result(lambda c: c.y * 0.9 + 0.1)),
    Cause("of |x − t|", "mse_loss", "", gradient(x=lambda c: np.sign(c.x - c.target) * c.gy)),
    Cause("three mistakes", "mse_loss", "",
          gradient(x=lambda c: c.gx / 2 * c.x.size**2, target=lambda c: 0 * c.gtarget)),
]  # fmt: skip


@pytest.mark.parametrize("cause", UNKNOWN, ids=str)
def test_what_is_not_in_the_catalogue_gets_no_name(cause):
    error = complaint(with_mistakes(cause), cause.op)
    assert error.causes == [] and "The cause" not in str(error)
    told = ("nor two of them", "cotangent of zeros", "not linear", "of shape")
    assert any(words in error.guess for words in told), error.guess
    with pytest.raises((AssertionError, GraphError)), use("reference"):
        exec(error.snippet, {cause.op: with_mistakes(cause)})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("twice the gradient", "a guess: it looks like a constant factor 2"),
        ("rows in reverse", "a guess: it looks like a gradient flipped along axis 0"),
        ("one pixel further", "a guess: it looks like"),
        ("one element", "wrong at 1 of"),
        ("too much of the mean term", "a guess: it looks like a missing mean term"),
        ("a bit of x̂", "a guess: it looks like missing terms of a mean and a variance"),
        ("rows in reverse, forward", "a guess: it looks like an output flipped along axis 2"),
    ],
)
def test_without_a_name_the_look_is_told_as_a_guess(name, says):
    (cause,) = (cause for cause in UNKNOWN if cause.name == name)
    assert says in complaint(with_mistakes(cause), cause.op).guess


def test_mistakes_that_cannot_be_told_apart_are_both_named():
    """Without dilation, whose SAME is wrong where there is some, and whose where the stride is 2 and the size even?"""
    turned = with_mistakes(BY_NAME["pads swapped: bottom on top, right on the left"])
    error = complaint(lambda x, weight: turned(x, weight, padding="same"), partial(ops.conv2d, padding="same"))
    assert len(error.causes) == 2 and ("SAME with the odd row on top",) in error.causes
    assert " or else " in str(error) and "cannot tell apart" in str(error)


# --- what is right passes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name):
    like = {"mean": partial(ops.mean, axis=None)}.get(name, name.split(",")[0])
    assert gradcheck(RIGHT[name], like=like) is True


@pytest.mark.parametrize("op", SUBJECTS)
def test_a_plan_that_changes_nothing_passes(op):
    """The control: planting by itself makes no mistake."""
    with use("reference"):
        gradcheck(Cause("", op, "", gradient()).plant(SUBJECTS[op].function), like=op)


def test_order_two_of_a_right_function_passes():
    gradcheck(RIGHT["softmax"], like="softmax", order=2)
    with pytest.raises(GradcheckError, match="order 2"):
        gradcheck(
            (softmax_forward, lambda gy, x, axis=-1: right_softmax_backward(gy, x, axis)), like="softmax", order=2
        )


def right_softmax_backward(gy, x, axis):
    y = softmax_forward(x, axis)
    return y * (gy - (gy * y).sum(axis, keepdims=True))


# --- what can be given ------------------------------------------------------------------------------------------------


def test_options_that_are_built_in():
    def strided(x, weight, bias):
        return ops.conv2d(x, weight, bias, stride=2) * 1.0

    gradcheck(strided, like=partial(ops.conv2d, stride=2))
    assert "shape" in complaint(strided, "conv2d").guess
    gradcheck(partial(RIGHT["softmax"], axis=0), like="softmax")


def test_inputs_are_tried_besides_and_choose_the_ranks():
    seen = []

    def softmax(x, axis=-1):
        seen.append(x.shape)
        return RIGHT["softmax"](x, axis)

    gradcheck(softmax, [np.ones((1, 7)).cumsum(1)], like="softmax")
    assert (1, 7) in seen and {len(shape) for shape in seen} == {2} and len(set(seen)) > 4
    with pytest.raises(ArgumentError, match="does not take inputs"):
        gradcheck(RIGHT["linear"], [np.ones((2, 3)), np.ones((2, 2)), np.ones(2)], like="linear")


def test_inputs_of_an_op_that_needs_an_option():
    gradcheck(RIGHT["max_pool2d"], [np.arange(48.0).reshape(2, 1, 4, 6)], like="max_pool2d")


def test_options_that_a_function_refuses_are_not_tried():
    """Its stride is a number; but a number must be taken."""
    gradcheck((conv_forward, conv_backward), like="conv2d")

    def only_one(x, weight, bias, stride=1):
        if stride != 1:
            raise NotImplementedError("stride")
        return ops.conv2d(x, weight, bias) * 1.0

    error = complaint(only_one, "conv2d")
    assert "no output" in str(error) and "NotImplementedError: stride" in str(error) and error.causes == []


@pytest.mark.parametrize(
    ("function", "like", "says"),
    [
        (softmax_forward, "sofmax", 'is it "softmax"'),
        (softmax_forward, "no such op", "choose one of"),
        (softmax_forward, partial(ops.softmax, -1), "positional"),
        (softmax_forward, partial(ops.softmax, size=3), "has no option size"),
        (lambda x: x, "max_pool2d", "needs kernel_size"),
        (lambda x: x, "linear", "takes x, weight, bias"),
        (3, "softmax", "needs a function of Tensors"),
        (ops.softmax, "softmax", "judged by itself"),
        (lambda x: ops.softmax(x, axis=-1), "softmax", "judged by itself"),
    ],
)
def test_what_makes_no_sense_is_said(function, like, says):
    with pytest.raises(ArgumentError, match=says):
        gradcheck(function, like=like)


def test_neither_inputs_nor_like():
    with pytest.raises(ArgumentError, match="needs inputs, or the op"):
        gradcheck(ops.tanh)


def test_results_that_change_from_call_to_call():
    random = np.random.default_rng(0)
    error = complaint(lambda x: RIGHT["softmax"](x) + float(random.random()), "softmax")
    assert "two calls with the same inputs" in str(error)


def test_a_crash_in_backward_is_told():
    error = complaint((softmax_forward, lambda gy, x, axis=-1: 1 // 0), "softmax")
    assert "no gradients for x" in str(error) and "ZeroDivisionError" in str(error) and error.causes == []


# --- the smallest call ------------------------------------------------------------------------------------------------


def test_the_snippet_runs_by_itself(tmp_path):
    error = complaint((affine_forward, batch_mean), "linear")
    path = tmp_path / "snippet.py"
    path.write_text(error.snippet, "utf-8")
    root = Path(__file__).parent.parent
    run = subprocess.run(
        [sys.executable, path], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1 and "but right is" in run.stdout and "Mismatched elements" in run.stderr, run.stderr


def test_what_the_readme_shows_is_what_comes():
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    code, shown = re.search(r"```python\n([^`]*like=[^`]*)```\n\n((?:    .*\n|\n)*)", readme).groups()
    with pytest.raises(GradcheckError) as caught:
        exec(code, {"numpy": np, "minicnn": minicnn})
    lines = [line.strip() for line in f"GradcheckError: {caught.value}".splitlines()]
    shown = [line.strip() for line in shown.splitlines() if line.strip() not in ("", "...")]
    assert len(shown) >= 6
    assert [line for line in lines if line in shown] == shown


def test_the_smallest_call_still_tells():
    """Of softmax, more than one class, of a convolution, windows that overlap, of batch norm, more than two values."""
    for name, least in (
        ("y·gy: the sum is missing", 3),
        ("windows overwrite one another in the input gradient", 3),
        ("mean term missing", 2),
    ):
        error = complaint(with_mistakes(BY_NAME[name]), BY_NAME[name].op)
        namespace: dict = {BY_NAME[name].op: with_mistakes(BY_NAME[name])}
        with pytest.raises(AssertionError):
            exec(error.snippet, namespace)
        assert namespace["x"].shape[-1] >= least
        assert np.abs(namespace["right"].numpy()).max() > 0.01, "a true gradient of 0 proves nothing"
        assert namespace["x"].size // namespace["x"].shape[1] > 2 or name.startswith("y")


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_catalogue():
    assert len(ALL) >= 100 and len(BY_NAME) == len(ALL), "two mistakes have one name"
    assert all(cause.seen_in for cause in ALL)
    assert all(CAUSES.values()), "an op of which no mistake is known"
    assert set(SUBJECTS) <= set(ROWS), "an op that the op table does not judge"


@pytest.mark.parametrize("op", SUBJECTS)
def test_planting_itself_is_not_what_the_engine_s_checks_reject(op):
    """The control of the faults that are planted from outside."""
    row = ROWS[op]
    harmless = Cause("", op, "", gradient()).plant(row.function)
    for name in ("forward_is_the_oracle", "gradient_is_the_derivative"):
        (holds,) = (holds for holds in PROPERTIES if holds.name == name)
        for case in examples(row.inputs, 2):
            holds.check(dataclasses.replace(row, function=harmless), case, "reference")
