"""cpu/blocked_joining.py against NumPy: numbers are only moved, so results are equal to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import cpu
from minicnn.kernels.cpu import blocked_joining, microkernels, passes, threads
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain

CHANNELS = [(16, 16), (32, 5), (5,), (20, 12), (7, 9, 33), (4, 12, 16), (16, 1, 16), (3, 4, 40)]
MANY = [(3,) * 9, (1, 2, 3, 4, 5, 6, 7, 8)]

every = slice(None)
INDICES = {
    "aligned channels": (every, slice(16, 48)),
    "channels from inside of a block": (every, slice(7, 30)),
    "channels within a block": (every, slice(3, 9)),
    "to the last channel": (every, slice(37, None)),
    "every second channel": (every, slice(1, None, 2)),
    "channels backwards": (every, slice(None, None, -1)),
    "every second pixel": (every, every, slice(None, None, 2), slice(None, None, 2)),
    "steps and starts": (slice(1, None), slice(16, 40), slice(1, None, 3), slice(3, 6, 2)),
    "dots": (..., slice(2, 5)),
    "rows backwards": (..., slice(None, None, -1), every),
    "columns backwards": (..., slice(None, None, -2)),
    "images backwards": slice(None, None, -1),
    "everything": (),
}
NOT_WOVEN = {
    "a number": (0, every),
    "a channel": (every, 17),
    "a new axis": (None, every),
    "an array": (every, np.array([3, 1, 1])),
    "a mask": (np.array([True, False, True]),),
    "nothing": (every, slice(5, 5)),
}
SHAPE = (3, 41, 5, 7)


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def shares(request, monkeypatch):
    monkeypatch.setattr(threads, "_threads", request.param)
    monkeypatch.setattr(passes, "SMALL", 0)


@pytest.fixture
def woven_only(monkeypatch):
    """What is left to plain arrays fails."""
    monkeypatch.setattr(blocked_joining, "reference", None)


def numbers(shape, seed=0, dtype=np.float32):
    """Not a single 0, so that what should be 0 is told from what was not written, or written to the wrong place."""
    return np.random.default_rng(seed).permutation(np.arange(1, 1 + np.prod(shape))).reshape(shape).astype(dtype)


def stale(shape):
    """What the next result of that shape will stand on, full of NaN, if it is large enough to be kept."""
    Blocked.empty(shape).blocks()[...] = np.nan


def check(result, expected):
    assert type(result) is Blocked and result.dtype == expected.dtype
    np.testing.assert_array_equal(plain(result), expected)
    channels = np.arange(result.blocks().shape[1] * 16).reshape(-1, 16)
    past = result.blocks().transpose(1, 4, 0, 2, 3)[channels >= expected.shape[1]]
    assert (past == 0).all()


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("mixed", [False, True])
def test_concat(channels, mixed, woven_only):
    parts = [numbers((2, c, 3, 5), seed) for seed, c in enumerate(channels)]
    given = [part if mixed and i % 2 else blocked(part) for i, part in enumerate(parts)]
    check(cpu.concat(given, 1), np.concatenate(parts, 1))
    for part, before in zip(given, parts, strict=True):
        np.testing.assert_array_equal(plain(part), before)


@pytest.mark.parametrize("channels", MANY, ids=str)
def test_concat_of_many_small_parts(channels):
    parts = [numbers((2, c, 3, 5), seed) for seed, c in enumerate(channels)]
    np.testing.assert_array_equal(plain(cpu.concat(list(map(blocked, parts)), 1)), np.concatenate(parts, 1))


def test_what_grows_is_not_copied_and_older_results_stay():
    """x = concat(x, f), again and again, as DenseNet does; and a second branch from the middle of it."""
    parts = [numbers((2, 16, 3, 5), seed) for seed in range(12)]
    grown = [cpu.concat([blocked(parts[0]), parts[1]], 1)]
    for part in parts[2:]:
        grown.append(cpu.concat([grown[-1], blocked(part)], 1))
    owners = {id(x.room.memory) for x in grown}
    assert len(owners) == 3  # of 2, of 3 to 6, of 7 to 14 blocks: twice as large as it had to be at first
    branch = cpu.concat([grown[3], blocked(parts[0])], 1)  # where its room is full
    other = cpu.concat([grown[6], blocked(parts[0])], 1)  # where the place behind it is taken, though there is room
    again = cpu.concat([branch, parts[1], blocked(parts[2][:, :7])], 1)  # several at once, the last not a whole block
    not_whole = cpu.concat([again, parts[3]], 1)
    for n, x in enumerate(grown):
        check(x, np.concatenate(parts[: n + 2], 1))
    check(branch, np.concatenate([*parts[:5], parts[0]], 1))
    check(other, np.concatenate([*parts[:8], parts[0]], 1))
    check(again, np.concatenate([*parts[:5], *parts[:2], parts[2][:, :7]], 1))
    check(not_whole, np.concatenate([*parts[:5], *parts[:2], parts[2][:, :7], parts[3]], 1))


def test_what_was_handed_out_does_not_grow():
    first, second, third = (numbers((2, 16, 3, 5), seed) for seed in range(3))
    x = cpu.concat([blocked(first), second], 1)
    x = cpu.concat([x, third], 1)
    x.plain()[:, 0] = 7  # the plain array is the truth from now on
    y = cpu.concat([x, blocked(first)], 1)
    expected = np.concatenate([first, second, third, first], 1)
    expected[:, 0] = 7
    check(y, expected)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_concat_along_other_axes(axis):
    parts = [numbers((2, 17, 3, 5), seed) for seed in range(3)]
    np.testing.assert_array_equal(plain(cpu.concat(list(map(blocked, parts)), axis)), np.concatenate(parts, axis))


def test_integers_and_mixed_dtypes():
    places = numbers((2, 20, 3, 5), dtype=np.int32)
    check(cpu.concat([blocked(places), places], 1), np.concatenate([places, places], 1))
    x = numbers((2, 20, 3, 5))
    joined = cpu.concat([blocked(x), places], 1)
    expected = np.concatenate([x, places], 1)
    assert joined.dtype == expected.dtype and np.array_equal(plain(joined), expected)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_slices_and_their_adjoint(index, woven_only):
    x = numbers(SHAPE)
    check(cpu.getitem(blocked(x), index), x[index])
    v = numbers(x[index].shape, 1)
    expected = np.zeros(SHAPE, np.float32)
    expected[index] = v
    check(cpu.add_at(blocked(v), index, SHAPE), expected)


@pytest.mark.parametrize("index", NOT_WOVEN.values(), ids=NOT_WOVEN)
def test_other_indices(index):
    x = numbers(SHAPE)
    np.testing.assert_array_equal(plain(cpu.getitem(blocked(x), index)), x[index])
    v = numbers(x[index].shape, 1)
    expected = np.zeros(SHAPE, np.float32)
    np.add.at(expected, index, v)
    given = blocked(v) if v.ndim == 4 and v.size else v
    np.testing.assert_array_equal(plain(cpu.add_at(given, index, SHAPE)), expected)


@pytest.mark.parametrize("value", [0, -2.5])
@pytest.mark.parametrize(
    "widths",
    [(0, (8, 8), 0, 0), (0, (16, 16), 0, 0), (0, (3, 0), 0, 0), (0, 0, (1, 2), (2, 0)), ((1, 2), (0, 7), (0, 1), 1)],
    ids=str,
)
def test_pad(widths, value, woven_only):
    x = numbers((2, 18, 3, 4))
    widths = tuple(w if isinstance(w, tuple) else (w, w) for w in widths)
    check(cpu.pad(blocked(x), widths, value), np.pad(x, widths, constant_values=value))


def test_all_of_the_result_is_written(woven_only):
    """Also where the memory of an earlier result is used again."""
    shape = (4, 33, 34, 34)
    x = numbers((4, 10, 17, 17))
    index = (every, slice(20, 30), slice(0, None, 2), slice(1, None, 2))
    expected = np.zeros(shape, np.float32)
    expected[index] = x
    stale(shape)
    check(cpu.add_at(blocked(x), index, shape), expected)


def test_any_bits_survive():
    x = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32).reshape(1, 4, 1, 1)
    bits = np.concatenate([x, x], 1).tobytes()
    assert plain(cpu.concat([blocked(x), blocked(x)], 1)).tobytes() == bits


@pytest.mark.parametrize("name", ["haswell", "nehalem"])
def test_each_kind_of_cpu(name, monkeypatch, woven_only):
    if "x86_64" not in microkernels.llvm.get_process_triple():
        pytest.skip("names of x86 CPUs")
    monkeypatch.setenv("NUMBA_CPU_NAME", name)
    microkernels.address.cache_clear()
    try:
        test_concat((7, 9, 33), True, None)
        test_slices_and_their_adjoint(INDICES["channels backwards"], None)
        test_slices_and_their_adjoint(INDICES["steps and starts"], None)
    finally:
        microkernels.address.cache_clear()


MOST = {"first": slice(0, 32), "last": slice(16, None), "all": slice(None)}


@pytest.mark.parametrize("channels", MOST.values(), ids=MOST)
def test_most_of_the_blocks_are_no_copy(channels, woven_only):
    """What looks at them: kernels that heed strides, those that do not, and who wants a plain array."""
    x, other = numbers(SHAPE), numbers(SHAPE, 1)
    whole = blocked(x)
    expected, part = x[:, channels], other[:, channels]

    def cut():
        found = cpu.getitem(whole, (every, channels))
        assert np.shares_memory(found.images(), whole.blocks())
        return found

    check(cut(), expected)
    check(cpu.add(cut(), blocked(part)), expected + part)
    check(cpu.add(blocked(part), cut()), part + expected)
    check(cpu.mul(cut(), cut()), expected * expected)
    check(cpu.neg(cut()), -expected)
    check(cpu.mul(cut(), part[:, :, :1, :1]), expected * part[:, :, :1, :1])
    check(cpu.concat([cut(), blocked(x[:, :5])], 1), np.concatenate([expected, x[:, :5]], 1))
    check(cpu.getitem(cut(), (every, every, slice(1, 3))), expected[:, :, 1:3])
    check(cpu.getitem(cut(), (every, slice(0, 16))), expected[:, :16])
    check(cpu.pad(cut(), ((0, 0), (1, 0), (0, 0), (0, 0)), 0), np.pad(expected, ((0, 0), (1, 0), (0, 0), (0, 0))))
    contiguous = cut()
    assert contiguous.blocks().flags.c_contiguous and contiguous.nbytes == contiguous.blocks().nbytes
    check(contiguous, expected)


def test_a_slice_does_not_see_what_is_written_into_its_whole():
    x = numbers(SHAPE)
    whole = blocked(x)
    part = cpu.getitem(whole, (every, slice(0, 32)))
    whole.plain()[...] = 0
    check(part, x[:, :32])


CUTS = [(41, slice(3, None)), (41, slice(0, 30)), (41, slice(0, 16)), (32, slice(None, None, 2)), (32, slice(1, None))]


@pytest.mark.parametrize(("of", "channels"), CUTS, ids=str)
def test_other_slices_are_copies(of, channels):
    """Those that begin or end inside of a block; and a small part would keep all of the memory alive."""
    x = numbers((3, of, 2, 5))
    whole = blocked(x)
    part = cpu.getitem(whole, (every, channels))
    assert not np.shares_memory(part.images(), whole.blocks())
    check(part, x[:, channels])


def test_images_of_a_slice_are_copies():
    x = numbers(SHAPE)
    check(cpu.getitem(blocked(x), (slice(0, 2), slice(0, 32))), x[:2, :32])
