"""Tensors, modules, optimizers and training where arrays live elsewhere: `--device cuda-sim` or `--device cuda`."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
import models
from minicnn import Tensor, nn
from minicnn import device as devices
from minicnn.errors import DeviceError, OutOfMemoryError
from minicnn.optim import SGD, Adam

generator = np.random.default_rng(0)


def elsewhere(device):
    return devices.DEVICES[device].memory != "host"


def numbers(*shape):
    return generator.standard_normal(shape).astype(np.float32)


def host(tensor):
    return tensor.to("cpu").numpy()


def test_a_tensor_goes_there_and_back_and_so_does_its_gradient(device):
    x = Tensor(numbers(3, 4), requires_grad=True, device="cpu")
    y = x.to(device)
    assert y.device == device and isinstance(y.data, devices.array_library(device).ndarray)
    z = (y * y).to("cpu")
    np.testing.assert_allclose(z.numpy(), x.numpy() ** 2, rtol=1e-6)
    z.backward(np.ones((3, 4)))
    assert x.grad.device == "cpu"
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy(), rtol=1e-6)


def test_tensors_are_made_where_use_says(device):
    with minicnn.use(device):
        x = Tensor([[1.0, 2.0], [3.0, 4.0]])
        assert x.device == device and (x + 1).device == device
        assert x.sum().item() == 10.0 and float(x[1, 0]) == 3.0 and bool((x > 0)[0, 0])
        assert Tensor(x).device == device
        assert repr(x).startswith("Tensor([[1., 2.],")
        x[0] = [5.0, 6.0]
        x.copy_(x + 1)
        np.testing.assert_array_equal(host(x), [[6, 7], [4, 5]])


@pytest.mark.as_users_have_it
def test_what_is_not_in_host_memory_is_no_numpy_array(device):
    x = Tensor(numbers(2, 3), device=device)
    if not elsewhere(device):
        assert x.numpy() is x.data
        return
    for call in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(DeviceError, match=r"\(2, 3\) on .* copy it with \.to\('cpu'\)"):
            call()


def test_tensors_of_different_memories_do_not_meet(device):
    x, y = Tensor(numbers(2), device=device), Tensor(numbers(2), device="cpu")
    if not elsewhere(device):
        assert (x + y).device in ("cpu", "reference")
        return
    with pytest.raises(DeviceError, match=f"tensors of cpu and {device} meet in one op"):
        x + y


def test_a_module_moves_with_all_it_owns(device):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    model.to(device)
    assert {tensor.device for tensor in (*model.parameters(), *model.buffers())} == {device}
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(host(value), before[name])
    other = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    other.load_state_dict(model.state_dict())
    model.load_state_dict(before)
    x = numbers(2, 2, 5, 5)
    y = model(Tensor(x, device=device))
    np.testing.assert_allclose(host(y), other(Tensor(x, device="cpu")).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(host(model[1].running_var), other[1].running_var.numpy(), rtol=1e-5)


def lenet_losses(device, steps, make_optimizer):
    minicnn.manual_seed(3)
    with minicnn.use("cpu"):
        model = models.lenet5()
    model.to(device)
    optimizer = make_optimizer(model.parameters())
    random = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        x, labels = random.standard_normal((4, 1, 32, 32)).astype(np.float32), random.integers(0, 10, 4)
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(Tensor(x, device=device)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model, optimizer


@pytest.mark.parametrize(
    "make_optimizer",
    [lambda p: SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3), lambda p: Adam(p, lr=1e-3)],
    ids=["SGD", "Adam"],
)
def test_lenet_learns_the_same_in_twenty_steps(device, make_optimizer):
    losses, _, _ = lenet_losses(device, 20, make_optimizer)
    expected, _, _ = lenet_losses("cpu", 20, make_optimizer)
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    assert len(set(losses)) == 20


def test_an_optimizer_goes_on_with_its_state(device):
    """Saved as NumPy's arrays, loaded into another optimizer, which takes the same next step."""
    _, model, optimizer = lenet_losses(device, 2, lambda p: SGD(p, lr=0.02, momentum=0.9))
    state = optimizer.state_dict()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    again = SGD(model.parameters(), lr=0.5, momentum=0.9)
    again.load_state_dict(state)
    before = [host(p).copy() for p in model.parameters()]
    results = []
    for one in (optimizer, again):
        for p, array in zip(model.parameters(), before, strict=True):
            p.copy_(array)
        one.step()
        results.append([host(p).tobytes() for p in model.parameters()])
    assert results[0] == results[1]


def test_no_memory_names_the_op(device, monkeypatch):
    """Whatever NumPy or CuPy says of the bytes stands in the sentence."""

    def full(a, b):
        raise MemoryError("Unable to allocate 7.28 TiB.")

    x = Tensor(numbers(3, 2), device=device)
    monkeypatch.setattr(importlib.import_module(devices.DEVICES[device].book), "add", full)
    with pytest.raises(
        OutOfMemoryError, match=rf"^add of \(3, 2\), \(3, 2\) .* on {device}: .* 7\.28 TiB; use a smaller"
    ):
        x + x


def test_no_memory_changes_nothing(device):
    if not elsewhere(device):
        return
    pool = devices.array_library(device).get_default_memory_pool()
    pool.free_all_blocks()
    x = Tensor(numbers(64, 1024), device=device)
    pool.set_limit(pool.total_bytes() + 1000)
    try:
        with pytest.raises(OutOfMemoryError, match=rf"add of \(64, 1024\), .* found no memory on {device}: .*smaller"):
            x + x
    finally:
        pool.set_limit(0)
    np.testing.assert_array_equal(host(x + x), 2 * host(x))
