"""nn: layers, containers and initialisers, with PyTorch's names."""

from . import init, utils
from .activation import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .container import ModuleList, ParameterList, Sequential
from .dropout import Dropout, Dropout2d, StochasticDepth
from .layers import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Identity,
    Linear,
)
from .loss import AuxiliaryLoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss
from .memory import TrainingMemory, training_memory
from .module import Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, FrozenBatchNorm2d, GroupNorm, LayerNorm, LocalResponseNorm
from .pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d
from .resize import Upsample
from .summary import Summary, summarize, trace_shapes

__all__ = [
    "AvgPool2d", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Flatten", "Identity", "Linear",
    "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "ModuleList", "Parameter", "ParameterList", "ReLU", "ScaledTanh",
    "Sequential", "Sigmoid", "Softmax", "Summary", "Tanh", "TrainingMemory", "Upsample", "init", "summarize",
    "trace_shapes", "training_memory", "utils",
    # pooling
    "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "MaxUnpool2d",
    # activations, noise
    "Dropout2d", "ELU", "GELU", "Hardsigmoid", "Hardswish", "LeakyReLU", "Mish", "PReLU", "ReLU6", "SELU", "SiLU",
    "Softplus", "StochasticDepth",
    # normalisation
    "BatchNorm1d", "BatchNorm2d", "FrozenBatchNorm2d", "GroupNorm", "LayerNorm", "LocalResponseNorm",
    # more losses
    "AuxiliaryLoss", "BCEWithLogitsLoss", "L1Loss", "NLLLoss", "SmoothL1Loss",
]  # fmt: skip
