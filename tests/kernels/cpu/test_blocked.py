"""Images in blocks of channels: the layout itself, what looks at it, and the memory that it stands on."""

import gc
import os
import signal

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.kernels import cpu
from minicnn.kernels.cpu import machine_code, memory, microkernels
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
    assert len(tensor) == 2
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


def test_memory_is_used_again_once_its_last_array_is_gone():
    memory.release()
    first = memory.empty((1 << 18,))
    where = first.ctypes.data
    view = first[5:].reshape(-1, 1)
    del first
    second = memory.empty((1 << 18,))
    assert second.ctypes.data != where  # the view still stands on it
    del view
    gc.collect()
    third = memory.empty((100_000,))  # less than what is free there
    assert third.ctypes.data == where and third.ctypes.data % 64 == 0
    fourth = memory.empty((100_000,))  # and the rest of it
    assert fourth.ctypes.data == where + 400_000
    third[:], fourth[:], second[:] = 3, 4, 2
    assert (third == 3).all() and (fourth == 4).all() and (second == 2).all()


def test_the_shortest_free_piece_that_fits_is_cut():
    """So that long ones stay long: with the first of them a step of MobileNetV2 takes an eighth more."""
    pool, unit = memory._Pool(), memory.LARGE
    starts = [pool.take(size * unit) for size in (4, 1, 2, 1, 2, 1)]
    for place, size in ((0, 4), (4, 2), (2, 2)):
        pool.given_back.append((starts[place], size * unit))
    assert pool.take(2 * unit) == starts[2], "of equals the first"
    assert pool.take(2 * unit) == starts[4]
    assert pool.take(3 * unit) == starts[0]


def test_free_neighbours_are_joined_and_whole_segments_go_back():
    memory.release()
    used, free = memory._pool.used_bytes, memory._pool.free_bytes
    arrays = [memory.empty((1 << 20,)) for _ in range(12)]  # 4 MiB each
    assert memory._pool.used_bytes - used == 12 << 22
    for order in (slice(0, None, 2), slice(1, None, 2)):
        for place in range(12)[order]:
            arrays[place] = None
    segments = set(memory._pool.segments)
    large = memory.empty((12 << 20,))  # as much as all of them
    assert set(memory._pool.segments) == segments
    assert memory._pool.used_bytes - used == 12 << 22
    assert memory._pool.free_bytes <= free + memory.SEGMENT
    del large
    memory.release()
    assert memory._pool.free_bytes <= free


def test_random_sizes_never_overlap():
    rng = np.random.default_rng(0)
    alive = {}
    for step in range(600):
        if alive and rng.random() < 0.5:
            number = list(alive)[rng.integers(len(alive))]
            assert (alive.pop(number) == number).all()
        else:
            alive[step] = memory.empty((int(rng.integers(1, 400_000)),))
            alive[step][:] = step
    assert all((array == number).all() for number, array in alive.items())


def test_what_a_step_asks_for_again_is_not_fresh():
    """The same sizes in the same order: from the second time on no new segment is needed."""
    memory.release()

    def step():
        kept = [memory.empty((size,)) for size in (300_000, 100_000, 2_000_000, 700_000)]
        for _ in range(5):
            kept.append(memory.empty((1_000_000,)))
            memory.empty((5_000_000,))
        while kept:
            kept.pop()

    step()
    segments = set(memory._pool.segments)
    for _ in range(5):
        step()
    assert set(memory._pool.segments) == segments


def test_small_arrays_are_not_kept():
    used, free = memory._pool.used_bytes, memory._pool.free_bytes
    small = memory.empty((100,))
    assert small.ctypes.data % 64 == 0 and small.flags.writeable and not hasattr(small.base, "dtype")
    assert (memory._pool.used_bytes, memory._pool.free_bytes) == (used, free)
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


def test_where_memory_is_short_no_more_is_asked_for_than_needed(monkeypatch):
    """And what cannot be had at all is not counted as used."""
    pool, original = memory._Pool(), np.empty

    def short(size, dtype):
        if size > 2 << 20:
            raise MemoryError
        return original(size, dtype)

    monkeypatch.setattr(memory.np, "empty", short)
    pool.take(1 << 20)
    with pytest.raises(MemoryError):
        pool.take(4 << 20)
    assert pool.used_bytes == 1 << 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_gets_memory_and_kernels_though_another_thread_was_just_asking_for_some():
    with memory._pool.lock, machine_code._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # so that a child that waits for ever ends
            memory.empty((1 << 18,))
            microkernels.address("float64", microkernels.move_rows, cap=1234.5)  # of its own: not compiled before
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
