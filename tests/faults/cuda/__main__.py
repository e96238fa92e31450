"""The table: plant each fault, say who catches it."""

import os
import sys

from . import MUTANTS, caught_by


def main() -> None:
    """Print a fault, and for each way of running the tests the first that fails."""
    os.environ.setdefault("MINICNN_QUIET", "1")
    first = "--first" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--first"]
    wanted = [m for m in MUTANTS if not words or any(word in m.file or word in m.name for word in words)]
    missed = 0
    for mutant in wanted:
        found = caught_by(mutant, first)
        print(f"{mutant.file:<14}{mutant.name}", flush=True)
        for run, said in found.items():
            print(f"{'':<14}  {run:<15} {said[:150]}", flush=True)
        if not found:
            missed += not mutant.harmless
            print(f"{'':<14}  {mutant.harmless or 'NOT CAUGHT'}", flush=True)
    print(f"{len(wanted)} faults, {missed} missed")


main()
