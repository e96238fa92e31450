"""Every op gives the same for images in blocks of channels, in any mix with plain ones."""

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.kernels.cpu import convolution
from minicnn.kernels.cpu.blocked import Blocked, blocked

from .op_table import TABLE
from .properties import all_close, call, close, grads_of, host, terms_of
from .strategies import examples

COUNT = 24  # examples of each row, besides its edges
TOLERANCE = 5e-5  # Winograd's convolution included


def is_image(array):
    return array is not None and array.ndim == 4


def cases_of(op):
    found = [*op.edges, *examples(op.inputs, COUNT, 0)]
    return [case for case in found if any(map(is_image, case.arrays(np.float32)))]


CASES = {op.name: (op, cases) for op in TABLE if (cases := cases_of(op))}


def tensors_of(arrays, in_blocks):
    """Tensors that require gradients; those of `in_blocks` hold blocks."""
    tensors = [None if array is None else Tensor(array, True) for array in arrays]
    for place in in_blocks:
        tensors[place].stored = blocked(arrays[place])
    return tensors


def computed(op, case, arrays, in_blocks, cotangent_in_blocks):
    tensors = tensors_of(arrays, in_blocks)
    y = call(op, case, tensors, "cpu")
    result, gradients = host(y), []
    if op.order and y.dtype.kind == "f":
        v = Tensor(case.cotangent(y.shape, y.dtype))
        if cotangent_in_blocks and y.ndim == 4 and y.dtype == np.float32:
            v.stored = blocked(v.data)
        y.backward(v)
        gradients = grads_of(tensors)
    return result, gradients


def mixes(places):
    """All, and each by itself."""
    return [places, *([[place] for place in places] if len(places) > 1 else [])]


@pytest.mark.parametrize("name", CASES)
def test_blocks_do_not_matter(name, monkeypatch):
    monkeypatch.setattr(convolution, "WORTH", 0)
    op, cases = CASES[name]
    for case in cases:
        arrays = case.arrays(np.float32)
        with monkeypatch.context() as without:
            without.setattr(convolution, "WORTH", 1 << 62)
            expected, right = computed(op, case, arrays, [], False)
        terms = max((float(np.abs(g).max(initial=0)) for g in right), default=0.0)
        for in_blocks in mixes([place for place, array in enumerate(arrays) if is_image(array)]):
            found, gradients = computed(op, case, arrays, in_blocks, len(in_blocks) % 2 == 1)
            close(found, expected, f"{case}, {in_blocks} in blocks", TOLERANCE, terms_of(op, arrays))
            all_close(gradients, right, f"{case}, {in_blocks} in blocks: gradient", TOLERANCE, terms)


def test_images_do_arrive_in_blocks():
    """What the test above is about: these give blocks when they are given blocks."""
    rng = np.random.default_rng(0)
    x, w = (Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in ((2, 16, 5, 5), (16, 16, 3, 3)))
    x.stored = blocked(x.data)
    results = [
        ops.conv2d(x, w), ops.batch_norm(x, None, None, training=True), ops.max_pool2d(x, 2), ops.relu(x), x + x,
        ops.concat([x, x], axis=1), x[:, :, ::2], ops.local_response_norm(x, 5),
    ]  # fmt: skip
    assert {type(y.stored) for y in results} == {Blocked}
