"""cpu/machine_code.py and versions.py: what is on disk is what would be compiled now, or is not used."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from minicnn.kernels.cpu import code, flow, interleave, machine_code, microkernels
from minicnn.kernels.cpu.versions import version_of

ROOT = Path(__file__).resolve().parents[3]


class Returning:
    """Compiles a function that returns a number, and counts how often it has to."""

    def __init__(self, number):
        self.number, self.times = number, 0

    def __call__(self, symbol):
        self.times += 1
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        return machine.emit_object(llvm.parse_assembly(f'define i64 @"{symbol}"() {{ ret i64 {self.number} }}'))


def result(symbol, version, compile):
    return ctypes.CFUNCTYPE(ctypes.c_int64)(machine_code.address(symbol, version, compile))()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path / "minicnn"


def test_what_is_on_disk_is_not_compiled_again(folder):
    compiler = Returning(5)
    assert [result("five", b"1", compiler) for _ in range(3)] == [5, 5, 5]
    assert compiler.times == 1
    assert [file.name for file in folder.iterdir()] == ["five.o"]


def test_another_version_takes_the_place_of_the_first(folder):
    assert result("number", b"1", Returning(1)) == 1
    assert result("number", b"2", Returning(2)) == 2
    assert result("number", b"2", Returning(3)) == 2  # from disk
    assert result("number", b"1", Returning(4)) == 4
    assert len(list(folder.iterdir())) == 1


def test_another_llvm_is_another_version(monkeypatch):
    assert result("number", b"1", Returning(1)) == 1
    monkeypatch.setattr(llvm, "llvm_version_info", (99, 0, 0))
    assert result("number", b"1", Returning(2)) == 2


@pytest.mark.parametrize("place", [0, 31, 32, 63, 64, -1])
def test_a_damaged_file_is_compiled_again(folder, place):
    result("number", b"1", Returning(1))
    file = folder / "number.o"
    content = bytearray(file.read_bytes())
    whole = bytes(content)
    content[place] ^= 1
    file.write_bytes(content)
    assert result("number", b"1", Returning(2)) == 2
    assert file.read_bytes() != content
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize("left", [0, 10, 64, 100])
def test_a_file_written_by_halves_is_compiled_again(folder, left):
    result("number", b"1", Returning(1))
    file = folder / "number.o"
    file.write_bytes(file.read_bytes()[:left])
    assert result("number", b"1", Returning(2)) == 2


def test_where_nothing_can_be_written_everything_is_compiled(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert [result("number", b"1", Returning(n)) for n in (1, 2)] == [1, 2]


def test_a_file_that_cannot_be_finished_leaves_nothing(folder, monkeypatch):
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert result("number", b"1", Returning(1)) == 1
    assert list(folder.iterdir()) == []


def test_without_a_wish_files_lie_beside_the_source_or_with_the_user(monkeypatch, tmp_path):
    beside = Path(machine_code.__file__).parent / "__pycache__"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert machine_code._folder() == beside
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    if sys.platform != "darwin":
        assert machine_code._folder() == tmp_path / "minicnn"


# --- versions ---------------------------------------------------------------------------------------------------------


def test_micro_kernels_come_from_disk_and_compute(monkeypatch):
    """One of them, compiled once; then it may not be compiled again."""
    for compiles in (True, False):
        microkernels.address.cache_clear()
        if not compiles:
            monkeypatch.setattr(microkernels, "_module", None)
        mover = microkernels.address("float32", microkernels.move_rows)
        x, y, one = np.arange(20, dtype=np.float32), np.zeros(20, np.float32), np.ones(1, np.float32)
        numbers = [1, x.ctypes.data, 0, y.ctypes.data, 0, 20, one.ctypes.data]
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 7)(mover)(*numbers)
        np.testing.assert_array_equal(y, x + 1)
    microkernels.address.cache_clear()


def has_a_set(name):
    return name in {"a", "b", "c", "d", "e"}


def version():
    return version_of(interleave.interleave_pixels, code.Code, has_a_set)


def test_what_a_kernel_calls_changes_its_version(monkeypatch):
    """A function of its own file, a method of its vocabulary or of what that inherits, a constant: each by itself."""
    before = version()
    for owner, name in ((interleave, "_element"), (interleave, "BLOCK"), (code.Code, "transpose"), (flow.Flow, "loop")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, 7 if name == "BLOCK" else lambda *args: None)
            assert version() != before, name
    assert version() == before


def test_constants_change_a_version(monkeypatch):
    def kernel():
        return machine_code.DIGEST + len(MACHINES) + microkernels.AVX512.bits

    before = version_of(kernel)
    monkeypatch.setattr(machine_code, "DIGEST", 33)
    changed = version_of(kernel)
    monkeypatch.setitem(MACHINES, "some", 1)
    assert len({before, changed, version_of(kernel)}) == 3


MACHINES: dict[str, int] = {}


@pytest.mark.parametrize("module", ["tests.kernels", "minicnn.kernels", "somebody.own"])
def test_functions_of_any_package_have_versions(module):
    """Who writes kernels elsewhere, and edits them, gets them compiled again."""

    def kernel():
        return 1

    def edited():
        return 2

    for function in (kernel, edited):
        function.__module__ = module
    assert version_of(kernel) != version_of(edited)


def test_a_version_is_that_of_another_process():
    """No address, no order of a set, has a part in it."""
    program = "from tests.kernels.cpu.test_machine_code import version; print(version().hex())"
    found = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())
    assert found == {version().hex()}
