"""Tests of the simulator need a C++ compiler; where there is none they are skipped, visibly."""

import pytest

from minicnn.simulator import compiler


def pytest_collection_modifyitems(items):
    lacking = compiler.missing()
    for item in items:
        if lacking and "tests/simulator" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=f"the simulator {lacking}"))
