"""What gradcheck says of a fault, if the op with the fault in it is given to it as somebody's function."""

from __future__ import annotations

from typing import NamedTuple

from minicnn import gradcheck, use
from minicnn.causes import SUBJECTS
from minicnn.errors import GradcheckError

from .planting import Fault


class Said(NamedTuple):
    """The causes that were named (each a tuple of mistakes), and the guess if none was."""

    causes: list[tuple[str, ...]]
    guess: str
    rejected: bool
    known: bool = True  # whether gradcheck knows the op

    def kind(self, fault: Fault) -> str:
        if not self.known:
            return "of ops that it does not know"
        if not self.rejected:
            return "found right where it looks"
        if not self.causes:
            return "rejected without a name"
        return "named exactly" if self.causes == [(fault.name,)] else "MISNAMED"

    def about(self, fault: Fault) -> str:
        """The line of the table."""
        what = {"rejected without a name": self.guess.splitlines()[0] if self.guess else "", "MISNAMED": self.causes}
        return ": ".join(str(part) for part in (self.kind(fault), what.get(self.kind(fault))) if part)


def said_of(fault: Fault) -> Said:
    subject = SUBJECTS.get(fault.op.split(" ")[0])
    if subject is None:
        return Said([], "", False, False)
    try:
        with use(fault.device):
            gradcheck(fault.function(subject.function), like=subject.op)
    except GradcheckError as error:
        return Said(error.causes, error.guess or error.message, True)
    return Said([], "", False)
