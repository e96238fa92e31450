"""What other engines compute for the same network and the same weights: the cases in ../shared/parity, if any.

A case holds logits in both modes, the loss, norm and checksum of every gradient, some gradients in full, and the
running statistics after one training pass. `judge(case)` runs ours and compares; its report has a row for each.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import models
from minicnn import Tensor, nn

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "parity"
GOLDEN = FOLDER / "golden"
CASES = sorted(folder.name for folder in GOLDEN.iterdir()) if GOLDEN.is_dir() else []
OURS = {"lenet5_modern": "lenet5", "legacy_xception": "xception", "tf_efficientnet_lite0": "efficientnet_lite0"}


def network_of(case: str) -> str:
    """The name of the network that a case is about."""
    return OURS.get(case, case)


def load(case: str) -> Any:
    """The case, read by the kit's own code."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the kit leaves its files open
        from check_parity import Case

        return Case(str(GOLDEN / case))


def without_noise(model: nn.Module) -> nn.Module:
    """Dropout and stochastic depth with probability 0, as in the cases."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d | nn.StochasticDepth):
            module.p = 0.0
    return model


def loss_of(outputs: Any, labels: np.ndarray, aux_weights: dict[str, float]) -> Tensor:
    """Cross-entropy of the logits, and of auxiliary heads times their weights."""
    cross_entropy = nn.CrossEntropyLoss()
    if isinstance(outputs, Tensor):
        return cross_entropy(outputs, labels)
    loss = cross_entropy(outputs.logits, labels)
    for head, weight in aux_weights.items():
        loss = loss + weight * cross_entropy(getattr(outputs, head), labels)
    return loss


def judge(case: str, dtype: str = "float64") -> Any:
    """The kit's report on our network with the weights of the case: .ok, and .rows (quantity, error, tolerance, ok)."""
    golden = load(case)
    with nn.init.skip():
        model = without_noise(models.create_model(network_of(case)))
    names = names_by_ours(model, golden.state())
    model.to(dtype)
    x = Tensor(golden.input.astype(dtype), requires_grad=True)
    evaluated = model.eval()(x).numpy()
    outputs = model.train()(x)
    loss = loss_of(outputs, golden.labels, golden.m["aux_loss_weights"])
    loss.backward()
    train = {"logits": outputs} if isinstance(outputs, Tensor) else outputs._asdict()
    return golden.compare(
        {
            "eval": {"logits": evaluated},
            "train": {head: value.numpy() for head, value in train.items()},
            "loss": loss.item(),
            "grads": {names[key]: p.grad.numpy() for key, p in model.named_parameters()},
            "bn_after": {names[key]: value.numpy() for key, value in model.named_buffers()},
            "grad_input": x.grad.numpy(),
        },
        dtype,
    )


def names_by_ours(model: Any, state: dict[str, np.ndarray]) -> dict[str, str]:
    """Load the state; and for each of our names, the case's."""
    model.load_state_dict(state)
    return {ours: theirs for theirs, ours in model.own_names(list(state)).items()}
