"""models: one paper, one file; create_model(name) builds any of them."""

from .lenet import lenet5, lenet5_1998
from .registry import create_model, input_shape, list_models

__all__ = ["create_model", "input_shape", "lenet5", "lenet5_1998", "list_models"]
