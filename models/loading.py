"""Weights into a network that was built with other options than theirs: other classes, no auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicnn.nn import init

from .network import Network

Shapes = dict[str, tuple[int, ...]]


def load(
    network: Network,
    state: Mapping[str, Any],
    rebuild: Callable[..., Network],
    options: Mapping[str, Any],
    new_head: bool,
) -> None:
    """Load the state, strictly but for two things that the options of the network explain:

    new_head: layers whose shape depends on num_classes stay as they are if the state has other shapes for them.
    aux_logits=False: what the state has for auxiliary heads is left out.

    rebuild(**options) builds the network again. Raises CheckpointError, with the difference, and loads nothing, if
    anything else does not fit.
    """
    ours = network.own_names(list(state))
    state = {ours[name]: value for name, value in state.items()}
    own = {name: tensor for name, tensor in network._state()}
    if options.get("aux_logits") is False:
        extra = _shapes(rebuild, options, aux_logits=True).keys() - own.keys()
        state = {name: value for name, value in state.items() if name not in extra}
    if new_head:
        other = _shapes(rebuild, options, num_classes=options["num_classes"] + 1)
        head = [name for name, tensor in own.items() if name in state and tensor.shape != other[name]]
        if any(state[name].shape != own[name].shape for name in head):
            state |= {name: own[name] for name in head}
    network.load_state_dict(state)


def _shapes(rebuild: Callable[..., Network], options: Mapping[str, Any], **changed: Any) -> Shapes:
    with init.skip():
        return {name: tensor.shape for name, tensor in rebuild(**{**options, **changed})._state()}
