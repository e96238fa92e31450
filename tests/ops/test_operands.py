"""What stands beside a Tensor: numbers, lists, arrays and Tensors of other dtypes, on any device."""

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, grad, ops
from minicnn.errors import DTypeError, ShapeError

BESIDE = {
    "a number": 2.0,
    "a whole number": 2,
    "NumPy's number": np.float64(2),
    "a list": [2.0, 2.0],
    "an array": np.full(2, 2, "float32"),
    "bools": np.array([True, False]),
    "a list of bools": [True, False],
    "a bool of NumPy": np.bool_(True),
}


@pytest.mark.parametrize("other", BESIDE.values(), ids=list(BESIDE))
def test_the_device_and_dtype_of_the_tensor(other, device):
    """Also where another device is the usual one."""
    x = Tensor(np.float32([3, 4]), device=device)
    for y in (x * other, other * x, ops.add(x, other), ops.where([True, False], x, other)):
        assert (y.device, y.dtype) == (device, "float32")
    np.testing.assert_array_equal((x * other).numpy(), x.numpy() * np.asarray(other, "float32"))


def test_integers_beside_complex_numbers():
    x, i = Tensor([1, 2]), Tensor(np.array([1j, 2j]))
    for y in (x * i, i * x):
        np.testing.assert_array_equal(y.numpy(), [1j, 4j])
    np.testing.assert_array_equal((i / x).numpy(), [1j, 1j])
    np.testing.assert_array_equal((x / i).numpy(), [-1j, -1j])
    assert ops.concat([x, i]).dtype == ops.stack([i, x]).dtype == "complex128"
    with pytest.raises(DTypeError, match=r"concat got .* precision"):
        ops.concat([i, Tensor([1.0, 2.0])])
    for mixed in (lambda: i * Tensor([1.0, 2.0]), lambda: Tensor([1.0, 2.0]) * i):
        with pytest.raises(DTypeError, match=r"mul got .* precision"):
            mixed()


def test_integers_stay_integers():
    x = Tensor([3, 1])
    for y in (x - x, x + x, x * x, -x):
        assert y.dtype == "int64"
    np.testing.assert_array_equal((x > Tensor([1, 1])).numpy(), [True, False])


@pytest.mark.parametrize("op", [ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.pow, ops.compare])
def test_shapes_that_do_not_broadcast(op):
    how = ("less",) if op is ops.compare else ()
    name = op.__name__ if op is not ops.compare else "less"
    with pytest.raises(ShapeError, match=rf"{name} got shapes \(2, 3\) and \(2,\), which do not broadcast"):
        op(Tensor(np.ones((2, 3))), Tensor(np.ones(2)), *how)


def test_a_power_of_zero_is_flat_everywhere():
    """Also at 0, where 0·x⁻¹ is no number."""
    x = Tensor(np.array([0.0, 2.0]), requires_grad=True)
    (g,) = grad((x**0).sum(), x)
    np.testing.assert_array_equal(g.numpy(), [0, 0])


def test_the_gradient_of_a_move_is_moved_back():
    with minicnn.use("cpu"):
        x = Tensor(np.float32([1, 2]), requires_grad=True)
        y = x.to(device="reference")
        assert y.device == "reference"
        (g,) = grad(y * y, x, Tensor(np.float32([1, 1]), device="reference"), create_graph=True)
        np.testing.assert_array_equal(g.numpy(), [2, 4])
        assert g.device == "cpu"
        assert Tensor([1, 2]).to("reference").dtype == "int64"


def test_numbers_chosen_by_a_tensor_stand_where_it_does(device):
    y = ops.where(Tensor([True, False], device=device), 1.0, 2)
    assert (y.device, y.dtype) == (device, "float32")


@pytest.mark.parametrize("exponent", [np.float64(2), np.float32(2), np.int64(2)])
def test_exponents_of_numpy(exponent):
    assert (Tensor(np.float32([3])) ** exponent).dtype == "float32"


@pytest.mark.parametrize("option", [np.float64(0.5), np.float32(0.5), np.float16(0.5)])
def test_options_of_numpy(option, device):
    """They are numbers, not arrays: their precision does not count."""
    with minicnn.use(device):
        x = Tensor(np.ones((2, 3), np.float32))
        for y in (
            ops.leaky_relu(x, option), ops.elu(x, option), ops.softplus(x, option, option),
            ops.local_response_norm(x, 3, option, option, option), ops.layer_norm(x, 3, eps=option),
            ops.batch_norm(x, None, None, training=True, eps=option), ops.huber_loss(x, x, "none", option),
            ops.smooth_l1_loss(x, x, "none", option), ops.sigmoid_focal_loss(x, x, option, option),
            ops.clip(x, option), ops.pad(x, [(0, 1), (0, 0)], value=option), ops.dropout(x, option),
            ops.cross_entropy(x, [0, 1], label_smoothing=option), ops.var(x, correction=option), x**option, x * option,
        ):  # fmt: skip
            assert y.dtype == "float32"


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_condition_may_change_once_it_has_been_used(as_tensor, device):
    given = np.array([True, False])
    condition, x = Tensor(given, device=device) if as_tensor else given, Tensor([1.0, 2.0], True, device=device)
    y = ops.where(condition, x, 0.0)
    condition[0], condition[1] = False, True
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0])
