"""The catalogue of faults in CUDA kernels fits the kernels. That each is caught: tests/kernels/cuda/test_faults.py."""

from collections import Counter

from minicnn.kernels.cuda import launch
from tests.faults.cuda import MUTANTS, planted
from tests.faults.cuda.planting import TESTS


def test_every_fault_can_be_planted():
    names = Counter(mutant.name for mutant in MUTANTS)
    assert max(names.values()) == 1
    assert len(MUTANTS) >= 25
    for mutant in MUTANTS:
        text = (launch.FOLDER / mutant.file).read_text("utf-8")
        assert mutant.applied_to(text) != text
        assert (TESTS / f"test_{mutant.tests}.py").exists(), mutant.tests


def test_a_fault_is_planted_and_taken_out_again():
    in_file = next(mutant for mutant in MUTANTS if mutant.file == "pool.cu")
    in_header = next(mutant for mutant in MUTANTS if mutant.file == "common.cuh")
    before = launch.unit("pool.cu", "float32")
    with planted(in_file):
        code, options = launch.unit("pool.cu", "float32")
        assert code == in_file.applied_to(before[0])
        assert options == before[1]
        assert launch.unit("norm.cu", "float32")[0].find(in_file.new) == -1
    with planted(in_header):
        code, options = launch.unit("pool.cu", "float32")
        assert code == before[0]
        folder = next(option for option in options if option.startswith("-I"))[2:]
        assert folder != str(launch.FOLDER)
    assert launch.unit("pool.cu", "float32") == before
