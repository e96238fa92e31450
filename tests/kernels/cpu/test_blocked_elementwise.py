"""cpu/blocked_elementwise.py against the readable book, at channels that fill no block."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import blocked_elementwise, microkernels, stages, threads
from minicnn.kernels.cpu.blocked import Blocked, blocked, plain

SHAPES = {"one image": (1, 5, 3, 7), "one channel past": (3, 17, 4, 5), "one pixel": (3, 24, 1, 1),
          "pieces": (2, 40, 27, 29)}  # fmt: skip
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
ONE = ["relu", "relu6", "silu", "hard_swish", "neg", "copy"]
TWO = {"relu_mask": (), "clip_mask": (-1.5, 2.0), "silu_slope": (), "hard_swish_slope": (), "add": (), "sub": (),
       "mul": ()}  # fmt: skip
ARITHMETIC = ["add", "sub", "mul"]


@pytest.fixture(params=["AVX512", "AVX2", "SSE"])
def machine(request, monkeypatch):
    """Vectors of 16, 8 and 4 lanes."""
    of_machine = (
        microkernels.address,
        *(getattr(blocked_elementwise, name) for name in ("_plan", "_row_plan", "_sums")),
    )

    def clear():
        for cache in of_machine:
            cache.cache_clear()

    clear()
    monkeypatch.setattr(microkernels, "machine", lambda: getattr(microkernels, request.param))
    yield
    clear()


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(stages, "SMALL", 0)
    monkeypatch.setattr(threads, "_threads", 2)


def numbers(shape, seed=0):
    """Around the kinks at −3, 0, 3 and 6, which are among them."""
    rng = np.random.default_rng(seed)
    x = 4 * rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([-3, 0, 3, 6, -1.5, 2], shape), x).astype(np.float32)


def assert_equal(actual, expected, close=4e-7):
    """In blocks, with nothing past the channels, and equal to within rounding."""
    assert type(actual) is Blocked and actual.shape == expected.shape and actual.dtype == expected.dtype
    assert (actual.blocks()[:, -1, :, :, (actual.shape[1] - 1) % 16 + 1 :] == 0).all()
    np.testing.assert_allclose(plain(actual), expected, rtol=close, atol=close)


@EACH
def test_of_one_image(shape):
    assert_each_of_one(shape)


def test_of_one_image_with_vectors_of_any_width(machine):
    assert_each_of_one((2, 20, 5, 7))


def assert_each_of_one(shape):
    x = numbers(shape)
    before = x.copy()
    for name in ONE:
        given = blocked(x)
        y = getattr(cpu, name)(given)
        assert_equal(y, getattr(reference, name)(x))
        assert y is not given and np.array_equal(plain(given), before)


@EACH
def test_of_two_images(shape):
    assert_each_of_two(shape)


def test_of_two_images_with_vectors_of_any_width(machine):
    assert_each_of_two((2, 20, 5, 7))


def assert_each_of_two(shape):
    """Both in blocks, or one of them an array."""
    a, b = numbers(shape), numbers(shape, 1)
    for name, options in TWO.items():
        expected = getattr(reference, name)(a, b, *options)
        for left, right in ((blocked(a), blocked(b)), (a, blocked(b)), (blocked(a), b)):
            assert_equal(getattr(cpu, name)(left, right, *options), expected, 1e-6)


@EACH
def test_a_gradient_that_is_one_number_for_each_plane(shape):
    """As that of a global pooling is."""
    x, g = numbers(shape), np.broadcast_to(numbers((*shape[:2], 1, 1), 1), shape)
    for name, options in TWO.items():
        assert_equal(getattr(cpu, name)(g, blocked(x), *options), getattr(reference, name)(g, x, *options), 1e-6)
    planes = cpu.adaptive_avg_pool2d_transpose(np.ones((*shape[:2], 1, 1), np.float32), shape[2:])
    assert planes.strides[2:] == (0, 0) or shape[2:] == (1, 1)
    np.testing.assert_allclose(planes, np.full(shape, 1 / (shape[2] * shape[3])), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_nan_and_infinity():
    """As the contract says, number by number."""
    x = np.float32([np.nan, np.inf, -np.inf, 88.5, -88.5, 1e30, -1e30, -0.0, 1, 3, -3, 6]).reshape(1, 12, 1, 1)
    for name in ONE:
        np.testing.assert_allclose(plain(getattr(cpu, name)(blocked(x))), getattr(reference, name)(x), 1e-6, 1e-36)
    for name, options in TWO.items():
        for g in (np.ones_like(x), np.flip(x, 1)):
            expected = getattr(reference, name)(g, x, *options)
            np.testing.assert_allclose(plain(getattr(cpu, name)(g, blocked(x), *options)), expected, 1e-6, 1e-36)


def test_silu_to_the_last_digits():
    """From where the exponential is 0 to where it is ∞, in units of the last digit of a number of that size."""
    x = np.linspace(-90, 90, 65_536).astype(np.float32).reshape(1, 16, 64, 64)
    exact = x / (1 + np.exp(-x.astype(np.float64)))
    error = np.abs(plain(cpu.silu(blocked(x))) - exact)
    assert (error <= 2.5 * np.spacing(np.maximum(np.abs(exact), 1e-29).astype(np.float32))).all()


@EACH
@pytest.mark.parametrize("name", ARITHMETIC)
def test_with_a_number_for_each_plane(name, shape):
    """(N, C, 1, 1) and all that broadcasts to it: numbers, (C, 1, 1), images alone, channels alone; from both sides."""
    x, s = numbers(shape), numbers(shape[:2], 1).reshape(*shape[:2], 1, 1)
    others = [2, -1.5, np.float32(0.5), np.asarray(3, np.float32), s, s[:1], s[:, :1], s[0], np.float32([[[7]]])]
    others += [np.broadcast_to(s, shape)]  # one number for each plane, as its strides say
    for other in others:
        for a, b in ((x, other), (other, x)):
            given = [blocked(v) if v is x else v for v in (a, b)]
            assert_equal(getattr(cpu, name)(*given), getattr(reference, name)(a, b))


@pytest.mark.parametrize("name", ARITHMETIC)
def test_what_broadcasts_otherwise(name):
    x = numbers((2, 5, 3, 7))
    for other in (x[0, 0], x[:, :, :1], x[:, :, :, :1], x[:1], x[:, :1]):
        assert_equal(getattr(cpu, name)(blocked(x), other), getattr(reference, name)(x, other))
        assert_equal(getattr(cpu, name)(other, blocked(x)), getattr(reference, name)(other, x))
    larger = numbers((4, 2, 5, 3, 7))
    assert np.array_equal(getattr(cpu, name)(larger, blocked(x)), getattr(reference, name)(larger, x))
    row = numbers((2, 5, 1, 7))
    assert np.array_equal(getattr(cpu, name)(blocked(x), blocked(row)), getattr(reference, name)(x, row))
    assert np.array_equal(getattr(cpu, name)(blocked(row), x), getattr(reference, name)(row, x))


@pytest.mark.parametrize("name", ARITHMETIC)
def test_other_precisions_are_numpys(name):
    x, index = numbers((2, 5, 3, 7)), np.arange(210, dtype=np.int32).reshape(2, 5, 3, 7)
    for a, b in ((x, x.astype(np.float64)), (x, np.float64(3)), (x, 2 + 1j), (x, True), (index, index), (index, 2)):
        y = getattr(cpu, name)(blocked(a), b)
        expected = getattr(reference, name)(a, b)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(plain(y), expected)


def test_integers_are_not_taken_for_floats():
    index = np.arange(-100, 110, dtype=np.int32).reshape(2, 5, 3, 7)
    for name in ("neg", "copy", "relu"):
        y = getattr(cpu, name)(blocked(index))
        assert y.dtype == np.int32 and np.array_equal(plain(y), getattr(reference, name)(index))
    assert cpu.sum(blocked(index), (2, 3), False).dtype == np.int64


@pytest.mark.parametrize("shape", [(0, 5, 3, 7), (2, 0, 3, 7), (2, 5, 0, 7)])
def test_nothing(shape):
    x = blocked(np.zeros(shape, np.float32))
    for y in (cpu.relu(x), cpu.add(x, x), cpu.mul(x, 2.0)):
        assert y.shape == shape
    assert np.array_equal(cpu.sum(x, (2, 3), True), np.zeros((*shape[:2], 1, 1)))


AXES = [(2, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3), (3, 2), (1,), (0, 1), (3,), ()]


@EACH
def test_sums(shape):
    assert_sums(shape)


def test_sums_with_vectors_of_any_width(machine):
    assert_sums((2, 20, 27, 19))


def assert_sums(shape):
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    for axis in AXES:
        for keepdims in (True, False):
            y = cpu.sum(blocked(x), axis, keepdims)
            exact = x.astype(np.float64).sum(axis, keepdims=keepdims)
            assert y.dtype == np.float32 and y.shape == exact.shape
            np.testing.assert_allclose(plain(y), exact, rtol=1e-6)


def test_sums_of_a_slice():
    """The channels of a larger image, read where they are."""
    x = numbers((3, 64, 5, 7))
    part = cpu.getitem(blocked(x), (slice(None), slice(16, 64)))
    for axis in ((2, 3), (0, 2, 3)):
        np.testing.assert_allclose(cpu.sum(part, axis, False), x[:, 16:].sum(axis), rtol=1e-5, atol=1e-4)
    assert not part.images().flags.c_contiguous


def test_sums_of_many_pixels_stay_exact():
    """2²⁴ + 1 is no float32: a sum in single precision would stand still there."""
    x = np.ones((1, 1, 5, 512), np.float32)
    x[0, 0, 0] = 2**15
    assert cpu.sum(blocked(x), (2, 3), False).item() == np.float32(2**24 + 2048)


def test_nan_stays_in_its_sum():
    x = numbers((2, 18, 3, 4))
    x[1, 17, 2, 3] = np.nan
    found = np.isnan(cpu.sum(blocked(x), (2, 3), False))
    assert found[1, 17] and found.sum() == 1


def test_thread_counts_agree(monkeypatch):
    x, s = numbers((2, 40, 27, 29)), numbers((2, 40, 1, 1), 1)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        parts = [cpu.sum(blocked(x), axis, False) for axis in ((2, 3), (0, 2, 3))]
        parts += [y.blocks() for y in (cpu.silu(blocked(x)), cpu.mul(blocked(x), s))]
        results.append([part.tobytes() for part in parts])
    assert results[0] == results[1] == results[2]
