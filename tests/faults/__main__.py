"""The table: plant each fault, say which properties rejected it, and what gradcheck calls it as somebody's function.

`python -m tests.faults conv2d softmax` prints these ops only.
"""

import collections
import functools
import sys

from minicnn.causes.cause import Cause, gradient

from ..op_table import ROWS
from . import FAULTS, rejections
from .naming import said_of
from .planting import Fault


@functools.cache
def by_planting_alone(op: str) -> set[str]:
    """What rejects an op that is planted from outside, with nothing wrong in it: what it keeps in memory, say."""
    harmless = Fault("", op, "", None, "", cause=Cause("", op.split(" ")[0], "", gradient()))
    return set(rejections(harmless.into(ROWS[op]), harmless.device))


def main() -> None:
    """Print the table: plant each fault, say which properties rejected it, and what gradcheck calls it."""
    names: collections.Counter[str] = collections.Counter()
    wanted = [fault for fault in FAULTS if not sys.argv[1:] or fault.op.split(" ")[0] in sys.argv[1:]]
    for fault in wanted:
        with fault.plant():
            caught = set(rejections(fault.into(ROWS[fault.op]), fault.device))
        said = said_of(fault)
        names[said.kind(fault)] += 1
        print(f"{fault.op:<18}{fault.name}")
        print(f"{'':<18}  seen in    {fault.seen_in}")
        caught -= by_planting_alone(fault.op) - {fault.caught_by} if fault.cause else set()
        print(f"{'':<18}  caught by  {', '.join(sorted(caught)).replace('_', ' ') or 'NOTHING'}")
        print(f"{'':<18}  gradcheck  {said.about(fault)}")
    print(f"{len(wanted)} faults in {len({fault.op for fault in wanted})} ops")
    print("as functions, by gradcheck: " + ", ".join(f"{count} {kind}" for kind, count in names.most_common()))


main()
