"""g++ behind a cache: a .cu file becomes a shared library once per machine, and never silently.

A file is compiled in two steps. The first only expands macros and includes, with no system header in sight (NVRTC has
none either); its result names the library, so that a change in an included header is never missed. The second compiles
it against include/simulator.h and links it with the runtime.

Libraries are kept in the user's cache folder (MINICNN_CACHE_DIR, else XDG_CACHE_HOME, else ~/.cache), apart for each
version of the simulator, of g++ and of the CPU. Every file there is written under another name and then renamed: any
number of processes may compile at once. MINICNN_QUIET=1 silences the reports.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import CompileError, KernelError

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX") or "g++"

# A large frame touches each page, so that it cannot jump over the one that ends the stack. A product and a sum become
# one fused multiply-add, as nvcc has it.
COMMON = ("-std=c++17", "-fPIC", "-w", "-fvisibility=hidden", "-fno-exceptions", "-fno-strict-aliasing",
          "-fstack-clash-protection", "-ffp-contract=fast", "-march=native", "-pipe")  # fmt: skip
RUNTIME = {"fast": ("-O2",), "check": ("-O2", "-DSIM_CHECK")}
INSTRUMENTED = ("-fsanitize=thread,undefined,float-cast-overflow",
                "-fno-sanitize=vptr,null,object-size,nonnull-attribute", "--param", "tsan-distinguish-volatile=1",
                "--param", "tsan-instrument-func-entry-exit=0")  # fmt: skip
KERNEL = {"fast": ("-O2",), "check": ("-O1", "-gdwarf-4", "-DSIM_CHECK", *INSTRUMENTED)}


def missing() -> str:
    """What this machine lacks to simulate kernels, as the rest of a sentence; "" if nothing."""
    if not sys.platform.startswith("linux"):
        return f"runs on Linux only, and this is {platform.system()}: use WSL2, a container or a virtual machine"
    if shutil.which(COMPILER) is None:
        return (
            f'needs the C++ compiler {COMPILER}, which is not installed: "sudo apt install g++", or your system\'s like'
        )
    return ""


def preprocess(code: str, options: Sequence[str]) -> str:
    """The code with macros and includes expanded; lines keep their numbers through line markers."""
    known = ["-D__CUDACC__", "-D__CUDACC_RTC__", "-D__CUDA_ARCH__=900", "-DMINICNN_SIMULATOR=1"]
    command = [COMPILER, "-E", "-x", "c++", "-std=c++17", "-nostdinc", "-nostdinc++", f"-I{HERE / 'stubs'}", *known]
    return _run([*command, *_understood(options), "-"], code)


def compile_library(text: str, build: str, label: str) -> Path:
    """The library of a translated text."""
    folder = _workshop(build)
    library = folder / f"{_hash(text)}.so"
    if not library.exists():
        with _announced(label), tempfile.TemporaryDirectory(dir=folder) as room:
            unit, compiled, linked = (Path(room) / name for name in ("kernel.cpp", "kernel.o", "kernel.so"))
            unit.write_text(text, "utf-8")
            include = str(folder / "include" / "simulator.h")
            _run([COMPILER, *_common(), *KERNEL[build], "-include", include, "-c", str(unit), "-o", str(compiled)])
            _run([COMPILER, "-shared", str(compiled), str(runtime(build)), "-Wl,-z,defs", "-o", str(linked)])
            linked.replace(library)
    return library


@functools.cache
def runtime(build: str) -> Path:
    """The library with the runtime, which all kernels of a build share."""
    folder = _workshop(build)
    # Libraries that are loaded are known by this name: it must differ from that of every other version.
    library = folder / f"libminicnn_simulator_{build}_{folder.parent.name}.so"
    if not library.exists():
        with _announced("the simulator itself"), tempfile.TemporaryDirectory(dir=folder) as room:
            linked = Path(room) / library.name
            sources = sorted(str(path) for path in (HERE / "runtime").glob("*.cpp"))
            flags = [*_common(), "-fvisibility=default", *RUNTIME[build], "-shared", f"-Wl,-soname,{library.name}"]
            _run([COMPILER, *flags, *sources, "-o", str(linked)])
            linked.replace(library)
    return library


@functools.cache
def _workshop(build: str) -> Path:
    """The folder of a build, with the headers, compiled beforehand: that saves a second for every five kernels."""
    lacking = missing()
    if lacking:
        raise KernelError(f"the simulator {lacking}")
    folder = cache_folder() / _version() / build
    header = folder / "include" / "simulator.h"
    compiled = header.with_suffix(".h.gch")
    if not compiled.exists():
        _forget_old_versions(folder.parent)
        for source in sorted((HERE / "include").rglob("*.h")):
            target = folder / source.relative_to(HERE)
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, source.read_text("utf-8"))
        with tempfile.TemporaryDirectory(dir=folder) as room:
            made = Path(room) / compiled.name
            _run([COMPILER, *_common(), *KERNEL[build], "-x", "c++-header", str(header), "-o", str(made)])
            made.replace(compiled)
    return folder


def _forget_old_versions(current: Path, days: int = 30) -> None:
    """Remove what other versions of the simulator have compiled, if nothing was added for a month."""
    for other in current.parent.iterdir() if current.parent.exists() else ():
        builds = [other / build for build in KERNEL if (other / build).is_dir()]
        newest = max((build.stat().st_mtime for build in builds), default=time.time())
        if other != current and time.time() - newest > days * 86400:
            shutil.rmtree(other, ignore_errors=True)


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    given = os.environ.get("MINICNN_CACHE_DIR")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minicnn"
    folder = (Path(given) if given else usual) / "simulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:  # a home that is read-only
        return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="minicnn_simulator_"))


@functools.cache
def _common() -> tuple[str, ...]:
    """Flags of every compilation; where g++ is new enough, a variable that nobody initialised holds garbage."""
    version = subprocess.run([COMPILER, "-dumpversion"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"\d+", version)
    return (*COMMON, "-ftrivial-auto-var-init=pattern") if major and int(major[0]) >= 12 else COMMON


@functools.cache
def _version() -> str:
    """Simulator, compiler and CPU in twelve characters."""
    sources = [path for name in ("include", "runtime") for path in sorted((HERE / name).rglob("*.*"))]
    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False).stdout
    flags = (_common(), RUNTIME, KERNEL)
    return _hash(*(path.read_text("utf-8") for path in sources), version, _cpu(), repr(flags))[:12]


def _cpu() -> str:
    """What decides which instructions -march=native may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}))


def _hash(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:24]


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)


def _understood(options: Sequence[str]) -> Iterator[str]:
    """Of NVRTC's options those that change the text: macros and include folders."""
    for option in options:
        short = re.sub(r"^--(define-macro|undefine-macro|include-path)=", lambda m: f"-{m[1][0].upper()}", option)
        if re.match(r"-[DUI]", short):
            yield short


def _run(command: Sequence[str], text: str | None = None) -> str:
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", env=english, check=False)
    if done.returncode:
        raise CompileError(f"{COMPILER} refuses the kernel:\n{_shortened(done.stderr)}")
    return done.stdout


def _shortened(log: str, most: int = 40) -> str:
    """The lines that matter to somebody who wrote a kernel, not a header of the simulator."""
    lines = [
        line for line in log.splitlines() if "<command-line>" not in line and not line.startswith("compilation term")
    ]
    return "\n".join(lines[:most] + ([f"... and {len(lines) - most} more lines"] if len(lines) > most else []))


_seconds = 0.0  # of all compilations of this process
_nested = 0


@contextlib.contextmanager
def _announced(label: str) -> Iterator[None]:
    """Reports a compilation on stderr: it takes seconds, and would look like a hang."""
    global _seconds, _nested
    if _seconds == 0 and _nested == 0:
        _say("minicnn: compiling CUDA kernels for the simulator (first run only; they are cached)")
    started = time.perf_counter()
    _nested += 1
    try:
        yield
    finally:
        _nested -= 1
    seconds = time.perf_counter() - started
    _seconds += seconds if _nested == 0 else 0
    _say(f"minicnn:   {label:<28}{seconds:5.1f} s   total {_seconds if _nested == 0 else _seconds + seconds:4.1f} s")


def _say(line: str) -> None:
    if os.environ.get("MINICNN_QUIET", "") in ("", "0"):
        print(line, file=sys.stderr, flush=True)
