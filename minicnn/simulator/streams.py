"""Streams, events and graphs of the stand-in for CuPy.

A GPU runs what it is given some time later. The stand-in therefore runs the work of a stream as late as the program
allows: when the host waits for it, or when something that must come after it runs. A missing wait then shows always,
not now and then. Only the null stream, while all others are idle, does its work at once, so that an error appears in
the line that caused it. An error that appears later carries a note with that line.

Capturing records the work instead; Graph.launch() gives it to a stream again. Graphs keep no array alive, as in CUDA.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .memory import Memory

HERE = str(Path(__file__).parent)


class CUDARuntimeError(RuntimeError):
    """What CUDA refuses."""


class Operation:
    """A piece of work for the device."""

    __slots__ = ("run", "memory", "name", "place", "waits", "done")

    def __init__(self, run: Callable[[], None], memory: Sequence[Memory], name: str, place: str):
        self.run, self.name, self.place = run, name, place
        self.memory = [(m.block, m.block.generation) for m in memory]
        self.waits: list[Operation] = []
        self.done = False

    def perform(self) -> None:
        try:
            self.run()
        except Exception as error:
            if self.place:
                error.add_note(f"{self.name} was given to the device by {self.place}")
            raise
        finally:
            self.done = True


class Stream:
    """A queue of work."""

    null: Stream
    _all: weakref.WeakSet[Stream] = weakref.WeakSet()
    _made = 1

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None):
        if null and hasattr(Stream, "null"):
            self.__dict__ = Stream.null.__dict__  # there is one
            return
        self.non_blocking = non_blocking
        self.ptr = 0 if null else Stream._made + 1
        Stream._made += not null
        self._queue: list[Operation] = []
        self._waits: list[Operation] = []
        self._captured: list[Operation] | None = None
        self._broken = ""  # why the capture is worth nothing
        self._before: list[Stream] = []
        Stream._all.add(self)

    # ---- which one is in force

    def __enter__(self) -> Stream:
        self._before.append(current_stream())
        return self.use()

    def __exit__(self, *error: object) -> None:
        _of_thread.stream = self._before.pop()

    def use(self) -> Stream:
        """Give it all work from now on."""
        _of_thread.stream = self
        return self

    # ---- work

    def push(self, run: Callable[[], None], memory: Sequence[Memory] = (), name: str = "work") -> Operation | None:
        """Have something done: at once, later, or at every launch of the graph that is being captured."""
        if self._captured is None and self.runs_at_once():
            run()
            return None
        operation = Operation(run, memory, name, _caller())
        if self._captured is not None:
            self._captured.append(operation)
            return operation
        operation.waits, self._waits = self._waits, []
        if not self.non_blocking:  # the null stream waits for the others, and they for it
            others = [s for s in Stream._all if s is not self and s._queue and not s.non_blocking]
            operation.waits += [s._queue[-1] for s in others if self.ptr == 0 or s.ptr == 0]
        self._queue.append(operation)
        return operation

    def runs_at_once(self) -> bool:
        """Whether this is the null stream and nothing is waiting anywhere."""
        return self.ptr == 0 and not any(stream._queue for stream in Stream._all)

    def _run_until(self, last: Operation | None = None) -> None:
        while self._queue and not (last and last.done):
            operation = self._queue[0]
            for needed in operation.waits:
                for stream in list(Stream._all):
                    if not needed.done and needed in stream._queue:
                        stream._run_until(needed)
            self._queue.pop(0)
            try:
                operation.perform()
            except Exception:
                for lost in self._queue:  # a device that has failed does nothing more
                    lost.done = True
                self._queue.clear()
                raise

    def wait(self, what: str) -> None:
        """The host waits for everything in the stream; raises CUDARuntimeError during a capture."""
        for stream in list(Stream._all):
            if stream._captured is not None and (stream is self or self.ptr == 0):
                stream._broken = what
                raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is capturing")
        if self.ptr == 0:
            for stream in list(Stream._all):
                if not stream.non_blocking:
                    stream._run_until()
        self._run_until()

    def synchronize(self) -> None:
        self.wait("Stream.synchronize()")

    @property
    def done(self) -> bool:
        if self._captured is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: Stream.done while the stream is capturing")
        return not self._queue

    # ---- events

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What is given to this stream from now on waits for the event."""
        if event.operation is not None and not event.operation.done:
            self._waits.append(event.operation)

    # ---- graphs

    def is_capturing(self) -> bool:
        return self._captured is not None

    @property
    def recorded(self) -> list[Operation] | None:
        """What has been captured so far, None if nothing is."""
        return self._captured

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._captured is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is capturing already")
        self._captured, self._broken = [], ""

    def end_capture(self) -> Graph:
        if self._captured is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is not capturing")
        operations, self._captured = self._captured, None
        if self._broken:
            raise CUDARuntimeError(f"cudaErrorStreamCaptureInvalidated: {self._broken}")
        return Graph(operations)


class Graph:
    """Captured work."""

    def __init__(self, operations: list[Operation]):
        self._operations = operations

    def launch(self, stream: Stream | None = None) -> None:
        """Do it again. Raises CUDARuntimeError if memory that it works on has been freed."""
        stream = stream or current_stream()
        for operation in self._operations:
            for block, generation in operation.memory:
                if block.generation != generation:
                    raise CUDARuntimeError(
                        f"a graph replays {operation.name} ({operation.place}) on memory that was freed after its "
                        "capture: keep the arrays of a captured step alive"
                    )
            again = stream.push(operation.run, (), operation.name)
            if again is not None:
                again.place = operation.place

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the first launch: nothing to do here."""


class Event:
    """A mark in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        self.operation: Operation | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.operation = (stream or current_stream()).push(lambda: None, (), "an event")

    @property
    def done(self) -> bool:
        return self.operation is None or self.operation.done

    def synchronize(self) -> None:
        if self.operation is None or self.operation.done:
            return
        for stream in list(Stream._all):
            if self.operation in stream._queue:
                stream._run_until(self.operation)


Stream.null = Stream(null=True)
_of_thread = threading.local()


def current_stream() -> Stream:
    """The stream that work is given to."""
    return getattr(_of_thread, "stream", Stream.null)


def is_capturing() -> bool:
    """Whether any stream is."""
    return any(stream._captured is not None for stream in list(Stream._all))


def wait_for_device() -> None:
    """Until every stream is empty."""
    for stream in list(Stream._all):
        stream.wait("a synchronisation of the device")


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events: 0, as the simulator knows nothing of a GPU's time."""
    return 0.0


def _caller() -> str:
    """The line outside of this folder that is being executed."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return f'File "{frame.f_code.co_filename}", line {frame.f_lineno}' if frame else ""
