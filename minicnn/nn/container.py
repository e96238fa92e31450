"""Modules that hold others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .activation import ReLU
from .layers import MaxPool2d
from .module import Module, Parameter


class Sequential(Module):
    """y = last(...second(first(x))); children are named "0", "1", ... Indexing and len() as a list's.

    A ReLU in front of a MaxPool2d is computed together with it (ops.relu_max_pool2d: the same result with
    less memory written and kept), unless a hook looks at either.
    """

    def __init__(self, *modules: Module):
        super().__init__()
        for position, module in enumerate(modules):
            self.add_module(str(position), module)

    def forward(self, x: Any) -> Any:
        modules = list(self._modules.values())
        for module, following, before in zip(modules, [*modules[1:], None], [None, *modules[:-1]], strict=True):
            if not _fused(module, following):
                x = module(x, after_relu=True) if _fused(before, module) else module(x)
        return x

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, position: int | slice) -> Any:
        found = list(self._modules.values())[position]
        return Sequential(*found) if isinstance(found, list) else found

    def append(self, module: Module) -> Sequential:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self


def _fused(relu: Module | None, pool: Module | None) -> bool:
    return type(relu) is ReLU and type(pool) is MaxPool2d and not (relu.has_hooks or pool.has_hooks)


class ModuleList(Module):
    """Modules in a list, named "0", "1", ...; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, position: int) -> Module:
        return list(self._modules.values())[position]


class ParameterList(Module):
    """Parameters in a list, named "0", "1", ..."""

    def __init__(self, parameters: Iterable[Parameter] = ()):
        super().__init__()
        for position, parameter in enumerate(parameters):
            setattr(self, str(position), parameter)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __getitem__(self, position: int) -> Parameter:
        return list(self._parameters.values())[position]
