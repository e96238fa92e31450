"""gradcheck: is this gradient right, and if not, what is wrong with it?

    gradcheck(f, [x, w])                 compares the gradients of f with finite differences            derivative.py
    gradcheck(my_conv, like="conv2d")    compares my_conv with the op it is meant to be, forward first    likeness.py

The first can only say that a gradient is wrong, where, and what the difference looks like: a guess (diagnose.py). The
second chooses the inputs, so that no mistake can hide behind them, and knows the mistakes that people make in that op
(causes/): one is named if it gives exactly the same numbers when it is planted in the op, and only then. The call that
fails is made as small as it goes and printed as code (smallest.py).

How a check passes without having checked anything, and what stands against each way:

    a cotangent of ones           the sum of a softmax is 1 whatever its gradient: cotangents are random
    square or equal sizes         a transposed or mixed-up axis fits: sizes differ
    one image, one channel        sums over them are not seen: there are several
    windows that do not overlap   = for += is not seen: they overlap
    the op judged by its own      a wrong forward with its right gradient passes: the output is judged first, by a
    forward                       function that was proved elsewhere, and an op is not accepted as its own judge
    nothing compared              inputs without elements or without floating-point numbers are refused; what is wrong
                                  is raised, not returned, so nobody has to look at the result
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError


def gradcheck(
    function: Any,
    inputs: Sequence[Any] | None = None,
    *,
    like: Any = None,
    order: int = 1,
    seed: int = 0,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    complex_step: bool = False,
    samples: int = 1,
    attempts: int = 8,
    allow_empty: bool = False,
) -> bool:
    """True if the gradients of function(*inputs) are its derivatives; GradcheckError with a diagnosis if not.

    function: Tensors -> a Tensor or a tuple of them, the same at each call; or a Function; or two functions of NumPy
    arrays, (forward, backward), with forward(*arrays) -> y and backward(gy, *arrays) -> gradients.
    inputs: arrays or Tensors; floating ones are copied to float64 and differentiated, everything else (labels, options)
    is passed on as it is.
    like: the op that function is meant to be, "conv2d" or ops.conv2d; partial(ops.conv2d, stride=2) if function has
    that built in. The op's options that function names are tried with several values. Inputs may then be left out;
    those that are given are tried besides, and the others have as many axes.
    order: 2 checks the gradient of the gradient too, in the inputs and in the cotangent; 3 the one after it.
    rtol is relative to the gradient's size; atol is for rounding where the gradient is 0.
    complex_step: exact to rounding (rtol=1e-14), for functions that are analytic and take complex numbers.
    samples: repeat with so many cotangents and directions. attempts: how often to move away from kinks before giving
    up, which is an error. The same seed checks the same numbers. allow_empty: inputs may all be without elements.

    Besides: two backwards give the same bytes; they change neither inputs nor cotangents; a cotangent 0 gives 0, and
    k·c gives k times the gradient of c; with several outputs, each may be used alone, and with several inputs, each may
    be the only one that requires a gradient; recording changes neither values nor gradients.

    The error has `causes`, the names of the mistakes that explain everything (a list of tuples, [] if it is a guess),
    and `snippet`, the code that shows it.
    """
    from . import candidate, derivative, likeness, probing  # late: a fifth of `import minicnn` otherwise

    settings = derivative.Settings(order, seed, rtol, atol, complex_step, samples, attempts)
    function = candidate.plain(function)
    if like is not None:
        likeness.check_likeness(function, like, inputs, settings)
        return True
    if inputs is None:
        raise ArgumentError("gradcheck needs inputs, or the op that the function is like, which knows what to try")
    sizes = [probing.array_of(x).shape for x in inputs if probing.has_array(x)]
    if not allow_empty and sizes and not any(np.prod(shape) for shape in sizes):
        raise ArgumentError(
            f"gradcheck would compare nothing: inputs of shapes {', '.join(map(str, sizes))} have no elements "
            "(allow_empty=True checks the rest)"
        )
    derivative.check_derivatives(function, inputs, settings)
    return True
