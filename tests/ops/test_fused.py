"""What fused ops keep and count."""

import numpy as np
import pytest

from minicnn import Tensor, grad, ops
from minicnn.errors import ArgumentError, ShapeError
from minicnn.explain import TimerHook
from minicnn.ops.elementary import PowOfTensors

BLOCKS = {
    "conv2d_act": lambda x, w: ops.conv2d_act(x, w, groups=2),
    "conv2d_relu_max_pool2d": lambda x, w: ops.conv2d_relu_max_pool2d(x, w, groups=2),
}


def arrays(*needed):
    """x (2, 4, 5, 7) and w of 6 outputs, 2 groups and 3 × 2 taps."""
    x, w = np.ones((2, 4, 5, 7), np.float32), np.ones((6, 2, 3, 2), np.float32)
    return Tensor(x, requires_grad="x" in needed), Tensor(w, requires_grad="w" in needed)


@pytest.mark.parametrize("name", ["conv2d_act", "conv2d_relu_max_pool2d"])
def test_a_factor_is_kept_for_the_other_only(name):
    for needed in "xw":
        x, w = arrays(needed)
        kept = [entry.array for entry in BLOCKS[name](x, w).grad_fn._saved]
        assert any(array is x.numpy() for array in kept) == (needed == "w")
        assert any(array is w.numpy() for array in kept) == (needed == "x")


def test_a_power_keeps_its_exponents_for_the_base():
    for alone in (0, 1):
        x, e = (Tensor(np.full(3, 2.0), requires_grad=alone == k) for k in (0, 1))
        _, exponents, result = PowOfTensors.apply(x, e).grad_fn._saved
        assert (exponents.array is None, result.array is None) == (alone == 1, alone == 0)


@pytest.mark.parametrize("name", ["conv2d_act", "conv2d_relu_max_pool2d"])
def test_multiply_adds(name):
    """3 × 6 places of 6 outputs in 2 images, of 2 channels and 3 × 2 taps."""
    x, w = arrays("x", "w")
    each = (2 * 6 * 3 * 6) * (2 * 3 * 2)
    with TimerHook() as timer:
        y = BLOCKS[name](x, w)
        grad(y, (x, w), Tensor(np.ones(y.shape, np.float32)), create_graph=True)
    counted = {row.name: row.macs for row in timer.rows if row.macs}
    assert counted == {name: each, "conv_transpose2d": each, "conv2d_weight": each}


def test_what_errors_name():
    x, w = Tensor(np.ones((2, 1, 5, 5))), Tensor(np.ones((3, 1, 3, 3)))
    with pytest.raises(ShapeError, match=r"max_pool2d of x \(2, 3, 3, 3\): a window of 9 rows"):
        ops.conv2d_relu_max_pool2d(x, w, pool_size=9)
    with pytest.raises(ShapeError, match=r"max_pool2d of x \(2, 3, 3, 3\)"):
        ops.conv2d_relu_max_pool2d(x, w, pool_size=4)
    with pytest.raises(ArgumentError, match=r"conv2d_relu_max_pool2d takes flat=True or flat=False, got 'no'"):
        ops.conv2d_relu_max_pool2d(x, w, flat="no")
    with pytest.raises(ArgumentError, match=r'conv2d_act got activation=.*"relu" or "relu6"'):
        ops.conv2d_act(x, w, activation="tanh")
