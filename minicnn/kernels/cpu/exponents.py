"""Numbers for eˣ = 2ᵏ·eʳ in float32, with k whole and |r| ≤ ½·ln 2; gates.py and blocked_elementwise.py compute it."""

from __future__ import annotations

import math

import numpy as np

single = np.float32
TO_INTEGER = single(1.5 * 2**23)  # x + this has no digits behind the point, and x's digits at the end of its bits
LOG2_E = single(1 / math.log(2))
LN2_HIGH = single(0.693359375)  # few digits: times k ≤ 128 it is exact
LN2_LOW = single(math.log(2) - 0.693359375)
SERIES = tuple(single(1 / math.factorial(n)) for n in range(7, -1, -1))
