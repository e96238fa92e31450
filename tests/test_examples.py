"""The examples run on small inputs, and say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minicnn
import models
from minicnn.formats import save_weights

ROOT = Path(__file__).resolve().parents[1]


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MINICNN_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """A folder with a photograph, twice sixteen others by class (dark and bright ones), and weights."""
    folder = tmp_path_factory.mktemp("examples")
    generator = np.random.default_rng(0)
    for label, low in (("dark", 0), ("bright", 150)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(16):
            pixels = generator.integers(low, low + 100, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
    minicnn.manual_seed(0)
    save_weights(folder / "resnet20.safetensors", models.create_model("resnet20_cifar").state_dict())
    return folder


def options(at_hand):
    return "--model", "resnet20_cifar", "--weights", at_hand / "resnet20.safetensors"


def test_feature_maps_become_a_picture(at_hand):
    photo, out = at_hand / "photos" / "dark" / "3.png", at_hand / "new" / "maps.png"
    result = run("feature_maps.py", photo, *options(at_hand), "--channels", 3, "--out", out)
    assert result.returncode == 0 and "3 stages of resnet20_cifar" in result.stdout, result.stderr
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 300 and (pixels == 255).mean() < 0.8, "the picture is mostly empty"


def test_fine_tuning_prints_the_margin_with_its_spread(at_hand):
    small = ("--size", 32, "--freeze", "layer1", "--steps", 1, "--seeds", 2)
    result = run("finetune.py", "--folder", at_hand / "photos", *options(at_hand), *small)
    assert result.returncode == 0, result.stderr
    pretrained, scratch, margin = result.stdout.splitlines()
    assert pretrained.startswith("pretrained") and scratch.startswith("from scratch")
    shares = [float(line.split("%")[0].split()[-1]) for line in (pretrained, scratch, margin)]
    assert shares[2] == pytest.approx(shares[0] - shares[1], abs=0.11)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("classify.py", "nowhere.jpg", "--model", "vgg16"), "no weights of vgg16 come as a package"),
        (("classify.py", "nowhere.jpg", "--weights", "nowhere.pth"), "there is no weight file nowhere.pth"),
        (("feature_maps.py", ROOT / "README.md", "--model", "lenet5", "--weights", "nowhere.pth"), "no weight file"),
        (("finetune.py", "--folder", ROOT / "examples"), "needs two folders or more"),
    ],
    ids=str,
)
def test_mistakes_end_with_one_sentence(command, words):
    result = run(*command)
    assert result.returncode != 0 and words in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()) == 1
