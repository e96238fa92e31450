"""models: one paper, one file; create_model(name) builds any network, and each is a function too: models.lenet5()."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from .listing import counts, list_models
from .pretrained import imagenet_classes
from .registry import FUNCTIONS, create_model, family, input_shape, preprocessing

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the networks by their names, which the registry knows


for _paper in pkgutil.iter_modules(__path__):  # importing a paper's file registers its networks
    importlib.import_module(f"{__name__}.{_paper.name}")

globals().update(FUNCTIONS)  # also where a file has the same name: models.alexnet is the network

__all__ = ["counts", "create_model", "family", "imagenet_classes", "input_shape", "list_models", "preprocessing"]
__all__.extend(FUNCTIONS)
