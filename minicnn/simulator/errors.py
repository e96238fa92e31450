"""What the simulator raises when a kernel does what it must not."""

from __future__ import annotations

from ..errors import MinicnnError


class KernelError(MinicnnError, RuntimeError):
    """A kernel that did something wrong: what, in which thread of which block, in which line."""


class CompileError(KernelError):
    """A kernel that does not compile: the compiler's log."""
