"""Modules that hold others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import MinicnnError
from .activation import ReLU, ReLU6
from .layers import Conv2d, Flatten, Linear
from .module import Module, Parameter
from .norm import BatchNorm2d
from .pool import MaxPool2d


class Sequential(Module):
    """y = last(...second(first(x))); children are named "0", "1", ... Indexing and len() as a list's.

    Neighbours that one fused op computes (FUSED) are computed by it, with the same result and less memory written and
    kept, unless a hook looks at one of them.
    """

    def __init__(self, *modules: Module):
        super().__init__()
        for position, module in enumerate(modules):
            self.add_module(str(position), module)

    def forward(self, x: Any) -> Any:
        modules = tuple(self._modules.values())
        for start, end, call in _runs(tuple(map(_kind, modules))):
            try:
                x = call(*modules[start:end], x)
            except MinicnnError:
                for module in modules[start:end]:  # one by one, so that the error names the module it is about
                    x = module(x)
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


FUSED: dict[tuple[type, ...], Callable[..., Any]] = {
    (Conv2d, ReLU, MaxPool2d, Flatten): lambda conv, relu, pool, flatten, x: conv(x, relu_and_pool=pool, flat=True),
    (Conv2d, ReLU, MaxPool2d): lambda conv, relu, pool, x: conv(x, relu_and_pool=pool),
    (Conv2d, ReLU): lambda conv, relu, x: conv(x, activation="relu"),
    (Conv2d, ReLU6): lambda conv, relu, x: conv(x, activation="relu6"),
    (BatchNorm2d, ReLU): lambda norm, relu, x: norm(x, activation="relu"),
    (BatchNorm2d, ReLU6): lambda norm, relu, x: norm(x, activation="relu6"),
    (Linear, ReLU): lambda linear, relu, x: linear(x, relu=True),
    (ReLU, MaxPool2d): lambda relu, pool, x: pool(x, after_relu=True),
}


def _kind(module: Module) -> type | None:
    """The type of a module that may be fused: if nobody looks at it, and its options are what fused ops assume."""
    if module.has_hooks:
        return None
    kind = type(module)
    if (kind is Flatten and module.start_dim != 1) or (kind is MaxPool2d and module.return_indices):
        return None
    return kind


@functools.lru_cache(maxsize=1024)
def _runs(kinds: tuple[type | None, ...]) -> list[tuple[int, int, Callable[..., Any]]]:
    """(first, behind the last, how) for what is computed together, as much as possible from the left."""
    runs: list[tuple[int, int, Callable[..., Any]]] = []
    start = 0
    while start < len(kinds):
        end = next((end for end in range(start + 4, start + 1, -1) if kinds[start:end] in FUSED), start + 1)
        runs.append((start, end, FUSED.get(kinds[start:end], _alone)))  # type: ignore[arg-type]
        start = end
    return runs


def _alone(module: Module, x: Any) -> Any:
    return module(x)


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
