"""cpu/compile.py and machine_code.py: who waits for a compilation is told what for, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minicnn.kernels.cpu import machine_code

ROOT = Path(__file__).resolve().parents[3]


def run(folder, **environment):
    code = "import numpy as np; from minicnn.kernels.cpu import elementwise; print(elementwise.relu(np.ones(2)))"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "MINICNN_QUIET": "", **environment}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "[1. 1.]" in done.stdout
    return done.stderr


def test_compilation_is_announced_once(tmp_path):
    """The first process says what it compiles; the second finds it on disk, and is silent."""
    first = run(tmp_path)
    assert first.count("compiling kernels for this CPU") == 1 and "relu" in first and "total" in first
    assert run(tmp_path) == ""


def test_quiet(tmp_path):
    assert run(tmp_path, MINICNN_QUIET="1") == ""


@pytest.mark.parametrize(("seconds", "lines"), [((0.4, 0.4), 0), ((0.4, 0.7, 5), 1), ((2,), 1)])
def test_of_many_small_ones_who_waits_is_told_after_a_second(seconds, lines, monkeypatch, capsys):
    monkeypatch.setattr(machine_code, "_seconds", 0.0)
    monkeypatch.setattr(machine_code, "_announced", False)
    monkeypatch.delenv("MINICNN_QUIET", raising=False)
    for each in seconds:
        machine_code._count(each)
    assert capsys.readouterr().err.count("compiling kernels") == lines


def test_numba_is_not_imported_for_networks_of_drivers(tmp_path):
    """To import it takes longer than to compile what they need."""
    code = (
        "import sys, numpy as np, minicnn, models\n"
        "from minicnn.nn import CrossEntropyLoss\nfrom minicnn.optim import SGD\n"
        "for name, batch in ('lenet5', 64), ('resnet20_cifar', 8):\n"
        "    model = models.create_model(name)\n"
        "    x = minicnn.Tensor(np.ones((batch, *models.input_shape(name)), np.float32))\n"
        "    CrossEntropyLoss()(model(x), np.arange(batch) % 10).backward()\n"
        "    SGD(model.parameters(), 0.1, momentum=0.9).step()\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, check=True
    )
