"""What users hand to ops, checked: what is right passes in a fraction of a microsecond, and what is wrong is said.

A message is one sentence, and names the op and the shapes; nothing that is wrong reaches NumPy or a kernel.
"""

from __future__ import annotations

import functools
import math
import numbers
from typing import Any

import numpy as np

from .. import device as devices
from ..errors import ArgumentError, DTypeError, MinicnnError, ShapeError
from ..function import autocast_in_force
from ..kernels.window import MOST_ELEMENTS, Window, is_whole, make_window, one_line
from ..tensor import FLOATING, Tensor


def expect(op: str, x: Any, name: str = "x") -> None:
    """Raises DTypeError if x is not a Tensor."""
    if not isinstance(x, Tensor):
        raise DTypeError(f"{op} takes a Tensor as {name}, got {type(x).__name__}: wrap it in minicnn.Tensor(...)")


def array_of(op: str, name: str, value: Any) -> np.ndarray:
    """A copy of what is in a Tensor, array or list. Raises DTypeError for rows of different length."""
    try:
        return np.array(devices.to_host(value.data if isinstance(value, Tensor) else value))
    except (ValueError, TypeError):
        raise DTypeError(
            f"{op} takes an array as {name}, got {one_line(value)}: its rows must be equally long"
        ) from None


def floating(op: str, *tensors: Tensor) -> None:
    """Raises DTypeError unless all tensors have one dtype, and that is floating-point; under autocast, which will give
    them one, several."""
    for tensor in tensors:
        if tensor.dtype.kind not in FLOATING:
            raise DTypeError(
                f"{op} needs floating-point tensors, got {tensor.dtype} of shape {tensor.shape}: "
                "convert it with .to('float32')"
            )
    if len({tensor.dtype for tensor in tensors}) > 1 and autocast_in_force() is None:
        raise DTypeError(_two_precisions(op, tensors))


def real(op: str, x: Tensor) -> None:
    """Raises DTypeError for complex numbers."""
    if x.dtype.kind == "c":
        raise DTypeError(f"{op} takes real numbers, got {x.dtype} of shape {x.shape}: take the part that you mean")


def of_one_dtype(op: str, tensors: list[Tensor]) -> list[Tensor]:
    """Integer and bool tensors take the dtype of the floating ones; DTypeError if these have two. Under autocast all
    take the widest."""
    dtypes = {tensor.dtype for tensor in tensors if tensor.dtype.kind in FLOATING}
    if len(dtypes) > 1:
        if autocast_in_force() is None:
            raise DTypeError(_two_precisions(op, tensors))
        dtypes = {max(dtypes, key=lambda dtype: dtype.itemsize)}
    for dtype in dtypes:
        return [tensor if tensor.dtype == dtype else tensor.to(dtype) for tensor in tensors]
    return tensors


def _two_precisions(op: str, tensors: Any) -> str:
    given = " and ".join(sorted({f"{tensor.dtype} of shape {tensor.shape}" for tensor in tensors}))
    return f"{op} got tensors of different precision, {given}: convert one with .to(dtype)"


def flag(op: str, name: str, value: Any) -> bool:
    """A bool, Python's or NumPy's, as Python's. Raises ArgumentError for all else: "no" and [0] would count as True."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    raise ArgumentError(f"{op} takes {name}=True or {name}=False, got {one_line(value)}")


LARGEST = 1e300  # of an option; NaN is not below it


def is_number(value: Any, largest: float = LARGEST) -> bool:
    """Whether it is a finite real number, Python's or NumPy's, of no more than `largest`; a bool is none."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    plain: Any = value.item() if isinstance(value, np.generic) else value  # beside a float32, 1e300 is ∞
    return abs(plain) <= largest


BFLOAT16_MAX = (2 - 2**-7) * 2.0**127  # NumPy's finfo does not know it


def largest_of(dtype: np.dtype) -> float:
    """The largest number of a floating-point dtype."""
    return BFLOAT16_MAX if dtype.kind == "V" else float(np.finfo(dtype).max)


# --- axes and sizes ---------------------------------------------------------------------------------------------------


def axes_of(op: str, x: Tensor, axis: Any) -> tuple[int, ...]:
    """axis as a sorted tuple of axes ≥ 0. Raises ShapeError for an axis x does not have, or one named twice."""
    return tuple(sorted(axes_in_order(op, x, axis)))


def axes_in_order(op: str, x: Tensor, axis: Any) -> tuple[int, ...]:
    """axis, which may be several or None for all, as a tuple of axes ≥ 0 in the order given. Errors as axes_of."""
    if axis is None:
        return tuple(range(x.ndim))
    for a in (axes := as_tuple(axis)):
        if not is_whole(a) or not -x.ndim <= a < x.ndim:
            raise ShapeError(f"{op} along axis {one_line(a)} is not possible: x has shape {x.shape}, {_axes(x)}")
    positive = tuple(int(a) % x.ndim for a in axes)
    if len(set(positive)) < len(positive):
        raise ShapeError(f"{op} got axis {axis}, which names one axis of shape {x.shape} twice")
    return positive


def axis_of(op: str, x: Tensor, axis: Any) -> int:
    """The one axis along which op works, ≥ 0. Raises ShapeError for several, for None, and as axes_of."""
    if axis is None or isinstance(axis, tuple | list | np.ndarray):
        raise ShapeError(f"{op} works along one axis, got axis={one_line(axis)}: x has shape {x.shape}, {_axes(x)}")
    return axes_of(op, x, axis)[0]


def _axes(x: Tensor) -> str:
    return f"axes 0 to {x.ndim - 1}" if x.ndim else "which has no axes"


def as_tuple(value: Any) -> tuple:
    """A tuple, list or array of numbers as a tuple; anything else as the only one in it."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def sizes_of(op: str, x: Tensor, shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of ints (−1 is one). Raises ShapeError for what is no integer."""
    sizes = shape if type(shape) is tuple else as_tuple(shape)
    for size in sizes:
        if type(size) is not int:
            if not all(map(is_whole, sizes)):
                raise ShapeError(f"{op} of shape {x.shape} needs sizes that are integers, got {one_line(shape)}")
            return tuple(map(int, sizes))
    return sizes


def refuse_huge(op: str, x: Tensor, shape: tuple[int, ...]) -> None:
    """ShapeError for a result that no memory holds."""
    if math.prod(size or 1 for size in shape) > MOST_ELEMENTS:
        raise ShapeError(f"{op} of shape {x.shape} would make shape {shape}, {math.prod(shape):.1e} elements")


# --- convolution and pooling ------------------------------------------------------------------------------------------


def expect_images(op: str, x: Any, name: str = "x") -> None:
    """Raises DTypeError if x is not a Tensor, ShapeError if it is not (N, C, H, W)."""
    expect(op, x, name)
    if x.ndim != 4:
        raise ShapeError(f"{op} expects {name} of shape (N, C, H, W), got shape {x.shape}: add or drop axes first")


def groups_of(op: str, groups: Any, *shapes: tuple[tuple[int, ...], int]) -> int:
    """The number of groups. Raises ShapeError if it does not divide shape[axis] of all (shape, axis)."""
    if not is_whole(groups):
        raise ArgumentError(f"{op} takes a number of groups ≥ 1, got {one_line(groups)}")
    if groups < 1 or any(shape[axis] % groups for shape, axis in shapes):
        channels = " and ".join(f"the {shape[axis]} channels of {shape}" for shape, axis in shapes)
        raise ShapeError(f"{op}: groups={groups} must divide {channels}")
    return int(groups)


def _within_reason(window: Window, shape: tuple[int, ...]) -> Window:
    """The same outputs with strides no longer than the padded input, whose one output they all reach; or than the
    window, where ceil_mode lets it be longer than that.

    Raises ShapeError for padding that no memory holds.
    """
    (top, bottom), (left, right) = window.pad
    h, w = top + shape[2] + bottom, left + shape[3] + right
    if window.ceil_mode:
        h, w = max(h, window.extent[0]), max(w, window.extent[1])
    images = shape[0] * shape[1]
    if images * h * w > MOST_ELEMENTS and window.pad != ((0, 0), (0, 0)):
        raise ShapeError(f"padding {window.pad} makes {images} images of {h} × {w}, {images * h * w:.1e} elements: "
                         "pad less")  # fmt: skip
    return window._replace(stride=(min(window.stride[0], h), min(window.stride[1], w)))


def window_of(
    op: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any = False,
    fits: bool = True,
) -> Window:  # fmt: skip
    """The Window of an op on x (N, C, H, W). fits: raise ShapeError if it does not fit into the padded x."""
    return window_for(op, x.shape, kernel_size, stride, padding, dilation, ceil_mode, fits)


def window_for(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: Any = False, fits: bool = True,
) -> Window:  # fmt: skip
    """The same for images of that shape."""
    options = kernel_size, stride, padding, dilation
    make = _window if all(map(_is_plain, options)) else _window.__wrapped__
    return make(op, shape, *options, ceil_mode, fits)


def _is_plain(option: Any) -> bool:
    """Whether it is equal only to what means the same: 1 == True == 1.0, and of those 1 alone is a size."""
    kind = type(option)
    return kind is int or kind is str or (kind is tuple and all(type(part) is int for part in option))


@functools.lru_cache(maxsize=4096)
def _window(
    op: str, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any,
    fits: bool,
) -> Window:  # fmt: skip
    try:
        window = make_window(shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
        if fits:
            window.output_size(shape[2:])  # raises if it does not
            window = _within_reason(window, shape)
        return window
    except MinicnnError as error:
        raise type(error)(f"{op} of x {shape}: {error.message}") from None
