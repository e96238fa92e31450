"""Workers: threads that wait for work with open eyes, and call compiled kernels without the interpreter.

A thread that sleeps must be woken by the system. That takes 30 to 50 µs, and Linux may well wake it on the core of
the thread that woke it: both then take turns on one core while the other is idle. A convolution of LeNet takes 100 µs.
So, as OpenMP's threads do, a worker watches a number in memory for some milliseconds before it goes to sleep; it may
not run on the core of the thread that it works for; and it never needs the interpreter lock, which cannot be had
without sleeping either.

    the caller                           box, 16 words of memory                the worker, in serve
    writes what to do                 →  routine, entry, words, share ...
    given += 1                        →  given                               →  sees given ≠ claimed
    does share 0 itself                  claimed = given, by compare-and-swap:  whoever claims the share does it, calls
    claims what nobody has begun                                                entry(share, first, last, *words)
    waits for the others              ←  done                                ←  done = given

So nothing is ever late because a worker was: on a machine that is busy with other things the caller does it all.

What is called is a driver (drivers.py), which reads its words itself; or the machine code that Numba made of a kernel,
by its own convention: a place for the result, one for an exception, then the arguments, an array as (owner, parent,
elements, itemsize, address, shape, strides). All of these are 64-bit words, so that one small routine for each number
of words can call any kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from .arguments import Fixed, describe, kind, unpacked
from .drivers import Driver

Part = tuple[int, int, int]  # share, first, last
BOX_WORDS = 16
GIVEN, ROUTINE, ENTRY, WORDS, SHARE, FIRST, LAST, STATUS, CLAIMED, DONE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
TASK = struct.Struct("6q")  # ROUTINE to LAST
POLLS = 130_000  # before a worker goes to sleep: some 15 ms, longer than the pauses between the kernels of a step
PATIENCE = 512  # polls, some 50 µs, before the system may give the core to somebody else; a power of 2

CODE = """
define i64 @serve(ptr %box, i64 %polls) {{          ; do what is given; return when nothing came for that many polls
entry:
  %claimed_at = getelementptr i64, ptr %box, i64 8
  br label %look
look:
  %poll = phi i64 [0, %entry], [%next, %rest], [0, %work], [%poll, %missed]
  %claimed = load atomic i64, ptr %claimed_at acquire, align 8  ; before given: else, if the caller gives and claims
  %given = load atomic i64, ptr %box acquire, align 8           ; between the two, the swap would undo its claim
  %new = icmp ne i64 %given, %claimed
  br i1 %new, label %claim, label %idle
claim:
  %swap = cmpxchg ptr %claimed_at, i64 %claimed, i64 %given acq_rel monotonic, align 8
  %mine = extractvalue {{i64, i1}} %swap, 1
  br i1 %mine, label %work, label %missed
missed:
  br label %look
work:
  call void @do_share(ptr %box)
  br label %look
idle:
  %next = add i64 %poll, 1
  %over = icmp sgt i64 %next, %polls
  br i1 %over, label %leave, label %rest
rest:
  call void @rest(i64 %poll)
  br label %look
leave:
  ret i64 0
}}

define i64 @region(ptr %boxes, i64 %workers, ptr %own) {{   ; give, do the own share and what nobody began, wait
entry:
  br label %give
give:
  %i = phi i64 [0, %entry], [%i_next, %give]
  %offset = mul i64 %i, 16
  %box = getelementptr i64, ptr %boxes, i64 %offset
  %before = load i64, ptr %box, align 8
  %given = add i64 %before, 1
  store atomic i64 %given, ptr %box release, align 8
  %i_next = add i64 %i, 1
  %more = icmp slt i64 %i_next, %workers
  br i1 %more, label %give, label %own_share
own_share:
  call void @do_share(ptr %own)
  br label %worker
worker:
  %k = phi i64 [0, %own_share], [%k_next, %following]
  %k_offset = mul i64 %k, 16
  %k_box = getelementptr i64, ptr %boxes, i64 %k_offset
  %k_given = load i64, ptr %k_box, align 8
  %unclaimed = sub i64 %k_given, 1
  %claimed_at = getelementptr i64, ptr %k_box, i64 8
  %done_at = getelementptr i64, ptr %k_box, i64 9
  %swap = cmpxchg ptr %claimed_at, i64 %unclaimed, i64 %k_given acq_rel monotonic, align 8
  %mine = extractvalue {{i64, i1}} %swap, 1
  br i1 %mine, label %take_over, label %poll
take_over:
  call void @do_share(ptr %k_box)
  br label %following
poll:
  %poll_number = phi i64 [0, %worker], [%next_poll, %rest]
  %done = load atomic i64, ptr %done_at acquire, align 8
  %ready = icmp eq i64 %done, %k_given
  br i1 %ready, label %following, label %rest
rest:
  call void @rest(i64 %poll_number)
  %next_poll = add i64 %poll_number, 1
  br label %poll
following:
  %k_next = add i64 %k, 1
  %others = icmp slt i64 %k_next, %workers
  br i1 %others, label %worker, label %all
all:
  %last_status = phi i64 [0, %following], [%status_so_far, %look_at]
  %j = phi i64 [0, %following], [%j_next, %look_at]
  %over = icmp sgt i64 %j, %workers
  br i1 %over, label %leave, label %look_at
look_at:                                              ; the caller's box stands before the others
  %j_offset = mul i64 %j, 16
  %j_box = getelementptr i64, ptr %own, i64 %j_offset
  %status_at = getelementptr i64, ptr %j_box, i64 7
  %status = load i64, ptr %status_at, align 8
  %status_so_far = or i64 %last_status, %status
  %j_next = add i64 %j, 1
  br label %all
leave:
  ret i64 %last_status
}}

define void @do_share(ptr %box) {{                    ; routine(box), then done = given
  %routine_at = getelementptr i64, ptr %box, i64 1
  %routine = load ptr, ptr %routine_at, align 8
  call void %routine(ptr %box)
  %given = load i64, ptr %box, align 8
  %done_at = getelementptr i64, ptr %box, i64 9
  store atomic i64 %given, ptr %done_at release, align 8
  ret void
}}

define void @drive(ptr %box) {{                       ; a driver: entry(share, first, last, words)
  %entry_at = getelementptr i64, ptr %box, i64 2
  %words_at = getelementptr i64, ptr %box, i64 3
  %share_at = getelementptr i64, ptr %box, i64 4
  %first_at = getelementptr i64, ptr %box, i64 5
  %last_at = getelementptr i64, ptr %box, i64 6
  %status_at = getelementptr i64, ptr %box, i64 7
  %entry = load ptr, ptr %entry_at, align 8
  %words = load i64, ptr %words_at, align 8
  %share = load i64, ptr %share_at, align 8
  %first = load i64, ptr %first_at, align 8
  %last = load i64, ptr %last_at, align 8
  store i64 0, ptr %status_at, align 8
  call void %entry(i64 %share, i64 %first, i64 %last, i64 %words)
  ret void
}}

define void @rest(i64 %poll) {{                       ; between two looks; after many of them it gives way
  {rest}
  ret void
{give_way}
}}
{declare}
"""

_engines: list[Any] = []  # own the machine code


def _compile(code: str) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(code), machine)
    engine.finalize_object()
    _engines.append(engine)
    return engine


@functools.cache
def _functions() -> dict[str, Any]:
    """drive, an address, and serve and region; ctypes lets go of the interpreter lock while they run."""
    # Pauses keep the looking cheap for the other core. To give way lets a busy machine run something useful meanwhile,
    # but that may take milliseconds to come back from: not for the microseconds in which the other usually is done.
    pause = "llvm.x86.sse2.pause" if llvm.get_default_triple().startswith(("x86_64", "i686")) else ""
    rest = "\n  ".join([f"call void @{pause}()"] * 8 if pause else [])
    declare = f"declare void @{pause}()\n" if pause else ""
    give_way = ""
    if os.name == "posix":
        rest += f"\n  %rest = and i64 %poll, {PATIENCE - 1}\n  %long = icmp eq i64 %rest, {PATIENCE - 1}"
        rest += "\n  br i1 %long, label %give, label %back\nback:"
        give_way = "give:\n  %ignored = call i32 @sched_yield()\n  ret void"
        declare += "declare i32 @sched_yield()"
    engine = _compile(CODE.format(rest=rest, give_way=give_way, declare=declare))
    word = ctypes.c_int64
    drive = {"drive": engine.get_function_address("drive")}
    return drive | {
        name: ctypes.CFUNCTYPE(word, *[word] * words)(engine.get_function_address(name))
        for name, words in (("serve", 2), ("region", 3))
    }


@functools.cache
def _routine(count: int) -> int:
    """Address of the routine that calls a kernel with (share, first, last) and `count` words more."""
    loads = [f"  %a{i}_at = getelementptr i64, ptr %words, i64 {i}\n  %a{i} = load i64, ptr %a{i}_at, align 8\n"
             for i in range(count)]  # fmt: skip
    fields = [
        f"  %{name}_at = getelementptr i64, ptr %box, i64 {place}\n  %{name} = load {kind}, ptr %{name}_at, align 8\n"
        for name, place, kind in (("entry", 2, "ptr"), ("words", 3, "ptr"), ("share", 4, "i64"), ("first", 5, "i64"),
                                  ("last", 6, "i64"))
    ]  # fmt: skip
    arguments = ", ".join(f"i64 %{name}" for name in ("share", "first", "last", *(f"a{i}" for i in range(count))))
    engine = _compile(
        "define void @routine(ptr %box) {\n  %result = alloca ptr\n  %exception = alloca ptr\n"
        + "".join(fields + loads)
        + f"  %status = call i32 %entry(ptr %result, ptr %exception, {arguments})\n"
        + "  %word = sext i32 %status to i64\n  %status_at = getelementptr i64, ptr %box, i64 7\n"
        + "  store i64 %word, ptr %status_at, align 8\n  ret void\n}"
    )
    return engine.get_function_address("routine")


_entries: dict[tuple[Any, ...], int] = {}


def _call(kernel: Any, args: Sequence[Any]) -> tuple[int, list[int]]:
    """(address, words) of a call: the machine code for arguments of these types, arrays in C order or integers."""
    words: list[int] = []
    key = [kernel]
    for a in args:
        if type(a) is np.ndarray:
            words += describe(a)
            key.append(kind(a))
        elif type(a) is Fixed:
            words += a.words
            key.append(a.kind)
        else:
            words.append(a)
            key.append(None)
    entry = _entries.get(tuple(key))
    if entry is None:
        entry = _entries[tuple(key)] = _compiled(kernel, args)
    return entry, words


def _compiled(kernel: Any, args: Sequence[Any]) -> int:
    import numba  # here, since most kernels are drivers, and it takes longer to import than they do to compile

    types = [
        numba.types.Array(numba.from_dtype(a.dtype), a.ndim, "C") if isinstance(a, np.ndarray) else numba.int64
        for a in unpacked(args)
    ]
    signature = (numba.int64,) * 3 + tuple(types)
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


class Team:
    """Workers and their boxes. run() is for one caller at a time (threads.py holds a lock)."""

    MOST = 1024

    def __init__(self) -> None:
        self.memory: Any = np.zeros((self.MOST + 2) * BOX_WORDS, np.int64)
        address = self.memory.ctypes.data
        skip = -address % 128 // 8  # boxes begin on a pair of cache lines: no two threads share one
        self.own = address + 8 * skip  # the caller's box, then those of the workers
        self.boxes = self.own + 8 * BOX_WORDS
        self.view = self.memory[skip : skip + (self.MOST + 1) * BOX_WORDS].reshape(-1, BOX_WORDS)
        self.first_task = 8 * (skip + ROUTINE)
        self.words: Any = np.zeros(512, np.int64)  # the arguments of the call that is running
        self.words_address = self.words.ctypes.data
        self.alarms: list[threading.Lock] = []  # one for each worker: taken, but for the moment of waking up
        self.asleep: list[bool] = []
        self.threads: list[threading.Thread] = []
        self.avoided = -1  # the core of the caller, where workers must not run
        self.region = _functions()["region"]
        self.drive = _functions()["drive"]
        self.packers: dict[int, Any] = {}  # words of a driver's call -> how to pack them
        self.routines: dict[int, tuple[Any, int]] = {}  # words of a call -> how to pack them, and who unpacks them

    def run(self, kernel: Any, parts: Sequence[Part], args: Sequence[Any]) -> None:
        """kernel(*part, *args) for each part, the first of them here."""
        if isinstance(kernel, Driver):
            (entry, _), words = kernel.entry(args)
            pack, routine = self.packers.get(len(words)) or self._packer(len(words)), self.drive
        else:
            entry, words = _call(kernel, args)
            pack, routine = self.routines.get(len(words)) or self._routine(len(words))
        pack(self.words, 0, *words)
        workers = len(parts) - 1
        while len(self.threads) < workers:
            self._hire()
        if _current_core() != self.avoided:
            self._keep_off_this_core()
        at = self.first_task
        for part in parts:
            TASK.pack_into(self.memory, at, routine, entry, self.words_address, *part)
            at += 8 * BOX_WORDS
        if True in self.asleep:
            self._wake(workers)
        if self.region(self.boxes, workers, self.own):
            raise RuntimeError(f"the kernel {kernel.__name__} raised an error: call it with one thread to see which")

    def _routine(self, count: int) -> tuple[Any, int]:
        found = self.routines[count] = (self._packer(count), _routine(count))
        return found

    def _packer(self, count: int) -> Any:
        found = self.packers[count] = struct.Struct(f"{count}q").pack_into
        return found

    def _wake(self, workers: int) -> None:
        for number in range(workers):
            if self.asleep[number]:
                self.asleep[number] = False
                self.alarms[number].release()

    def _hire(self) -> None:
        number = len(self.threads)
        alarm = threading.Lock()
        alarm.acquire()
        self.alarms.append(alarm)
        self.asleep.append(False)
        worker = threading.Thread(target=self._serve, args=(number, alarm), name=f"minicnn-{number + 1}", daemon=True)
        self.threads.append(worker)
        worker.start()
        self.avoided = -1

    def _serve(self, number: int, alarm: threading.Lock) -> None:
        serve, box = _functions()["serve"], self.boxes + 8 * BOX_WORDS * number
        row = self.view[number + 1]
        while True:
            serve(box, POLLS)
            if row[GIVEN] == row[CLAIMED]:
                self.asleep[number] = True
                alarm.acquire()

    def _keep_off_this_core(self) -> None:
        self.avoided = core = _current_core()
        others = os.sched_getaffinity(0) - {core}
        if others:
            for worker in self.threads:
                with contextlib.suppress(OSError):  # not allowed here: then the system places them as it likes
                    os.sched_setaffinity(worker.native_id or -1, others)


def _find_current_core() -> Callable[[], int]:
    """The number of the core we run on, where the system can tell it and threads can be kept off it."""
    if hasattr(os, "sched_setaffinity"):
        try:
            return ctypes.CDLL(None).sched_getcpu
        except (AttributeError, OSError):
            pass
    return lambda: -1


_current_core = _find_current_core()
