"""cpu/random.py against the published vectors and Python's integers; and the report of what is being compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minicnn.kernels.cpu import random, threads

ROOT = Path(__file__).resolve().parents[3]


class Window:
    """An array seen as if it began at `origin`."""

    def __init__(self, array, origin):
        self.array, self.origin = array, origin

    def __setitem__(self, i, value):
        self.array[i - self.origin] = value


# Random123's kat_vectors: counter, key, words.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [product1 >> 32 ^ c[1] ^ k[0], product1 % 2**32, product0 >> 32 ^ c[3] ^ k[1], product0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def stream(seed, call, n):
    key = [seed % 2**32, seed >> 32]
    return [word for i in range(-(-n // 4)) for word in philox([i, 0, call % 2**32, call >> 32], key)][:n]


def block_words(block, start):
    """The four words of any block, also of those that lie beyond any array: by the function that is compiled."""
    words = np.empty(4, np.uint32)
    random.philox_blocks.__wrapped__(0, block, block + 1, np.array(start, np.uint64), Window(words, 4 * block))
    return words.tolist()


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert philox(counter, key) == expected  # the oracle above
    assert block_words(counter[0] | counter[1] << 32, [*key, *counter[2:]]) == expected


def test_known_answer_of_the_compiled_function():
    assert random.random_bits(0, 0, 4).tolist() == KNOWN[0][2]


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 64, 1001])
@pytest.mark.parametrize(("seed", "call"), [(0, 0), (1, 0), (0, 1), (2**63 + 12345, 2**40 + 7), (2**64 - 1, 2**64 - 1)])
def test_against_python_integers(seed, call, n):
    got = random.random_bits(seed, call, n)
    assert got.dtype == np.uint32 and got.shape == (n,)
    assert got.tolist() == stream(seed, call, n)


def test_thread_counts_agree(monkeypatch):
    monkeypatch.setattr(random, "SMALL", 0)
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_threads", count)
        results.append(random.random_bits(5, 6, 10_007).tobytes())
    assert results[0] == results[1] == results[2]


def test_blocks_beyond_32_bits():
    """Block 2³² has 0 in the low word of its counter and 1 in the next: not block 0 again."""
    assert block_words(2**32, [7, 8, 9, 10]) == philox([0, 1, 9, 10], [7, 8])
