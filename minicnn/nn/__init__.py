"""nn: layers, containers and initialisers, with PyTorch's names."""

from . import init
from .container import ModuleList, ParameterList, Sequential
from .layers import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Identity,
    Linear,
    LogSoftmax,
    MaxPool2d,
    MSELoss,
    ReLU,
    ScaledTanh,
    Sigmoid,
    Softmax,
    Tanh,
)
from .module import Module, Parameter
from .summary import Summary, summarize

__all__ = [
    "AvgPool2d", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Flatten", "Identity", "Linear",
    "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "ModuleList", "Parameter", "ParameterList", "ReLU", "ScaledTanh",
    "Sequential", "Sigmoid", "Softmax", "Summary", "Tanh", "init", "summarize",
]  # fmt: skip
