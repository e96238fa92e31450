"""Of the books what the op table does not reach: random bits against published answers, names and parameters, and
what a fused gradient leaves out."""

import importlib
import inspect
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import kernels, use
from minicnn.device import DEVICES
from minicnn.kernels.window import Window

from ..oracles import philox

pytestmark = pytest.mark.on_host  # kernels are called with NumPy's arrays

# Salmon et al., Random123 distribution, kat_vectors: "philox4x32 10": counter, key, result
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, result", KNOWN_ANSWERS)
def test_the_oracle_gives_the_known_answers(counter, key, result):
    assert philox.philox4x32(words(counter), words(key)) == words(result)


def test_random_bits_give_the_known_answer_that_they_can_reach(device):
    """Seed 0, call 0, block 0; the others have a block number that no array is long enough for."""
    with use(device):
        assert kernels.random_bits(0, 0, 4).tolist() == words(KNOWN_ANSWERS[0][2])


@given(seed=st.integers(0, 2**64 - 1), call=st.integers(0, 2**64 - 1), n=st.integers(0, 70))
def test_random_bits_are_philox(device, seed, call, n):
    with use(device):
        bits = kernels.random_bits(seed, call, n)
    assert bits.dtype == np.uint32
    assert bits.tolist() == philox.words(seed, call, n)


def test_random_bits_of_a_long_call_do_not_depend_on_its_length(device):
    """Word i is word i, however many are drawn and however the work is divided."""
    with use(device):
        many = kernels.random_bits(7, 3, 100_003)
        assert np.array_equal(many[:1001], kernels.random_bits(7, 3, 1001))
    block = 99_996 // 4
    assert many[99_996:100_000].tolist() == philox.philox4x32([block, 0, 3, 0], [7, 0])


@pytest.mark.parametrize("needs", list(itertools.product([False, True], repeat=3)))
def test_the_fused_gradient_gives_what_is_needed_and_nothing_else(device, needs):
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(2, 2, 6, 5)), rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4)
    window, pool = Window((3, 3), pad=((1, 1), (0, 2))), Window((2, 2), (2, 2))
    with use(device):
        y, indices = kernels.conv2d_relu_max_pool2d(x, w, b, window, 2, pool)
        everything = kernels.conv2d_relu_max_pool2d_gradient(y, indices, x, w, window, 2, pool, (True, True, True))
        found = kernels.conv2d_relu_max_pool2d_gradient(y, indices, x, w, window, 2, pool, needs)
    for one, wanted, needed in zip(found, everything, needs, strict=True):
        assert (one is not None) == needed
        assert one is None or np.array_equal(one, wanted)


def is_numpys_own(function):
    return isinstance(function, np.ufunc) or function is np.where


@pytest.mark.parametrize("name", kernels.CONTENTS)
@pytest.mark.parametrize("of", sorted({device.book for device in DEVICES.values()}))
def test_every_book_has_every_entry_with_its_parameters(of, name):
    implementation = getattr(importlib.import_module(of), name)
    assert callable(implementation)
    if not is_numpys_own(inspect.unwrap(implementation, stop=is_numpys_own)):
        entry = inspect.signature(kernels.CONTENTS[name])
        assert list(inspect.signature(implementation).parameters) == list(entry.parameters)


@pytest.mark.parametrize("of", ["minicnn.kernels.cpu", "minicnn.kernels.cuda"])
def test_no_module_of_a_book_has_the_name_of_a_kernel(of):
    """Importing it would put the module where the book keeps the kernel."""
    modules = {path.stem for path in Path(importlib.import_module(of).__file__).parent.glob("*.py")}
    assert len(modules) > 5 and not modules & set(kernels.CONTENTS)
