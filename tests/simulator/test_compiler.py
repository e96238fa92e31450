"""Compiling: what is missing, what is cached, and several processes at once."""

import os
import subprocess
import sys

import pytest

from minicnn import device as devices
from minicnn import simulator
from minicnn.errors import DeviceError
from minicnn.simulator import compiler

DAY = 86400


def test_without_a_compiler_the_device_says_what_to_install(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    devices.array_library.cache_clear()
    try:
        with pytest.raises(DeviceError, match=r'device "cuda-sim" needs the C\+\+ compiler g\+\+.*apt install g\+\+'):
            devices.check("cuda-sim")
    finally:
        devices.array_library.cache_clear()


def test_another_system_is_told_where_it_runs(monkeypatch):
    monkeypatch.setattr(compiler.sys, "platform", "win32")
    assert "Linux only" in compiler.missing()


def test_old_versions_are_forgotten_and_nothing_else(tmp_path):
    for name, build, age in (
        ("old", "fast", 40),
        ("recent", "check", 20),
        ("current", "fast", 40),
        ("no_version", "x", 99),
    ):
        folder = tmp_path / name / build
        folder.mkdir(parents=True)
        os.utime(folder, times=(0, folder.stat().st_mtime - age * DAY))
    compiler._forget_old_versions(tmp_path / "current")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "no_version", "recent"]


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINICNN_CACHE_DIR", str(tmp_path / "file"))
    assert compiler.cache_folder() == compiler._temporary_folder()


@pytest.mark.parametrize(
    "code, message",
    [
        ("y[0] = INFINITY;", "'INFINITY' was not declared"),
        ("uint32_t a = 1; y[0] = a;", "uint32_t_is_unknown_to_NVRTC"),
        ("k<<<1, 1>>>(y);", "kernels are launched from Python"),
        ("__shared__ float a[4] = {}; y[0] = a[0];", "does not understand"),
    ],
)
def test_what_nvrtc_would_not_compile(code, message):
    kernel = simulator.RawKernel(f'extern "C" __global__ void k(float* y) {{ {code} }}', "k")
    with pytest.raises(simulator.CompileError, match=message):
        kernel.compile()


def test_a_host_header_is_not_found():
    with pytest.raises(simulator.CompileError, match="cmath: No such file"):
        simulator.RawKernel('#include <cmath>\nextern "C" __global__ void k(float* y) {}', "k").compile()


RUN = """
import numpy as np
from minicnn import simulator
y = np.zeros(32, np.int32)
for build in ("fast", "check"):
    with simulator.using(build):
        simulator.RawKernel('extern "C" __global__ void k(int* y) { y[threadIdx.x] += 1; }', "k")((1,), (32,), (y,))
assert (y == 2).all()
"""


@pytest.mark.slow
def test_many_processes_compile_at_once(tmp_path):
    environment = {**os.environ, "MINICNN_CACHE_DIR": str(tmp_path)}
    several = [subprocess.Popen([sys.executable, "-c", RUN], env=environment, stderr=subprocess.PIPE) for _ in range(4)]
    for process in several:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    left = [path.name for path in tmp_path.rglob("*") if path.name.startswith("tmp")]
    assert left == []
