"""Mutation testing: every line is broken in every small way, and some check must notice.

    python -m tests.mutants                              minicnn/ops and minicnn/kernels/reference
    python -m tests.mutants minicnn/ops/pool.py ...      these files; those of kernels/cpu run uncompiled

A planted fault (tests/faults) is a mistake that somebody made; a mutant is one that nobody thought of. Operators are
swapped, comparisons shifted, constants changed, conditions decided, statements dropped, arguments exchanged: one place
at a time, never on disk (changes.py). Each mutant lives in a fork of this process, where the functions of the live
modules get its code (planting.py). There the properties of the op table are tried on a few cases, the same every time,
and the ordinary tests; of both only those that run the line, until one fails: first what noticed others of the same
function, then those that the next error refuses, the rows that the line names, and what costs least (trials.py).

A mutant that survives means that a test is missing, or that it is no mistake at all: then equivalent.py says why.
RESULTS.md has the numbers.
"""
