"""The fast book: what NumPy does well as NumPy does it, what it does badly in Numba and LLVM."""

from ..reference import *
