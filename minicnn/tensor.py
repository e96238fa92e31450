"""Tensor: an array that remembers how it was made.

A Tensor holds `data` (a NumPy array, or a GPU's), and if it is the result of an op that was recorded, `grad_fn`, the
Function that made it. These two facts are the whole graph; autograd.py walks it. The operators and methods that compute
(x + y, x.sum(), x.backward()) are attached in one table in ops/__init__.py, so that this file stands below all ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import device as devices
from .errors import DeviceError, DTypeError, GraphError, IndexingError, MissingPackageError, ShapeError
from .kernels.window import one_line

if TYPE_CHECKING:
    from .autograd import Function

# Kinds of dtypes. V is NumPy's for what others have defined: here bfloat16, by ml_dtypes.
FLOATING = "fcV"
NUMBERS = FLOATING + "iub"
DEFAULT_DTYPE = np.float32  # of Python floats and lists of them; arrays keep their own


def as_dtype(dtype: Any) -> np.dtype:
    """A dtype from its name, or from anything NumPy takes; DTypeError for what is none."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        return _bfloat16()
    try:
        return np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy reads "f4,f8" as a list of dtypes
        known = ", ".join(devices.DEVICES)
        raise DTypeError(f"{one_line(dtype)} is no dtype, such as 'float32', and no device ({known})") from None


def _bfloat16() -> np.dtype:
    try:
        import ml_dtypes  # optional
    except ImportError:
        raise MissingPackageError("bfloat16 needs ml_dtypes, which is not installed: pip install ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16)


class Tensor:
    """An n-dimensional array with gradients.

    Tensor(array) shares the array's memory and keeps its dtype; Python floats, and lists of them, become float32.
    requires_grad: record the ops this tensor enters, so that backward() can fill `.grad` (a Tensor of the same shape).
    Raises DTypeError if requires_grad is asked of integers, DeviceError if the device does not exist.
    """

    __slots__ = (
        "stored", "requires_grad", "grad", "grad_fn", "output_index", "device", "version", "hooks", "__weakref__",
    )  # fmt: skip
    stored: Any  # what kernels take: data, or the same numbers in a layout that only the device's own kernels know
    __array_ufunc__ = None  # so that `array + tensor` asks the tensor, and does not compute behind its back

    # Attached by ops/__init__.py:
    if TYPE_CHECKING:
        __add__: Callable[..., Tensor]
        __radd__: Callable[..., Tensor]
        __sub__: Callable[..., Tensor]
        __rsub__: Callable[..., Tensor]
        __mul__: Callable[..., Tensor]
        __rmul__: Callable[..., Tensor]
        __truediv__: Callable[..., Tensor]
        __rtruediv__: Callable[..., Tensor]
        __pow__: Callable[..., Tensor]
        __matmul__: Callable[..., Tensor]
        __neg__: Callable[..., Tensor]
        __getitem__: Callable[..., Tensor]
        __lt__: Callable[..., Tensor]
        __le__: Callable[..., Tensor]
        __gt__: Callable[..., Tensor]
        __ge__: Callable[..., Tensor]

        def __getattr__(self, name: str) -> Callable[..., Tensor]: ...

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None):
        if isinstance(data, Tensor):
            data = data.data
        device = devices.check(device) if device else devices.current()
        elsewhere = devices.DEVICES[device].memory != "host"
        if not isinstance(data, np.ndarray) and not (elsewhere and hasattr(data, "get")):
            data = devices.to_host(data)
            typed = isinstance(data, np.generic) or hasattr(data, "dtype")
            try:
                data = np.asarray(data)
            except ValueError:
                raise DTypeError("a Tensor is made of numbers in rows of equal length; these rows differ") from None
            if not typed and data.dtype == np.float64:
                data = data.astype(DEFAULT_DTYPE)
        if dtype is not None:
            data = data.astype(as_dtype(dtype), copy=False)
        if not data.dtype.isnative:
            data = data.astype(data.dtype.newbyteorder("="))
        if data.dtype.kind not in NUMBERS or (data.dtype.kind == "V" and data.dtype.name != "bfloat16"):
            raise DTypeError(f"a Tensor holds numbers, got an array of dtype {data.dtype}: convert it first")
        self.stored = devices.move(data, device) if elsewhere else data
        self.grad: Tensor | None = None
        self.grad_fn: Function | None = None
        self.output_index = 0
        self.device = device
        self.version = [0]  # how often the array was changed in place; shared with everything that shares the array
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    @classmethod
    def _made(cls, data: np.ndarray, device: str) -> Tensor:
        """The quick way in for arrays that ops have made."""
        tensor = Tensor.__new__(Tensor)
        # NumPy's functions give a scalar instead of an array of shape ()
        tensor.stored = np.asarray(data) if isinstance(data, np.generic) else data
        tensor.device = device
        tensor.grad = tensor.grad_fn = tensor.hooks = None
        tensor.output_index, tensor.requires_grad = 0, False
        tensor.version = [0]
        return tensor

    # --- what an array has ---

    @property
    def data(self) -> Any:
        """The array: NumPy's; on a GPU, CuPy's. Who writes into it changes the tensor."""
        array = self.stored
        return array if type(array) is np.ndarray else devices.to_plain(array)

    @data.setter
    def data(self, array: Any) -> None:
        self.stored = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.stored.size

    @property
    def ndim(self) -> int:
        return self.stored.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    @property
    def nbytes(self) -> int:
        return self.stored.size * self.stored.dtype.itemsize

    def __len__(self) -> int:
        if not self.stored.ndim:
            raise ShapeError("a tensor of shape () has no length: it is one number; .item() gives it")
        return len(self.stored)

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy; also of a tensor inside of a graph. DeviceError if it is not in host memory."""
        if devices.DEVICES[self.device].memory != "host":
            raise DeviceError(
                f"a tensor of shape {self.shape} on {self.device} is not NumPy's: copy it with .to('cpu') first"
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        own = self.numpy()
        array = own if dtype is None else own.astype(dtype, copy=False)
        return array.copy() if copy and array is own else array

    def item(self) -> float | int | bool:
        """The one number in this tensor, as Python's; ShapeError if there are more, or none."""
        if self.data.size != 1:
            raise ShapeError(f"item() gives the number of a tensor with one element, this one has shape {self.shape}")
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(f"a tensor of shape {self.shape} is neither true nor false: use .numpy().any() or .all()")
        return bool(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __contains__(self, value: Any) -> bool:
        return value in self.data

    __hash__ = object.__hash__  # == compares elements; as keys, tensors are themselves

    def __repr__(self) -> str:
        facts = [np.array2string(devices.to_host(self.data), separator=", ", prefix="Tensor("), f"dtype={self.dtype}"]
        if self.device != "cpu":
            facts.append(f'device="{self.device}"')
        if self.grad_fn is not None:
            facts.append(f"grad_fn={self.grad_fn.name}")
        elif self.requires_grad:
            facts.append("requires_grad=True")
        return f"Tensor({', '.join(facts)})"

    # --- its place in the graph ---

    @property
    def is_leaf(self) -> bool:
        """Made by the user rather than by a recorded op: backward() keeps the gradients of leaves."""
        return self.grad_fn is None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set requires_grad on a leaf and return it. DTypeError for integers, GraphError inside of a graph."""
        if requires_grad and self.data.dtype.kind not in FLOATING:
            raise DTypeError(
                f"only floating-point tensors have gradients, this one is {self.dtype}: use .to('float32')"
            )
        if self.grad_fn is not None and not requires_grad:
            raise GraphError("requires_grad of the result of an op cannot be switched off: use .detach()")
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same array, outside of the graph."""
        tensor = Tensor._made(self.stored, self.device)
        tensor.version = self.version
        return tensor

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call hook(gradient) once this tensor's gradient is complete; what it returns, if not None, replaces it.

        Returns a handle whose remove() takes the hook away. GraphError if the tensor does not require a gradient.
        """
        if not self.requires_grad:
            raise GraphError("a hook on a tensor that does not require a gradient would never be called")
        if self.grad_fn is not None:
            hooks = self.grad_fn.output_hooks.setdefault(self.output_index, [])
        else:
            hooks = self.hooks = self.hooks if self.hooks is not None else []
        hooks.append(hook)
        return Handle(hooks, hook)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write into the array. GraphError if the graph needs its old value: backward would be silently wrong."""
        if self.requires_grad:
            raise GraphError(
                f"writing into a tensor of shape {self.shape} that requires a gradient would make backward wrong: "
                "use ops.where, or write into .detach() if that is meant"
            )
        index = index.data if isinstance(index, Tensor) else index
        value = value.data if isinstance(value, Tensor) else value
        if isinstance(value, np.ndarray | list):
            value = devices.move(np.asarray(value, self.dtype), self.device)
        try:
            self.data[index] = value
        except (IndexError, ValueError, TypeError) as error:
            raise IndexingError(f"writing to [{index!r}] of a tensor of shape {self.shape}: {error}") from None
        self.version[0] += 1

    def copy_(self, source: Any) -> Self:
        """Overwrite the array with another of the same shape, outside of the graph (as loading weights does)."""
        array = source.data if isinstance(source, Tensor) else source
        array = devices.move(array if hasattr(array, "shape") else np.asarray(array), self.device)
        if array.shape != self.shape:
            raise ShapeError(f"copy_ needs an array of shape {self.shape}, got {array.shape}")
        self.data[...] = array
        self.version[0] += 1
        return self


class Handle:
    """What registering a hook returns: remove() takes the hook away again; so does leaving `with handle:`."""

    def __init__(self, hooks: list, hook: Any):
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        for position, hook in enumerate(self.hooks):
            if hook is self.hook:
                del self.hooks[position]
                self.hook = None  # removing twice takes away one
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
