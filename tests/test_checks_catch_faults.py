"""A check that cannot fail is a defect: every planted fault is rejected, and every property rejects some fault."""

import functools

import pytest

from .faults import FAULTS, rejections
from .op_table import ROWS
from .properties import PROPERTIES

PLANTED_IN = sorted({(fault.op, fault.device) for fault in FAULTS})


@functools.cache
def caught(fault):
    only = fault.caught_by if fault.cause else ""  # what is planted from outside is no op of the engine in other ways
    with fault.plant():
        return rejections(fault.into(ROWS[fault.op]), fault.device, only)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.op}: {fault.name}")
def test_fault_is_rejected(fault, record_property):
    record_property("caught_by", ", ".join(caught(fault)))
    assert fault.caught_by in caught(fault), f"caught only by: {', '.join(caught(fault)) or 'nothing'}"
    misplanted = [why for why in caught(fault).values() if why.startswith("TypeError") and "argument" in why]
    assert not misplanted, f"the fault is not what it claims: {misplanted[0]}"


@pytest.mark.parametrize("op, on", PLANTED_IN)
def test_without_a_fault_nothing_is_rejected(op, on):
    """The control: the same cases, and proof that planting leaves nothing behind."""
    assert rejections(ROWS[op], on) == {}


@pytest.mark.parametrize("holds", PROPERTIES, ids=str)
def test_property_can_fail(holds):
    assert any(holds.name in caught(fault) for fault in FAULTS), "no planted fault violates this property"


def test_catalogue():
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS), "two faults have one name"
    assert all(fault.seen_in for fault in FAULTS)
    assert {fault.caught_by for fault in FAULTS} <= {holds.name for holds in PROPERTIES}
