"""PyTorch, imported when it is first used: its functions can stand in tables where it is not installed."""

from __future__ import annotations

import importlib
import operator
from typing import Any


class Late:
    """A name in a module, looked up when it is called: until then the module need not be there."""

    def __init__(self, module: str, *path: str):
        self.module, self.path = module, path

    def __getattr__(self, name: str) -> Late:
        return Late(self.module, *self.path, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return operator.attrgetter(".".join(self.path))(importlib.import_module(self.module))(*args, **options)


torch, F = Late("torch"), Late("torch.nn.functional")
