"""Network: what all networks of the zoo share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from minicnn import Tensor
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import BatchNorm2d, Conv2d, Module, Parameter, trace_shapes


class Network(Module):
    """A network that takes images (N, C, H, W) and gives logits (N, num_classes).

    stages: paths of the modules whose outputs are its feature maps, from fine to coarse. A network whose depth is
    in its rows sets them in __init__.
    """

    stages: tuple[str, ...] = ()
    any_channels = True  # whether it can be built for images of other channels
    input_shape: tuple[int, ...] = ()  # (C, H, W) of the images it was published for; create_model sets it

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """forward(); images that do not fit are told what would."""
        try:
            return super().__call__(*inputs, **options)
        except ShapeError as error:
            if error.advice is None and inputs and isinstance(inputs[0], Tensor):
                error.advice = self._advice(inputs[0].shape)
            raise

    def own_names(self, names: Sequence[str]) -> dict[str, str]:
        """{name in a state: our name}, for states of this network that others have published under their names.

        Which names they are is recognised by a rule; what no rule knows keeps its name. A network whose weights exist
        under other names than its own extends this.
        """
        return {name: name for name in names}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """As Module.load_state_dict, for states in other names, too (own_names).

        States that were saved before batch norm counted its batches have no num_batches_tracked at all; then it is 0.
        """
        if isinstance(state, Mapping):
            given = list(state)
            ours = self.own_names(given)
            state = {ours[name]: state[name] for name in given}
            counters = [name for name, _ in self.named_buffers() if name.endswith("num_batches_tracked")]
            if not any(name in state for name in counters):
                state |= dict.fromkeys(counters, np.zeros((), np.int64))
        super().load_state_dict(state, strict)

    # --- by stage, for fine-tuning ---

    def modules_by_stage(self) -> dict[str, list[Module]]:
        """The modules up to the end of each stage that are in no earlier one, in construction order; the rest under
        "head"."""
        paths = [path for path, _ in self.named_modules()]
        ends = [max(i for i, path in enumerate(paths) if f"{path}.".startswith(f"{stage}.")) for stage in self.stages]
        found: dict[str, list[Module]] = {name: [] for name in (*self.stages, "head")}
        for position, module in enumerate(self.modules()):
            stage = next((s for s, end in zip(self.stages, ends, strict=True) if position <= end), "head")
            found[stage].append(module)
        return found

    def parameters_by_stage(self) -> dict[str, list[Parameter]]:
        """{stage: its parameters}, "head" at the end: groups for an optimizer, each with its learning rate."""
        return {
            stage: [parameter for module in modules for parameter in module._parameters.values()]
            for stage, modules in self.modules_by_stage().items()
        }

    def freeze(self, last: str | None) -> Self:
        """Freeze everything up to the end of the stage `last`, unfreeze everything behind it; None freezes nothing.

        Frozen parameters have requires_grad False, and frozen batch norms use their running statistics in training
        too. Raises ArgumentError for a stage that the network does not have.
        """
        if last is not None and last not in self.stages:
            names = ", ".join(self.stages)
            raise ArgumentError(f"{type(self).__name__} has no stage {last!r} to freeze up to: its stages are {names}")
        frozen = last is not None
        for stage, modules in self.modules_by_stage().items():
            for module in modules:
                for parameter in module._parameters.values():
                    parameter.requires_grad_(not frozen)
                if isinstance(module, BatchNorm2d):
                    module.freeze(frozen)
            frozen = frozen and stage != last
        return self

    # --- what images fit ---

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
        if shape[1] != channels and not self.any_channels:
            return f"{kind} takes images of {channels} channels, and no others"
        if shape[1] != channels:
            return f"{kind} was built for {channels} channels: build it with in_channels={shape[1]}"
        usual, given = max(self.input_shape[1:], default=512), f"got {shape[2]} × {shape[3]}"
        if not self._fits(2 * usual):  # a head that counts pixels
            return f"{kind} takes images of {usual} × {usual}, {given}"
        least = self._least_size(usual)
        return f"{kind} needs images of {least} × {least} or larger, {given}" if min(shape[2:]) < least else ""

    def _fits(self, size: int) -> bool:
        try:
            trace_shapes(self, (1, self.in_channels, size, size))
        except ShapeError:
            return False
        return True

    def _least_size(self, enough: int) -> int:
        """The smallest square image that goes through, found by halving."""
        too_small = 0
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            too_small, enough = (too_small, middle) if self._fits(middle) else (middle, enough)
        return enough
