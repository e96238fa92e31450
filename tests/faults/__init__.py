"""The catalogue of faults: real bugs, planted one at a time, each of which some property must reject.

A check that cannot fail is a defect; this is how the checks are checked. `python -m tests.faults` prints the table:
what was planted, where it has been seen, which properties caught it, and what gradcheck calls it when the op is handed
to it as somebody's function. The mistakes that gradcheck can name (minicnn/causes) are faults of this table.

A fault breaks one thing for as long as its `with` block lasts: a kernel of a book, forward or backward of a Function,
the window geometry, or the engine itself. Its properties then run on a few cases that never change, and on the edges.
"""

from __future__ import annotations

import itertools
import warnings

from ..op_table import Op
from ..properties import PROPERTIES
from ..strategies import examples
from .activation import CURVED, NOISE, STRAIGHT
from .arrays import ARITHMETIC, SHAPE
from .conv import GEOMETRY
from .elementary import ELEMENTARY
from .engine import ENGINE
from .functions import ACTIVATIONS
from .fused import FUSED
from .known import known
from .loss import LOSSES
from .norm import BATCH_NORM, RESPONSE_NORM, ROW_NORMS
from .planting import Fault
from .pool import BINS, UNPOOLING
from .resize import RESIZING
from .windows import CONVOLUTION, POOLING

__all__ = ["FAULTS", "Fault", "rejections"]

CASES = 8  # of each op, besides its edges

PLANTED = (
    CONVOLUTION + POOLING + BINS + UNPOOLING + GEOMETRY + ARITHMETIC + SHAPE + ELEMENTARY + RESIZING
    + ACTIVATIONS + STRAIGHT + CURVED + NOISE + LOSSES + ENGINE
    + BATCH_NORM + ROW_NORMS + RESPONSE_NORM + FUSED
)  # fmt: skip
FAULTS = PLANTED + known({fault.name for fault in PLANTED})


def rejections(op: Op, device: str, only: str = "") -> dict[str, str]:
    """The properties (or only one of them) that do not hold for an op, each with the first line of its complaint."""
    found = {}
    cases = examples(op.inputs, CASES)
    for prop in PROPERTIES:
        if prop.applies(op) and only in ("", prop.name):
            for case in itertools.chain(cases, op.edges if prop.at_edges else ()):
                try:
                    with warnings.catch_warnings(action="error"):
                        prop.check(op, case, device)
                except Exception as error:  # an op that crashes is rejected, too
                    found[prop.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                    break
    return found
