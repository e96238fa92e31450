"""Tests of the CUDA kernels: collected only where they can run, with --device cuda or cuda-sim."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicnn.device import DEVICES


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    name = config.getoption("--device")
    return None if name in DEVICES and DEVICES[name].book == "minicnn.kernels.cuda" else True
