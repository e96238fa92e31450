"""A PyTorch network from a module tree of this project: the same layers in the same order with the same weights.

Layers are translated by kind. A module whose forward is more than its children in a row has its own translation, which
names PyTorch's functions for the ops its forward calls.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn as tnn

import minicnn.nn as nn
from models.lenet import LeNet5, LeNet5Of1998, PartialConv2d, Subsampling


def squash(x: torch.Tensor) -> torch.Tensor:
    return 1.7159 * torch.tanh(x * (2 / 3))


class TorchLeNet5(tnn.Module):
    def __init__(self, ours: LeNet5):
        super().__init__()
        self.features = layer(ours.features)
        self.fc1, self.fc2, self.fc3 = layer(ours.fc1), layer(ours.fc2), layer(ours.fc3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class TorchSubsampling(tnn.Module):
    def __init__(self, ours: Subsampling):
        super().__init__()
        self.coef, self.bias = parameter(ours.coef), parameter(ours.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return squash(F.avg_pool2d(x, 2) * self.coef[:, None, None] + self.bias[:, None, None])


class TorchPartialConv2d(tnn.Module):
    def __init__(self, ours: PartialConv2d):
        super().__init__()
        self.bias = parameter(ours.bias)
        self.w = tnn.ParameterList([parameter(w) for w in ours.w])
        self.dense_shape = ours.dense_shape
        self.place = torch.from_numpy(ours.outputs), torch.from_numpy(ours.inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernels = torch.cat(list(self.w), dim=1)[0]
        return F.conv2d(x, kernels.new_zeros(self.dense_shape).index_put(self.place, kernels), self.bias)


class TorchLeNet5Of1998(tnn.Module):
    def __init__(self, ours: LeNet5Of1998):
        super().__init__()
        self.register_buffer("rbf", torch.from_numpy(ours.rbf.numpy().copy()))
        self.c1, self.s2, self.c3, self.s4 = layer(ours.c1), layer(ours.s2), layer(ours.c3), layer(ours.s4)
        self.c5, self.f6 = layer(ours.c5), layer(ours.f6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.s2(squash(self.c1(x)))
        x = self.s4(squash(self.c3(x)))
        f6 = squash(self.f6(squash(self.c5(x)).flatten(1)))
        return -((f6[:, None] - self.rbf) ** 2).sum(2)


def parameter(tensor: nn.Parameter) -> tnn.Parameter:
    return tnn.Parameter(torch.from_numpy(np.array(tensor.numpy())))


def _convolution(ours: nn.Conv2d) -> tnn.Module:
    theirs = tnn.Conv2d(ours.in_channels, ours.out_channels, ours.kernel_size, ours.stride, ours.padding,
                        ours.dilation, ours.groups, ours.bias is not None)  # fmt: skip
    return _with_weights(theirs, ours)


def _linear(ours: nn.Linear) -> tnn.Module:
    return _with_weights(tnn.Linear(ours.in_features, ours.out_features, ours.bias is not None), ours)


def _with_weights(theirs: tnn.Module, ours: nn.Module) -> tnn.Module:
    theirs.weight = parameter(ours.weight)
    if ours.bias is not None:
        theirs.bias = parameter(ours.bias)
    return theirs


TRANSLATIONS = {
    nn.Sequential: lambda ours: tnn.Sequential(*map(layer, ours)),
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.ReLU: lambda ours: tnn.ReLU(),
    nn.Flatten: lambda ours: tnn.Flatten(ours.start_dim),
    nn.MaxPool2d: lambda ours: tnn.MaxPool2d(ours.kernel_size, ours.stride, ours.padding, ours.dilation),
    Subsampling: TorchSubsampling,
    PartialConv2d: TorchPartialConv2d,
    LeNet5: TorchLeNet5,
    LeNet5Of1998: TorchLeNet5Of1998,
}


def layer(ours: nn.Module) -> tnn.Module:
    """The translation of one module."""
    if type(ours) not in TRANSLATIONS:
        raise SystemExit(f"translate.py does not know {type(ours).__name__} yet: add a row to TRANSLATIONS")
    return TRANSLATIONS[type(ours)](ours)


def to_torch(model: nn.Module) -> tnn.Module:
    """The whole network; parameters come in the same order."""
    theirs = layer(model)
    ours = [p.shape for p in model.parameters()]
    if ours != [tuple(p.shape) for p in theirs.parameters()]:
        raise SystemExit(f"the translation of {type(model).__name__} has other parameters, or in another order")
    return theirs
