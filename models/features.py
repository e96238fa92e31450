"""A network without its head: the feature maps of its stages, for detection, segmentation and transfer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicnn import Tensor
from minicnn.errors import ArgumentError
from minicnn.nn import Module

from .network import Network


class _Enough(Exception):
    """The last feature map is there: what comes behind it need not be computed."""


class FeatureExtractor(Module):
    """images (N, C, H, W) -> {stage: feature map (N, channels, P, Q)}, in the order in which they are computed.

    stages: paths of modules of the network, None for those that it names. Behind the last of them nothing runs.
    """

    def __init__(self, network: Network, stages: Iterable[str] | None = None):
        super().__init__()
        self.stages = tuple(network.stages if stages is None else [stages] if isinstance(stages, str) else stages)
        modules = dict(network.named_modules())
        for stage in self.stages:
            if stage not in modules or not stage:
                known = ", ".join(network.stages)
                raise ArgumentError(f"{type(network).__name__} has no module {stage!r}: its stages are {known}")
        if not self.stages:
            raise ArgumentError(f"{type(network).__name__} has no feature maps to choose from: name modules as stages")
        self.network = network

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        modules = dict(self.network.named_modules())

        def keep(stage: str) -> Any:
            def hook(module: Module, inputs: Any, output: Tensor) -> None:
                found[stage] = output
                if len(found) == len(self.stages):
                    raise _Enough

            return hook

        handles = [modules[stage].register_forward_hook(keep(stage)) for stage in self.stages]
        try:
            self.network(x)
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return found
