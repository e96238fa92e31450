"""Module: layers with names. It owns parameters, buffers and other modules, and finds them in construction order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from .. import device as devices
from ..errors import CheckpointError, DTypeError, GraphError, MinicnnError
from ..ops.arguments import flag
from ..tensor import FLOATING, Handle, Tensor, as_dtype


class Parameter(Tensor):
    """A tensor that training changes. Assigned to an attribute of a Module, it becomes one of its parameters."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None):
        super().__init__(data, requires_grad, dtype)


class Module:
    """Base of all layers and networks: assign Parameters and Modules in __init__, compute in forward().

    Parameters exist, with their final shapes, once the module is constructed. Buffers (register_buffer) are state that
    is saved but not trained. The order of everything is the order of construction; within a module, its parameters
    come first, then its buffers, then its children's.
    """

    training: bool
    summary: Callable[..., Any]  # summary.py attaches it: model.summary((1, 32, 32))

    def __init__(self) -> None:
        self.__dict__.update(
            _parameters={}, _buffers={}, _modules={}, _forward_pre_hooks=[], _forward_hooks=[], training=True
        )

    # --- what it owns ---

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise GraphError(f"{type(self).__name__}.__init__ must call super().__init__() before it sets attributes")
        if isinstance(value, Parameter | Module):
            self.__dict__.pop(name, None)
            for kind in (self._parameters, self._buffers, self._modules):
                kind.pop(name, None)
            (self._parameters if isinstance(value, Parameter) else self._modules)[name] = value
        elif name in self._parameters and value is not None:
            raise GraphError(f"{name} is a parameter of {type(self).__name__}: assign an nn.Parameter, or use .copy_()")
        elif name in self._buffers:
            self._buffers[name] = value if isinstance(value, Tensor) else Tensor(value)
        else:
            for kind in (self._parameters, self._modules):
                kind.pop(name, None)
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if "_parameters" in own:  # not before __init__ has run
            for owned in (own["_parameters"], own["_modules"], own["_buffers"]):
                if name in owned:
                    return owned[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for kind in (self._parameters, self._buffers, self._modules):
            if name in kind:
                del kind[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def register_buffer(self, name: str, value: Any) -> None:
        """Own `value` (array or Tensor) as state that is saved and moved with the module but not trained."""
        if name in self._parameters or name in self._modules:
            raise GraphError(f"{type(self).__name__} already has a {name}, which is no buffer: choose another name")
        self.__dict__.pop(name, None)
        self._buffers[name] = value if isinstance(value, Tensor) else Tensor(value)

    def add_module(self, name: str, module: Module) -> None:
        """Own another module under a name that need not be a Python identifier, such as "0"."""
        if not name or "." in name:
            raise GraphError(f"a module's name must not be empty or have a dot, got {name!r}")
        if not isinstance(module, Module):
            raise GraphError(f"{name} of {type(self).__name__} must be a Module, not a {type(module).__name__}")
        self._modules[name] = module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) of this module ("") and all below it, each once."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self._modules.items():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below."""
        return iter(self._modules.items())

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of this module and all below it, each once."""
        return self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, as an optimizer takes them."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of this module and all below it, each once."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers())

    def _named(self, kind: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in getattr(module, kind).items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    # --- state ---

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers by path: training on does not change what was taken out."""
        return {name: Tensor(value.data.copy(), device=value.device) for name, value in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules():
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                yield f"{path}.{name}" if path else name, value

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Overwrite parameters and buffers with arrays or Tensors by path, cast to each one's own dtype.

        Raises CheckpointError with the difference if names are missing or unexpected (strict only) or shapes differ;
        then nothing is changed.
        """
        if not isinstance(state, Mapping):
            raise CheckpointError(f"load_state_dict takes names and arrays, not a {type(state).__name__}")
        own = dict(self._state())
        given = {name: np.asarray(_on_host(value)) for name, value in state.items()}
        lines = _some([f"  missing     {name} {own[name].shape}" for name in own if name not in given and strict])
        lines += _some([f"  unexpected  {name} {given[name].shape}" for name in given if name not in own and strict])
        lines += _some([
            f"  shape       {name}: the model has {own[name].shape}, the state {given[name].shape}"
            for name in own
            if name in given and own[name].shape != given[name].shape
        ])  # fmt: skip
        if lines:
            text = "\n".join(lines)
            raise CheckpointError(f"the state does not fit {type(self).__name__}; nothing was loaded:\n{text}")
        for name, tensor in own.items():
            if name in given:
                tensor.copy_(given[name])

    # --- modes and places ---

    def train(self, mode: bool = True) -> Self:
        """Training mode, here and below: dropout drops, batch norm uses the batch."""
        flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: the opposite of train()."""
        return self.train(False)

    def to(self, target: Any = None, *, dtype: Any = None, device: str | None = None) -> Self:
        """Move all parameters and buffers: to("float64"), to("reference"), to(dtype=..., device=...). In place.

        Only floating-point state is cast; gradients are dropped. Raises DTypeError or DeviceError for unknown names.
        """
        if isinstance(target, str) and devices.is_device(target):
            device = target
        elif target is not None:
            dtype = target
        new_dtype = None if dtype is None else as_dtype(dtype)
        if new_dtype is not None and new_dtype.kind not in FLOATING:
            raise DTypeError(f"the weights of a module are floating-point numbers, they cannot be {new_dtype}")
        if device is not None:
            devices.check(device)
        for _, tensor in self._state():
            if new_dtype is not None and tensor.dtype.kind in FLOATING:
                tensor.data = tensor.data.astype(new_dtype)
            if device is not None:
                tensor.data, tensor.device = devices.move(tensor.data, device), device
            tensor.version[0] += 1
            tensor.grad = None
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train (True) or freeze (False) all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; they become None, also without set_to_none, which is there for PyTorch's sake."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, function: Callable[[Module], None]) -> Self:
        """Call function(module) on every module, children first; for initialising weights."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # --- calling ---

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """forward(), between the hooks. An error on its way out learns the path of the module it came from."""
        try:
            if not self.has_hooks:
                return self.forward(*inputs, **options)
            for pre_hook in tuple(self._forward_pre_hooks):
                pre_hook(self, inputs)
            output = self.forward(*inputs, **options)
            for hook in tuple(self._forward_hooks):
                replaced = hook(self, inputs, output)
                output = output if replaced is None else replaced
            return output
        except MinicnnError as error:
            self._locate(error)
            raise

    def _locate(self, error: MinicnnError) -> None:
        if error.module is None:
            error.module_name = self.describe()
        else:
            names = (name for name, module in self.named_modules() if module is error.module and name)
            error.path[:0] = next(names, "").split(".") if error.module is not self else []
        error.module = self

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], None]) -> Handle:
        """Call hook(module, inputs) before each forward. Returns a handle with remove()."""
        self._forward_pre_hooks.append(hook)
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Handle:
        """Call hook(module, inputs, output) after each forward; what it returns, if not None, replaces the output."""
        self._forward_hooks.append(hook)
        return Handle(self._forward_hooks, hook)

    @property
    def has_hooks(self) -> bool:
        """Whether someone looks at what goes in or comes out."""
        return bool(self._forward_pre_hooks or self._forward_hooks)

    # --- how it looks ---

    def extra_repr(self) -> str:
        """What a layer says of itself between the parentheses of its repr, such as its sizes."""
        return ""

    def describe(self) -> str:
        """Class and sizes in a few words: "Conv2d 6→16, 5×5"."""
        return f"{type(self).__name__} {self.extra_repr()}".strip()

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        children = "".join(f"\n({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items())
        return f"{type(self).__name__}({children}\n)"


def _on_host(value: Any) -> Any:
    return devices.to_host(value.data) if isinstance(value, Tensor) else value


def _some(lines: list[str], most: int = 12) -> list[str]:
    """The lines, or if they are too many to be read, the first of them and how many more there are."""
    return lines if len(lines) <= most else [*lines[: most - 1], f"  ... and {len(lines) - most + 1} more of this kind"]
