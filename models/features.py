"""A network without its head: the feature maps of its stages, for detection, segmentation and transfer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minicnn import Tensor
from minicnn.errors import ArgumentError
from minicnn.nn import Identity, Module, trace_shapes

from .network import Network

MORE = 256  # rows; by how many a feature map grows with them tells its stride


class _Enough(Exception):
    """The last feature map is there: what comes behind it need not be computed."""


class FeatureExtractor(Module):
    """images (N, C, H, W) -> {stage: feature map (N, channels, P, Q)}, in the order in which they are computed.

    stages: paths of modules of the network, None for those that it names. What runs only behind the last of them is
    taken out of the network, and its parameters with it.
    channels, strides: {stage: its channels, and how many pixels of the image one of its pixels stands for}.
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
        channels, height, width = network.input_shape or (network.in_channels, 224, 224)
        shapes = trace_shapes(network, (2, channels, height, width))
        began = list(shapes)
        for stage in self.stages:
            if len(shapes.get(stage, ())) != 4:
                raise ArgumentError(f"{type(network).__name__}: {stage} gives no feature map (N, C, P, Q)")
        self.stages = tuple(sorted(self.stages, key=began.index))
        larger = trace_shapes(self, (2, channels, height + MORE, width + MORE))  # which stops before the head
        _cut(network, began, self.stages[-1])
        self.channels = {stage: shapes[stage][1] for stage in self.stages}
        more = {stage: larger[f"network.{stage}"][2] - shapes[stage][2] for stage in self.stages}
        self.strides = {stage: round(MORE / rows) for stage, rows in more.items()}

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


def _cut(network: Network, began: list[str], last: str) -> None:
    """Put an Identity in the place of every module that begins after `last` has ended."""
    end = max(position for position, path in enumerate(began) if path == last or path.startswith(f"{last}."))
    modules = dict(network.named_modules())
    for path in began[end + 1 :]:
        parent, _, name = path.rpartition(".")
        modules[parent].add_module(name, Identity())
