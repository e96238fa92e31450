"""Tensors in expressions: every operator from either side, and methods that have names of their own."""

import operator

import numpy as np
import pytest

from minicnn import Tensor, ops

A, B = np.array([[4.0, 2.0], [1.0, 3.0]]), np.array([[0.5, 2.0], [3.0, 3.0]])
SIGNS = ("add", "sub", "mul", "truediv", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne")


@pytest.mark.parametrize("sign", SIGNS)
def test_operators_from_either_side(sign):
    f = getattr(operator, sign)
    expected = f(A, B)
    for a, b in ((Tensor(A), Tensor(B)), (Tensor(A), B), (A, Tensor(B))):
        np.testing.assert_allclose(f(a, b).numpy(), expected)
    if sign != "matmul":
        np.testing.assert_allclose(f(2.0, Tensor(B)).numpy(), f(2.0, B))
        np.testing.assert_allclose(f(Tensor(B), 2.0).numpy(), f(B, 2.0))


def test_names_of_methods():
    x = Tensor(A)
    np.testing.assert_array_equal((-x).numpy(), -A)
    np.testing.assert_array_equal(abs(-x).numpy(), A)
    np.testing.assert_array_equal(x.T.numpy(), A.T)
    np.testing.assert_array_equal([row.numpy() for row in x], A)
    assert (x.max().item(), x.min().item()) == (4, 1)
    assert (x.argmax(0).numpy().tolist(), x.argmin(0).numpy().tolist()) == ([0, 1], [1, 0])
    assert x.astype("float32").dtype == x.to("float32").dtype == x.to(dtype="float32").dtype == "float32"
    assert x.unsqueeze(0).shape == (1, 2, 2) and x.permute(1, 0).shape == (2, 2)


def test_methods_are_ops_of_the_same_name():
    for name, method in ops.METHODS.items():
        if name in ops.__all__:
            assert method is getattr(ops, name), name
            assert getattr(Tensor, name) is method
