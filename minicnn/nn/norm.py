"""Layers that normalise, with PyTorch's names and arguments. What they compute stands in ops/norm.py and ops/lrn.py."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..function import is_recomputing
from ..kernels.window import is_whole, one_line
from ..ops.arguments import as_tuple, expect, flag, is_number
from ..ops.norm import expect_eps
from ..tensor import Tensor
from .module import Module, Parameter


def _count(layer: str, name: str, value: Any) -> int:
    if not is_whole(value) or value < 1:
        raise ArgumentError(f"{layer} takes {name} as an integer ≥ 1, got {one_line(value)}")
    return int(value)


def _scale_and_shift(shape: tuple[int, ...], wanted: bool) -> tuple[Any, Any]:
    """weight 1 and bias 0, if they are wanted."""
    return (Parameter(np.ones(shape, np.float32)), Parameter(np.zeros(shape, np.float32))) if wanted else (None, None)


def _increase(counter: Tensor) -> None:
    """By 1, in place."""
    count = counter.data
    count += 1
    counter.version[0] += 1


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share: everything but the shapes they take."""

    shapes: ClassVar[dict[int, str]]  # what it takes, by the number of axes
    running_mean: Any  # a buffer, or None
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        frozen: bool = False,
    ):
        super().__init__()
        layer = type(self).__name__
        self.num_features, self.eps = _count(layer, "num_features", num_features), expect_eps(layer, eps)
        if momentum is not None and not (is_number(momentum) and 0 <= momentum <= 1):
            raise ArgumentError(f"{layer} takes a momentum from 0 to 1, or None, got {one_line(momentum)}")
        self.momentum = momentum
        self.weight, self.bias = _scale_and_shift((num_features,), flag(layer, "affine", affine))
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if flag(layer, "track_running_stats", track_running_stats):
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))
        self.freeze(frozen)

    def freeze(self, frozen: bool = True) -> Self:
        """Use the running statistics, and leave them as they are, in training too; freeze(False) ends it."""
        layer = type(self).__name__
        self.frozen = flag(layer, "frozen", frozen)
        if self.frozen and self.running_mean is None:
            raise ArgumentError(f"{layer} has no running statistics to freeze: it has track_running_stats=False")
        return self

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.running_mean is not None:
            for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
                buffer.copy_(np.full(buffer.shape, value))

    def forward(self, x: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        expect("batch_norm", x)
        if x.ndim not in self.shapes or x.shape[1] != self.num_features:
            wanted = " or ".join(self.shapes.values()).replace("C", str(self.num_features))
            raise ShapeError(f"batch_norm expects x of shape {wanted}, got shape {x.shape}")
        mean, var, momentum = self.running_mean, self.running_var, self.momentum
        of_batch = mean is None or (self.training and not self.frozen)
        tracked = of_batch and mean is not None and not is_recomputing()
        if momentum is None:
            momentum = 1 / (self.num_batches_tracked.item() + 1) if tracked else 1.0
        y = ops.batch_norm_act(x, mean, var, self.weight, self.bias, residual, activation, of_batch, momentum, self.eps)
        if tracked:
            _increase(self.num_batches_tracked)
        return y

    def extra_repr(self) -> str:
        text = str(self.num_features)
        for name, value, usual in (
            ("eps", self.eps, 1e-5),
            ("momentum", self.momentum, 0.1),
            ("affine", self.weight is not None, True),
            ("track_running_stats", self.running_mean is not None, True),
        ):
            if value != usual:
                text += f", {name} {value}"
        return text + (", frozen" if self.frozen else "")


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W) with C = num_features.

    In training, each channel is normalised with the mean and variance that it has in the batch, and running_mean and
    running_var move towards these: new = (1 − momentum)·old + momentum·batch, the variance unbiased (n − 1).
    In evaluation, the running statistics are used, and nothing changes.

        momentum=None               the mean over all batches, each of the same weight
        affine=False                no weight and bias
        track_running_stats=False   the batch's statistics always, in evaluation too
        frozen=True, or freeze()    the running statistics always, in training too, and they do not change; weight and
                                    bias are trained on. For fine-tuning with small batches; train() does not undo it

    forward(x, residual, activation) gives activation(norm(x) + residual) in one op: see ops.batch_norm_act.
    State: weight, bias, running_mean, running_var, num_batches_tracked.
    """

    shapes = {4: "(N, C, H, W)"}


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features (N, C) or sequences (N, C, L): all else as BatchNorm2d."""

    shapes = {2: "(N, C)", 3: "(N, C, L)"}


class FrozenBatchNorm2d(Module):
    """Batch normalisation in which nothing is trained or tracked: weight, bias, running_mean and running_var, all of
    them buffers, are what was loaded. torchvision's layer for backbones of detectors; to go on training weight and
    bias, use BatchNorm2d(frozen=True)."""

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.num_features = _count("FrozenBatchNorm2d", "num_features", num_features)
        self.eps = expect_eps("FrozenBatchNorm2d", eps)
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, np.full(num_features, value, np.float32))

    def forward(self, x: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        return ops.batch_norm_act(
            x, self.running_mean, self.running_var, self.weight, self.bias, residual, activation, eps=self.eps
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}" + (f", eps {self.eps}" if self.eps != 1e-5 else "")


class GroupNorm(Module):
    """Normalisation of num_groups groups of channels in each image (N, num_channels, ...): see ops.group_norm.

    weight and bias are (num_channels,).
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        self.num_groups = _count("GroupNorm", "num_groups", num_groups)
        self.num_channels = _count("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.eps = expect_eps("GroupNorm", eps)
        self.weight, self.bias = _scale_and_shift((num_channels,), flag("GroupNorm", "affine", affine))

    def forward(self, x: Tensor) -> Tensor:
        expect("group_norm", x)
        if x.shape[1:2] != (self.num_channels,):
            raise ShapeError(f"group_norm expects x of shape (N, {self.num_channels}, ...), got shape {x.shape}")
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_channels}, {self.num_groups} groups" + ("" if self.weight is not None else ", not affine")


class LayerNorm(Module):
    """Normalisation over the last axes, of sizes normalized_shape: see ops.layer_norm.

    weight and bias are of that shape; bias=False leaves out the bias, elementwise_affine=False both.
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True):
        super().__init__()
        self.normalized_shape = tuple(_count("LayerNorm", "normalized_shape", s) for s in as_tuple(normalized_shape))
        if not self.normalized_shape:
            raise ArgumentError("LayerNorm takes at least one axis as normalized_shape, got none")
        self.eps = expect_eps("LayerNorm", eps)
        affine = flag("LayerNorm", "elementwise_affine", elementwise_affine)
        self.weight, self.bias = _scale_and_shift(self.normalized_shape, affine)
        if not flag("LayerNorm", "bias", bias):
            self.bias = None

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return " × ".join(map(str, self.normalized_shape)) + ("" if self.weight is not None else ", not affine")


class LocalResponseNorm(Module):
    """x / (k + α·Σ x²)^beta over `size` neighbouring channels: see ops.local_response_norm.

    α is alpha/size as in PyTorch, or alpha with divide_alpha=False, as in AlexNet's paper.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, divide_alpha: bool = True):
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.divide_alpha = size, alpha, beta, k, divide_alpha
        ops.local_response_norm(Tensor(np.zeros((0, 1), np.float32)), size, alpha, beta, k, divide_alpha)  # may refuse

    def forward(self, x: Tensor) -> Tensor:
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.divide_alpha)

    def extra_repr(self) -> str:
        alpha = f"{self.alpha:g}" + (f"/{self.size}" if self.divide_alpha else "")
        return f"size {self.size}, alpha {alpha}, beta {self.beta:g}, k {self.k:g}"
