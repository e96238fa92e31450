"""Faults of the engine itself, and of what every op promises."""

from __future__ import annotations

import itertools

import numpy as np

from minicnn import Tensor, autograd, function
from minicnn.function import Function
from minicnn.kernels import cpu, reference
from minicnn.ops.arithmetic import Add, Exp

from .planting import Fault, attribute, backward, forward, kernel, replaced


def in_place(x):
    return np.maximum(x, 0, out=x)


def exp_backward_in_place(self, gy):
    y = self.saved[0].data
    y *= gy.data
    return Tensor(y)


def detached(right):
    return lambda self, node: right(self, node).detach()


def output_kept(right):
    def keep(self, array, inputs, outputs, *rest):
        self.result = outputs[0]
        return right(self, array, inputs, outputs, *rest)

    return keep


calls = itertools.count()


def drifting(right):
    """Another rounding at every other call, as sums with atomics have."""
    return lambda a, b: right(a, b) if next(calls) % 2 else np.nextafter(right(a, b), np.inf).astype(a.dtype)


def memory_of(right):
    """Reads the array's memory from the start, whatever its strides."""

    def relu(x):
        owner = x
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return right(owner.ravel(order="K")[: x.size].reshape(x.shape))

    return relu


def needs_writeable(right):
    def sigmoid(x):
        if not x.flags.writeable:
            raise TypeError("buffer source array is read-only")
        return right(x)

    return sigmoid


ENGINE = (
    Fault("one gradient array for two consumers", "add", "engines that set .grad without a copy",
          attribute(autograd, "_is_shared", lambda *args: False), "gradients_share_no_memory"),
    Fault("a second gradient overwrites the first", "mul", "DeZero before its step 14",
          attribute(autograd.Accumulate, "forward", lambda self, a, b: b), "two_uses_add_up"),
    Fault("gradients accumulate in place", "add", "+= on a gradient that is shared",
          attribute(autograd.Accumulate, "forward", lambda self, a, b: np.add(a, b, out=a) if a.ndim else a + b),
          "two_uses_add_up"),
    Fault("a saved array is modified by backward", "exp", "saving a temporary at the wrong end",
          backward(Exp, exp_backward_in_place), "nothing_given_is_modified"),
    Fault("the input is modified in place", "relu", "inplace=True", attribute(reference, "relu", in_place),
          "nothing_given_is_modified"),
    Fault("saved results are constants", "tanh", "engines that save arrays: first derivative right, second wrong",
          lambda: replaced(function.SavedOutput, "__call__", detached(function.SavedOutput.__call__)),
          "second_derivative"),
    Fault("saved inputs are constants", "log", "the same", lambda: replaced(
        function.SavedInput, "__call__", detached(function.SavedInput.__call__)), "second_derivative"),
    Fault("a node holds its result", "exp", "DeZero before its step 17: a reference cycle",
          lambda: replaced(Function, "_keep", output_kept(Function._keep)), "memory_is_released"),
    Fault("backward frees nothing", "mul", "saved arrays live as long as the loss",
          attribute(Function, "release", lambda self: None), "memory_is_released"),
    Fault("keeps inputs that nobody asks for", "add", "self.inputs = inputs in a base class",
          forward(Add, lambda right: lambda self, a, b: (self.save(a, b), right(self, a, b))[1]),
          "keeps_what_it_declares"),
    Fault("float64 computed in float32", "matmul", "a cast inside of a fast kernel",
          kernel("matmul", lambda right: lambda a, b: right(np.float32(a), np.float32(b)).astype(a.dtype)),
          "forward_is_the_oracle"),
    Fault("float32 becomes float64", "mul", "a NumPy scalar in the formula",
          kernel("mul", lambda right: lambda a, b: right(a, b) * np.float64(1)), "dtype_is_kept"),
    Fault("two runs differ in the last digit", "matmul", "atomic adds on a GPU", kernel("matmul", drifting),
          "two_runs_give_the_same_bytes"),
    Fault("strides ignored", "relu", "C kernels that take a pointer and a size", kernel("relu", memory_of),
          "layout_does_not_matter"),
    Fault("a fast approximation on the cpu only", "tanh", "rational tanh in float32",
          kernel("tanh", lambda right: lambda x: right(x) + (x.dtype == np.float32) * x.dtype.type(1e-4), cpu),
          "device_equals_reference", device="cpu"),
    Fault("a kernel needs writeable arrays", "sigmoid", "compiled signatures for mutable arrays",
          kernel("sigmoid", needs_writeable),
          "nothing_given_is_modified"),
)  # fmt: skip
