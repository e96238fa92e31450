"""The book of shapes: what every op gives, of the right shape and dtype, without computing any of it."""

from __future__ import annotations

import contextlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import Tensor, grad, kernels, nn
from minicnn.device import shapes_only
from minicnn.kernels import shapes

from ..op_table import TABLE
from ..properties import call, tensors_of
from ..strategies import strategy


def looks(tensors):
    return [(tensor.shape, tensor.dtype) for tensor in tensors if tensor is not None]


def results(op, case, where):
    """Shape and dtype of what an op gives, and of its gradients."""
    with where:
        tensors = tensors_of(case.arrays(), "cpu", requires_grad=op.order > 0)
        y = call(op, case, tensors, "cpu")
        found = looks(y if isinstance(y, tuple) else [y])
        if op.order and y.requires_grad:
            inputs = [tensor for tensor in tensors if tensor is not None]
            for wanted in (inputs, *([tensor] for tensor in inputs)):  # together, and each by itself
                cotangent = Tensor(np.ones(y.shape, y.dtype))
                found += looks(grad(y, wanted, cotangent, retain_graph=True, allow_unused=True))
    return found


def holds(op, case):
    with np.errstate(all="ignore"):
        assert results(op, case, shapes_only()) == results(op, case, contextlib.nullcontext()), f"{op.name}: {case}"


@pytest.mark.parametrize("op", TABLE, ids=str)
@settings(max_examples=2)
@given(data=st.data())
def test_every_op_has_the_right_shape(op, data):
    holds(op, data.draw(strategy(op.inputs)))


@pytest.mark.parametrize("op", [op for op in TABLE if op.edges], ids=str)
def test_every_op_has_the_right_shape_at_edges(op):
    for case in op.edges:
        holds(op, case)


@pytest.mark.parametrize("name", kernels.CONTENTS)
def test_every_entry_has_its_parameters(name):
    own = vars(shapes).get(name)
    if own is not None and own not in (shapes._like_first, shapes._broadcast):
        assert list(inspect.signature(own).parameters) == list(inspect.signature(kernels.CONTENTS[name]).parameters)
    elif own is None:
        assert callable(getattr(shapes, name))


def test_what_is_large_takes_no_time_and_no_memory():
    """A convolution of 10¹³ multiply-adds on 4 GB: computed, it would take minutes and more memory than most have."""
    layer = nn.Conv2d(64, 64, 7, padding=3)
    with shapes_only():
        y = nn.ReLU()(layer(Tensor(np.zeros((64, 64, 512, 512), np.float32))))
    assert y.shape == (64, 64, 512, 512)


def test_after_the_block_everything_computes_again():
    x = Tensor(np.ones((1, 1, 3, 3)))
    with pytest.raises(ZeroDivisionError), shapes_only():
        assert (x + 1).shape == x.shape
        raise ZeroDivisionError
    assert x.sum().item() == 9
