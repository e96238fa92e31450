"""The function that gradcheck is given: how it can be called, and what code calls it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ArgumentError
from .function import Function
from .tensor import Tensor

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Candidate:
    """A function of arrays and options that is meant to be an op."""

    function: Callable[..., Any]
    inner: Callable[..., Any]  # without the options that a partial gave it
    name: str
    written: str  # in code
    imported: str  # the line of code before
    arrays: tuple[str, ...] | None  # the parameters that are no options; None: as many as one likes
    leading: int  # so many of them stand before the first option; the others are given by name
    options: tuple[str, ...] | None  # those of the op's options that it names; None: any
    fixed: dict[str, Any]  # options that were given a value beforehand

    @classmethod
    def of(cls, function: Any, known: Collection[str]) -> Candidate:
        """known: the op's options. Raises ArgumentError if function cannot be called."""
        function = plain(function)
        fixed: dict[str, Any] = {}
        inner, positional = function, 0
        while isinstance(inner, functools.partial):
            fixed, positional, inner = {**inner.keywords, **fixed}, positional + len(inner.args), inner.func
        owner: Any = getattr(inner, "__self__", None)
        is_apply = isinstance(owner, type) and issubclass(owner, Function)
        try:
            parameters = list(inspect.signature(owner.forward if is_apply else inner).parameters.values())
        except (TypeError, ValueError):
            parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        parameters = parameters[positional + is_apply :]  # without self
        arrays = tuple(
            p.name
            for p in parameters
            if p.kind in POSITIONAL and p.name not in (*known, *fixed) and p.default in (inspect.Parameter.empty, None)
        )
        kinds = {p.kind for p in parameters}
        by_position = is_apply or inspect.Parameter.VAR_POSITIONAL in kinds
        first = next((k for k, p in enumerate(parameters) if p.name in known and not by_position), sys.maxsize)
        written, imported = _in_code(owner if is_apply else inner)
        return cls(
            function,
            inner,
            owner.__name__ if is_apply else getattr(inner, "__name__", type(inner).__name__),
            f"{written}.apply" if is_apply else written,
            imported,
            None if inspect.Parameter.VAR_POSITIONAL in kinds else arrays,
            first,
            None if inspect.Parameter.VAR_KEYWORD in kinds else tuple(p.name for p in parameters if p.name in known),
            {name: value for name, value in fixed.items() if name in known},
        )

    def takes(self, option: str) -> bool:
        return self.options is None or option in self.options

    def written_call(self, arrays: list[str], options: str) -> str:
        """In code."""
        named = [f"{key}={array}" for key, array in self._by_name(arrays)]
        return f"{self.written}({', '.join(arrays[: self.leading] + named)}{options})"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """With the options that it takes; the others are built in."""
        given = {name: value for name, value in options.items() if self.takes(name)}
        return self.function(*arguments[: self.leading], **dict(self._by_name(arguments)), **given)

    def _by_name(self, arguments: Sequence[Any]) -> Iterator[tuple[str, Any]]:
        return zip((self.arrays or ())[self.leading :], arguments[self.leading :], strict=False)


def plain(function: Any) -> Callable[..., Any]:
    """A function of Tensors: itself, the apply of a Function, or what of_arrays makes of (forward, backward)."""
    if isinstance(function, tuple) and len(function) == 2 and all(map(callable, function)):
        return of_arrays(*function)
    if isinstance(function, type) and issubclass(function, Function):
        return function.apply
    if not callable(function):
        raise ArgumentError(
            "gradcheck needs a function of Tensors, a Function, or (forward, backward) of NumPy arrays, "
            f"got {type(function).__name__}"
        )
    return function


def of_arrays(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Tensors from two of NumPy arrays.

    forward(*arrays, **options) -> y;  backward(gy, *arrays, **options) -> a gradient for each floating-point array.
    It can be differentiated once: its gradients are constants.
    """

    label = getattr(forward, "__name__", "function")

    class OfArrays(Function):
        name = label

        def forward(self, *arrays: np.ndarray, arguments: tuple, options: dict[str, Any]) -> np.ndarray:
            self.save(*arrays)
            self.arguments, self.options = arguments, options
            return forward(*_filled(arguments, arrays), **options)

        def backward(self, gy: Tensor) -> tuple[Tensor | None, ...]:
            arrays = _filled(self.arguments, [saved.data for saved in self.saved])
            found = backward(gy.data, *arrays, **self.options)
            found = found if isinstance(found, tuple | list) else (found,)
            return tuple(None if g is None else Tensor(np.asarray(g), device=self.device) for g in found)

    @functools.wraps(forward)
    def function(*arguments: Any, **options: Any) -> Any:
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        places = tuple(None if isinstance(a, Tensor) else (a,) for a in arguments)
        return OfArrays.apply(*tensors, arguments=places, options=options)

    function.of_arrays = forward, backward  # type: ignore[attr-defined]
    return function


def _filled(places: tuple, arrays: Any) -> list[Any]:
    """The arguments of a call: arrays in the empty places, what stood in the others."""
    given = iter(arrays)
    return [next(given) if place is None else place[0] for place in places]


def _in_code(thing: Any) -> tuple[str, str]:
    """How code can call it, and the line that imports it; a comment if only the reader can know."""
    if hasattr(thing, "of_arrays"):
        (forward, first), (backward, second) = map(_in_code, thing.of_arrays)
        lines = dict.fromkeys(("from minicnn.candidate import of_arrays", first, second))
        return f"of_arrays({forward}, {backward})", "\n".join(lines)
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    path = getattr(thing, "__qualname__", "").split(".")
    found: Any = module
    for part in path:
        found = getattr(found, part, None)
    if found is thing and module is not None and module.__name__ != "__main__":
        return ".".join(path), f"from {module.__name__} import {path[0]}"
    name = getattr(thing, "__name__", "")
    name = name if name.isidentifier() else "function"
    return name, f"# {name} is what was given to gradcheck"
