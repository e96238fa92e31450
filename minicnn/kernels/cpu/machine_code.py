"""From LLVM instructions to machine code and its address; the code is kept on disk.

    symbol, version  ──→  a file of that name and version?  ──→ loaded         0.2 ms
                                  │ no
                                  └→ instructions ──→ LLVM ──→ loaded, and written to the file         10 to 60 ms

The symbol says what is compiled, and for which CPU; the version what it is made of (versions.py), LLVM's own version
included. So there is one file for each kernel, shape and CPU, and whatever changes is compiled again and takes the
place of what was there. A file that is damaged, or was written by halves, is as good as none; so is a folder where
nothing can be written. Files lie where Numba has its own: __pycache__ beside this file, or the user's cache folder if
that one is read-only; NUMBA_CACHE_DIR overrides both.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

DIGEST = 32  # bytes
PATIENCE = 1.0  # seconds of compilation that need no explanation
_lock = threading.Lock()
_seconds = 0.0
_announced = False
_engine: Any = None  # owns the machine code: it lives as long as the process


def _after_fork() -> None:
    """A forked child has only the thread that forked: another one may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def address(symbol: str, version: bytes, compile: Callable[[str], bytes]) -> int:
    """Where the function `symbol` is; compile(symbol) makes an object file of it, if there is none of this version."""
    version = hashlib.sha256(version + repr(llvm.llvm_version_info).encode()).digest()
    with _lock:
        code = _read(symbol, version)
        if code is None:
            started = time.perf_counter()
            code = compile(symbol)
            _count(time.perf_counter() - started)
            _write(symbol, version, code)
        return _load(symbol, code)


def _count(seconds: float) -> None:
    """Say what takes so long, once it does."""
    global _seconds
    _seconds += seconds
    if _seconds >= PATIENCE:
        announce()


def announce() -> None:
    """Say, the first time, that compiling is why nothing seems to happen."""
    global _announced
    if not _announced:
        say("minicnn: compiling kernels for this CPU (first run only; they are cached)")
    _announced = True


def say(line: str) -> None:
    """To who looks at the screen, unless MINICNN_QUIET=1."""
    if os.environ.get("MINICNN_QUIET", "") in ("", "0"):
        print(line, file=sys.stderr, flush=True)


def _load(symbol: str, code: bytes) -> int:
    global _engine
    if _engine is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    return _engine.get_function_address(symbol)


# --- files ------------------------------------------------------------------------------------------------------------


def _read(symbol: str, version: bytes) -> bytes | None:
    """What was written for this version, if it is whole."""
    try:
        content = _file(symbol).read_bytes()
    except OSError:
        return None
    head, code = content[: 2 * DIGEST], content[2 * DIGEST :]
    return code if head == version + hashlib.sha256(code).digest() else None


def _write(symbol: str, version: bytes, code: bytes) -> None:
    """Under another name first, which then becomes the right one: several processes may do this at once."""
    file = _file(symbol)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=symbol, suffix=".tmp", dir=file.parent)
        try:
            with os.fdopen(number, "wb") as whole:
                whole.write(version + hashlib.sha256(code).digest() + code)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
            raise


def _file(symbol: str) -> Path:
    return _folder() / f"{symbol}.o"


def _folder() -> Path:
    wish, beside = os.environ.get("NUMBA_CACHE_DIR"), Path(__file__).parent / "__pycache__"
    if wish:
        return Path(wish) / "minicnn"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    if sys.platform == "win32":
        users = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        users = Path.home() / "Library" / "Caches"
    else:
        users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(users) / "minicnn"
