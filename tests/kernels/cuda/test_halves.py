"""Kernels on arrays of 16 bits: numbers are read, computed with in 32 bits, and rounded once when they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import device as devices
from minicnn.kernels import reference
from minicnn.kernels.cuda import steps

from .on_device import Kernels, mapped

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
HALVES = pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])

rng = np.random.default_rng(0)
X, Y, G = (rng.standard_normal((3, 17, 5, 8)) for _ in range(3))  # packs of 8, and tails below
ROWS, ODD = rng.standard_normal((7, 40)), rng.standard_normal((3, 5, 7))
LABELS, INDEX = rng.integers(-1, 40, 7), rng.integers(0, 40, (7, 3))
C = rng.uniform(0.5, 2, 17)

# module, kernel, its arguments: arrays of floats are taken in 16 bits
CASES = [
    *(("activation", name, X) for name in (
        "relu", "tanh", "sigmoid", "relu6", "hard_sigmoid", "sign", "silu", "gelu", "gelu_tanh", "hard_swish", "mish")),
    *(("activation", name, G, X) for name in (
        "relu_mask", "silu_slope", "gelu_slope", "gelu_tanh_slope", "hard_swish_slope", "mish_slope")),
    ("activation", "elu", ODD, 1.3, 1.1), ("activation", "softplus", ODD, 1.0, 20.0),
    ("activation", "clip_mask", G, X, 0.0, 1.0), ("activation", "leak", G, X, C),
    ("classes", "softmax", ROWS, 1), ("classes", "log_softmax", X, 1),
    ("classes", "softmax_cross_entropy", ROWS, LABELS, None, 0.1, 7.0),
    ("classes", "softmax_cross_entropy_gradient", ROWS[:, 0], ROWS, LABELS, None, 0.0, None),
    ("losses", "binary_cross_entropy", ROWS, abs(np.tanh(ROWS)), None), ("losses", "smooth_l1", ROWS, 0.7),
    ("reduce", "sum", X, (0, 2, 3), False), ("reduce", "sum", ODD, (1,), True), ("reduce", "amax", X, (1,), False),
    ("reduce", "logsumexp", ROWS, (1,), False), ("reduce", "argmax", X, 1), ("reduce", "argmin", ROWS, 1),
    ("norm", "standardize", ROWS, 1e-3), ("lrn", "channel_sum", X, 2, 2),
    ("lrn", "local_response_norm", X, 2, 2, 1e-1, 0.75, 1.0),
    ("lrn", "local_response_norm_gradient", G, X, 2, 2, 1e-1, 0.75, 1.0),
    ("index", "getitem", ODD, [0, 2, 2]), ("index", "add_at", ODD, np.array([1, 1, 0]), (2, 5, 7)),
    ("index", "gather", ROWS, INDEX, 1), ("index", "scatter_add", ROWS[:, :3], INDEX, 1, 40),
    ("index", "concat", [X, Y], 1), ("index", "concat", [ODD, ODD[:, :2]], 1),
    ("index", "pad_with_copies", ODD, ((0, 0), (1, 2), (3, 3)), "reflect"),
    ("index", "fold_copies", ODD, ((0, 0), (1, 1), (2, 0)), "edge"),
]  # fmt: skip
ADDING = {
    "sum",
    "add_at",
    "scatter_add",
    "fold_copies",
    "channel_sum",
}  # results that may be small beside what is added


@HALVES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_as_float32_rounded(device, case, half):
    module, name, *args = case
    floats = [a for a in args if not isinstance(a, np.ndarray) or a.dtype.kind == "f"]
    assert floats
    args = tuple(mapped(args, np.ndarray, lambda a: a.astype(half) if a.dtype.kind == "f" else a))
    wide = tuple(mapped(list(args), np.ndarray, lambda a: a.astype(np.float32) if a.dtype == half else a))
    found, wanted = getattr(Kernels(device, module), name)(*args), getattr(reference, name)(*wide)
    eps = float(ml_dtypes.finfo(half).eps)
    for y, right in zip(*((a if isinstance(a, tuple) else (a,)) for a in (found, wanted)), strict=True):
        right = np.asarray(right)
        assert (y.shape, y.dtype) == (right.shape, half if right.dtype.kind == "f" else right.dtype)
        close = eps * (np.abs(right).max() if name in ADDING else 1e-3)
        np.testing.assert_allclose(y.astype(np.float64), right.astype(np.float64), rtol=eps, atol=close)


@HALVES
@pytest.mark.parametrize("weights_are_wide", [False, True])
def test_batch_norm(device, half, weights_are_wide):
    """Statistics come from the rounded x and are not rounded; the gradients of weights look like the weights."""
    gpu, of_w = Kernels(device, "norm"), np.float32 if weights_are_wide else half
    x, gy, r, w = (5 + X).astype(half), G.astype(half), Y.astype(half), C.astype(of_w)
    wide = [a.astype(np.float64) for a in (x, gy, r, w)]
    y, mean, var = gpu.batch_norm(x, None, None, w, w, r, 1e-3, 6.0)
    right = reference.batch_norm(wide[0], None, None, wide[3], wide[3], wide[2], 1e-3, 6.0)
    eps = float(ml_dtypes.finfo(half).eps)
    assert y.dtype == half and mean.dtype == var.dtype == np.float64
    np.testing.assert_allclose(mean, right[1], rtol=1e-6)
    np.testing.assert_allclose(var, right[2], rtol=1e-5)
    np.testing.assert_allclose(y.astype(np.float64), right[0], rtol=eps, atol=eps)
    found = gpu.batch_norm_gradient(gy, x, None, w, mean, var, 1e-3, None)
    wanted = reference.batch_norm_gradient(wide[1], wide[0], None, wide[3], *right[1:], 1e-3, None)
    for a, b, dtype in zip(found, wanted, (half, of_w, of_w), strict=True):
        close = 1e-5 if dtype == np.float32 else eps
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype(np.float64), b, rtol=close, atol=close * np.abs(b).max())


@HALVES
@pytest.mark.parametrize("n", [0, 1, 7, 8, 4099])
def test_cast(device, half, n):
    """Rounded as NumPy does: to nearest, ties to even; NaN, ±∞, what overflows, and the smallest numbers."""
    gpu = Kernels(device, "arrays")
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32)
    special = [np.nan, np.inf, -np.inf, 1 + 2**-9, 1 + 3 * 2**-11, 65520.0, 3.4e38, 6e-8, -1e-7, -0.0]
    x[: len(special)] = np.array(special, np.float32)[:n]
    with np.errstate(all="ignore"):
        low = x.astype(half)
    wide = low.astype(np.float32)
    for start in (0, 1):  # with 1 nothing begins at a multiple of 16 bytes
        on_device = gpu.library.asarray(x)[start:], gpu.library.asarray(low)[start:]
        found = gpu.cast(on_device[0], np.dtype(half)), gpu.cast(on_device[1], np.dtype(np.float32))
        assert (found[0].dtype, found[1].dtype) == (half, np.float32)
        np.testing.assert_array_equal(found[0].astype(np.float32), wide[start:])
        np.testing.assert_array_equal(found[1], wide[start:])
    strided = gpu.library.asarray(np.stack([x, x], axis=-1))[:, 0]
    np.testing.assert_array_equal(gpu.cast(strided, np.dtype(half)).astype(np.float32), wide)


@HALVES
def test_steps_and_masks(device, half):
    p, g = (rng.standard_normal(1003).astype(half) for _ in range(2))
    xp = devices.array_library(device)
    with devices.computing(device):
        params, grads = [xp.asarray(p)], [xp.asarray(g)]
        means, squares = ([xp.zeros(1003, half)] for _ in range(2))
        steps.adam_step(params, grads, means, squares, 0.05, 0.9, 0.99, 1e-3, 0.0, False, [1])
        lists = [[a.astype(np.float32)] for a in (p, g, np.zeros(1003), np.zeros(1003))]
        reference.adam_step(*lists, 0.05, 0.9, 0.99, 1e-3, 0.0, False, [1])
        for found, wanted in zip((params, means, squares), (lists[0], *lists[2:]), strict=True):
            tolerance = float(ml_dtypes.finfo(half).eps)
            np.testing.assert_allclose(xp.asnumpy(found[0]).astype(np.float64), wanted[0], rtol=tolerance, atol=1e-7)
        assert bool(xp.asnumpy(steps.unscale(grads, 0.5)))
        np.testing.assert_array_equal(xp.asnumpy(grads[0]), g * half(0.5))
        assert bool(xp.asnumpy(steps.unscale(grads, 1e5))) == (half is not np.float16)
    mask = Kernels(device, "random").dropout_mask(1, 2, 0.25, (5, 7), np.dtype(half))
    np.testing.assert_array_equal(mask, reference.dropout_mask(1, 2, 0.25, (5, 7), np.dtype(half)))
