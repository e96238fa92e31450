"""Faults of CUDA kernels: dropped barriers, guards off by one, wrong strides, tails that nobody computes.

    python -m tests.faults.cuda                   plant each into the .cu files and print who catches it (half an hour)
    python -m tests.faults.cuda norm.cu pool      only those whose file or name has one of these words
    python -m tests.faults.cuda --first           stop at the first that catches a fault: much quicker

A fault is a piece of text replaced by another (catalogue.py). For as long as it is planted, kernels are compiled from
the changed text, and the tests of that kernel run on device "cuda-sim" (planting.py): unwatched, in two orders of
threads, where only the numbers can tell; then under the check build. What nobody catches is in the catalogue with its
reason.
"""

from .catalogue import MUTANTS, Mutant
from .planting import caught_by, planted

__all__ = ["MUTANTS", "Mutant", "caught_by", "planted"]
