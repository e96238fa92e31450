"""How the weights of networks begin, as their papers and libraries say it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minicnn.nn import Conv2d, Linear, Module, Parameter, init


def _weights(model: Module, *kinds: type) -> Iterator[Parameter]:
    return (module.weight for module in model.modules() if isinstance(module, kinds))


def he_normal(model: Module, mode: str = "fan_out") -> None:
    """N(0, 2/fan) for all convolutions below: He et al. 2015, equation 10 (fan_in) or 14 (fan_out)."""
    for weight in _weights(model, Conv2d):
        init.kaiming_normal_(weight, mode=mode, nonlinearity="relu")


def he_uniform(model: Module) -> None:
    """U(±√(6/fan_in)) for all convolutions below, of the same variance."""
    for weight in _weights(model, Conv2d):
        init.kaiming_uniform_(weight)


def gaussian(model: Module, std: float) -> None:
    """N(0, std²) for all convolutions and linear layers below."""
    for weight in _weights(model, Conv2d, Linear):
        init.normal_(weight, 0.0, std)


def zero_biases(model: Module) -> None:
    """0 for the biases of all convolutions and linear layers below."""
    for module in model.modules():
        if isinstance(module, Conv2d | Linear) and module.bias is not None:
            init.zeros_(module.bias)


def mobile(model: Module) -> None:
    """Convolutions N(0, 2/fan_out), linear layers U(±1/√inputs), biases 0: as the releases of MnasNet and its heirs.

    fan_out is how many outputs of its own group an input feeds, k² for a depthwise convolution. (torchvision counts
    the outputs of all groups, and starts depthwise weights √channels smaller.) The releases' ±1/√outputs for linear
    layers is nearly the same for 1000 classes, but for ten it starts with logits of ±10.
    """
    for module in model.modules():
        if isinstance(module, Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))
        elif isinstance(module, Linear):
            bound = 1 / math.sqrt(module.in_features)
            init.uniform_(module.weight, -bound, bound)
    zero_biases(model)
