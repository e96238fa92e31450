"""Every error a user can cause, one class each, all under MinicnnError.

A message is one sentence: the op, both shapes, the rule, the way out. While an error raised in an op travels up
through the modules that called it, each Module adds its name (Module.__call__ does this), so that the reader sees
where in the model it happened:

    ShapeError: features.3 (Conv2d 6→16, 5×5): conv2d expects 6 input channels, got 3: input has shape (64, 3, 12, 12)
"""

from __future__ import annotations


class MinicnnError(Exception):
    """What minicnn raises on bad input; `str(error)` begins with the path of the module it happened in, if any."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message
        self.module: object | None = None  # the innermost module that saw the error
        self.module_name = ""  # how that module describes itself
        self.path: list[str] = []  # names of the modules from the outermost to the innermost
        self.advice: str | None = None  # what the outermost one knows of the way out

    def __str__(self) -> str:
        advice = f": {self.advice}" if self.advice else ""
        if self.module is None:
            return self.message + advice
        path = ".".join(self.path)
        where = f"{path} ({self.module_name})" if path else self.module_name
        return f"{where}: {self.message}{advice}"


class ShapeError(MinicnnError, ValueError):
    """Arrays whose shapes do not fit the op."""


class DTypeError(MinicnnError, TypeError):
    """Arrays whose types do not fit the op, or that would silently change precision."""


class ArgumentError(MinicnnError, ValueError):
    """An option outside of its range."""


class DeviceError(MinicnnError, RuntimeError):
    """A device that is unknown, not usable on this machine, or not where the other arrays are."""


class OutOfMemoryError(MinicnnError, MemoryError):
    """An op found no room for its result or its work; nothing has been changed."""

    @classmethod
    def in_op(cls, op: str, shapes: list[tuple[int, ...]], device: str, error: MemoryError) -> OutOfMemoryError:
        """What NumPy or CuPy said of the bytes, with the op that asked for them."""
        how_much = str(error).rstrip(".") or "it did not say how much it needs"
        return cls(
            f"{op} of {', '.join(map(str, shapes))} found no memory on {device}: {how_much}; "
            "use a smaller batch, or minicnn.checkpoint() for parts of the network"
        )


class GraphError(MinicnnError, RuntimeError):
    """backward() or grad() asked for something the graph cannot give."""


class AnomalyError(MinicnnError, ArithmeticError):
    """Anomaly mode found the op that made the first NaN."""


class GradcheckError(MinicnnError, AssertionError):
    """A derivative differs from what finite differences say, or a function from the op it is meant to be."""

    causes: list[tuple[str, ...]] = []  # names of the mistakes that explain everything: [] if it is a guess
    guess: str = ""  # what the difference looks like
    snippet: str = ""  # code that shows it


class DataError(MinicnnError, ValueError):
    """A data set that is missing, damaged, or not what it claims to be."""


class CheckpointError(MinicnnError, ValueError):
    """A file of weights that is missing, damaged, or made for another model."""


class TrainingError(MinicnnError, RuntimeError):
    """Training cannot go on, or the folder for its results cannot be written."""


class MissingPackageError(MinicnnError, RuntimeError):
    """An optional package is not installed; the message has the install line."""


class IndexingError(MinicnnError, IndexError):
    """An index that does not fit the shape."""
