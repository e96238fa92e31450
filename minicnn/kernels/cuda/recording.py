"""What a CUDA graph must be told before it is replayed: numbers that change from step to step.

A graph repeats its kernels with the arguments that they were recorded with. What changes (a learning rate, how often a
random call has been made) a kernel therefore reads from the device, and is written there before each replay; and what
is not known until recording ends (where gradients lie) is written when it has ended:

    recording = Recording(device)            where a graph's numbers lie, on the device
    with recording.recorded():               while the stream is capturing
        step()
    for each step:                           once it is not
        with recording.renewed(calls):       inside, optimizers launch nothing: they say their numbers
            optimizer.step()
        recording.write(stream)
        graph.launch(stream)
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import device as devices


class _Current(threading.local):
    recording: Recording | None = None


_current = _Current()


class Recording:
    """The arrays on the device that one graph reads, and what is to be written into them."""

    def __init__(self, device: str):
        self.library = devices.array_library(device)
        self.tables: list[tuple[Any, np.ndarray]] = []  # where it lies, and what is to stand there
        self.renewing: Iterator[int] | None = None  # over the tables, in the order in which they were made
        self.replayed = self.library.zeros(1, np.uint64)
        self.calls = 0  # what is to stand there

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Inside, kernels are recorded: table() gives arrays that are written later."""
        before, _current.recording = _current.recording, self
        try:
            yield
        finally:
            _current.recording = before

    @contextlib.contextmanager
    def renewed(self, calls: int) -> Iterator[None]:
        """Inside, the same tables are asked for again and get new numbers, and nothing is launched.

        calls: how many random calls have been made since the recording.
        """
        with self.recorded():
            self.renewing = iter(range(len(self.tables)))
            try:
                yield
            finally:
                self.renewing = None
        self.calls = calls

    def write(self, stream: Any) -> None:
        """Put all numbers where the graph reads them, after what the stream does now and before what it does next."""
        for array, contents in (*self.tables, (self.replayed, np.array([self.calls], np.uint64))):
            array.set(contents, stream=stream)

    def table(self, contents: np.ndarray) -> Any:
        """An array on the device that will hold the contents."""
        if self.renewing is not None:
            place = next(self.renewing)
            array = self.tables[place][0]
            self.tables[place] = array, contents
        else:
            with self.library.cuda.Stream.null:  # no part of what the graph repeats
                array = self.library.empty(contents.shape, contents.dtype)
            self.tables.append((array, contents))
        return array


def current() -> Recording | None:
    """The recording that kernels are called for now."""
    return _current.recording


def is_renewing() -> bool:
    """Whether numbers are being said, and nothing is to be launched."""
    return _current.recording is not None and _current.recording.renewing is not None
