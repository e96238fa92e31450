"""A device with a memory of its own, which is no more than the reference book under another name: whatever an op makes
on its way, forward or backward, must be made where its inputs are, or it could not meet them."""

import numpy as np
import pytest

from minicnn import Tensor, device, grad, ops
from minicnn.errors import DeviceError

from .op_table import TABLE
from .properties import cotangent_for, present, sum_of_products, tensors_of
from .strategies import examples


@pytest.fixture
def elsewhere(monkeypatch):
    monkeypatch.setitem(device.DEVICES, "elsewhere", device.DEVICES["reference"]._replace(memory="elsewhere"))
    return "elsewhere"


@pytest.mark.parametrize("op", TABLE, ids=str)
def test_all_that_an_op_makes_is_made_where_its_inputs_are(op, elsewhere):
    for case in examples(op.inputs, 3):
        tensors = tensors_of(case.arrays(), elsewhere)
        y = op.function(*tensors, **case.attributes)
        assert y.device == elsewhere
        if op.order:
            leaves = present(tensors)
            first = grad(y, leaves, Tensor(cotangent_for(case, y), device=elsewhere), create_graph=True)
            assert all(g.device == elsewhere for g in first)
            if op.order > 1 and any(g.requires_grad for g in first):
                second = grad(sum_of_products(case, first), leaves, allow_unused=True)
                assert all(g is None or g.device == elsewhere for g in second)


@pytest.mark.parametrize(
    "other", [2.0, 2, [2.0, 2.0], np.full(2, 2.0), np.float64(2), np.array([True, False])], ids=str
)
def test_what_stands_beside_a_tensor_comes_to_it(other, elsewhere):
    x = Tensor(np.ones(2), device=elsewhere)
    for y in (x * other, other * x, ops.where(Tensor([True, False], device=elsewhere), x, other), x == other):
        assert y.device == elsewhere
    assert ops.where(Tensor([True, False], device=elsewhere), 1.0, 2.0).device == elsewhere


def test_what_is_apart_cannot_meet(elsewhere):
    """The check of the check."""
    with pytest.raises(DeviceError, match="tensors of cpu and elsewhere meet in one op"):
        Tensor(np.ones(2), device=elsewhere) + Tensor(np.ones(2), device="cpu")
