"""Losses: modules and options, extremes, what is kept, and what is refused; the op table has the formulas."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, nn, ops
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.explain.op_hooks import _Hook


def ones(*shape, dtype="float32"):
    return Tensor(np.ones(shape, dtype))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


X, INTEGERS, LEARNED = ones(2, 3), Tensor([[1, 0, 0], [0, 1, 0]]), Tensor(np.ones(3), requires_grad=True)

# What is called, the error, and the words in it that help.
BAD = {
    "labels of images": (lambda: ops.cross_entropy(ones(2, 3, 4), [0, 1]), ShapeError, r"\(2, 3, 4\) and \(2,\)"),
    "no classes": (lambda: ops.cross_entropy(ones(2, 0), [0, 1]), ShapeError, r"cross_entropy expects .* \(2, 0\)"),
    "label too large": (lambda: ops.cross_entropy(X, [4, 7]), ArgumentError, "label 7, .* has classes 0 to 2.*ignore"),
    "label below 0": (lambda: ops.nll_loss(X, [-9, 3]), ArgumentError, "nll_loss got label -9, .* classes 0 to 2"),
    "labels floating": (lambda: ops.cross_entropy(X, [0.0, 1.0]), DTypeError, "class indices as .*, got .* float64"),
    "one-hot integers": (lambda: ops.cross_entropy(X, INTEGERS), DTypeError, "dtype int64 .* probabilities are floa"),
    "logits of integers": (lambda: ops.cross_entropy(INTEGERS, [0, 1]), DTypeError, "cross_entropy needs floating-poi"),
    "x of integers": (lambda: ops.nll_loss(INTEGERS, [0, 1]), DTypeError, "needs floating-point tensors, got int64"),
    "only ignored": (lambda: ops.cross_entropy(X, [5, 5], ignore_index=5), ArgumentError, "all labels .* equal ign"),
    "only weight 0": (lambda: ops.nll_loss(X, [0, 0], [0, 1, 1]), ArgumentError, "have weight 0, and the mean over"),
    "no labels": (lambda: ops.cross_entropy(ones(0, 3), []), DTypeError, "class indices as integers"),
    "empty batch": (lambda: ops.cross_entropy(ones(0, 3), np.zeros(0, int)), ShapeError, "mean over an empty batch"),
    "ignore_index": (lambda: ops.cross_entropy(X, [0, 1], None, 0.5), ArgumentError, "integer as ignore_index, got 0"),
    "smoothing": (lambda: ops.cross_entropy(X, [0, 1], label_smoothing=2), ArgumentError, "from 0 to 1 as label_sm"),
    "class weights": (lambda: ops.cross_entropy(X, [0, 1], [1.0]), ShapeError, r"one weight for each class of \(2, 3"),
    "weight below 0": (lambda: ops.cross_entropy(X, [0, 1], [1, -2, 1]), ArgumentError, "numbers ≥ 0 as weight, got -"),
    "weight of text": (lambda: ops.nll_loss(X, [0, 1], "abc"), DTypeError, "takes numbers as weight, got"),
    "weight to learn": (lambda: ops.cross_entropy(X, [0, 1], LEARNED), ArgumentError, r"use weight.detach\(\)"),
    "probabilities": (lambda: ops.cross_entropy(X, 2 * X), ArgumentError, r"from 0 to 1 as target, got 2 in shape \(2"),
    "probability of what": (lambda: ops.binary_cross_entropy_with_logits(X, X - 1.5), ArgumentError, "got -0.5 in sha"),
    "NaN": (lambda: ops.binary_cross_entropy_with_logits(X, X * np.nan), ArgumentError, "0 to 1 as target, got nan"),
    "pos_weight": (lambda: ops.binary_cross_entropy_with_logits(X, X, pos_weight=[1, 2]), ShapeError,
                   r"needs a pos_weight that broadcasts to \(2, 3\), got shape \(2,\)"),
    "weight too large": (lambda: ops.binary_cross_entropy_with_logits(X, X, np.ones((1, 2, 3))), ShapeError, "a wei"),
    "targets between": (lambda: ops.sigmoid_focal_loss(X, 0.5 * X), ArgumentError, "targets that are 0 or 1, got 0.5"),
    "alpha": (lambda: ops.sigmoid_focal_loss(X, X, -0.5), ArgumentError, "from 0 to 1 as alpha, or −1 for no weights"),
    "gamma": (lambda: ops.sigmoid_focal_loss(X, X, gamma=-1), ArgumentError, "a number ≥ 0 as gamma, got -1"),
    "beta": (lambda: ops.smooth_l1_loss(X, X, beta=-1), ArgumentError, "smooth_l1_loss takes a number ≥ 0 as beta"),
    "delta": (lambda: ops.huber_loss(X, X, delta=0), ArgumentError, "huber_loss takes a number above 0 as delta"),
    "l1_loss shapes": (lambda: ops.l1_loss(X, ones(3)), ShapeError, r"l1_loss expects .* \(2, 3\) and \(3,\)"),
    "l1_loss integers": (lambda: ops.l1_loss(INTEGERS, X), DTypeError, "l1_loss needs floating-point tensors, got in"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_sentence_says_what_is_wrong(name):
    call, error, words = BAD[name]
    with pytest.raises(error) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert re.search(words, sentence), sentence


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sigmoid_focal_loss",
                                  "binary_cross_entropy_with_logits"])  # fmt: skip
def test_the_mean_over_nothing_is_refused(name):
    empty = ones(0, 3)
    with pytest.raises(ShapeError, match=f"{name}: the mean over an empty batch is not defined"):
        getattr(ops, name)(empty, empty, reduction="mean")
    assert getattr(ops, name)(empty, empty, reduction="sum").item() == 0


# --- over classes -----------------------------------------------------------------------------------------------------


class OpNames(_Hook):
    """The ops that run, in order."""

    def __init__(self):
        self.names = []

    def after(self, function, inputs, outputs):
        self.names.append(function.name)


def gradient(loss, *arrays, **options):
    """The loss, and its gradient in each array."""
    tensors = [Tensor(array, requires_grad=True) for array in arrays]
    y = loss(*tensors, **options)
    y.sum().backward()
    return y.numpy(), *(tensor.grad.numpy() for tensor in tensors)


@pytest.mark.parametrize("options", [{}, {"weight": [1.0, 2.0, 3.0], "label_smoothing": 0.1, "ignore_index": 0}])
def test_cross_entropy_is_one_op_forward_and_one_back(options):
    logits = Tensor(normal(4, 3), requires_grad=True)
    with OpNames() as forward:
        loss = ops.cross_entropy(logits, [0, 1, 2, 1], **options)
    with OpNames() as backward:
        loss.backward()
    assert forward.names == ["cross_entropy"]
    assert backward.names == ["cross_entropy_gradient"]


def test_cross_entropy_keeps_no_probabilities():
    logits = Tensor(normal(4, 3), requires_grad=True) * 1.0
    loss = ops.cross_entropy(logits, [0, 1, 2, 1])
    assert sorted(array.shape for array in loss.grad_fn.kept_arrays()) == [(4,), (4, 3)]


def test_labels_that_change_after_forward_do_not_matter():
    labels, weight = np.array([0, 2]), np.ones(3)
    logits = Tensor(normal(2, 3), requires_grad=True)
    loss = ops.cross_entropy(logits, labels, weight)
    labels[:], weight[:] = 1, 9
    loss.backward()
    np.testing.assert_array_equal(logits.grad.numpy(), gradient(ops.cross_entropy, normal(2, 3), target=[0, 2])[1])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_labels_of_any_integers(dtype):
    labels = np.array([2, 0, 1, 1], dtype)
    expected = ops.cross_entropy(Tensor(normal(4, 3)), [2, 0, 1, 1]).item()
    for given in (labels, Tensor(labels), np.repeat(labels, 2)[::2]):
        assert ops.cross_entropy(Tensor(normal(4, 3)), given).item() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand(dtype, device):
    logits = np.array([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4]], dtype)
    with minicnn.use(device):
        for loss in (ops.cross_entropy, lambda z, **given: ops.nll_loss(ops.log_softmax(z), **given)):
            y, g = gradient(loss, logits, target=[0, 1, 0], reduction="none")
            np.testing.assert_allclose(y, [0, 2e4, math.log(2)], rtol=1e-6)
            np.testing.assert_allclose(g, [[0, 0], [1, -1], [-0.5, 0.5]])
            assert y.dtype == g.dtype == dtype


def test_a_class_that_is_ruled_out(device):
    logits = np.array([[0.0, -np.inf, 0.0], [0.0, 0.0, -np.inf]])
    with minicnn.use(device):
        y, g = gradient(ops.cross_entropy, logits, target=[0, 1], reduction="none")
    np.testing.assert_allclose(y, [math.log(2)] * 2)
    np.testing.assert_allclose(g, [[-0.5, 0, 0.5], [0.5, -0.5, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_not_a_number_stays_in_its_row(dtype):
    logits = np.zeros((3, 40), dtype)
    logits[1, 3] = np.nan
    y, g = gradient(ops.cross_entropy, logits, target=[0, 1, 2], reduction="none")
    assert np.isnan(y).tolist() == np.isnan(g).all(axis=1).tolist() == [False, True, False]


def test_one_guess_in_c():
    """A network that knows nothing has loss ln C, whatever the smoothing."""
    for smoothing in (0.0, 0.1, 1.0):
        loss = ops.cross_entropy(Tensor(np.zeros((5, 1000))), np.arange(5), label_smoothing=smoothing)
        assert loss.item() == pytest.approx(math.log(1000))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss])
def test_to_ignore_is_to_leave_out(loss, weight, reduction):
    labels, kept = np.array([0, 255, 2, 1, 255]), [0, 2, 3]
    options = {"weight": weight, "reduction": reduction, "ignore_index": 255}
    y, g = gradient(loss, normal(5, 3), target=labels, **options)
    expected, g_kept = gradient(loss, normal(5, 3)[kept], target=labels[kept], **options)
    np.testing.assert_allclose(y, expected)
    np.testing.assert_allclose(g[kept], g_kept)
    assert not g[[1, 4]].any()


def test_ignored_labels_alone_have_a_sum_of_zero():
    y, g = gradient(ops.cross_entropy, normal(2, 3), target=[-100, -100], reduction="sum")
    assert y == 0 and not g.any()


def test_the_mean_does_not_depend_on_the_scale_of_weights():
    losses = [ops.cross_entropy(Tensor(normal(4, 3)), [0, 1, 2, 2], [f, 2 * f, 5 * f], label_smoothing=0.3).item()
              for f in (1, 7)]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"weight": [1, 2, 3], "ignore_index": 2}])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss])
def test_images_are_many_rows(loss, reduction, options):
    if loss is ops.nll_loss:
        options = {name: value for name, value in options.items() if name != "label_smoothing"}
    labels = np.random.default_rng(1).integers(0, 3, (2, 4, 5))
    y, g = gradient(loss, normal(2, 3, 4, 5), target=labels, reduction=reduction, **options)
    rows = normal(2, 3, 4, 5).transpose(0, 2, 3, 1).reshape(-1, 3)
    expected, g_rows = gradient(loss, rows, target=labels.reshape(-1), reduction=reduction, **options)
    np.testing.assert_allclose(y.reshape(-1), expected.reshape(-1))
    np.testing.assert_allclose(g.transpose(0, 2, 3, 1).reshape(-1, 3), g_rows, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2, "reduction": "sum"}])
def test_labels_are_probabilities_of_one(options):
    labels = np.array([0, 2, 1, 1])
    y, g = gradient(ops.cross_entropy, normal(4, 3), target=labels, **options)
    expected, g_probabilities = gradient(ops.cross_entropy, normal(4, 3), target=np.eye(3)[labels], **options)
    np.testing.assert_allclose(y, expected)
    np.testing.assert_allclose(g, g_probabilities)


def test_probabilities_as_lists():
    logits = Tensor(normal(1, 2).astype(np.float32))
    assert ops.cross_entropy(logits, [[1.0, 0.0]]).item() == pytest.approx(ops.cross_entropy(logits, [0]).item())


def test_a_teacher_learns_too():
    """The gradient in the targets, and in what they were made of."""
    student, teacher = (Tensor(normal(3, 4, seed=seed), requires_grad=True) for seed in (1, 2))
    ops.cross_entropy(student, ops.softmax(teacher)).backward()
    p, q = (np.exp(t.numpy()) / np.exp(t.numpy()).sum(1, keepdims=True) for t in (student, teacher))
    np.testing.assert_allclose(student.grad.numpy(), (p - q) / 3)
    surprise = -np.log(p)
    np.testing.assert_allclose(teacher.grad.numpy(), q * (surprise - (q * surprise).sum(1, keepdims=True)) / 3)


# --- yes or no, and differences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_logits_of_ten_thousand(dtype):
    x = np.array([1e4, 1e4, -1e4, -1e4, 1e4], dtype)
    t = np.array([1, 0, 1, 0, 0.5], dtype)
    y, g, gt = gradient(ops.binary_cross_entropy_with_logits, x, t, reduction="none")
    np.testing.assert_array_equal(y, [0, 1e4, 1e4, 0, 5e3])
    np.testing.assert_array_equal(g, [0, 1, -1, 0, 0.5])
    np.testing.assert_array_equal(gt, -x)


def test_small_losses_keep_their_digits():
    """x − x + ln(1 + e⁻ˣ) would lose them."""
    x = np.float32([15, -15])
    expected = np.log1p(np.exp(np.float64(-15)))
    y = ops.binary_cross_entropy_with_logits(Tensor(x), [1, 0], reduction="none")
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(ops.sigmoid_focal_loss(Tensor(x), [1, 0], -1, 0).numpy(), expected, rtol=1e-6)


def test_yes_or_no_is_a_choice_of_two():
    x, t = normal(6), np.array([0, 1, 1, 0, 1, 0])
    two = np.stack([np.zeros(6), x], axis=1)
    expected = ops.cross_entropy(Tensor(two), t, [1.0, 3.0], reduction="none")
    y = ops.binary_cross_entropy_with_logits(Tensor(x), t, reduction="none", pos_weight=3.0)
    np.testing.assert_allclose(y.numpy(), expected.numpy())


def test_the_focal_loss_of_the_paper():
    """Section 3.2: with γ = 2, the loss at p = 0.9 is 100 times lower than cross-entropy, at 0.968 about 1000 times."""
    for p, times, tolerance in ((0.9, 100, 1e-9), (0.968, 1000, 0.03)):
        x = Tensor(np.array([math.log(p / (1 - p))]))
        ratio = ops.sigmoid_focal_loss(x, [1], -1, 0).item() / ops.sigmoid_focal_loss(x, [1], -1, 2).item()
        assert ratio == pytest.approx(times, rel=tolerance)


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_focal_logits_of_ten_thousand(gamma):
    y, g = gradient(ops.sigmoid_focal_loss, np.array([1e4, 1e4, -1e4, -1e4]), targets=[1, 0, 1, 0], gamma=gamma)
    np.testing.assert_allclose(y, [0, 7.5e3, 2.5e3, 0])
    np.testing.assert_allclose(g, [0, 0.75, -0.25, 0])


def test_where_smooth_l1_bends():
    x = np.array([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 3.0])
    y, g, _ = gradient(ops.smooth_l1_loss, x, np.zeros(7), reduction="none", beta=0.5)
    np.testing.assert_allclose(y, [2.75, 0.25, 0.0625, 0, 0.0625, 0.25, 2.75])
    np.testing.assert_allclose(g, [-1, -1, -0.5, 0, 0.5, 1, 1])
    sharp = gradient(ops.smooth_l1_loss, x, np.zeros(7), beta=0.0)
    for a, b in zip(sharp, gradient(ops.l1_loss, x, np.zeros(7)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_huber_is_half_the_squared_error_within_delta():
    x, target = Tensor(normal(5)), normal(5, seed=1)
    assert ops.huber_loss(x, target, delta=100.0).item() == pytest.approx(ops.mse_loss(x, target).item() / 2)


# --- modules ----------------------------------------------------------------------------------------------------------

WEIGHT = [1.0, 2.0, 0.5]

MODULES = [
    (nn.CrossEntropyLoss(WEIGHT, 1, "sum", 0.1), ops.cross_entropy, [0, 1], (WEIGHT, 1, "sum", 0.1)),
    (nn.NLLLoss(WEIGHT, 1, "none"), ops.nll_loss, [0, 1], (WEIGHT, 1, "none")),
    (nn.BCEWithLogitsLoss(WEIGHT, "sum", [2.0]), ops.binary_cross_entropy_with_logits, X, (WEIGHT, "sum", [2.0])),
    (nn.MSELoss("sum"), ops.mse_loss, X, ("sum",)),
    (nn.L1Loss("none"), ops.l1_loss, X, ("none",)),
    (nn.SmoothL1Loss("sum", 0.25), ops.smooth_l1_loss, X, ("sum", 0.25)),
]


@pytest.mark.parametrize("module, function, target, options", MODULES, ids=lambda value: type(value).__name__)
def test_a_module_is_its_function(module, function, target, options):
    x = Tensor(normal(2, 3).astype(np.float32))
    np.testing.assert_array_equal(module(x, target).numpy(), function(x, target, *options).numpy())
    for name, value in vars(module).items():
        if name in module.options:
            assert f"{name}={value!r}" in repr(module)


@pytest.mark.parametrize("module", [nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss])
def test_weights_are_buffers(module):
    loss = module(weight=np.float32(WEIGHT))
    assert list(loss.state_dict()) == ["weight"] and not list(loss.parameters())
    assert "weight: 3 numbers" in repr(loss)
    other = module(weight=np.ones(3, np.float32))
    other.load_state_dict(loss.state_dict())
    np.testing.assert_array_equal(other.weight.numpy(), np.float32(WEIGHT))
    assert not module().state_dict()
    assert module().weight is None


def test_auxiliary_heads_count_by_their_weight():
    """logits + 0.3·(aux1 + aux2) in training; the logits alone where a network gives nothing else."""
    logits, first, second = (Tensor(normal(4, 3, seed=seed), requires_grad=True) for seed in range(3))
    labels = np.array([0, 2, 1, 1])
    each = [ops.cross_entropy(t, labels).item() for t in (logits, first, second)]
    loss = nn.AuxiliaryLoss()((logits, first, second), labels)
    assert loss.item() == pytest.approx(each[0] + 0.3 * (each[1] + each[2]), rel=1e-12)
    loss.backward()
    alone = Tensor(first.numpy(), requires_grad=True)
    ops.cross_entropy(alone, labels).backward()
    np.testing.assert_allclose(first.grad, 0.3 * alone.grad.numpy(), rtol=1e-12)
    assert nn.AuxiliaryLoss()(logits, labels).item() == each[0]
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = smooth(logits, labels).item() + 0.4 * smooth(first, labels).item()
    assert nn.AuxiliaryLoss(smooth, weight=0.4)((logits, first), labels).item() == pytest.approx(expected, rel=1e-12)
