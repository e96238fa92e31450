"""Each fault of the catalogue is planted, and must be caught.

pytest --device cuda-sim -m slow tests/kernels/cuda/test_faults.py          (`python -m tests.faults.cuda` says by whom)
"""

import pytest

from tests.faults.cuda import MUTANTS, caught_by


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_is_caught(mutant, device):
    if device != "cuda-sim":
        pytest.skip("faults are planted into the simulator's kernels")
    assert bool(caught_by(mutant, first=True)) != bool(mutant.harmless)
