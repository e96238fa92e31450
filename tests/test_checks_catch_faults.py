"""A check that cannot fail is a defect: every planted fault is rejected, and every property rejects some fault."""

import functools

import pytest

from .faults import FAULTS, rejections
from .op_table import ROWS
from .properties import PROPERTIES

PLANTED_IN = sorted({(fault.op, fault.device) for fault in FAULTS})


@functools.cache
def caught(fault, holds):
    """What one property says of a fault: asking all of them is what `python -m tests.faults` does, in minutes."""
    with fault.plant():
        return rejections(fault.into(ROWS[fault.op]), fault.device, holds)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.op}: {fault.name}")
def test_fault_is_rejected(fault):
    found = caught(fault, fault.caught_by)
    assert fault.caught_by in found, "it is not caught by what the table says"
    misplanted = [why for why in found.values() if why.startswith("TypeError") and "argument" in why]
    assert not misplanted, f"the fault is not what it claims: {misplanted[0]}"


@pytest.mark.parametrize("op, on", PLANTED_IN)
def test_without_a_fault_nothing_is_rejected(op, on):
    """The control: the same cases, and proof that planting leaves nothing behind."""
    for holds in sorted({fault.caught_by for fault in FAULTS if (fault.op, fault.device) == (op, on)}):
        assert rejections(ROWS[op], on, holds) == {}


@pytest.mark.parametrize("holds", PROPERTIES, ids=str)
def test_property_can_fail(holds):
    first = sorted(FAULTS, key=lambda fault: fault.caught_by != holds.name)  # those that are said to violate it
    judged = (fault for fault in first if not fault.cause and holds.applies(ROWS[fault.op]))
    assert any(holds.name in caught(fault, holds.name) for fault in judged), "no planted fault violates this property"


def test_catalogue():
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS), "two faults have one name"
    assert all(fault.seen_in for fault in FAULTS)
    assert {fault.caught_by for fault in FAULTS} <= {holds.name for holds in PROPERTIES}
