"""Every network of which another engine's results are at hand computes the same: see parity.py."""

from __future__ import annotations

import pytest

import minicnn
import models

from . import parity

QUICK = {
    "lenet5_modern",
    "lenet5_1998",
    "resnet18",
    "mobilenet_v2",
    "googlenet",
    "efficientnet_b0",
}  # some seconds each


def cases(*dtypes):
    return [
        pytest.param(case, dtype, id=f"{case}-{dtype}", marks=() if case in QUICK else pytest.mark.slow)
        for case in parity.CASES
        for dtype in dtypes
    ]


@pytest.mark.skipif(not parity.CASES, reason="the parity cases of other engines are not beside this checkout")
@pytest.mark.parametrize(("case", "dtype"), cases("float64", "float32") or [("none", "float64")])
def test_another_engine_computes_the_same(case, dtype):
    if parity.network_of(case) not in models.list_models():
        pytest.skip(f"there is no {parity.network_of(case)}")
    with minicnn.use("cpu"):
        report = parity.judge(case, dtype)
    assert report.ok, [row for row in report.rows if not row[3]]
    assert len(report.rows) >= 8
