"""NumPy's functions on the stand-in's arrays: those that CuPy has and the book uses, by name.

A name that is missing here is missing on purpose: `xp.name` must exist in CuPy. Add it to its list.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from . import arrays, memory
from .arrays import compute, compute_with_blas, ndarray
from .streams import Stream, current_stream


def _words(text: str) -> list[str]:
    return text.split()


ELEMENTWISE = _words("""
add subtract multiply divide true_divide floor_divide remainder mod fmod power float_power negative positive absolute
abs fabs sign exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan arcsin arccos arctan arctan2
sinh cosh tanh arcsinh arccosh arctanh hypot floor ceil trunc rint round maximum minimum fmax fmin clip where copysign
sinc logaddexp logaddexp2 ldexp nextafter isnan isinf isfinite signbit equal not_equal less less_equal greater
greater_equal logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor invert left_shift
right_shift heaviside nan_to_num i0 real imag conj angle deg2rad rad2deg
""")
REDUCTIONS = _words("""
sum prod mean var std max min amax amin argmax argmin all any median ptp nansum nanmax nanmin count_nonzero
""")
ARRANGING = _words("""
concatenate stack hstack vstack tile repeat roll rot90 pad take take_along_axis tril triu tri diag cumsum cumprod diff
sort argsort searchsorted choose select interp trace kron cross eye identity linspace digitize bincount convolve
""")
BLAS = _words("matmul dot tensordot einsum inner outer vdot")
SIZED_BY_VALUES = _words("nonzero flatnonzero argwhere unique extract")  # the host must know how many: it waits
MADE_HERE = _words("""
empty full zeros ones empty_like full_like zeros_like ones_like arange array asarray ascontiguousarray asnumpy copy
copyto may_share_memory shares_memory reshape ravel transpose swapaxes squeeze moveaxis expand_dims broadcast_to
broadcast_arrays flip split diagonal atleast_1d ndim shape size get_default_memory_pool
""")
__all__ = [*ELEMENTWISE, *REDUCTIONS, *ARRANGING, *BLAS, *SIZED_BY_VALUES, *MADE_HERE]  # noqa: PLE0604


def _computed(name: str, work: Callable[..., ndarray] = compute) -> Callable[..., Any]:
    function = getattr(np, name)

    def computed(*args: Any, out: ndarray | None = None, **options: Any) -> ndarray:
        named = [option for option, value in options.items() if _has_arrays(value)]
        if named:  # arrays under a name: put them where their memory is seen
            values = [options.pop(option) for option in named]

            def with_names(*given: Any, **rest: Any) -> Any:
                split = len(given) - len(named)
                return function(*given[:split], **dict(zip(named, given[split:], strict=True)), **rest)

            return work(with_names, [*args, *values], options, out)
        return work(function, args, options, out)

    computed.__name__ = name
    computed.__doc__ = f"numpy.{name} on the device."
    return computed


def _has_arrays(value: Any) -> bool:
    return builtins.any(True for _ in arrays.arrays_in([value]))


def _sized_by_values(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def computed(*args: Any, **options: Any) -> Any:
        current_stream().wait(f"{name}(), whose result has a size that the host must know,")
        arrays.check_written(args, name)
        result = function(*arrays.unwrapped(args), **options)
        return tuple(map(array, result)) if isinstance(result, tuple) else array(result)

    computed.__name__ = name
    return computed


for _name in [*ELEMENTWISE, *REDUCTIONS, *ARRANGING]:
    globals()[_name] = _computed(_name)
for _name in BLAS:
    globals()[_name] = _computed(_name, compute_with_blas)
for _name in SIZED_BY_VALUES:
    globals()[_name] = _sized_by_values(_name)


# ---- operators and methods of the array

BINARY: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
COMPARISONS: dict[str, Any] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
UNARY: dict[str, Any] = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
METHODS = _words("sum prod mean var std max min argmax argmin all any cumsum cumprod round conj repeat argsort trace")


def _add_operators() -> None:
    def binary(ufunc: Any) -> tuple[Callable, Callable, Callable]:
        return (
            lambda self, other: compute(ufunc, [self, other]),
            lambda self, other: compute(ufunc, [other, self]),
            lambda self, other: compute(ufunc, [self, other], out=self),
        )

    def single(ufunc: Any) -> Callable:
        return lambda self, *other: compute(ufunc, [self, *other])

    for name, ufunc in BINARY.items():
        plain, reflected, in_place = binary(ufunc)
        setattr(ndarray, f"__{name}__", plain)
        setattr(ndarray, f"__r{name}__", reflected)
        setattr(ndarray, f"__i{name}__", in_place)
    for name, ufunc in (COMPARISONS | UNARY).items():
        setattr(ndarray, f"__{name}__", single(ufunc))
    for name in METHODS:
        setattr(ndarray, name, globals()[name] if name in globals() else _computed(name))
    setattr(ndarray, "__matmul__", lambda self, other: compute_with_blas(np.matmul, [self, other]))  # noqa: B010
    setattr(ndarray, "__array_function__", _array_function)  # noqa: B010


def _array_function(self: ndarray, function: Callable, types: Any, args: Any, options: Any) -> Any:
    """np.sum(x) is this library's sum."""
    ours = globals().get(function.__name__)
    return ours(*args, **options) if ours is not None else NotImplemented


_add_operators()


# ---- making arrays


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Memory as it is: NaN here, anything on a GPU."""
    return ndarray(shape, dtype, order=order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    filled = empty(shape, np.asarray(fill_value).dtype if dtype is None else dtype, order)
    if isinstance(fill_value, ndarray):
        filled[...] = fill_value
    else:
        filled.fill(fill_value)
    return filled


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype, order)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return empty(prototype.shape if shape is None else shape, prototype.dtype if dtype is None else dtype)


def full_like(
    a: ndarray, fill_value: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return full(a.shape if shape is None else shape, fill_value, a.dtype if dtype is None else dtype)


def zeros_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return full_like(a, 0, dtype, shape=shape)


def ones_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return full_like(a, 1, dtype, shape=shape)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    limits: Any = (0, start) if stop is None else (start, stop)
    numbers: Callable[..., Any] = np.arange
    return compute(lambda: numbers(*limits, step, dtype=dtype), [], name="arange")


def array(
    obj: Any, dtype: Any = None, copy: bool | None = True, order: str = "K", subok: bool = False, ndmin: int = 0
) -> ndarray:
    """A new array of the device from an array of the host or of the device."""
    if isinstance(obj, ndarray):
        return obj.astype(obj.dtype if dtype is None else dtype, copy=bool(copy))
    if isinstance(obj, list | tuple) and _has_arrays(obj):
        return globals()["stack"]([array(part) for part in obj])
    host = np.array(obj, dtype, ndmin=ndmin)
    made = empty(host.shape, host.dtype)
    made.set(host)
    return made


def asarray(a: Any, dtype: Any = None, order: str | None = None) -> ndarray:
    return array(a, dtype, copy=False)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(
    a: Any, stream: Stream | None = None, order: str = "C", out: Any = None, blocking: bool = True
) -> np.ndarray:
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)


def copy(a: ndarray, order: str = "K") -> ndarray:
    return a.copy()


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    dst[...] = src


def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    return a._memory is b._memory and bool(np.may_share_memory(a._np, b._np))


shares_memory = may_share_memory


# ---- views


def reshape(a: ndarray, newshape: Any, order: str = "C") -> ndarray:
    return a.reshape(newshape)


def ravel(a: ndarray, order: str = "C") -> ndarray:
    return a.reshape(-1)


def transpose(a: ndarray, axes: Any = None) -> ndarray:
    return a.transpose(axes)


def swapaxes(a: ndarray, axis1: int, axis2: int) -> ndarray:
    return a.swapaxes(axis1, axis2)


def squeeze(a: ndarray, axis: Any = None) -> ndarray:
    return a.squeeze(axis)


def moveaxis(a: ndarray, source: Any, destination: Any) -> ndarray:
    return a._view(np.moveaxis(a._np, source, destination))


def expand_dims(a: ndarray, axis: Any) -> ndarray:
    return a._view(np.expand_dims(a._np, axis))


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    return array._view(np.broadcast_to(array._np, shape))


def broadcast_arrays(*args: ndarray) -> list[ndarray]:
    shape = np.broadcast_shapes(*(a.shape for a in args))
    return [broadcast_to(a, shape) for a in args]


def flip(a: ndarray, axis: Any = None) -> ndarray:
    return a._view(np.flip(a._np, axis))


def split(ary: ndarray, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    return [ary._view(part) for part in np.split(ary._np, indices_or_sections, axis)]


def diagonal(a: ndarray, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
    return a.diagonal(offset, axis1, axis2)


def atleast_1d(*arys: ndarray) -> Any:
    made = [a if a.ndim else a.reshape(1) for a in arys]
    return made[0] if len(made) == 1 else made


def ndim(a: Any) -> int:
    return a.ndim if isinstance(a, ndarray) else np.ndim(a)


def shape(a: Any) -> tuple[int, ...]:
    return a.shape if isinstance(a, ndarray) else np.shape(a)


def size(a: Any, axis: int | None = None) -> int:
    return a.size if axis is None else a.shape[operator.index(axis)]


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """cupy.lib.stride_tricks.as_strided"""
    return x._view(np.lib.stride_tricks.as_strided(x._np, shape, strides))


def get_default_memory_pool() -> memory.MemoryPool:
    return memory.get_default_memory_pool()
