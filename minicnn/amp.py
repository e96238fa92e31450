"""Mixed precision: activations in 16 bits, parameters, sums and losses in 32.

    with minicnn.autocast("bfloat16"):          products and convolutions read and write 16 bits and add up in 32
        loss = criterion(model(x), labels)
    scaler.scale(loss).backward()               float16 only: small gradients would be 0, so all are made larger,
    scaler.step(optimizer)                      and smaller again before the update; a step with an ∞ is left out

Parameters stay float32 ("master weights"): each use casts them, and the gradient comes back through the cast in
float32. Half the bytes is what pays, on a GPU tensor cores too. float16 has 5 bits of exponent and 10 of fraction,
bfloat16 8 and 7: the range of float32, so it needs no scaling.
Source: Micikevicius et al. 2018, "Mixed precision training".

Between the two lies TF32, float32 arrays whose numbers tensor cores round to 10 bits of fraction: use_tf32(True), for
this process, and tf32_in_use() says for what.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import device as devices
from . import kernels
from .errors import ArgumentError
from .function import Switch
from .kernels.precision import tf32_in_use, use_tf32
from .ops import cast
from .optim import Optimizer
from .tensor import Tensor, as_dtype

__all__ = ["GradScaler", "autocast", "tf32_in_use", "use_tf32"]

# What each op computes in: these in 16 bits, as their sums are in 32 anyway,
LOW = {
    "conv2d", "conv2d_act", "conv2d_relu_max_pool2d", "conv2d_weight", "conv_transpose2d", "einsum", "linear", "matmul",
}  # fmt: skip
# these in float32, since their results are large, or small differences of large numbers,
WIDE = {
    "binary_cross_entropy", "channel_sum", "cross_entropy", "exp", "expm1", "local_response_norm", "log", "log1p",
    "log_softmax", "logsumexp", "mean", "negative_log_likelihood", "pow", "prod", "reciprocal", "sigmoid_focal_loss",
    "smooth_l1", "soft_cross_entropy", "softmax", "softplus", "standardize", "sum",
}  # fmt: skip
# these in what x has, with weights and statistics of channels as they are,
LIKE_X = {"batch_norm"}
# these in what they are given, each input by itself, and all others in the widest of their inputs.
AS_GIVEN = {"cast", "checkpoint", "move"}


class autocast(Switch):
    """Inside, ops compute in the precision of the tables above: `with autocast("bfloat16"):` or `@autocast("float16")`.

    Backward computes in what forward has, and needs no autocast. autocast(enabled=False) makes an exception inside.
    Raises ArgumentError for another dtype, MissingPackageError for bfloat16 without ml_dtypes.
    """

    field = "autocast"

    def __init__(self, dtype: Any = "bfloat16", enabled: bool = True):
        low = as_dtype(dtype)
        if low.name not in ("float16", "bfloat16"):
            raise ArgumentError(f'autocast computes in "float16" or "bfloat16", got {low}')
        super().__init__(functools.partial(_inputs, low) if enabled else None)


def _inputs(low: np.dtype, op: str, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """What an op gets instead of its inputs."""
    dtypes = {t.data.dtype for t in inputs if t is not None and t.data.dtype.kind in "fV"}
    if op in LOW and dtypes <= {low, np.dtype(np.float32)}:
        wanted = low
    elif op in WIDE:
        wanted = max(dtypes | {np.dtype(np.float32)}, key=lambda dtype: dtype.itemsize)
    else:
        wanted = max(dtypes, key=lambda dtype: dtype.itemsize, default=low)
    if dtypes <= {wanted} or op in AS_GIVEN:
        return inputs
    if op in LIKE_X and dtypes == {low, np.dtype(np.float32)}:
        return _like_x(*inputs)
    return [t if t is None or t.data.dtype.kind not in "fV" else cast(t, wanted) for t in inputs]


def _like_x(x: Any, w: Tensor | None, b: Tensor | None, residual: Tensor | None) -> Sequence[Tensor | None]:
    """A batch norm's inputs: the gradient of b comes in the dtype of w, or of x."""
    residual = residual if residual is None else cast(residual, x.dtype)
    return x, w, b if b is None or w is not None else cast(b, x.dtype), residual


class GradScaler:
    """The factor that keeps float16's gradients off zero, found by trying.

    scale(loss).backward() makes gradients `factor` times as large; step(optimizer) divides them again, and updates
    unless one is ∞ or NaN. After growth_interval steps without, the factor doubles; where there was one, it is halved.
    Raises ArgumentError for numbers out of range.
    """

    def __init__(self, init_scale: float = 2.0**16, growth_interval: int = 2000):
        if not math.isfinite(init_scale) or init_scale <= 0 or growth_interval < 1:
            raise ArgumentError(f"GradScaler needs init_scale > 0 and growth_interval ≥ 1, got {init_scale}, "
                                f"{growth_interval}")  # fmt: skip
        self.factor, self.growth_interval, self.good_steps = float(init_scale), growth_interval, 0
        self.skipped = 0  # steps that were left out

    def scale(self, loss: Tensor) -> Tensor:
        """loss · factor."""
        return loss * self.factor

    def step(self, optimizer: Optimizer) -> bool:
        """Divide the gradients by the factor, and take the optimizer's step if they are finite; whether they were."""
        finite = all([self._unscale(group) for group in optimizer.param_groups])
        if finite:
            optimizer.step()
            self.good_steps += 1
            if self.good_steps == self.growth_interval:
                self.factor, self.good_steps = self.factor * 2, 0
        else:
            self.factor, self.good_steps, self.skipped = self.factor / 2, 0, self.skipped + 1
        return finite

    def _unscale(self, group: dict[str, Any]) -> bool:
        found: dict[str, list[Any]] = {}
        for p in group["params"]:
            if p.grad is not None:
                found.setdefault(p.device, []).append(p.grad.data)
        finite = True
        for device, gradients in found.items():
            with devices.computing(device):
                finite &= bool(kernels.unscale(gradients, 1 / self.factor))
        return finite

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"factor": self.factor, "good_steps": self.good_steps, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor, self.good_steps, self.skipped = state["factor"], state["good_steps"], state["skipped"]
