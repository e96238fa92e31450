"""Ops under autocast that take tensors of two precisions: images in 16 bits beside weights in 32."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor, autocast, grad, nn, ops
from minicnn import device as devices
from minicnn.errors import DTypeError

HALF = np.float16


def numbers(*shape, seed=0, dtype=np.float32, device=None):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return Tensor(x, device=device, requires_grad=True)


def host(tensor):
    return devices.to_host(tensor.data).astype(np.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_residual", [True, False])
def test_batch_norm_keeps_images_low_and_weights_wide(device, training, with_residual):
    """As in float32, but for the rounding of x, y and gx; the gradients of the weights are float32, and not rounded."""
    found = []
    for low in (True, False):
        x = numbers(4, 3, 5, 6, device=device, dtype=HALF).to("float32").detach().requires_grad_()
        w, b = numbers(3, seed=1, device=device), numbers(3, seed=2, device=device)
        r = numbers(4, 3, 5, 6, seed=3, device=device) if with_residual else None
        mean, var = (Tensor(np.array(s, np.float32), device=device) for s in ([0.1, 0.2, 0.3], [1, 2, 3]))
        with autocast("float16", enabled=low):
            y = ops.batch_norm_act(x.to(HALF) if low else x, mean, var, w, b, r, "relu", training)
        assert y.dtype == (HALF if low else np.float32)
        gradients = grad(y, [t for t in (x, w, b, r) if t is not None], numbers(4, 3, 5, 6, seed=4, dtype=y.dtype,
                                                                               device=device))  # fmt: skip
        assert all(g.dtype == np.float32 for g in gradients)
        found.append([host(t) for t in (y, *gradients, mean, var)])
    for i, (a, b) in enumerate(zip(*found, strict=True)):
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=5e-3 * np.abs(b).max(), err_msg=str(i))


def test_second_derivatives_of_a_batch_norm_in_two_precisions(device):
    x, w, b = numbers(4, 2, 3, 3, device=device), numbers(2, seed=1, device=device), numbers(2, seed=2, device=device)
    with autocast("float16"):
        y = ops.batch_norm(x.to(HALF), None, None, w, b, training=True)
    (gw,) = grad((y * y).sum(), w, create_graph=True)
    (ggw,) = grad(gw.sum(), w)
    assert gw.dtype == ggw.dtype == np.float32
    np.testing.assert_allclose(host(ggw), 2 * 4 * 9, rtol=1e-2)  # Σ y² = Σ (w·x̂ + b)², and Σ x̂² is the count


def test_a_bias_without_a_weight(device):
    x, b = numbers(4, 2, 3, 3, device=device), numbers(2, device=device)
    with autocast("float16"):
        y = ops.batch_norm(x.to(HALF), None, None, None, b, training=True)
    (gb,) = grad(y.sum(), b)
    assert (y.dtype, gb.dtype) == (HALF, np.float32)
    np.testing.assert_array_equal(host(gb), [36, 36])


def test_what_meets_under_autocast_takes_the_widest(device):
    low, wide = numbers(2, 3, 4, 4, device=device, dtype=HALF), numbers(2, 3, 4, 4, seed=1, device=device)
    weights = numbers(3, seed=2, device=device)
    calls = {
        "concat": lambda: ops.concat([low, wide], axis=1),
        "prelu": lambda: ops.prelu(low, weights),
        "layer_norm": lambda: ops.layer_norm(low, (4,), numbers(4, device=device)),
        "group_norm": lambda: ops.group_norm(low, 3, weights, weights),
    }
    for call in calls.values():
        with pytest.raises(DTypeError, match="different precision"):
            call()
        with autocast("float16"):
            assert call().dtype == np.float32
    with pytest.raises(DTypeError, match="different precision"):
        ops.batch_norm(low, None, None, weights, weights, training=True)


def test_a_network_with_batch_norm(device):
    """Between a convolution and its batch norm nothing is cast."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))
    network.to(device)
    with autocast("float16"):
        y = network(numbers(4, 3, 7, 7, device=device))
    assert y.dtype == HALF
    (y * y).sum().backward()
    assert all(p.grad.dtype == np.float32 for p in network.parameters())


ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
PRODUCTS = {
    "conv2d": lambda x, w: ops.conv2d(x, w, w[:, 0, 0, 0], padding=1),
    "conv2d in groups": lambda x, w: ops.conv2d(x, w[:, :2], groups=2, stride=2),
    "conv2d_act": ops.conv2d_act,
    "conv_transpose2d": lambda x, w: ops.conv_transpose2d(x, w[:, :, :, :2], stride=2),
    "matmul": lambda x, w: ops.matmul(x, x.transpose(0, 1, 3, 2)),
    "einsum": lambda x, w: ops.einsum("ncij,kcrs->nkirs", x, w),
    "linear": lambda x, w: ops.linear(x.reshape(2, 100), w.reshape(4, 36)[:, :20].reshape(8, 10)[:, :10].tile((1, 10))),
    "elu": lambda x, w: ops.elu(x, 1.3),
}


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("call", PRODUCTS.values(), ids=PRODUCTS)
def test_products_of_16_bits_are_rounded_once(device, call, half):
    """Both ways: as close to float32 as one rounding is, which sums in 16 bits are not."""
    eps, found = float(ml_dtypes.finfo(half).eps), []
    for dtype in (half, np.float32):
        x, w = (numbers(*shape, seed=seed, dtype=half, device=device).to(np.dtype(dtype).name).detach()
                .requires_grad_() for seed, shape in enumerate([(2, 4, 5, 5), (4, 4, 3, 3)]))  # fmt: skip
        y = call(x, w)
        assert y.dtype == dtype
        v = numbers(*y.shape, seed=3, dtype=half, device=device).to(np.dtype(dtype).name)
        gradients = [g for g in grad(y, [x, w], v, allow_unused=True) if g is not None]
        assert all(g.dtype == dtype for g in gradients)
        found.append([host(t) for t in (y, *gradients)])
    for low, wide in zip(*found, strict=True):
        np.testing.assert_allclose(low, wide, rtol=eps, atol=2 * eps * np.abs(wide).max())
