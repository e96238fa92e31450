"""Whole networks in float32, in blocks wherever they can be, beside float64, which never is."""

import numpy as np
import pytest

import minicnn
import models
from minicnn import nn
from minicnn.kernels.cpu import convolution
from minicnn.kernels.cpu.blocked import Blocked

# A relu or a maximum may fall on the other side of its kink, and all behind it is another function then.
NETWORKS = {
    "resnet20_cifar": ({}, 32, 0.1),  # convolutions of 16 to 64 channels, slices and padding of channels
    "densenet_bc_100_12": ({}, 32, 0.1),  # blocks that are not full, what grows by concat
    "mobilenet_v2": ({"num_classes": 10}, 64, 0.1),  # depthwise, relu6
    "googlenet_2014": ({"num_classes": 10, "aux_logits": False}, 64, 0.1),  # LRN, biases, several poolings
    "efficientnet_b0": ({"num_classes": 10, "stochastic_depth_prob": 0.0}, 64, 1e-3),  # silu, squeeze and excitation
}


def gradients(name, options, size, dtype):
    minicnn.manual_seed(0)
    model = models.create_model(name, **options).train().to(dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    rng = np.random.default_rng(0)
    x = minicnn.Tensor(rng.standard_normal((2, 3, size, size)).astype(dtype))
    loss = nn.CrossEntropyLoss()(model(x), rng.integers(0, 10, 2))
    loss.backward()
    return loss.item(), [p.grad.numpy() for p in model.parameters()]


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_gradients_are_those_of_float64(name, monkeypatch):
    options, size, tolerance = NETWORKS[name]
    monkeypatch.setattr(convolution, "WORTH", 0)
    made = []
    original = Blocked.empty.__func__
    monkeypatch.setattr(Blocked, "empty", classmethod(lambda cls, *a: (made.append(1), original(cls, *a))[1]))
    loss, found = gradients(name, options, size, "float32")
    assert len(made) > 50  # it was about blocks
    count = len(made)
    exact, expected = gradients(name, options, size, "float64")
    assert len(made) == count
    assert loss == pytest.approx(exact, rel=1e-5)
    together = [np.concatenate([g.reshape(-1) for g in gs]).astype(np.float64) for gs in (found, expected)]
    error = np.linalg.norm(together[0] - together[1]) / np.linalg.norm(together[1])
    assert error < tolerance, error
