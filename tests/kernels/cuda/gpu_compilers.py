"""The compilers of NVIDIA, where they are at hand: no GPU and no driver is needed to compile for one.

NVRTC, the one that CuPy uses, is a library: of a package (pip install nvidia-cuda-nvrtc), or of a CUDA toolkit. nvcc is
a program of the toolkit. Both print what ptxas says of each kernel.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """What a kernel takes, for each thread."""

    registers: int
    spilled: int  # bytes of registers that had to go to memory: stores and loads
    stack: int  # bytes


class DoesNotCompile(Exception):
    """The compiler's log."""


Compiler = Callable[[str, Path, Sequence[str], str], str]  # (code, folder of headers, options, arch) -> log


def usages(log: str) -> dict[str, Usage]:
    """Kernel -> Usage, from ptxas -v."""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'", 1)[0]
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        stack, stores, loads = map(
            int, re.search(r"(\d+) bytes stack.*?(\d+) bytes spill st.*?(\d+) bytes spill", part).groups()
        )
        found[name] = Usage(registers, stores + loads, stack)
    return found


def available() -> dict[str, Compiler]:
    """The compilers of this machine by name."""
    found: dict[str, Compiler] = {}
    library = _nvrtc_library()
    if library is not None:
        found["nvrtc"] = functools.partial(_compile_with_nvrtc, library)
    if shutil.which("nvcc"):
        found["nvcc"] = _compile_with_nvcc
    return found


# ---- NVRTC


def _folders() -> list[Path]:
    """Where a libnvrtc may lie."""
    packages = [Path(entry) / "nvidia" for entry in sys.path if (Path(entry) / "nvidia").is_dir()]
    inside = [folder / "lib" for package in packages for folder in sorted(package.iterdir())]
    toolkits = sorted(Path("/usr/local").glob("cuda*/lib64"))
    return [folder for folder in (*inside, *toolkits) if folder.is_dir()]


@functools.cache
def _nvrtc_library() -> ctypes.CDLL | None:
    for folder in _folders():
        for path in sorted(folder.glob("libnvrtc.so.*")):
            for builtins in sorted(folder.glob("libnvrtc-builtins.so.*")):  # found only if it is there already
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(path))
    return None


def cuda_headers() -> list[str]:
    """Options for the folders with cuda_fp16.h."""
    beside = [folder.parent / "include" for folder in _folders()] + [Path("/usr/local/cuda/include")]
    return [f"-I{folder}" for folder in beside if (folder / "cuda_fp16.h").exists()][:1]


def _compile_with_nvrtc(library: ctypes.CDLL, code: str, folder: Path, options: Sequence[str], arch: str) -> str:
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None) == 0
    flags = [*options, f"-arch={arch}", "-std=c++17", "-ftz=true", f"-I{folder}", *cuda_headers(), "--ptxas-options=-v"]
    failed = library.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*map(str.encode, flags)))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    text = log.value.decode("utf-8", "replace")
    if failed:
        raise DoesNotCompile(text)
    return text


# ---- nvcc


def _compile_with_nvcc(code: str, folder: Path, options: Sequence[str], arch: str) -> str:
    command = [
        "nvcc",
        "-x",
        "cu",
        "-",
        "-cubin",
        "-o",
        "/dev/null",
        "-std=c++17",
        "-ftz=true",
        f"-arch={arch}",
        f"-I{folder}",
    ]
    done = subprocess.run(
        [*command, *options, "-Xptxas", "-v"], input=code, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DoesNotCompile(done.stderr)
    return done.stderr
