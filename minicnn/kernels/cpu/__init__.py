"""The fast book. What NumPy does well is left to NumPy; what it does badly is compiled, in the modules listed here.

They are imported when first called, since to import LLVM, or even Numba, takes longer than many a small computation.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from .. import CONTENTS, reference
from . import footprint as footprint
from .blocked import Blocked, plain

COMPILED = {
    "matmul": "products",
    "einsum": "products",
    "linear": "dense",
    "linear_gradient": "dense",
    "conv2d": "convolution",
    "conv2d_act": "convolution",
    "conv_transpose2d": "convolution",
    "conv2d_weight": "convolution",
    "conv2d_relu_max_pool2d": "convolution",
    "conv2d_relu_max_pool2d_gradient": "convolution",
    "max_pool2d": "pool",
    "relu_max_pool2d": "pool",
    "max_pool2d_scatter": "pool",
    "max_pool2d_gather": "pool",
    "avg_pool2d": "pool",
    "avg_pool2d_transpose": "pool",
    "max_unpool2d": "adaptive",
    "adaptive_avg_pool2d": "adaptive",
    "adaptive_avg_pool2d_transpose": "adaptive",
    "adaptive_max_pool2d": "adaptive",
    "relu": "elementwise",
    "relu_mask": "elementwise",
    "relu6": "elementwise",
    "clip_mask": "elementwise",
    "leak": "elementwise",
    "silu": "gates",
    "silu_slope": "gates",
    "gelu": "gates",
    "gelu_slope": "gates",
    "hard_swish": "gates",
    "hard_swish_slope": "gates",
    "mish": "gates",
    "mish_slope": "gates",
    "batch_norm": "norm",
    "batch_norm_gradient": "norm",
    "local_response_norm": "norm",
    "local_response_norm_gradient": "norm",
    "resize2d": "resize",
    "resize2d_transpose": "resize",
    "random_bits": "random",
    "dropout_mask": "random",
    "sgd_step": "steps",
    "softmax_cross_entropy": "losses",
    "softmax_cross_entropy_gradient": "losses",
}

CHECK_THEMSELVES = {"sgd_step"}  # what they are given: lists of arrays

# Entries for images in blocks of channels (blocked.py), called whenever an argument is one; the others of this book get
# plain arrays then. All stand in a module of their own, beside the one for plain arrays; convolutions choose between
# the two themselves, as they are where blocks begin.
KNOWS_BLOCKED = {
    "conv2d": "convolution",
    "conv2d_act": "convolution",
    "conv_transpose2d": "convolution",
    "conv2d_weight": "convolution",
    "conv2d_relu_max_pool2d": "convolution",
    "conv2d_relu_max_pool2d_gradient": "convolution",
    "max_pool2d": "blocked_pool",
    "relu_max_pool2d": "blocked_pool",
    "max_pool2d_scatter": "blocked_pool",
    "max_pool2d_gather": "blocked_pool",
    "avg_pool2d": "blocked_pool",
    "avg_pool2d_transpose": "blocked_pool",
    "adaptive_avg_pool2d": "blocked_pool",
    "adaptive_avg_pool2d_transpose": "blocked_pool",
    "adaptive_max_pool2d": "blocked_pool",
    "local_response_norm": "blocked_lrn",
    "local_response_norm_gradient": "blocked_lrn",
    "concat": "blocked_joining",
    "getitem": "blocked_joining",
    "add_at": "blocked_joining",
    "pad": "blocked_joining",
    "batch_norm": "blocked_norm",
    "batch_norm_gradient": "blocked_norm",
    "relu": "blocked_elementwise",
    "relu6": "blocked_elementwise",
    "relu_mask": "blocked_elementwise",
    "clip_mask": "blocked_elementwise",
    "silu": "blocked_elementwise",
    "silu_slope": "blocked_elementwise",
    "hard_swish": "blocked_elementwise",
    "hard_swish_slope": "blocked_elementwise",
    "neg": "blocked_elementwise",
    "copy": "blocked_elementwise",
    "add": "blocked_elementwise",
    "sub": "blocked_elementwise",
    "mul": "blocked_elementwise",
    "sum": "blocked_elementwise",
}


def __getattr__(name: str) -> Any:
    if name not in CONTENTS:
        raise AttributeError(f"the book of cpu kernels has no {name!r}")
    if name not in COMPILED:
        return _enter(name, getattr(reference, name))
    module = importlib.import_module(f".{COMPILED[name]}", __name__)
    for own, home in COMPILED.items():
        if home == COMPILED[name]:
            fast = getattr(module, own)
            _enter(own, fast if own in CHECK_THEMSELVES else _for_floats(fast, getattr(reference, own)))
    return globals()[name]


def _enter(name: str, usual: Any) -> Any:
    """The entry of that name, from now on found without asking __getattr__."""
    home: Any = KNOWS_BLOCKED.get(name)

    @functools.wraps(usual)
    def kernel(*args: Any) -> Any:
        nonlocal home
        for a in args:
            kind = type(a)
            if kind is Blocked or ((kind is tuple or kind is list) and Blocked in map(type, a)):
                if home is None:
                    return usual(*map(plain, args))
                if type(home) is str:
                    home = importlib.import_module(f".{home}", __name__)
                return getattr(home, name)(*args)
        return usual(*args)

    globals()[name] = kernel
    return kernel


def _for_floats(fast: Any, plainly: Any) -> Any:
    """The fast kernel for float32 and float64; for what else there is (float16, complex) the readable one."""
    numbers = {np.dtype(np.float32).num, np.dtype(np.float64).num}

    @functools.wraps(fast)
    def kernel(x: Any, *args: Any) -> Any:
        return (fast if isinstance(x, int) or x.dtype.num in numbers else plainly)(x, *args)

    return kernel
