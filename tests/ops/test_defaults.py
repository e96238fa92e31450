"""What an option is if nobody says: PyTorch's choice, or for what NumPy has too, NumPy's. Changing one breaks users."""

import inspect

import pytest

from minicnn import ops

WINDOW = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
POOL = {"stride": None, "padding": 0, "ceil_mode": False}
REDUCTION = {"axis": None, "keepdims": False}

DEFAULTS = {
    "adaptive_max_pool2d": {"return_indices": False},
    "argmax": {"axis": -1}, "argmin": {"axis": -1},
    "avg_pool2d": {**POOL, "count_include_pad": True},
    "batch_norm": {"training": False, "momentum": 0.1, "eps": 1e-5},
    "batch_norm_act": {"activation": "relu", "training": False, "momentum": 0.1, "eps": 1e-5},
    "binary_cross_entropy_with_logits": {"reduction": "mean"},
    "chunk": {"axis": 0}, "concat": {"axis": 0}, "split": {"axis": 0}, "stack": {"axis": 0},
    "conv2d": WINDOW, "conv2d_weight": WINDOW, "conv_transpose2d": {**WINDOW, "output_padding": 0},
    "conv2d_relu_max_pool2d": {**WINDOW, "pool_size": 2, "pool_padding": 0, "pool_dilation": 1, "ceil_mode": False},
    "cross_entropy": {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0},
    "dropout": {"p": 0.5, "training": True}, "dropout2d": {"p": 0.5, "training": True},
    "elu": {"alpha": 1.0},
    "flatten": {"start_axis": 0},
    "gelu": {"approximate": "none"},
    "group_norm": {"eps": 1e-5}, "layer_norm": {"eps": 1e-5},
    "huber_loss": {"reduction": "mean", "delta": 1.0},
    "interpolate": {"mode": "nearest", "align_corners": False},
    "l1_loss": {"reduction": "mean"}, "mse_loss": {"reduction": "mean"},
    "leaky_relu": {"negative_slope": 0.01},
    "local_response_norm": {"alpha": 1e-4, "beta": 0.75, "k": 1.0, "divide_alpha": True},
    "log_softmax": {"axis": -1}, "softmax": {"axis": -1},
    "logsumexp": REDUCTION, "max": REDUCTION, "mean": REDUCTION, "min": REDUCTION, "prod": REDUCTION, "sum": REDUCTION,
    "max_pool2d": {**POOL, "dilation": 1, "return_indices": False},
    "max_unpool2d": {"padding": 0},
    "nll_loss": {"ignore_index": -100, "reduction": "mean"},
    "pad": {"mode": "constant", "value": 0.0},
    "relu_max_pool2d": {**POOL, "dilation": 1},
    "resize": {"mode": "nearest", "align_corners": False},
    "sigmoid_focal_loss": {"alpha": 0.25, "gamma": 2.0, "reduction": "none"},
    "smooth_l1_loss": {"reduction": "mean", "beta": 1.0},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "std": {**REDUCTION, "correction": 0}, "var": {**REDUCTION, "correction": 0},
    "stochastic_depth": {"mode": "row", "training": True},
    "tril": {"k": 0}, "triu": {"k": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", ops.__all__)
def test_defaults(name):
    options = inspect.signature(getattr(ops, name)).parameters
    defaults = {key: p.default for key, p in options.items() if p.default is not p.empty and p.default is not None}
    wanted = {key: value for key, value in DEFAULTS.get(name, {}).items() if value is not None}
    for key, value in wanted.items():
        assert defaults[key] == value, f"{key}={defaults[key]!r}"
