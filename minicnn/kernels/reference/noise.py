"""Random numbers."""

from __future__ import annotations

import math

import numpy as np


def random_bits(seed, call, n):
    """Ten rounds of two 32×32→64-bit products. Each step of the loop is one round on all blocks at once."""
    low = np.uint64(0xFFFFFFFF)
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    c0, c1 = block & low, block >> np.uint64(32)
    c2, c3 = np.full_like(block, call & 0xFFFFFFFF), np.full_like(block, call >> 32)
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (b >> np.uint64(32)) ^ c1 ^ np.uint64(key0),
            b & low,
            (a >> np.uint64(32)) ^ c3 ^ np.uint64(key1),
            a & low,
        )
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF  # Weyl sequence
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32).reshape(-1)[:n]


def dropout_mask(seed, call, p, shape, dtype):
    words = random_bits(seed, call, math.prod(shape)).reshape(shape)
    kept = words >= min(round(p * 2**32), 2**32 - 1)
    return kept.astype(dtype) * dtype.type(1 / (1 - p) if p < 1 else 0)
