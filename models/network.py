"""Network: what all networks of the zoo share."""

from __future__ import annotations

from typing import Any

from minicnn import Tensor
from minicnn.errors import ShapeError
from minicnn.nn import Conv2d, Module


class Network(Module):
    """A network that takes images (N, C, H, W) and gives logits (N, num_classes).

    stages: paths of the modules whose outputs are its feature maps, from fine to coarse. A network whose depth is
    in its rows sets them in __init__.
    """

    stages: tuple[str, ...] = ()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """forward(); images that do not fit are told what would."""
        try:
            return super().__call__(*inputs, **options)
        except ShapeError as error:
            if error.advice is None and inputs and isinstance(inputs[0], Tensor):
                error.advice = self._advice(inputs[0].shape)
            raise

    @property
    def in_channels(self) -> int:
        """The channels of the images: those that the first convolution takes."""
        return next(module.in_channels for module in self.modules() if isinstance(module, Conv2d))

    def _advice(self, shape: tuple[int, ...]) -> str:
        kind, channels = type(self).__name__, self.in_channels
        if len(shape) != 4:
            return f"{kind} takes images of shape (N, {channels}, H, W), got {shape}"
        if shape[1] != channels and shape[3] == channels:
            return f"{kind} takes images (N, {channels}, H, W), channels first: use x.transpose(0, 3, 1, 2)"
        if shape[1] != channels:
            return f"{kind} was built for {channels} channels: build it with in_channels={shape[1]}"
        return ""
