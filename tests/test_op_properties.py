"""Every op of the table has every property that is about it, on every device."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import ops
from minicnn.device import DEVICES

from .op_table import NOT_OPS, TABLE
from .properties import PROPERTIES
from .strategies import companions, examples, strategy

EVERYWHERE = [(op, p) for op in TABLE for p in PROPERTIES if p.applies(op) and p.on_every_device]
ONCE = [(op, p) for op in TABLE for p in PROPERTIES if p.applies(op) and not p.on_every_device]
EDGES = [(op, p) for op, p in EVERYWHERE if p.at_edges]
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def names(value):
    return str(value)


def try_out(op, holds, device, data):
    """The property, of a case that hypothesis chose, and of companions of which it chose the seed only."""
    holds.check(op, data.draw(strategy(op.inputs), label=f"{holds.name}, {op.name}"), device)
    count = companions(THOROUGH, DEVICES[device].memory == "host")
    seed = data.draw(st.integers(0, 2**40), label="seed of the companions")
    check_all(op, holds, device, examples(op.inputs, count, seed))


def check_all(op, holds, device, cases):
    for case in cases:
        try:
            holds.check(op, case, device)
        except BaseException as error:
            error.add_note(f"{holds.name}, {op.name}: {case}")
            raise


@pytest.mark.parametrize("op, holds", EVERYWHERE, ids=names)
@given(data=st.data())
def test_property(op, holds, device, data):
    try_out(op, holds, device, data)


@pytest.mark.parametrize("op, holds", EDGES, ids=names)
def test_property_at_edges(op, holds, device):
    check_all(op, holds, device, op.edges)


@pytest.mark.parametrize("op, holds", ONCE, ids=names)
@given(data=st.data())
def test_property_of_the_graph(op, holds, data):
    """What the kernels have no part in is tested on one device."""
    try_out(op, holds, "cpu", data)


def test_every_op_has_a_row():
    assert {row.op_name for row in TABLE} | NOT_OPS == set(ops.__all__)
    assert len({row.name for row in TABLE}) == len(TABLE)
