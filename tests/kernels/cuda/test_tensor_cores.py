"""cuda/tensor_cores.py against the readable book in double precision, within the bounds of what it rounds.

An operand x becomes x·(1 + e), |e| ≤ u: u = 2⁻¹¹ for float32 as TF32, 0 for 16-bit arrays. A sum of n terms in float32
adds at most n·2⁻²² (tensor cores may cut off instead of rounding), and the result is rounded to its dtype.
"""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import precision, reference
from minicnn.kernels.cuda import parts, tensor_cores

from .on_device import Kernels, mapped, watched
from .test_conv import CASES, POOLS, data, window

OPERAND = {"float32": 2.0**-11, "float16": 0.0, "bfloat16": 0.0}
RESULT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
EACH_DTYPE = pytest.mark.parametrize("dtype", OPERAND)

SHAPES = {
    **{
        name: CASES[name]
        for name in (
            "plain",
            "one pixel",
            "even kernel",
            "stride 2",
            "stride above kernel",
            "dilation and stride share a factor",
            "dilation and stride do not",
            "rows of nothing but padding",
            "groups",
            "no images",
            "no channels",
            "no filters",
        )
    },
    "more filters than a tile": (1, 9, 130, (5, 4), window((2, 2), (2, 1), ((1, 0), (1, 1))), 1),
    "tiles of 128 both ways": (1, 70, 66, (4, 3), window((2, 2), (2, 1), ((1, 0), (1, 1))), 1),
    "more pixels than a tile": (2, 5, 9, (13, 11), window((3, 3), (2, 2), ((1, 1), (1, 1))), 1),
    "many slices": (1, 70, 8, (4, 5), window((3, 3), pad=((1, 1), (1, 1))), 1),
    "groups of whole chunks": (2, 32, 16, (4, 5), window((3, 2), dilation=(1, 2)), 2),
    "groups with tails": (2, 26, 30, (4, 5), window((2, 3), (1, 2)), 2),
}
EACH = pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)


@pytest.fixture
def gpu(device):
    precision.use_tf32(True, products=True)
    yield Kernels(device, "conv")
    precision.use_tf32(False)


def as_dtype(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def within_bounds(found, dtype, terms, compute, *operands):
    """`found` is compute(*operands) but for what the docstring above allows; compute is linear in both operands."""
    wide = [a.astype(np.float64) for a in operands]
    expected, sizes = compute(*wide), compute(*(abs(a) for a in wide))
    relative = 2 * OPERAND[dtype] + OPERAND[dtype] ** 2 + terms * 2.0**-22
    bound = sizes * relative * (1 + 2 * RESULT[dtype]) + abs(expected) * RESULT[dtype] + 2.0**-24
    assert found.dtype == operands[0].dtype and found.shape == expected.shape
    error = abs(found.astype(np.float64) - expected)
    assert (error <= bound).all(), f"{(error / bound).max():.2f} of the bound"


def twice(gpu, name, *args):
    found, again = getattr(gpu, name)(*args), getattr(gpu, name)(*args)
    assert mapped(found, np.ndarray, np.ndarray.tobytes) == mapped(again, np.ndarray, np.ndarray.tobytes)
    return found


def check_all(gpu, case, dtype):
    x, w, b, gy, bc = (a.astype(as_dtype(dtype)) for a in data(case, np.float32))
    size, win, groups = case[3:]
    outputs, taps = gy.size // max(1, case[2]), w[:1].size
    y = twice(gpu, "conv2d", x, w, None, win, groups)
    within_bounds(y, dtype, taps, lambda x, w: reference.conv2d(x, w, None, win, groups), x, w)
    gx = twice(gpu, "conv_transpose2d", gy, w, None, win, groups, size)
    terms = w[:, :1].size
    within_bounds(gx, dtype, terms, lambda g, w: reference.conv_transpose2d(g, w, None, win, groups, size), gy, w)
    gw, gb = twice(gpu, "conv2d_weight", x, gy, win, groups, True)
    within_bounds(gw, dtype, outputs, lambda x, g: reference.conv2d_weight(x, g, win, groups, False)[0], x, gy)
    within_bounds(gb, dtype, outputs, lambda g: g.sum(axis=(0, 2, 3)), gy)
    # With a bias, and clipped: nothing new is summed, so float32 gives these to the last bits; 16 bits round once.
    close = {"rtol": 2 * RESULT[dtype], "atol": 2 * RESULT[dtype] * (1 + abs(y.astype("f4")).max(initial=0))}
    wide = y.astype("f4") + b.astype("f4")[:, None, None]
    np.testing.assert_allclose(gpu.conv2d(x, w, b, win, groups).astype("f4"), wide, **close)
    for cap in (np.inf, 0.75):
        np.testing.assert_allclose(gpu.conv2d_act(x, w, b, win, groups, cap).astype("f4"), wide.clip(0, cap), **close)
    wide = gx.astype("f4") + bc.astype("f4")[:, None, None]
    close["atol"] = 2 * RESULT[dtype] * (1 + abs(gx.astype("f4")).max(initial=0))
    np.testing.assert_allclose(gpu.conv_transpose2d(gy, w, bc, win, groups, size).astype("f4"), wide, **close)


@EACH_DTYPE
@EACH
def test_within_bounds(gpu, case, dtype):
    check_all(gpu, case, dtype)


@EACH_DTYPE
@pytest.mark.parametrize("name", ["stride 2", "dilation and stride do not", "many slices", "groups with tails"])
def test_sums_in_pieces(gpu, name, dtype, monkeypatch):
    monkeypatch.setattr(tensor_cores, "rows_for", lambda lines: 128 if dtype == "float16" else 64)
    monkeypatch.setattr(parts, "LEAST", 8)
    monkeypatch.setattr(parts, "ENOUGH", 10_000)
    check_all(gpu, SHAPES[name], dtype)


@EACH_DTYPE
@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 9, 10), (33, 40, 136), (0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_products(gpu, device, sizes, dtype):
    n, i, o = sizes
    rng = np.random.default_rng(n)
    x, w, b, gy = (rng.standard_normal(s).astype(as_dtype(dtype)) for s in ((n, i), (o, i), (o,), (n, o)))
    products = Kernels(device, "gemm")
    within_bounds(twice(products, "matmul", x, w.T.copy()), dtype, i, lambda x, w: x @ w.T, x, w)
    y = twice(products, "linear", x, w, None, False)
    within_bounds(y, dtype, i, lambda x, w: x @ w.T, x, w)
    positive = products.linear(x, w, b, True)
    assert positive.dtype == x.dtype and (positive >= 0).all()
    gx, gw, gb = twice(products, "linear_gradient", gy, positive, x, w, (True, True, True))
    g = np.where(positive > 0, gy, np.zeros((), gy.dtype))
    within_bounds(gx, dtype, o, lambda g, w: g @ w, g, w)
    within_bounds(gw, dtype, n, lambda g, x: g.T @ x, g, x)
    within_bounds(gb, dtype, n, lambda g: g.sum(axis=0), g)
    assert products.linear_gradient(gy, None, None, w, (True, False, False))[1:] == (None, None)
    assert products.linear_gradient(gy, None, x, None, (False, True, False))[::2] == (None, None)


def test_tf32_is_a_choice(device):
    """Off at first, where float32 is float32; then convolutions only; then products too."""
    x, w, _, _, _ = data(CASES["plain"], np.float32)
    convolutions, products = Kernels(device, "conv"), Kernels(device, "gemm")
    args = x, w, None, CASES["plain"][4], 1
    assert precision.tf32_in_use() == {"convolutions": False, "products": False}
    exact = (
        convolutions.conv2d(*args),
        products.linear(x[0, 0], w[0, 0, :, [0, 1, 0, 1, 0, 1, 0, 1]].T[:, :8], None, False),
    )
    try:
        precision.use_tf32(True)
        assert precision.tf32_in_use() == {"convolutions": True, "products": False}
        rounded = convolutions.conv2d(*args)
        assert 1e-6 < abs(rounded - exact[0]).max() / abs(exact[0]).max() < 2e-3
        a, b = x[0, 0], x[0, 1]
        plain = products.linear(a, b, None, False)
        np.testing.assert_allclose(plain, a @ b.T, rtol=1e-5, atol=1e-6)
        precision.use_tf32(True, products=True)
        assert 1e-6 < abs(products.linear(a, b, None, False) - plain).max() < 1e-2
    finally:
        precision.use_tf32(False)
    np.testing.assert_array_equal(convolutions.conv2d(*args), exact[0])


def test_double_precision_never_rounds(gpu):
    x, w, _, _, _ = data(CASES["plain"], np.float64)
    win = CASES["plain"][4]
    np.testing.assert_allclose(
        gpu.conv2d(x, w, None, win, 1), reference.conv2d(x, w, None, win, 1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["depthwise", "depthwise, two of each"])
def test_narrow_groups_in_16_bits(gpu, name, dtype):
    """These are computed by direct.cu, which adds up in float32 as well."""
    case = CASES[name]
    x, w, _, gy, _ = (a.astype(as_dtype(dtype)) for a in data(case, np.float32))
    size, win, groups = case[3:]
    within_bounds(
        gpu.conv2d(x, w, None, win, groups), dtype, 9, lambda x, w: reference.conv2d(x, w, None, win, groups), x, w
    )
    within_bounds(gpu.conv_transpose2d(gy, w, None, win, groups, size), dtype, 18,
                  lambda g, w: reference.conv_transpose2d(g, w, None, win, groups, size), gy, w)  # fmt: skip
    within_bounds(gpu.conv2d_weight(x, gy, win, groups, False)[0], dtype, gy[:, 0].size,
                  lambda x, g: reference.conv2d_weight(x, g, win, groups, False)[0], x, gy)  # fmt: skip


@EACH_DTYPE
def test_with_relu_and_pool(gpu, dtype):
    x, w, b, _, _ = (a.astype(as_dtype(dtype)) for a in data(CASES["all tails"], np.float32))
    win, pool = CASES["all tails"][4], POOLS["3x3, overlapping"]
    y, indices = gpu.conv2d_relu_max_pool2d(x, w, b, win, 1, pool)
    expected = reference.relu_max_pool2d(gpu.conv2d(x, w, b, win, 1).astype("f4"), pool)
    np.testing.assert_array_equal(y.astype("f4"), expected[0])
    np.testing.assert_array_equal(indices, expected[1])


@pytest.mark.parametrize(("dtype", "order"), [("float32", "reverse"), ("float16", "random:2")])
def test_under_watch(gpu, device, dtype, order, monkeypatch):
    """In pieces, and each type with one of the two tiles."""
    monkeypatch.setattr(tensor_cores, "rows_for", lambda lines: 64 if dtype == "float16" else 128)
    monkeypatch.setattr(parts, "LEAST", 8)
    with watched(device, order):
        check_all(gpu, SHAPES["groups with tails"], dtype)
