"""Random bits on CPU: Philox4x32-10, numbers that are looked up rather than drawn.

    key      (seed low, seed high)                                    10 rounds, each two multiplications:
    counter  (block low, block high, call low, call high)
                    c0     c1     c2     c3                           (h0, l0) = M0 · c0     (h1, l1) = M1 · c2
                    └──┬───┴──┬───┴──┬───┘                            c0, c1 = h1 ^ c1 ^ k0, l1
               word 4·block + 0, 1, 2, 3                              c2, c3 = h0 ^ c3 ^ k1, l0
                                                                      k0, k1 = k0 + W0, k1 + W1
Word i depends on (seed, call, i) alone: any thread can compute any part, and every device gives the same stream.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    operations   about 25 integer instructions for each word (20 multiplications for 4 words)
    bytes        4 written for each word
"""

from __future__ import annotations

import math

import numpy as np

from .drivers import driver
from .threads import get_num_threads, parallel_for

LOW = 0xFFFFFFFF
M0, M1 = 0xD2511F53, 0xCD9E8D57  # multipliers
W0, W1 = 0x9E3779B9, 0xBB67AE85  # what the key grows by in each round: golden ratio, √3 − 1
SMALL = 1 << 15  # words that one thread computes before a second has woken up


def random_bits(seed: int, call: int, n: int) -> np.ndarray:
    """The first n words of stream (seed, call), uint32; seed and call are taken modulo 2⁶⁴."""
    words = np.empty((n + 3) // 4 * 4, np.uint32)
    start = np.array([seed & LOW, seed >> 32 & LOW, call & LOW, call >> 32 & LOW], np.uint64)
    threads = 1 if n < SMALL else get_num_threads()
    parallel_for(len(words) // 4, philox_blocks, start, words, threads=threads)
    return words[:n]


def dropout_mask(seed: int, call: int, p: float, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """1/(1 − p) where the word is at least p·2³², else 0."""
    kept = random_bits(seed, call, math.prod(shape)).reshape(shape) >= min(round(p * 2**32), LOW)
    return kept.astype(dtype) * dtype.type(1 / (1 - p) if p < 1 else 0)


@driver
def philox_blocks(share, first, last, start, words):
    """words[4·block : 4·block + 4] for first ≤ block < last."""
    for block in range(first, last):
        c0, c1 = block & LOW, block >> 32
        k0, k1, c2, c3 = start[0], start[1], start[2], start[3]
        for _ in range(10):
            p0, p1 = M0 * c0, M1 * c2  # 64 bits; the sign that they may have as integers is masked away
            c0, c1 = (p1 >> 32 & LOW) ^ c1 ^ k0, p1 & LOW
            c2, c3 = (p0 >> 32 & LOW) ^ c3 ^ k1, p0 & LOW
            k0, k1 = k0 + W0 & LOW, k1 + W1 & LOW
        words[4 * block] = c0
        words[4 * block + 1] = c1
        words[4 * block + 2] = c2
        words[4 * block + 3] = c3
