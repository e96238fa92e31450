"""The commands a newcomer types, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models
from minicnn.data import MNIST, write_idx
from minicnn.formats import load_checkpoint, save_weights

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "train_lenet_mnist.py"


def run(*command, cwd=ROOT, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MINICNN_QUIET": "1", **environment}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """A folder of IDX files: MNIST's first digits."""
    folder = tmp_path_factory.mktemp("digits")
    for split, name, count in ((MNIST.train(), "train", 256), (MNIST.test(), "t10k", 128)):
        write_idx(folder / f"{name}-images-idx3-ubyte", split.images[:count])
        write_idx(folder / f"{name}-labels-idx1-ubyte", split.labels[:count].astype(np.uint8))
    return folder


def test_models_and_summary_and_devices():
    assert "61,706" in run("-m", "minicnn", "models").stdout
    assert "Conv2d 6→16, 5×5" in run("-m", "minicnn", "summary", "lenet5", "--device", "reference").stdout
    assert "training step, batch 8: about" in run("-m", "minicnn", "summary", "lenet5", "--batch", "8").stdout
    assert "reference" in run("-m", "minicnn", "devices").stdout


def test_models_within_limits():
    listed = run("-m", "minicnn", "models", "--family", "lenet", "--max-params", "61k").stdout
    assert "lenet5_1998" in listed and "61,706" not in listed
    result = run("-m", "minicnn", "models", "--min-macs", "1000G")
    assert result.returncode != 0 and "within these limits" in result.stderr


def test_classify_prints_the_likeliest_classes_with_bars(tmp_path):
    """With weights by path: those of a network as it was drawn, which are as good as any here."""
    save_weights(tmp_path / "drawn.npz", models.squeezenet1_1().state_dict())
    Image.fromarray(np.full((40, 60, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    command = ("-m", "minicnn", "classify", tmp_path / "grey.png", "--model", "squeezenet1_1")
    result = run(*command, "--weights", tmp_path / "drawn.npz")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'grey.png'}\nclass") and result.stdout.count("%") == 5
    result = run(*command)
    assert result.returncode != 0 and "no weights of squeezenet1_1 come as a package" in result.stderr


def test_the_command_uses_its_own_models_whatever_lies_in_the_current_folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('somebody else')")
    result = run("-m", "minicnn", "models", cwd=tmp_path)
    assert result.returncode == 0 and "lenet5_1998" in result.stdout
    script = Path(sys.executable).with_name("minicnn")
    if script.exists():  # installed, as in a user's environment
        result = run(script, "models", cwd=tmp_path)
        assert result.returncode == 0 and "lenet5_1998" in result.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("-m", "minicnn", "summary", "lenet7"), "did you mean lenet5"),
        (("-m", "minicnn", "models", "--device", "gpu"), 'device "gpu"'),
        (("-m", "minicnn", "classify", "nowhere.jpg"), "there is no image nowhere.jpg"),
        (("-m", "minicnn", "classify", EXAMPLE), "no image that Pillow knows"),
        ((EXAMPLE, "--device", "gpu"), 'device "gpu"'),
        ((EXAMPLE, "--data", "nowhere"), "nowhere"),
        ((EXAMPLE, "--out", "/dev/null/run"), "choose another folder"),
        ((EXAMPLE, "--epochs", "0"), "epochs"),
        ((EXAMPLE, "--batch-size", "0"), "batch_size"),
        ((EXAMPLE, "--lr", "-1"), "learning rate"),
        ((EXAMPLE, "--seed", "-1"), "seed"),
    ],
)
def test_mistakes_end_with_one_sentence(command, words, tmp_path):
    if command[0] == EXAMPLE and "--out" not in command:
        command = (*command, "--out", tmp_path)
    result = run(*command)
    assert result.returncode != 0 and words in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("model", ["lenet5", "lenet5_1998"])
def test_the_example_trains_reports_and_resumes(model, few_digits, tmp_path):
    arguments = ("--model", model, "--data", few_digits, "--out", tmp_path / "run")
    result = run(EXAMPLE, *arguments, "--epochs", 2)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("test accuracy ") and last.endswith(" %")
    assert 0 <= float(last.split()[2]) <= 100 and result.stdout.endswith(" %\n")
    assert len(list((tmp_path / "run").glob("*.png"))) == 4
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    again = run(EXAMPLE, "--resume", "--data", few_digits, "--out", tmp_path / "run")
    assert again.returncode == 0 and again.stdout.splitlines()[-1] == last
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    wrong = run(EXAMPLE, *arguments, "--resume", "--lr", 0.123)
    assert wrong.returncode != 0 and "0.123 now" in wrong.stderr


def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(few_digits, tmp_path):
    """SIGKILL: nothing in the process can clean up. What is on the disk must be enough."""
    arguments = ("--data", str(few_digits), "--epochs", "4", "--batch-size", "16")
    assert run(EXAMPLE, *arguments, "--out", tmp_path / "whole").returncode == 0
    out = tmp_path / "killed"
    code = (
        "import os, runpy, sys; from minicnn.train import Trainer; step = Trainer._step\n"
        "def killing(self, *batch):\n"
        "    step(self, *batch)\n"
        "    if self.progress.step == int(os.environ['KILL_AT']): os.kill(os.getpid(), 9)\n"
        "Trainer._step = killing; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    for kill_at in (5, 21, 40):
        result = run("-c", code, EXAMPLE, *arguments, "--out", out, "--resume", KILL_AT=str(kill_at))
        assert result.returncode == -9, result.stderr
    assert run(EXAMPLE, *arguments, "--out", out, "--resume").returncode == 0
    name = "checkpoint.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert load_checkpoint(out / name)[1]["progress"]["epoch"] == 4
