"""Images in blocks of channels: the layout itself, what looks at it, and the memory that it stands on."""

import gc

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.kernels import cpu
from minicnn.kernels.cpu import memory
from minicnn.kernels.cpu.blocked import Blocked, blocked, blocks_shape, plain

SHAPES = [(2, 5, 3, 7), (1, 17, 5, 5), (3, 40, 1, 1), (2, 16, 16, 1), (1, 33, 4, 9), (0, 16, 2, 2), (2, 0, 3, 3)]


def numbers(shape, dtype=np.float32):
    return np.random.default_rng(1).integers(-1000, 1000, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blocks_hold_sixteen_channels_of_a_pixel_side_by_side_and_zeros_past_the_last(shape, dtype):
    x = numbers(shape, dtype)
    blocks = blocked(x).blocks()
    padded = np.zeros((shape[0], blocks.shape[1] * 16, *shape[2:]), dtype)
    padded[:, : shape[1]] = x
    assert blocks.shape == blocks_shape(shape) and blocks.dtype == dtype
    assert blocks.ctypes.data % 64 == 0 and blocks.flags.c_contiguous
    assert np.array_equal(blocks.transpose(0, 1, 4, 2, 3).reshape(padded.shape), padded)
    assert np.array_equal(plain(blocked(x)), x)


def test_any_bits_survive():
    x = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32).reshape(1, 4, 1, 1)
    assert plain(blocked(x)).tobytes() == x.tobytes()
    strided = numbers((2, 3, 4, 40))[:, :, ::2, ::2]
    assert np.array_equal(plain(blocked(strided)), strided)


def test_it_looks_like_an_array_to_who_asks_for_shape_and_dtype():
    x = blocked(numbers((2, 5, 3, 7)))
    assert (x.shape, x.ndim, x.size, x.dtype, len(x), x.base) == ((2, 5, 3, 7), 4, 210, np.float32, 2, None)
    assert x.nbytes == 4 * 2 * 16 * 21  # with the channels past C


def test_what_is_written_into_the_array_of_a_tensor_is_seen_by_kernels():
    """Once the plain array is out, it is the truth."""
    x = numbers((2, 5, 3, 7))
    stored = blocked(x)
    tensor = Tensor._made(stored, "cpu")
    assert plain(stored) is not plain(stored)  # kernels look without taking it out
    tensor.data[0, 4] = 7
    assert tensor.stored is stored and tensor.data is tensor.numpy()
    assert (stored.blocks()[0, 0, :, :, 4] == 7).all()
    tensor[1, 0] = 3  # and through the tensor
    assert (ops.add(tensor, 0).numpy()[1, 0] == 3).all()
    tensor.copy_(x)
    assert np.array_equal(plain(stored), x)


def test_entries_that_do_not_know_blocks_get_arrays():
    x = numbers((2, 17, 3, 7))
    assert "exp" not in cpu.KNOWS_BLOCKED
    assert np.array_equal(cpu.exp(blocked(x / 100)), np.exp(x / 100))
    joined = cpu.concat((blocked(x), x), 3)  # a list of them
    assert np.array_equal(plain(joined), np.concatenate([x, x], 3))


def test_memory_is_used_again_and_idle_memory_goes_back_before_more_is_taken():
    memory.release()
    first = memory.empty((1 << 18,))
    where = first.ctypes.data
    view = first[5:].reshape(-1, 1)
    del first
    second = memory.empty((1 << 18,))
    assert second.ctypes.data != where  # the view still stands on it
    del view
    gc.collect()
    assert memory.empty((1 << 18,)).ctypes.data == where
    idle = memory._pool.idle_bytes
    assert idle == 1 << 20  # the array of the line above has died
    large = memory.empty((1 << 19,))
    assert memory._pool.idle_bytes == 0 and large.ctypes.data % 64 == 0
    del second, large
    memory.release()
    assert memory._pool.idle_bytes == 0


def test_small_arrays_are_not_kept():
    memory.release()
    memory.empty((100,))
    assert memory._pool.idle_bytes == 0
    assert Blocked.empty((1, 3, 2, 2)).blocks().ctypes.data % 64 == 0


def ones(*shape):
    return Tensor(np.ones(shape, np.float32))


#         its kernel, and a call of it
ACTIVE = {
    "relu": ("relu", ops.relu),
    "relu6": ("relu6", ops.relu6),
    "hard_sigmoid": ("hard_sigmoid", ops.hard_sigmoid),
    "leaky_relu": ("leak", lambda x: ops.leaky_relu(x, 0.1)),
    "prelu": ("leak", lambda x: ops.prelu(x, ones(17))),
    "batch_norm": ("batch_norm", lambda x: ops.batch_norm_act(x, None, None, training=True)),
    "residual": ("batch_norm", lambda x: ops.batch_norm_act(x, None, None, residual=x, training=True)),
    "fixed norm": ("batch_norm", lambda x: ops.batch_norm_act(x, ones(17), ones(17))),
    "conv2d_act": ("conv2d_act", lambda x: ops.conv2d_act(x, ones(16, 17, 1, 1))),
}


@pytest.mark.parametrize(("kernel", "op"), ACTIVE.values(), ids=ACTIVE)
def test_backward_takes_no_plain_array_out_of_what_was_kept(kernel, op, monkeypatch):
    """What an op keeps goes to kernels as it is stored: as a plain array, it would be converted there and back."""
    usual = getattr(cpu, kernel)

    def in_blocks(*args):
        result = usual(*args)
        return (blocked(result[0]), *result[1:]) if isinstance(result, tuple) else blocked(result)

    monkeypatch.setattr(cpu, kernel, in_blocks)
    x = Tensor._made(blocked(numbers((2, 17, 4, 4)) / 100), "cpu")
    x.requires_grad = True
    monkeypatch.setattr(Blocked, "plain", None)
    y = op(x)
    y.backward(ones(*y.shape))
    assert x.grad.shape == x.shape
