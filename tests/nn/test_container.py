"""Sequential: what is computed in one op shows in nothing but the ops; hooks and errors see every module."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor, nn
from minicnn.errors import ShapeError
from minicnn.nn.container import FUSED


def norm(channels, scale):
    layer = nn.BatchNorm2d(channels, eps=0.1)
    layer.weight.copy_(np.full(channels, scale))  # large enough for relu6 to have something to clip
    return layer


RUNS = {
    "convolution, relu": (nn.Conv2d(2, 3, 3), nn.ReLU()),
    "convolution, relu6": (nn.Conv2d(2, 3, 3, padding=1), nn.ReLU6()),
    "batch norm, relu": (nn.Conv2d(2, 3, 3), norm(3, 1.5), nn.ReLU()),
    "batch norm, relu6": (norm(2, 9.0), nn.ReLU6(), nn.Conv2d(2, 3, 3)),
    "a block": (nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "a block, flattened": (nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
    "linear, relu": (nn.Flatten(), nn.Linear(2 * 7 * 8, 5), nn.ReLU()),
    "relu, pooling": (nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)),
    "two blocks": (nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(),
                   nn.Linear(8, 3), nn.ReLU()),
    "not all axes flattened": (nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(2)),
    "nothing to fuse": (nn.Tanh(), nn.Conv2d(2, 3, 2), nn.Tanh()),
}  # fmt: skip


class OpNames:
    """An op hook that notes which ops ran."""

    def __init__(self):
        self.seen = []

    def before(self, function, inputs):
        self.seen.append(function.name)

    def after(self, function, inputs, outputs):
        pass


def run(forward, modules):
    model = nn.Sequential(*modules)
    x = Tensor(8 * np.random.default_rng(0).standard_normal((3, 2, 7, 8)), requires_grad=True)
    model.to(dtype="float64").zero_grad()
    y = forward(x)
    y.backward(np.random.default_rng(1).standard_normal(y.shape))
    return [y.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


@pytest.mark.parametrize("modules", RUNS.values(), ids=RUNS)
def test_values_and_gradients_are_those_of_the_modules(modules):
    def one_by_one(x):
        for module in modules:
            x = module(x)
        return x

    for fused, plain in zip(run(nn.Sequential(*modules), modules), run(one_by_one, modules), strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-12, atol=1e-13)


def test_every_entry_is_used_and_leaves_fewer_ops():
    from minicnn.function import install, remove

    for kinds in FUSED:
        modules = next(modules for modules in RUNS.values() for i in range(len(modules))
                       if tuple(map(type, modules[i : i + len(kinds)])) == kinds)  # fmt: skip
        counts = []
        for forward in (nn.Sequential(*modules), lambda x, modules=modules: _each(modules, x)):
            names = OpNames()
            install(names)
            try:
                run(forward, modules)
            finally:
                remove(names)
            counts.append(len(names.seen))
        assert counts[0] < counts[1], kinds


def _each(modules, x):
    for module in modules:
        x = module(x)
    return x


@pytest.mark.parametrize("position", range(4))
def test_a_hook_sees_what_its_module_gives(position):
    modules = RUNS["a block, flattened"]
    seen = []
    handle = modules[position].register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    try:
        x = Tensor(np.random.default_rng(0).standard_normal((3, 2, 7, 8)).astype(modules[0].weight.dtype))
        nn.Sequential(*modules)(x)
    finally:
        handle.remove()
    np.testing.assert_array_equal(seen[0], _each(modules[: position + 1], x).numpy())


@pytest.mark.parametrize("wrong, path", [
    ((nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(9)), "2 (MaxPool2d"),
    ((nn.Conv2d(4, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), "0 (Conv2d"),
    ((nn.Conv2d(2, 3, 9), nn.ReLU6()), "0 (Conv2d"),
    ((nn.Linear(9, 3), nn.ReLU()), "0 (Linear"),
    ((nn.BatchNorm2d(3), nn.ReLU()), "0 (BatchNorm2d"),
])  # fmt: skip
def test_an_error_names_the_module_it_is_about(wrong, path):
    with pytest.raises(ShapeError) as caught:
        nn.Sequential(*wrong)(Tensor(np.zeros((1, 2, 7, 8), np.float32)))
    assert str(caught.value).startswith(path), caught.value


def test_a_pooling_that_gives_indices_is_not_fused():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
    y, indices = model(Tensor(np.ones((1, 2, 7, 8), np.float32)))
    assert y.shape == indices.shape == (1, 3, 2, 3)
