"""The catalogue of mistakes: for every op that people write themselves, what they get wrong, ready to be planted.

    cause.py      what a mistake is, and how it is planted in an op
    subject.py    which calls of an op tell whether a function is that op
    naming.py     which mistakes give exactly what a function gave
    the others    by topic: SUBJECTS, the ops, and CAUSES, the mistakes in them

The same mistakes stand in tests/faults, where the engine's own checks must reject every one of them.
"""

from __future__ import annotations

from . import arrays, convolution, functions, losses, norms, pooling
from .cause import Cause
from .subject import Subject

TOPICS = (arrays, functions, losses, convolution, pooling, norms)

SUBJECTS: dict[str, Subject] = {subject.op: subject for topic in TOPICS for subject in topic.SUBJECTS}
CAUSES: dict[str, tuple[Cause, ...]] = {
    op: tuple(cause for topic in TOPICS for cause in topic.CAUSES if cause.op == op) for op in SUBJECTS
}
