"""Elementwise arithmetic with NumPy's broadcasting, and comparisons.

Broadcasting copies an input along the axes it lacks, so its gradient is the sum over those axes: gx.sum_to(x.shape).
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from .. import device as devices
from .. import kernels
from ..errors import ArgumentError, DTypeError, ShapeError
from ..function import Function
from ..tensor import FLOATING, NUMBERS, Tensor, as_dtype
from .arguments import array_of, expect, floating, one_line


def operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of one dtype: numbers, and integer or bool arrays, take the dtype of the floating one.

    Raises ShapeError if the shapes do not broadcast.
    """
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a, b = wrapped(name, a, b)
    if a.dtype != b.dtype:
        if a.dtype.kind in FLOATING and b.dtype.kind not in FLOATING:
            b = b.to(a.dtype)
        elif b.dtype.kind in FLOATING and a.dtype.kind not in FLOATING:
            a = a.to(b.dtype)
    if a.shape != b.shape and a.shape and b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ShapeError(
                f"{name} got shapes {a.shape} and {b.shape}, which do not broadcast: "
                "counted from the last axis, sizes must be equal or one of them 1"
            ) from None
    return a, b


def wrapped(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as Tensors, if one of them is. A number or list takes the dtype of the other if that is floating-point;
    beside integers, Python's floats become float32, as in Tensor(...). An array keeps its dtype."""
    if isinstance(a, Tensor):
        return a, b if isinstance(b, Tensor) else like(name, a, b)
    if isinstance(b, Tensor):
        return like(name, b, a), b
    given = f"{type(a).__name__} and {type(b).__name__}"
    raise DTypeError(f"{name} takes at least one Tensor, got {given}: wrap one in minicnn.Tensor(...)")


def like(name: str, tensor: Tensor, value: Any) -> Tensor:
    """A number, list or array as a Tensor beside `tensor`: see wrapped."""
    if type(value) is float and tensor.dtype.kind in "fV":
        return _on(np.asarray(value, tensor.dtype), tensor.device)
    if isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS:
        return Tensor(value, device=tensor.device)
    if isinstance(value, numbers.Complex | np.generic | list | tuple):
        array = array_of(name, "the other operand", value)
        real = tensor.dtype.kind == "f" and array.dtype.kind == "c"
        if array.dtype.kind in NUMBERS and not real:
            if tensor.dtype.kind in FLOATING and (array.ndim == 0 or isinstance(value, list | tuple)):
                value = array.astype(tensor.dtype)
            return _on(value, tensor.device)
    raise DTypeError(
        f"{name} of a {tensor.dtype} tensor of shape {tensor.shape} and {type(value).__name__} {one_line(value)} "
        "is not defined: it takes numbers, arrays and Tensors"
    )


class Add(Function):
    """y = a + b;  ∂y/∂a = 1, ∂y/∂b = 1."""

    any_dtype = True

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return kernels.add(a, b)

    def backward(self, gy):
        return gy.sum_to(self.shapes[0]), gy.sum_to(self.shapes[1])


class Sub(Function):
    """y = a − b;  ∂y/∂a = 1, ∂y/∂b = −1."""

    any_dtype = True

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return kernels.sub(a, b)

    def backward(self, gy):
        return gy.sum_to(self.shapes[0]), -gy.sum_to(self.shapes[1]) if self.needs_grad(1) else None


class Mul(Function):
    """y = a · b;  ∂y/∂a = b, ∂y/∂b = a."""

    any_dtype = True

    def forward(self, a, b):
        self.save(a if self.needs_grad(1) else None, b if self.needs_grad(0) else None)
        self.shapes = a.shape, b.shape
        return kernels.mul(a, b)

    def backward(self, gy):
        a, b = self.saved
        ga = (gy * b).sum_to(self.shapes[0]) if self.needs_grad(0) else None
        gb = (gy * a).sum_to(self.shapes[1]) if self.needs_grad(1) else None
        return ga, gb


class Div(Function):
    """y = a / b;  ∂y/∂a = 1/b, ∂y/∂b = −a/b²."""

    def forward(self, a, b):
        self.save(a if self.needs_grad(1) else None, b)
        self.shapes = a.shape, b.shape
        return kernels.div(a, b)

    def backward(self, gy):
        a, b = self.saved
        ga = (gy / b).sum_to(self.shapes[0]) if self.needs_grad(0) else None
        gb = (-gy * a / (b * b)).sum_to(self.shapes[1]) if self.needs_grad(1) else None
        return ga, gb


class Neg(Function):
    """y = −x;  ∂y/∂x = −1."""

    any_dtype = True

    def forward(self, x):
        return kernels.neg(x)

    def backward(self, gy):
        return -gy


class Exp(Function):
    """y = eˣ;  ∂y/∂x = y."""

    def forward(self, x):
        y = kernels.exp(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy * y


class Log(Function):
    """y = ln x;  ∂y/∂x = 1/x."""

    def forward(self, x):
        self.save(x)
        return kernels.log(x)

    def backward(self, gy):
        (x,) = self.saved
        return gy / x


class Sqrt(Function):
    """y = √x;  ∂y/∂x = 1 / (2y)."""

    def forward(self, x):
        y = kernels.sqrt(x)
        self.save(y)
        return y

    def backward(self, gy):
        (y,) = self.saved
        return gy / (y * 2.0)


class Abs(Function):
    """y = |x|;  ∂y/∂x = sign x, taken as 0 at the kink x = 0."""

    def forward(self, x):
        self.save(kernels.sign(x))
        return kernels.absolute(x)

    def backward(self, gy):
        (sign,) = self.saved
        return gy * sign


class Maximum(Function):
    """y = max(a, b);  the gradient goes to the larger; where they are equal, half to each."""

    def forward(self, a, b):
        larger = kernels.cast(kernels.compare(a, b, "greater"), a.dtype)
        equal = kernels.cast(kernels.compare(a, b, "equal"), a.dtype)
        half = kernels.mul(equal, equal.dtype.type(0.5))
        self.save(kernels.add(larger, half))
        self.shapes = a.shape, b.shape
        return kernels.maximum(a, b)

    def backward(self, gy):
        (share,) = self.saved
        ga = gy * share
        return ga.sum_to(self.shapes[0]), (gy - ga).sum_to(self.shapes[1])


class Where(Function):
    """y = a where condition holds, else b: the gradient goes to the one that was taken."""

    any_dtype = True

    def forward(self, a, b, condition):
        self.condition, self.shapes = condition, (a.shape, b.shape)
        return kernels.where(condition, a, b)

    def backward(self, gy):
        ga = where(self.condition, gy, 0.0).sum_to(self.shapes[0]) if self.needs_grad(0) else None
        gb = where(self.condition, 0.0, gy).sum_to(self.shapes[1]) if self.needs_grad(1) else None
        return ga, gb


COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


class Compare(Function):
    """a ? b, elementwise, as a bool tensor: no gradient."""

    any_dtype = True

    def forward(self, a, b, how):
        return kernels.compare(a, b, how)


class Cast(Function):
    """x in another dtype; the gradient is cast back."""

    any_dtype = True

    def forward(self, x, dtype):
        self.dtype = x.dtype
        return kernels.cast(x, dtype)

    def backward(self, gy):
        return cast(gy, self.dtype)


class Move(Function):
    """x on another device; the gradient is moved back. In one memory only the book of kernels changes."""

    any_dtype = True

    def forward(self, x, device):
        self.origin = self.device
        self.device = device
        return devices.move(x, device)

    def backward(self, gy):
        return gy.to(self.origin)


def _on(value: Any, device: str) -> Tensor:
    """A Tensor on the device. A number is kept on a GPU once it is there: copying it takes longer than the op."""
    if devices.DEVICES[device].memory == "host" or np.ndim(value):
        return Tensor(value, device=device)
    return Tensor._made(devices.constant(Tensor(value, device="cpu").data, device), device)


# --- what users call --------------------------------------------------------------------------------------------------


def add(a: Any, b: Any) -> Tensor:
    """a + b, broadcasting. Raises ShapeError if the shapes do not broadcast, DTypeError on mixed precision."""
    return Add.apply(*operands("add", a, b))


def sub(a: Any, b: Any) -> Tensor:
    """a − b, broadcasting. Errors as add."""
    a, b = operands("sub", a, b)
    if a.dtype.kind == b.dtype.kind == "b":
        raise DTypeError(f"sub of bool tensors of shapes {a.shape} and {b.shape} is not defined: compare them with !=")
    return Sub.apply(a, b)


def mul(a: Any, b: Any) -> Tensor:
    """a · b, elementwise, broadcasting. Errors as add."""
    return Mul.apply(*operands("mul", a, b))


def div(a: Any, b: Any) -> Tensor:
    """a / b, elementwise, broadcasting; floating-point only. Errors as add."""
    return Div.apply(*operands("div", a, b))


def neg(x: Tensor) -> Tensor:
    """−x."""
    expect("neg", x)
    if x.dtype.kind == "b":
        raise DTypeError(f"neg of a bool tensor of shape {x.shape} is not defined: compare it with == False")
    return Neg.apply(x)


def exp(x: Tensor) -> Tensor:
    """eˣ."""
    expect("exp", x)
    return Exp.apply(x)


def log(x: Tensor) -> Tensor:
    """Natural logarithm ln x: −∞ at 0 and NaN below, as in NumPy."""
    expect("log", x)
    return Log.apply(x)


def sqrt(x: Tensor) -> Tensor:
    """√x: NaN below 0."""
    expect("sqrt", x)
    return Sqrt.apply(x)


def abs(x: Tensor) -> Tensor:
    """|x|."""
    expect("abs", x)
    return Abs.apply(x)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, elementwise, broadcasting; NaN where either is NaN. Errors as add."""
    return Maximum.apply(*operands("maximum", a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b: −max(−a, −b). Errors as add."""
    a, b = operands("minimum", a, b)
    floating("minimum", a, b)
    return -maximum(-a, -b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the bool array `condition` holds, else b; all three broadcast. Two numbers count as float32.

    Errors as add; DTypeError if the condition is not bool.
    """
    device = condition.device if isinstance(condition, Tensor) else None
    given = condition.data if isinstance(condition, Tensor) else condition
    # A copy, since backward needs it unchanged; where it is, since a GPU's would have to be waited for.
    condition = given.copy() if hasattr(given, "dtype") else array_of("where", "condition", given)
    if condition.dtype != bool:
        raise DTypeError(
            f"where needs a bool condition, got {condition.dtype} of shape {condition.shape}: compare first (x > 0)"
        )
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = like("where", Tensor(0.0, device=device), a)
    a, b = operands("where", a, b)
    try:
        np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"where got a condition of shape {condition.shape} and values of shapes {a.shape} and {b.shape}, "
            "which do not broadcast"
        ) from None
    return Where.apply(a, b, condition=condition)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype, by name or NumPy's; x itself if it has it already. Raises DTypeError for what is none."""
    expect("cast", x)
    try:
        wanted = as_dtype(dtype)
    except DTypeError as error:
        raise DTypeError(f"cast of shape {x.shape}: {error.message}") from None
    if dtype is None or wanted.kind not in NUMBERS:
        raise DTypeError(f"cast of shape {x.shape} needs the dtype of numbers, like 'float32', got {one_line(dtype)}")
    return x if x.dtype == wanted else Cast.apply(x, dtype=wanted)


def compare(a: Any, b: Any, how: str) -> Tensor:
    """a ? b as a bool tensor, `how` as NumPy's function is called: less, less_equal, greater, equal, ...

    Raises ArgumentError for another name, and errors as add.
    """
    if not isinstance(how, str) or how not in COMPARISONS:
        raise ArgumentError(f"compare got how={one_line(how)}: choose one of {', '.join(COMPARISONS)}")
    return Compare.apply(*operands(how, a, b), how=how)
