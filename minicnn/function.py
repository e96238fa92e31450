"""Function: what every op is, how a call of one is recorded, and the switches that change how ops run.

Function.apply computes forward on arrays and, if any input requires a gradient, ties a node into the graph: edges to
the nodes that made its inputs, and the arrays that backward will need. A node never holds its outputs, so there is no
reference cycle, and memory falls when the loss dies.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from . import device as devices
from .anomaly import calling_line, raise_at_first_nan
from .errors import DTypeError, GraphError, OutOfMemoryError
from .tensor import FLOATING, Tensor


class _Mode(threading.local):
    """Per thread: whether ops are recorded, whether they run a second time, whether NaN are hunted, in which precision
    they compute (amp.py), and who watches."""

    def __init__(self) -> None:
        self.recording = True
        self.recomputing = False
        self.anomaly = False
        self.autocast: Callable[[str, Sequence[Any]], Sequence[Any]] | None = None
        self.op_hooks: tuple[OpHook, ...] = ()


_mode = _Mode()
_order = itertools.count()


class Switch:
    """Sets one field of the mode for a block (`with no_grad():`) or a function (`@no_grad()`)."""

    field: ClassVar[str]

    def __init__(self, value: Any):
        self.value = value
        self.before: list[Any] = []

    def __enter__(self) -> None:
        self.before.append(getattr(_mode, self.field))
        setattr(_mode, self.field, self.value)

    def __exit__(self, *exc: object) -> None:
        setattr(_mode, self.field, self.before.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def switched(*args: Any, **options: Any) -> Any:
            with self:
                return function(*args, **options)

        return switched


class set_grad_enabled(Switch):
    """Record ops (True) or not (False) inside of a block."""

    field = "recording"


class no_grad(set_grad_enabled):
    """Inside, ops compute but are not recorded: for evaluation, and for changing parameters."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Inside, ops are recorded, also within no_grad."""

    def __init__(self) -> None:
        super().__init__(True)


class set_recomputing(Switch):
    """Inside, what runs has run before: see is_recomputing."""

    field = "recomputing"


class detect_anomaly(Switch):
    """Inside, the first op whose result has a NaN though its inputs had none raises AnomalyError, which names the op
    and the line that called it; in backward, the op whose gradient it was. Slow: every result is searched."""

    field = "anomaly"

    def __init__(self, enabled: bool = True):
        super().__init__(enabled)
        self.quiet: list[Any] = []

    def __enter__(self) -> None:
        super().__enter__()
        self.quiet.append(np.errstate(all="ignore"))  # NumPy's warning would come before the op is named
        self.quiet[-1].__enter__()

    def __exit__(self, *exc: object) -> None:
        self.quiet.pop().__exit__(None, None, None)
        super().__exit__(*exc)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded."""
    return _mode.recording


class set_autocast(Switch):
    """Inside, ops get their inputs from a function of their name and the inputs; None: as they are."""

    field = "autocast"


def autocast_in_force() -> Any:
    """What set_autocast has set."""
    return _mode.autocast


def is_recomputing() -> bool:
    """Whether a checkpoint runs its function again for backward: running statistics have been updated already."""
    return _mode.recomputing


class OpHook(Protocol):
    """Watches ops: explain.op_hooks has a timer, a memory meter and a printer. `with hook:` installs one."""

    def before(self, function: Function, inputs: Sequence[Tensor | None]) -> None: ...

    def after(self, function: Function, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> None: ...


def install(hook: OpHook) -> None:
    """Let the hook see every op of this thread, forward and backward, until remove(hook)."""
    _mode.op_hooks += (hook,)


def remove(hook: OpHook) -> None:
    """Take the hook away again."""
    _mode.op_hooks = tuple(h for h in _mode.op_hooks if h is not hook)


class _NoneNeeded(list[bool]):
    """What needs_grad says of every input when nothing is recorded."""

    def __getitem__(self, index: Any) -> Any:
        return False


_NONE_NEEDED = _NoneNeeded()


class Function:
    """One op: forward on arrays, backward on Tensors.

    A subclass writes forward(self, *arrays, **attributes) -> array or tuple of arrays, in which it may call
    self.save(...), and backward(self, *gradients) -> one gradient (Tensor or None) per input, written with ops.
    apply(*inputs, **attributes) computes: inputs are Tensors (or None for an absent one) of one floating-point dtype;
    everything else is an attribute. What backward needs beyond saved arrays (shapes, windows) is kept on self.
    """

    name: ClassVar[str] = "function"  # conv2d, max_pool2d: the class's name in lower case
    any_dtype: ClassVar[bool] = False  # shape ops and arithmetic also take integers
    mixed_precision: ClassVar[bool] = False  # weights of channels may be float32 beside images of 16 bits
    macs: int = 0  # multiply-adds of this call, for the summary; convolutions and products set it

    __slots__ = (
        "edges", "active", "order", "outputs", "output_hooks", "consumed", "device", "call_line", "_saving", "_saved",
        "__dict__", "__weakref__",
    )  # fmt: skip
    edges: list[Any]  # per input: where it came from, None if it needs no gradient
    active: list[bool]  # per input: does it need a gradient, in this pass?
    order: int  # of creation
    outputs: list[tuple[tuple[int, ...], np.dtype]]
    output_hooks: dict[int, list]
    consumed: bool  # by a backward that freed it
    device: str
    call_line: str  # where it was called, in anomaly mode
    _saving: tuple
    _saved: Sequence[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def forward(self, *arrays: Any, **attributes: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, *gradients: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def save(self, *arrays: Any) -> None:
        """Called in forward: keep these arrays (inputs, outputs, others, or None) alive for backward, and no others."""
        self._saving = arrays

    def needs_grad(self, index: int) -> bool:
        """Whether input `index` needs a gradient (in backward: in this pass); skip what nobody asked for."""
        return self.active[index]

    @property
    def saved(self) -> list[Any]:
        """In backward: what forward saved, as Tensors in the graph. GraphError if it was changed since."""
        return [entry(self) for entry in self._saved]

    @classmethod
    def apply(cls, *inputs: Tensor | None, **attributes: Any) -> Any:
        """Compute forward, and record it if any input requires a gradient. Returns a Tensor, or a tuple of them."""
        node = cls()
        mode = _mode
        if mode.autocast is not None:
            inputs = mode.autocast(node.name, inputs)  # type: ignore[assignment]
        arrays: list[Any] = []
        requires_grad: list[bool] = []
        dtype = device = None
        for tensor in inputs:  # one pass: this is the overhead of every op, some microseconds in all
            if tensor is None:
                arrays.append(None)
                requires_grad.append(False)
                continue
            array = tensor.stored
            arrays.append(array)
            requires_grad.append(tensor.requires_grad)
            if array.dtype is not dtype:
                if dtype is not None or array.dtype.kind not in FLOATING:
                    node._check_dtypes(inputs)
                dtype = array.dtype
            if tensor.device != device:
                device = tensor.device if device is None else devices.resolve((device, tensor.device))
        node.device = devices.resolve_one(device)
        recording = mode.recording and True in requires_grad
        node.active = requires_grad if recording else _NONE_NEEDED
        node._saving = node._saved = ()

        if mode.op_hooks:
            for hook in mode.op_hooks:
                hook.before(node, inputs)
        state = devices.state
        outer, state.computing = state.computing, node.device
        try:
            result = node.forward(*arrays, **attributes)
        except MemoryError as error:
            shapes = [tensor.shape for tensor in inputs if tensor is not None]
            raise OutOfMemoryError.in_op(node.name, shapes, node.device, error) from None
        finally:
            state.computing = outer
        results = result if isinstance(result, tuple) else (result,)
        outputs = [Tensor._made(array, node.device) for array in results]
        for output in outputs:
            if output.stored.base is not None:  # a view of an input, perhaps: writing into one changes the other
                _share_version(output, inputs)
        if recording:
            node._record(inputs, outputs, results)
        if mode.anomaly:
            raise_at_first_nan(node.name, inputs, outputs)
        if mode.op_hooks:
            for hook in reversed(mode.op_hooks):
                hook.after(node, inputs, outputs)
        node._saving = ()
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]

    def _check_dtypes(self, inputs: Sequence[Tensor | None]) -> None:
        """DTypeError for two precisions in one op, and for integers where the op has a derivative."""
        tensors = [tensor for tensor in inputs if tensor is not None]
        dtypes = {tensor.stored.dtype for tensor in tensors if tensor.stored.dtype.kind in FLOATING}
        if len(dtypes) > 1 and not self.mixed_precision:
            given = " and ".join(sorted(f"{t.dtype} of shape {t.shape}" for t in tensors))
            raise DTypeError(f"{self.name} got tensors of different precision, {given}: convert one with .to(dtype)")
        for tensor in tensors:
            if tensor.stored.dtype.kind not in FLOATING and not self.any_dtype:
                raise DTypeError(
                    f"{self.name} needs floating-point tensors, got {tensor.dtype} of shape {tensor.shape}: "
                    "convert it with .to('float32')"
                )

    def _record(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], results: Sequence[Any]) -> None:
        """Tie this node into the graph: edges to where the inputs came from, and the saved arrays."""
        self.order = next(_order)
        self.consumed = False
        self.output_hooks = {}
        self.outputs = [(output.stored.shape, output.stored.dtype) for output in outputs]
        self.call_line = calling_line() if _mode.anomaly else ""
        self.edges = [
            None if tensor is None or not tensor.requires_grad else Edge(tensor.grad_fn, tensor.output_index, tensor)
            for tensor in inputs
        ]
        for index, output in enumerate(outputs):
            if output.stored.dtype.kind in FLOATING:
                output.requires_grad, output.grad_fn, output.output_index = True, self, index
        self._saved = [self._keep(array, inputs, outputs, results) for array in self._saving]

    def _keep(
        self, array: Any, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], results: Sequence[Any]
    ) -> SavedInput | SavedOutput | SavedConstant:
        for tensor in inputs:
            if tensor is not None and tensor.stored is array:
                return SavedInput(tensor)
        for output, result in zip(outputs, results, strict=True):
            if result is array:  # not output.stored: NumPy returns a scalar where the array it is kept in has shape ()
                return SavedOutput(output)
        return SavedConstant(array)

    def kept_arrays(self) -> list[Any]:
        """All arrays this node keeps alive for backward: saved ones, and those it holds as attributes."""
        attributes = [
            part for value in self.__dict__.values() for part in (value if type(value) is tuple else (value,))
        ]
        kept = [entry.array for entry in self._saved] + attributes
        return [array for array in kept if hasattr(array, "dtype") and hasattr(array, "nbytes")]

    def release(self) -> None:
        """Forget everything that was kept for backward, but not where it came from: grad() must know what is gone."""
        self.consumed = True
        self._saved = []
        self.__dict__.clear()


def _share_version(view: Tensor, inputs: Sequence[Tensor | None]) -> None:
    for tensor in inputs:
        if tensor is not None and (tensor.stored is view.stored.base or tensor.stored.base is view.stored.base):
            view.version = tensor.version


class Edge:
    """From a node to one of its inputs: to (node, output_index) that made it, or to a leaf tensor."""

    __slots__ = ("dtype", "leaf", "node", "output_index", "shape")

    def __init__(self, node: Function | None, output_index: int, tensor: Tensor):
        self.node, self.output_index = node, output_index
        self.leaf = tensor if node is None else None
        self.shape, self.dtype = tensor.stored.shape, tensor.stored.dtype


class SavedInput:
    """A saved input: the tensor itself, and proof that its array is still what forward saw."""

    __slots__ = ("array", "tensor", "version")

    def __init__(self, tensor: Tensor):
        self.tensor, self.array, self.version = tensor, tensor.stored, tensor.version[0]

    def __call__(self, node: Function) -> Tensor:
        if self.tensor.stored is not self.array or self.tensor.version[0] != self.version:
            raise GraphError(_changed(node, self.array))
        return self.tensor


class SavedOutput:
    """A saved output: only its array, since holding the tensor would be a reference cycle."""

    __slots__ = ("array", "index", "version", "version_then")

    def __init__(self, tensor: Tensor):
        self.array, self.index = tensor.stored, tensor.output_index
        self.version, self.version_then = tensor.version, tensor.version[0]

    def __call__(self, node: Function) -> Tensor:
        if self.version[0] != self.version_then:
            raise GraphError(_changed(node, self.array))
        tensor = Tensor._made(self.array, node.device)
        tensor.requires_grad, tensor.grad_fn, tensor.output_index = True, node, self.index
        tensor.version = self.version
        return tensor


class SavedConstant:
    """Something else that forward computed, such as a mask: a constant of backward."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray | None):
        self.array = array

    def __call__(self, node: Function) -> Tensor | None:
        return None if self.array is None else Tensor._made(self.array, node.device)


def _changed(node: Function, array: np.ndarray) -> str:
    return (
        f"{node.name} needs a tensor of shape {array.shape} as it was in forward, but it was changed in place since: "
        "call backward() before changing it (for parameters: before optimizer.step())"
    )
