"""cpu/blocked_lrn.py against the readable book in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import microkernels, passes, threads
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain

#             shape, before, after
CASES = {
    "one block": ((2, 16, 3, 5), 2, 2),
    "part of a block": ((2, 5, 3, 2), 1, 2),
    "a channel in the last block": ((1, 17, 4, 3), 2, 2),
    "three blocks": ((3, 40, 2, 3), 2, 1),
    "up to a whole block away": ((1, 53, 2, 2), 16, 16),
    "one side": ((1, 33, 3, 3), 0, 5),
    "no neighbours": ((1, 20, 2, 2), 0, 0),
    "further": ((1, 60, 2, 2), 20, 3),
    "no images": ((0, 20, 2, 2), 2, 2),
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
BETA = pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6])
CONSTANTS = 0.7, 1.5  # alpha, k: so that every term matters
ERROR = 5e-7


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def shares(request, monkeypatch):
    monkeypatch.setattr(threads, "_threads", request.param)
    monkeypatch.setattr(passes, "SMALL", 0)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def form(case, beta, constants=CONSTANTS):
    _, before, after = case
    alpha, k = constants
    return before, after, alpha, beta, k


def check(result, expected, rtol=ERROR, atol=0.0):
    """Numbers of either layout, NaN where NaN is expected; in blocks, zeros past the last channel."""
    assert result.shape == expected.shape and result.dtype == np.float32
    np.testing.assert_allclose(plain(result), expected, rtol=rtol, atol=atol)
    if type(result) is Blocked:
        channels = np.arange(result.blocks().shape[1] * 16).reshape(-1, 16)
        assert (result.blocks().transpose(1, 4, 0, 2, 3)[channels >= expected.shape[1]] == 0).all()


@BETA
@EACH
def test_forward(case, beta):
    x = numbers(case[0])
    y = cpu.local_response_norm(blocked(x), *form(case, beta))
    check(y, reference.local_response_norm(x.astype(np.float64), *form(case, beta)))
    assert (type(y) is Blocked) == (beta != 0.6 and max(case[1:]) <= 16)


@BETA
@EACH
def test_backward(case, beta):
    x, gy = numbers(case[0]), numbers(case[0], 1)
    expected = reference.local_response_norm_gradient(gy.astype(np.float64), x.astype(np.float64), *form(case, beta))
    for arrays in ((blocked(gy), blocked(x)), (gy, blocked(x)), (blocked(gy), x)):
        check(cpu.local_response_norm_gradient(*arrays, *form(case, beta)), expected, atol=3 * ERROR)


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0])
def test_sizes_of_every_magnitude(beta):
    """s from 2⁻¹²⁰ to 2¹²⁰, across the ends of what is worked out without roots: the error grows nowhere."""
    s = np.exp2(np.linspace(-120, 120, 4 * 16 * 500)).astype(np.float32)
    x = np.sqrt(s).reshape(4, 16, 20, 25)
    y = cpu.local_response_norm(blocked(x), 0, 0, 1.0, beta, 0.0)
    check(y, reference.local_response_norm(x.astype(np.float64), 0, 0, 1.0, beta, 0.0))


@pytest.mark.parametrize("k", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0])
def test_what_is_no_ordinary_number(beta, k):
    """NaN, infinities, x whose squares overflow, and an s of 0 or below: what NumPy makes of them."""
    x = numbers((2, 21, 4, 4))
    x[0, 3, 0, 0], x[0, 20, 1, 1], x[1, 15, 2, 2], x[1, 9, 3, 3] = np.nan, np.inf, -np.inf, 2e19
    x[0, :, 3, 0] = 0
    x[1, 16:, 0, 0] = 1e-30
    gy = numbers(x.shape, 1)
    arguments = 2, 2, 0.5, beta, k
    with np.errstate(all="ignore"):
        y = reference.local_response_norm(x, *arguments)
        gx = reference.local_response_norm_gradient(gy, x, *arguments)
    check(cpu.local_response_norm(blocked(x), *arguments), y, rtol=2e-5)
    check(cpu.local_response_norm_gradient(blocked(gy), blocked(x), *arguments), gx, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["haswell", "nehalem"])
def test_each_kind_of_cpu(name, monkeypatch):
    if "x86_64" not in microkernels.llvm.get_process_triple():
        pytest.skip("names of x86 CPUs")
    monkeypatch.setenv("NUMBA_CPU_NAME", name)
    microkernels.address.cache_clear()
    try:
        test_forward(CASES["three blocks"], 0.75)
        test_backward(CASES["three blocks"], 0.75)
        test_what_is_no_ordinary_number(0.75, 0.0)
    finally:
        microkernels.address.cache_clear()
