"""Philox4x32-10 and the dropout it decides, on Python's integers.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", figure 4 and table 2.
"""

from __future__ import annotations

import numpy as np

WORD = 2**32


def philox4x32(counter: list[int], key: list[int], rounds: int = 10) -> list[int]:
    """Four random words for four words of counter and two of key."""
    (a, b, c, d), (left, right) = counter, key
    for _ in range(rounds):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second // WORD) ^ b ^ left, second % WORD, (first // WORD) ^ d ^ right, first % WORD
        left, right = (left + 0x9E3779B9) % WORD, (right + 0xBB67AE85) % WORD
    return [a, b, c, d]


def words(seed: int, call: int, n: int) -> list[int]:
    """The first n words of a call: word i is word i mod 4 of block i div 4."""
    found: list[int] = []
    while len(found) < n:
        block = len(found) // 4
        found += philox4x32([block % WORD, block // WORD, call % WORD, call // WORD], [seed % WORD, seed // WORD])
    return found[:n]


def dropout(x, p, seed, call):
    """Element i stays, times 1/(1 − p), if word i reaches the fraction p of all words."""
    result = np.zeros(x.shape)
    for index, word in zip(np.ndindex(*x.shape), words(seed, call, x.size), strict=True):
        if p < 1 and word >= round(p * WORD):
            result[index] = x[index] / (1 - p)
    return result


def dropout2d(x, p, seed, call):
    """The same, decided about each channel of each image: about x[n, c] by word n·C + c."""
    decided = dropout(np.ones(x.shape[:2]), p, seed, call)
    result = np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        result[n, c] = decided[n, c] * x[n, c]
    return result


def stochastic_depth(x, p, seed, call, mode):
    """The same, decided about each image, or by word 0 about all of them."""
    decided = dropout(np.ones(len(x)), p, seed, call)
    result = np.zeros(x.shape)
    for n in range(len(x)):
        result[n] = decided[n if mode == "row" else 0] * x[n]
    return result
