"""PyTorch judges every row of the op table: results, gradients, and gradients of gradients.

`pytest -m torch` runs these, where PyTorch is installed; a row that has no entry in FUNCTIONS fails without it, too.
"""

import math

import numpy as np
import pytest

from minicnn import Tensor, grad, use
from minicnn.ops.activation import Softmax, Tanh

from ..faults.planting import after_backward, backward, kernel
from ..op_table import ROWS, TABLE
from ..strategies import examples
from .late import torch
from .torch_functions import FUNCTIONS, function_of

CASES = 8  # of each row, besides its edges that have elements
TOLERANCE = 1e-11  # of the largest number
NO_COUNTERPART: dict[str, str] = {}  # rows that PyTorch has nothing for, and why
NO_EDGES = {
    "std": "where all numbers are equal it has no derivative, and each is free to give one",
    "mish": "of large numbers, PyTorch's second derivative is NaN",
    "group_norm": "PyTorch refuses groups of one number",
    "sigmoid_focal_loss": "of large numbers, the formula's derivative is 0·∞",
}


def cases_of(op):
    edges = () if op.name in NO_EDGES else op.edges
    with_elements = [case for case in edges if all(math.prod(shape) for shape in case.shapes if shape is not None)]
    return [*examples(op.inputs, CASES), *with_elements]


def weighted_sum(case, parts, tensor):
    """One number that depends on every element of the parts, each with a random weight."""
    return sum((part * tensor(case.cotangent(tuple(part.shape)))).sum() for part in parts)


def derivatives(case, function, order, tensor, gradients):
    """y; its gradients for a random cotangent; and theirs. The cotangent counts as an input of the gradients.

    tensor makes a leaf of an array, gradients(outputs, inputs, cotangents) are those of one engine or the other.
    """
    inputs = [None if array is None else tensor(array) for array in case.arrays()]
    leaves = [leaf for leaf in inputs if leaf is not None]
    y = function(*inputs, **case.attributes)
    found = [y]
    if order and y.requires_grad:
        v = tensor(case.cotangent(tuple(y.shape), str(y.dtype).removeprefix("torch.")))
        first = gradients(y, leaves, v)
        found += first
    if order > 1 and y.requires_grad:
        leaves.append(v)
        second = gradients(weighted_sum(case, first, tensor), leaves, None)
        found += [leaf * 0.0 if g is None else g for g, leaf in zip(second, leaves, strict=True)]
    return found


def by_torch(op, case):
    def gradients(y, inputs, v):
        return torch.autograd.grad(y, inputs, v, create_graph=True, allow_unused=True)

    def tensor(array):
        return torch.tensor(array, requires_grad=True)

    found = derivatives(case, function_of(op), op.order, tensor, gradients)
    return [part.detach().numpy(force=True) for part in found]


def by_minicnn(op, case, device):
    def gradients(y, inputs, v):
        return grad(y, inputs, v, create_graph=True, allow_unused=True)

    def tensor(array):
        return Tensor(array, requires_grad=True)

    with use(device):
        return [part.numpy() for part in derivatives(case, op.function, op.order, tensor, gradients)]


def largest(parts):
    return max(np.abs(part[np.isfinite(part)]).max(initial=0) for part in parts)


def judge(op, device):
    """Raises unless both say the same, to a few digits less than all: of the largest result, or derivative."""
    for case in cases_of(op):
        actual, expected = by_minicnn(op, case, device), by_torch(op, case)
        scales = [largest(expected[:1]), *[largest(expected)] * len(expected[1:])]
        for number, (a, e, scale) in enumerate(zip(actual, expected, scales, strict=True)):
            assert a.shape == e.shape and a.dtype == e.dtype, f"{case}: number {number}"
            np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE * scale, err_msg=f"{case}: number {number}")


@pytest.fixture
def pytorch():
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.torch
@pytest.mark.parametrize("op", [op for op in TABLE if op.name not in NO_COUNTERPART], ids=str)
def test_row(op, device, pytorch):
    judge(op, device)


def test_every_row_has_a_counterpart():
    """Or a reason to have none; and PyTorch is asked about nothing else."""
    asked = [row for row in TABLE if row.name not in NO_COUNTERPART]
    found = {row.name if row.name in FUNCTIONS else row.op_name for row in asked}
    assert found == set(FUNCTIONS)
    assert {*NO_COUNTERPART, *NO_EDGES} <= set(ROWS)


# --- the judge is judged ----------------------------------------------------------------------------------------------


def constant_in_second_order(self, gy):
    """As if y did not depend on x: the gradient is right, its own gradient is not."""
    y = Tensor(self.saved[0].data)
    return y * (gy - (gy * y).sum(axis=self.axis, keepdims=True))


FAULTS = {
    "avg_pool2d": kernel("avg_pool2d", lambda right: lambda x, window, include_pad: right(x, window, not include_pad)),
    "tanh": after_backward(Tanh, lambda self, gy, gx: gx * 1.001),
    "softmax": backward(Softmax, constant_in_second_order),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", FAULTS)
def test_judge_rejects_a_fault(name, pytorch):
    judge(ROWS[name], "reference")
    with FAULTS[name](), pytest.raises(AssertionError, match="Not equal"):
        judge(ROWS[name], "reference")
