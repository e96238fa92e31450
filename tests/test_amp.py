"""Mixed precision: who computes in which precision, and the scaling of float16's gradients."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, amp, autocast, nn, ops
from minicnn import device as devices
from minicnn.errors import ArgumentError
from minicnn.optim import SGD

generator = np.random.default_rng(0)


def leaf(*shape, dtype=np.float32):
    return Tensor(generator.standard_normal(shape).astype(dtype), requires_grad=True)


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda x: ops.conv2d(x, leaf(3, 2, 3, 3)), "float16"),
        (lambda x: ops.matmul(x, x), "float16"),
        (lambda x: ops.matmul(x, x).relu(), "float16"),
        (lambda x: ops.matmul(x, x).softmax(axis=1), "float32"),
        (lambda x: ops.matmul(x, x).sum(), "float32"),
        (lambda x: ops.matmul(x, x) + x, "float32"),
        (lambda x: ops.matmul(x.to("float64"), x.to("float64")), "float64"),
    ],
    ids=["convolution", "product", "what follows a product", "softmax", "sum", "mixed", "float64"],
)
def test_each_op_computes_in_what_the_tables_say(call, dtype):
    x = leaf(2, 2, 4, 4)
    with autocast("float16"):
        y = call(x)
    assert y.dtype == dtype
    y.backward(np.ones(y.shape))
    assert x.grad.dtype == np.float32, "the gradient of a parameter is float32"
    assert call(x).dtype in ("float32", "float64"), "outside of the block nothing is cast"


def test_16_bits_differ_from_32_by_rounding_only():
    """And do differ: else nothing was cast."""
    x, w = leaf(4, 3, 8, 8), leaf(5, 3, 3, 3)
    wide = ops.conv2d(x, w)
    with autocast("float16"):
        low = ops.conv2d(x, w)
    difference = np.abs(low.numpy().astype(np.float64) - wide.numpy()).max() / np.abs(wide.numpy()).max()
    assert 1e-6 < difference < 2e-3


def test_backward_inside_of_the_block_is_the_same():
    x, w = leaf(2, 3), leaf(4, 3)
    gradients = []
    for inside in (False, True):
        x.grad = w.grad = None
        with autocast("float16"):
            loss = ops.linear(x, w).softmax(axis=1).sum(axis=0)[1]
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        gradients.append([x.grad.numpy().tobytes(), w.grad.numpy().tobytes()])
    assert gradients[0] == gradients[1]


def test_a_checkpoint_computes_again_in_the_same_precision():
    x, w = leaf(2, 3), leaf(4, 3)
    gradients = []
    for call in (lambda fn, x: fn(x), minicnn.checkpoint):
        x.grad = w.grad = None
        with autocast("float16"):
            y = call(lambda x: ops.linear(x, w).relu(), x)
        y.backward(np.ones(y.shape, np.float16))
        gradients.append([x.grad.numpy().tobytes(), w.grad.numpy().tobytes()])
    assert gradients[0] == gradients[1]


def test_an_exception_inside_of_a_block():
    x = leaf(2, 2)
    with autocast("float16"), autocast("float16", enabled=False):
        assert ops.matmul(x, x).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(ArgumentError, match="autocast computes in"):
        autocast(dtype)


def steps(precision, scaler, count=3, device="cpu", network=models.lenet5):
    minicnn.manual_seed(0)
    model = network().to(device)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = np.random.default_rng(1).standard_normal((4, 1, 32, 32)).astype(np.float32)
    labels = np.arange(4)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        with autocast(precision or "float16", enabled=precision is not None):
            loss = nn.CrossEntropyLoss()(model(Tensor(x, device=device)), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        losses.append(loss.item())
    return losses, [host(p) for p in model.parameters()]


def host(tensor):
    return tensor.to("cpu").numpy()


def normalised():
    """What LeNet has not: batch norm, fused with what follows, average pooling and a depthwise convolution."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("network", "dtype", "rounding"),
    [(models.lenet5, "float16", 1e-2), (normalised, "float16", 1e-2), (normalised, "bfloat16", 5e-2)],
)
def test_a_network_learns_as_in_float32(device, network, dtype, rounding):
    if dtype == "bfloat16" and devices.DEVICES[device].memory == "host":
        return  # NumPy does not convolve it
    low, parameters = steps(dtype, amp.GradScaler(2.0**12), device=device, network=network)
    wide, _ = steps(None, amp.GradScaler(1.0), device=device, network=network)
    assert all(p.dtype == np.float32 for p in parameters)
    np.testing.assert_allclose(low, wide, rtol=rounding)
    assert low != wide and low[-1] < low[0]


def test_scaling_does_not_change_a_step_in_float32():
    _, scaled = steps(None, amp.GradScaler(2.0**10))
    _, plain = steps(None, amp.GradScaler(1.0))
    for a, b in zip(scaled, plain, strict=True):
        np.testing.assert_array_equal(a, b, "a power of two rounds nothing")


def test_a_step_with_an_infinite_gradient_is_left_out_and_the_factor_halved():
    p = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    q = Tensor(np.array([3.0], np.float32), requires_grad=True)
    optimizer = SGD([{"params": [p]}, {"params": [q]}], lr=1.0)
    scaler = amp.GradScaler(8.0, growth_interval=2)
    for gradient, stepped, factor in ((np.inf, False, 4.0), (1.0, True, 4.0), (1.0, True, 8.0), (np.nan, False, 4.0)):
        before = p.numpy().copy(), q.numpy().copy()
        p.grad = Tensor(np.array([scaler.factor, gradient * scaler.factor], np.float32))
        q.grad = Tensor(np.array([2 * scaler.factor], np.float32))
        assert scaler.step(optimizer) is stepped and scaler.factor == factor
        change = [1.0, 1.0] if stepped else [0.0, 0.0]
        np.testing.assert_array_equal(before[0] - p.numpy(), change)
        np.testing.assert_array_equal(before[1] - q.numpy(), [2 * change[0]])
    assert scaler.skipped == 2
    other = amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert vars(other) == {**vars(scaler), "growth_interval": 2000}


@pytest.mark.parametrize("options", [(0.0,), (np.inf,), (1.0, 0)])
def test_a_scaler_refuses_nonsense(options):
    with pytest.raises(ArgumentError, match="GradScaler needs"):
        amp.GradScaler(*options)
