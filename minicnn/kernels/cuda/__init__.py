"""The book of the GPU: CUDA C++ in .cu files, launched on CuPy's arrays, or on the simulator's (device "cuda-sim").

A module here holds the Python side of each kernel: shapes, the launch, and which .cu function does the work. What CuPy
itself does well (arithmetic with broadcasting, views) is CuPy's; see HOMES for who does what. A module is imported, and
a .cu file compiled, when first called.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import CONTENTS
from .host import mapped, on_host
from .launch import library

# Kernel -> the module of this folder that has it.
HOMES = {
    name: module
    for module, names in {
        "gemm": "matmul einsum linear linear_gradient",
        "conv": "conv2d conv2d_act conv_transpose2d conv2d_weight conv2d_relu_max_pool2d "
        "conv2d_relu_max_pool2d_gradient",
        "pool": "max_pool2d relu_max_pool2d max_pool2d_scatter max_pool2d_gather avg_pool2d avg_pool2d_transpose "
        "max_unpool2d",
        "adaptive": "adaptive_avg_pool2d adaptive_avg_pool2d_transpose adaptive_max_pool2d",
        "resize": "resize2d resize2d_transpose",
        "activation": "relu relu_mask tanh sigmoid relu6 hard_sigmoid clip_mask leak elu softplus sign "
        "silu silu_slope gelu gelu_slope gelu_tanh gelu_tanh_slope hard_swish hard_swish_slope mish mish_slope",
        "arrays": "add sub mul div neg power exp log sqrt absolute maximum minimum log1p expm1 sin cos reciprocal "
        "floor rint where compare full broadcast_to copy reshape transpose cast pad roll",
        "index": "getitem add_at gather scatter_add concat pad_with_copies fold_copies",
        "losses": "binary_cross_entropy sigmoid_focal_loss smooth_l1",
        "lrn": "channel_sum local_response_norm local_response_norm_gradient",
        "norm": "batch_norm batch_norm_gradient track_statistics standardize",
        "random": "random_bits dropout_mask",
        "reduce": "sum amax argmax argmin logsumexp",
        "classes": "softmax log_softmax class_targets negative_log_likelihood softmax_cross_entropy "
        "softmax_cross_entropy_gradient",
        "steps": "sgd_step adam_step rmsprop_step unscale",
    }.items()
    for name in names.split()
}

TAKE_HOST_ARRAYS = {"getitem", "add_at"}  # NumPy understands an index better than anybody


def __getattr__(name: str) -> Any:
    if name not in CONTENTS:
        raise AttributeError(f"the book of cuda kernels has no {name!r}")
    if name in HOMES:
        kernel = getattr(importlib.import_module(f".{HOMES[name]}", __name__), name)
    else:
        kernel = on_host(name)
    globals()[name] = kernel if name in TAKE_HOST_ARRAYS else _fetching(kernel)
    return globals()[name]


def _fetching(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, for arrays of which some may lie on the host, as labels, class weights and indices do."""

    @functools.wraps(kernel)
    def fetching(*args: Any) -> Any:
        return kernel(*mapped(args, np.ndarray, library().asarray))

    return fetching
