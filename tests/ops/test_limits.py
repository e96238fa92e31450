"""Options at the very edge of what is allowed, on both sides of it, and the work that ops say they do."""

import itertools
import re

import numpy as np
import pytest

from minicnn import Tensor, grad, ops
from minicnn.errors import ArgumentError, DTypeError, GraphError, ShapeError
from minicnn.explain import TimerHook
from minicnn.kernels.window import Window
from minicnn.ops.activation import PReLU
from minicnn.ops.arguments import _is_plain, window_for
from minicnn.ops.elementwise_loss import BinaryCrossEntropy
from minicnn.ops.gates import GateSlope, SiLU
from minicnn.ops.linear import LinearWeight
from minicnn.ops.loss import CheckedLabels, SoftCrossEntropy


def ones(*shape, dtype="float32", **options):
    return Tensor(np.ones(shape, dtype), **options)


X, IMAGE = ones(2, 3), ones(1, 1, 5, 5)

BAD = {
    "transposed channels": (lambda: ops.conv_transpose2d(ones(1, 2, 3, 3), ones(3, 1, 2, 2)), ShapeError,
                            r"conv_transpose2d expects 3 input channels, got 2: input has shape \(1, 2, 3, 3\)"),
    "output_padding −1": (lambda: ops.conv_transpose2d(IMAGE, ones(1, 1, 3, 3), output_padding=-1), ArgumentError,
                          r"conv_transpose2d of x \(1, 1, 5, 5\): output_padding must be .* got -1"),
    "output_padding of rows": (lambda: ops.conv_transpose2d(IMAGE, ones(1, 1, 3, 3), stride=(1, 2), output_padding=1),
                               ArgumentError, r"output_padding \(1, 1\) must be smaller than stride \(1, 2\)"),
    "no rows left": (lambda: ops.conv_transpose2d(ones(1, 1, 2, 3), ones(1, 1, 1, 1), padding=(1, 0)), ShapeError,
                     r"would have size \(0, 3\): pad less"),
    "gy of others": (lambda: ops.conv2d_weight(IMAGE, ones(1, 1, 4, 3), 3), ShapeError,
                     r"conv2d_weight: x .* gives \(N, P, Q\) \(1, 3, 3\), gy is \(1, 1, 4, 3\)"),
    "groups of gy": (lambda: ops.conv2d_weight(ones(1, 2, 2, 2), ones(1, 3, 2, 2), 1, groups=2), ShapeError,
                     r"conv2d_weight: groups=2 must divide the 2 channels of .* and the 3 channels of \(1, 3, 2, 2\)"),
    "stacks of matrices": (lambda: ops.matmul(ones(2, 3, 4), ones(3, 4, 5)), ShapeError,
                           r"matmul of shapes \(2, 3, 4\) and \(3, 4, 5\): the axes before the last two must broad"),
    "condition of another shape": (lambda: ops.where(np.array([True, False]), X, X), ShapeError,
                                   r"where got a condition of shape \(2,\) and values of shapes \(2, 3\) and \(2, 3\)"),
    "places without end": (lambda: ops.max_unpool2d(ones(1, 1, 2, 2), [[[[0, 1], [2, 3]]]], 2, 10**6), ShapeError,
                           r"max_unpool2d of shape \(1, 1, 2, 2\) would make shape \(1, 1, 1000002, 1000002\)"),
    "the place after the last": (lambda: ops.max_unpool2d(ones(1, 1, 1, 2), [[[[5, 6]]]], (3, 1)), ArgumentError,
                                 r"max_unpool2d of x \(1, 1, 1, 2\) got index 6, but 3 × 2 has 6 places"),
    "the place before −1": (lambda: ops.max_unpool2d(ones(1, 1, 1, 2), [[[[-1, -2]]]], (3, 1)), ArgumentError,
                            "got index -2"),
    "the smallest of nothing": (lambda: ops.min(ones(2, 0), 1), ShapeError,
                                r"min over axes \(1,\) of shape \(2, 0\) has no elements to compare"),
    "keepdims of prod": (lambda: X.prod(0, "no"), ArgumentError, "prod takes keepdims=True or .* got .no."),
    "keepdims of logsumexp": (lambda: X.logsumexp(0, 1), ArgumentError, "logsumexp takes keepdims=True or .* got 1"),
    "logits without classes": (lambda: ops.cross_entropy(ones(3), ones(3)), ShapeError, "expects classes on axis 1"),
    "probabilities of more digits": (lambda: ops.cross_entropy(X, ones(2, 3, dtype="float64")), DTypeError,
                                     "cross_entropy got tensors of different precision"),
    "ragged labels": (lambda: ops.nll_loss(X, [[1], [1, 2]]), DTypeError, "nll_loss takes an array as labels"),
    "the label after the last": (lambda: ops.cross_entropy(X, [0, 3]), ArgumentError, r"got label 3, but \(2, 3\) has"),
    "the worst label": (lambda: ops.nll_loss(X, [-5, 4]), ArgumentError, "nll_loss got label -5, but .* 0 to 2"),
    "ragged weights": (lambda: ops.nll_loss(X, [0, 1], [[1], [1, 2]]), DTypeError, "nll_loss takes an array as weight"),
    "weight −1": (lambda: ops.nll_loss(X, [0, 1], [1, 2, -1]), ArgumentError, "takes numbers ≥ 0 as weight, got -1"),
    "weight 1e300": (lambda: ops.nll_loss(X, [0, 1], [1, 1e300, 2]), ArgumentError, "got 1e.300: .* finite in float32"),
    "weights of text": (lambda: ops.nll_loss(X, [0, 1], ["a", "b", "c"]), DTypeError, "nll_loss takes numbers as weig"),
    "smoothing 2": (lambda: ops.cross_entropy(X, [0, 1], label_smoothing=2), ArgumentError,
                    "takes a number from 0 to 1 as label_smoothing, got 2"),
    "gamma −1": (lambda: ops.sigmoid_focal_loss(X, X, gamma=-1), ArgumentError, "a number ≥ 0 as gamma, got -1"),
    "probability −0.5": (lambda: ops.cross_entropy(ones(1, 3), [[0.2, -0.5, 1.25]]), ArgumentError,
                         r"probabilities from 0 to 1 as target, got -0.5 in shape \(1, 3\)"),
    "probability 1.75": (lambda: ops.cross_entropy(ones(1, 3), [[0.2, -0.5, 1.75]]), ArgumentError, "got 1.75"),
    "probability −0.1": (lambda: ops.cross_entropy(ones(1, 3), [[0.2, -0.1, 0.9]]), ArgumentError, "got -0.1"),
    "sizes below 0": (lambda: X.reshape(-2, -3, 1), ShapeError, r"reshape .* to \(-2, -3, 1\) is not possible"),
    "fewer axes": (lambda: ones(1, 3).broadcast_to((3,)), ShapeError, r"broadcast_to .* \(1, 3\) into \(3,\)"),
    "a size below 0": (lambda: ones(1).broadcast_to((2, -1)), ShapeError, r"broadcast_to .* \(1,\) into \(2, -1\)"),
    "squeezing two": (lambda: X.squeeze(0), ShapeError, r"squeeze .* \(2, 3\)"),
    "squeezing one and two": (lambda: ones(1, 2).squeeze((0, 1)), ShapeError, r"squeeze .* \(1, 2\)"),
    "an axis before the first": (lambda: ops.expand_dims(X, -4), ShapeError, r"expand_dims at axis -4 .* \(2, 3\)"),
    "ragged answers": (lambda: ops.sigmoid_focal_loss(X, [[1], [1, 2]]), DTypeError, "sigmoid_focal_loss takes an arr"),
    "an answer of 2": (lambda: ops.sigmoid_focal_loss(ones(4), [0, 1, 2, 3]), ArgumentError, "got 2"),
    "alpha 2": (lambda: ops.sigmoid_focal_loss(X, X, alpha=2), ArgumentError, "focal_loss takes .* alpha, got 2"),
    "alpha −2": (lambda: ops.sigmoid_focal_loss(X, X, alpha=-2), ArgumentError, "from -1 to 1 as alpha, got -2"),
    "pos_weight −1": (lambda: ops.binary_cross_entropy_with_logits(X, X, pos_weight=-1.0), ArgumentError,
                      "binary_cross_entropy_with_logits takes numbers ≥ 0 as pos_weight, got -1"),
    "10⁹ bins": (lambda: ops.adaptive_max_pool2d(IMAGE, 10**9), ShapeError,
                 r"would make shape \(1, 1, 1000000000, 1000000000\)"),
    "a bin of nothing": (lambda: ops.adaptive_avg_pool2d(IMAGE, (2, 0)), ArgumentError, r"got \(2, 0\)"),
    "one size of nothing": (lambda: ones(0, 3).reshape(-1, 0), ShapeError, r"reshape .* to \(-1, 0\) is not possible"),
    "probability 1.1": (lambda: ops.cross_entropy(ones(1, 3), [[0.2, 0.9, 1.1]]), ArgumentError, "got 1.1"),
    "slope −∞": (lambda: ops.leaky_relu(X, -np.inf), ArgumentError, "takes a finite number negative_slope, got -inf"),
    "threshold −10³⁰⁰": (lambda: ops.softplus(X, 1.0, -1e301), ArgumentError, "finite number threshold"),
    "ragged condition": (lambda: ops.where([[True], [True, False]], X, X), DTypeError, "where takes .* as condition"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_just_outside(name):
    call, error, words = BAD[name]
    with pytest.raises(error) as caught:
        call()
    assert re.search(words, str(caught.value)), caught.value


INSIDE = {
    "an image of one row": (lambda: ops.conv_transpose2d(ones(1, 1, 1, 2), ones(1, 1, 1, 1)), np.ones((1, 1, 1, 2))),
    "alpha 0": (lambda: ops.local_response_norm(X, 3, alpha=0.0, k=4.0, beta=0.5), np.full((2, 3), 0.5)),
    "beta 0": (lambda: ops.local_response_norm(X, 3, beta=0), np.ones((2, 3))),
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_just_inside(name):
    call, expected = INSIDE[name]
    np.testing.assert_allclose(call().numpy(), expected, rtol=1e-6)


# --- multiply-adds ----------------------------------------------------------------------------------------------------


def multiply_adds(call, *tensors):
    """By op, of a call and its gradients, recorded: every product that a loop over all indices would take."""
    with TimerHook() as timer:
        y = call(*tensors)
        grad(y, tensors, ones(*y.shape), create_graph=True)
    return {row.name: row.macs for row in timer.rows if row.macs}


def test_multiply_adds():
    """x and w have 4 channels in 2 groups, there are 6 outputs, 3 × 2 taps, 2 images of 5 × 7: 3 × 6 of them fit."""
    x, w = ones(2, 4, 5, 7, requires_grad=True), ones(6, 2, 3, 2, requires_grad=True)
    each = (2 * 6 * 3 * 6) * (2 * 3 * 2)
    assert multiply_adds(lambda x, w: ops.conv2d(x, w, groups=2), x, w) == {
        "conv2d": each, "conv_transpose2d": each, "conv2d_weight": each}  # fmt: skip
    fused = multiply_adds(lambda x, w: ops.conv2d_relu_max_pool2d(x, w, groups=2), x, w)
    assert fused == {"conv2d_relu_max_pool2d": each, "conv_transpose2d": each, "conv2d_weight": each}
    a, b = ones(2, 3, 4, requires_grad=True), ones(4, 5, requires_grad=True)
    assert multiply_adds(ops.matmul, a, b) == {"matmul": 3 * 120}
    x, w = ones(3, 4, requires_grad=True), ones(5, 4, requires_grad=True)
    assert multiply_adds(ops.linear, x, w) == {"linear": 60, "matmul": 60, "linear_weight": 60}
    x, w = ones(2, 3, requires_grad=True), ones(4, 3, requires_grad=True)
    assert multiply_adds(lambda x, w: ops.einsum("nk,mk->nm", x, w), x, w) == {"einsum": 3 * 24}
    assert multiply_adds(lambda x: ops.einsum("nk->k", x), x) == {}, "sums are no products"


def test_multiply_adds_of_gradients_in_one_pass():
    x, w = ones(3, 4, requires_grad=True), ones(5, 4, requires_grad=True)
    for needed, count in ((x, 60), (w, 60), ((x, w), 120)):
        with TimerHook() as timer:
            grad(ops.linear(x, w), needed, ones(3, 5))
        assert {row.name: row.macs for row in timer.rows} == {"linear": 60, "linear_gradient": count}


@pytest.mark.parametrize("alone", [0, 1])
def test_a_weight_gradient_that_is_differentiated_in_one_factor_keeps_the_other(alone):
    x, gy = ones(3, 4, requires_grad=alone == 0), ones(3, 5, requires_grad=alone == 1)
    gw = LinearWeight.apply(x, gy)
    assert [entry.array is None for entry in gw.grad_fn._saved] == [alone == 0, alone == 1]
    assert [g is None for g in gw.grad_fn.backward(ones(5, 4))] == [alone == 1, alone == 0]


def test_prelu_at_its_kink_and_what_it_keeps():
    x, a = Tensor(np.zeros((1, 2)), requires_grad=True), Tensor(np.float64([0.5, 2]), requires_grad=True)
    (gx,) = grad(ops.prelu(x, a), x, Tensor(np.float64([[3, 4]])), create_graph=True)
    (ga,) = grad(gx, a, Tensor(np.float64([[1, 1]])))
    np.testing.assert_array_equal(gx.numpy(), [[1.5, 8]])
    np.testing.assert_array_equal(ga.numpy(), [3, 4])
    y = PReLU.apply(ones(1, 2, requires_grad=True), ones(2), sign=np.ones((1, 2), "float32"))
    assert [entry.array is None for entry in y.grad_fn._saved] == [True, False]


def test_prelu_notices_that_its_signs_have_changed():
    x = ones(1, 2, requires_grad=True)
    y = ops.prelu(x, ones(2))
    x.data = -x.numpy()
    with pytest.raises(GraphError, match=r"prelu needs a tensor of shape .* as it was in forward"):
        y.backward(ones(1, 2))


def test_a_slope_that_is_differentiated_in_one_factor():
    for alone in (0, 1):
        g, x = ones(2, requires_grad=alone == 0), ones(2, requires_grad=alone == 1)
        y = GateSlope.apply(g, x, gate=SiLU)
        assert [entry.array is None for entry in y.grad_fn._saved] == [alone == 0, False]
        assert [found is None for found in y.grad_fn.backward(ones(2))] == [alone == 1, alone == 0]


@pytest.mark.parametrize("cls", [BinaryCrossEntropy, SoftCrossEntropy])
def test_a_loss_that_is_differentiated_in_its_target_alone_keeps_no_target(cls):
    z, t = Tensor(np.zeros((2, 3))), Tensor(np.full((2, 3), 0.5), requires_grad=True)
    options = {"pos_weight": None} if cls is BinaryCrossEntropy else {}
    node = cls.apply(z, t, **options).grad_fn
    assert not any(entry.array is t.numpy() for entry in node._saved)


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_vectors_times_stacks_of_matrices():
    v, stack = np.arange(3.0), np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(ops.matmul(Tensor(v), Tensor(stack)).numpy(), v @ stack)
    np.testing.assert_array_equal(ops.matmul(Tensor(stack), Tensor(np.arange(4.0))).numpy(), stack @ np.arange(4.0))
    np.testing.assert_array_equal(ops.matmul(Tensor(v), Tensor(v)).numpy(), v @ v)


@pytest.mark.parametrize("op", [ops.max, ops.min])
def test_no_gradient_goes_to_what_is_no_number(op):
    x = Tensor(np.array([1.0, np.nan]), requires_grad=True)
    (g,) = grad(op(x), x)
    np.testing.assert_array_equal(g.numpy(), [0, 0])


def test_axes_in_an_array():
    assert X.transpose(np.array([1, 0])).shape == X.transpose([1, 0]).shape == (3, 2)
    assert Tensor(2.0).reshape(()).shape == Tensor(2.0).broadcast_to([]).shape == ()


def test_several_axes_move_at_once():
    x = np.arange(24).reshape(2, 3, 4)
    for to in itertools.permutations(range(3)):
        np.testing.assert_array_equal(Tensor(x).moveaxis((0, 1, 2), to).numpy(), np.moveaxis(x, (0, 1, 2), to))
        np.testing.assert_array_equal(Tensor(x).moveaxis((2, 0), to[:2]).numpy(), np.moveaxis(x, (2, 0), to[:2]))


def test_only_the_axis_that_is_named_is_squeezed():
    x = ones(1, 2, 1)
    assert (x.squeeze(0).shape, x.squeeze(-1).shape, x.squeeze().shape) == ((2, 1), (1, 2), (2,))


def test_what_has_its_shape_already_is_itself():
    assert (
        X.broadcast_to((2, 3)) is X and X.broadcast_to([2, 3]) is X and X.reshape(2, 3) is X and X.sum_to((2, 3)) is X
    )
    assert isinstance(ops.broadcast_arrays(X, X), tuple)


def test_casts():
    assert ops.cast(X, "float32") is X
    assert ops.cast(X, "bool").dtype == bool


def test_no_bins_of_nothing():
    assert ops.adaptive_avg_pool2d(ones(1, 1, 2, 0), (1, None)).shape == (1, 1, 1, 0)
    assert ops.adaptive_max_pool2d(ones(1, 1, 0, 2), (None, 1)).shape == (1, 1, 0, 1)


def test_unpooling_of_same_padding():
    x = Tensor(np.random.default_rng(0).permutation(np.arange(1.0, 25.0)).reshape(1, 1, 4, 6))
    y, places = ops.max_pool2d(x, (2, 3), (2, 3), "same", return_indices=True)
    back = ops.max_unpool2d(y, places, (2, 3), (2, 3), "same").numpy()
    np.testing.assert_array_equal(back, np.where(back == 0, 0, x.numpy()))
    assert back.shape == x.shape and (back > 0).sum() == (y.numpy() > 0).sum()


def test_weights_of_small_integers_and_smoothing_of_everything():
    z = Tensor(np.log([[0.5, 0.25, 0.25]]))
    weighted = ops.cross_entropy(z, [1], np.array([9, 2, 3], "uint8"), reduction="sum")
    np.testing.assert_allclose(weighted.numpy(), 2 * np.log(4))
    np.testing.assert_allclose(ops.cross_entropy(z, [0], label_smoothing=1).numpy(), np.log(2 * 4 * 4) / 3)


def test_answers_that_weigh_nothing():
    assert ops.sigmoid_focal_loss(X, np.ones((2, 3)), alpha=0, reduction="sum").item() == 0


def test_probabilities_of_no_classes():
    assert ops.cross_entropy(ones(2, 0), ones(2, 0), label_smoothing=0.5).item() == 0


def test_places_of_integers():
    assert Tensor([1, 3, 2]).argmax().item() == 1


# --- normalisation ----------------------------------------------------------------------------------------------------


def test_two_values_have_a_variance():
    for shape in ((1, 3, 2), (2, 3), (1, 3, 1, 2)):
        y = ops.batch_norm(Tensor(np.arange(6.0).reshape(shape)), None, None, training=True, eps=1e-12)
        np.testing.assert_allclose(np.abs(y.numpy()), 1)


def test_momentum_at_both_ends():
    x, mean, var = Tensor(np.float64([[1.0], [4.0]])), Tensor(np.float64([7.0])), Tensor(np.float64([9.0]))
    ops.batch_norm(x, mean, var, training=True, momentum=0)
    assert (mean.item(), var.item()) == (7, 9)
    ops.batch_norm(x, mean, var, training=True, momentum=1)
    assert (mean.item(), var.item()) == (2.5, 4.5)


def test_statistics_that_move_are_newer_than_before():
    mean, var = Tensor(np.zeros(1)), Tensor(np.ones(1))
    ops.batch_norm(Tensor(np.ones((2, 1))), mean, var, training=True)
    assert mean.version[0] > 0 and var.version[0] > 0


def test_a_residual_that_needs_a_gradient_alone():
    x, r = ones(2, 3), ones(2, 3, requires_grad=True)
    y = ops.batch_norm_act(x, None, None, residual=r, training=True)
    with TimerHook() as timer:
        (g,) = grad(y, r, ones(2, 3))
    assert "batch_norm_gradient" not in {row.name for row in timer.rows}
    np.testing.assert_array_equal(g.numpy(), np.ones((2, 3)))


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weight", [None, [1, 2, 3]], ids=["of one weight", "of three weights"])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss], ids=["cross_entropy", "nll_loss"])
def test_labels_that_have_been_checked_give_the_same(loss, weight, reduction, device):
    x = Tensor(np.random.default_rng(0).standard_normal((4, 3, 2)), device=device)
    labels = np.array([[0, 2], [1, 1], [2, 0], [2, 1]])
    options = {"weight": weight, "reduction": reduction}
    if weight and reduction == "mean":
        with pytest.raises(ArgumentError, match=r"(cross_entropy|nll_loss): the mean with class weights divides by"):
            loss(x, CheckedLabels(labels), **options)
    else:
        found, expected = loss(x, CheckedLabels(labels), **options), loss(x, labels, **options)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ceil_mode, kernel, stride, expected", [
    (False, (2, 3), (7, 9), (7, 9)), (False, (2, 3), (8, 9), (7, 9)), (False, (2, 3), (7, 10), (7, 9)),
    (False, (2, 3), (1, 10), (1, 9)), (False, (2, 3), (10**9, 1), (7, 1)), (True, (2, 3), (8, 10), (7, 9)),
    (True, (12, 10), (30, 20), (12, 10)), (True, (10, 12), (20, 30), (10, 12)), (True, (12, 3), (30, 20), (12, 9)),
])  # fmt: skip
def test_strides_are_no_longer_than_what_they_cross(ceil_mode, kernel, stride, expected):
    """The padded input, of 7 × 9 pixels here, or an only window that is longer."""
    window = window_for("a pool", (1, 1, 4, 5), kernel, stride, ((1, 2), (0, 4)), 1, ceil_mode)
    assert window == Window(kernel, expected, ((1, 2), (0, 4)), (1, 1), ceil_mode)


@pytest.mark.parametrize("option, plain", [
    (2, True), ("same", True), ((2, 3), True), (True, False), (1.0, False), (np.int64(2), False), ((1, True), False),
    ((True, 1), False), ((1.0, 2), False), (((1, 0), (0, 1)), False), ([2, 3], False), (None, False), ({1: 1}, False),
])  # fmt: skip
def test_only_plain_options_are_remembered(option, plain):
    """True and 1.0 are found where 1 is kept, but mean nothing here; a list cannot be looked up."""
    assert _is_plain(option) is plain


@pytest.mark.parametrize("stride", [1.0, True, (1.0, 1), (1, True)])
def test_what_is_refused_stays_refused(stride):
    """Also after an equal number was welcome: 1 == 1.0 == True."""
    ops.max_pool2d(IMAGE, 3, 1)
    ops.max_pool2d(IMAGE, 3, (1, 1))
    with pytest.raises(ArgumentError, match="stride must be an integer"):
        ops.max_pool2d(IMAGE, 3, stride)


def test_a_window_is_worked_out_once():
    again = [window_for("a pool", (1, 1, 4, 5), 2, (1, 2), 0, 1) for _ in range(2)]
    assert again[0] is again[1] and not again[0].ceil_mode


@pytest.mark.parametrize("pad", [((1, 0), (0, 0)), ((0, 1), (0, 0)), ((0, 0), (1, 0)), ((0, 0), (0, 1))])
def test_only_padding_can_be_too_much(pad):
    """An x that is there was not too much for the memory, whatever its size."""
    large = (2**14, 2**12, 2**6, 2**7)
    assert window_for("a pool", large, 2, 2, 0, 1) == Window((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False)
    with pytest.raises(ShapeError, match=f"{2**26} images"):
        window_for("a pool", large, 2, 2, pad, 1)


# --- sums -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_whole_numbers_are_counted(dtype, keepdims, device):
    x = np.ones((300, 2), dtype)
    for axis in (0, 1, None):
        y = Tensor(x, device=device).sum(axis, keepdims).numpy()
        expected = x.sum(axis, keepdims=keepdims)
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == expected.dtype


def test_half_precision_adds_up_in_more(device):
    """In itself 2048 + 1 is 2048."""
    x = Tensor(np.ones((4096, 2), "float16"), device=device)
    np.testing.assert_array_equal(x.sum(0).numpy(), np.float16([4096, 4096]))


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "group_norm"])
def test_statistics_are_taken_in_double_precision(name, device):
    """In float32 the mean of what lies around 10⁴ is off by a thousandth, and so would be every result."""
    x = (1e4 + np.random.default_rng(0).standard_normal((3, 2, 500))).astype(np.float32)
    norm, axes = {
        "batch_norm": (lambda x: ops.batch_norm(x, None, None, training=True, eps=1e-12), (0, 2)),
        "layer_norm": (lambda x: ops.layer_norm(x, (2, 500), eps=1e-12), (1, 2)),
        "group_norm": (lambda x: ops.group_norm(x, 2, eps=1e-12), (2,)),
    }[name]
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(axes, keepdims=True)) / wide.std(axes, keepdims=True)
    np.testing.assert_allclose(norm(Tensor(x, device=device)).numpy(), expected, rtol=1e-6, atol=1e-6)
