"""What went wrong in a kernel, for people: the thread, the line, and the line it collides with."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Function, Module


class Report(ctypes.Structure):
    """sim_report of include/simulator/runtime.h."""

    _fields_ = [
        ("failed", ctypes.c_int), ("interrupted", ctypes.c_int), ("in_thread", ctypes.c_int), ("line", ctypes.c_int),
        ("block", ctypes.c_uint * 3), ("thread", ctypes.c_uint * 3), ("pc", ctypes.c_void_p),
        ("other_pc", ctypes.c_void_p), ("file", ctypes.c_char_p), ("text", ctypes.c_char * 1024),
    ]  # fmt: skip


def describe(report: Report, function: Function) -> str:
    """The message:

    block_sum: race: reads element 35 of shared memory s, which thread (35,0,0) of block (0,0,0) wrote, with no
    barrier between; in thread (3,0,0) of block (0,0,0)
      File "sum.cu", line 14
        s[t] += s[t + k];
      and the other access: File "sum.cu", line 9
        s[t] = x[i];
    """
    names = {number: parameter.name for number, parameter in enumerate(function.parameters)}
    text = report.text.decode("utf-8", "replace")
    text = re.sub(r"<array (\d+)>", lambda m: f"{names[int(m[1])]} (argument {m[1]})", text)
    message = f"{function.name}: {text}"
    if report.in_thread:
        message += f"; in thread {_triple(report.thread)} of block {_triple(report.block)}"
    module = function.module
    here = [(report.file.decode(), report.line)] if report.file else _lines_at(report.pc, module)
    other = _lines_at(report.other_pc, module)
    message += _places(here, "", module) + _places(other, "and the other access: ", module)
    if not here and module.build == "fast":
        message += "\n  (MINICNN_SIMULATOR=check shows the line)"
    return message


def _triple(numbers: ctypes.Array) -> str:
    return "({},{},{})".format(*numbers)


def _lines_at(pc: int | None, module: Module) -> list[tuple[str, int]]:
    """File and line of an address in the machine code, then of the calls that led there if they were inlined."""
    if not pc:
        return []
    offset = pc - module.image - 1  # a return address: the call itself is one byte before
    command = ["addr2line", "-i", "-e", str(module.library), hex(offset)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:  # binutils are missing, though g++ needs them too
        return []
    places = []
    for line in found.splitlines():
        m = re.match(r"(.*):(\d+)", line)
        if m and "/include/simulator/" not in m[1]:  # a line of somebody's kernel
            own = m[1].endswith(f"/{module.path}")  # a relative path, to which the compiler has added its folder
            places.append((module.path if own else m[1], int(m[2])))
    return places


def _places(places: list[tuple[str, int]], what: str, module: Module) -> str:
    text = ""
    for file, line in places:
        text += f'\n  {what}File "{file}", line {line}'
        code = _line(file, line, module)
        text += f"\n    {code}" if code else ""
        what = "called from: "
    return text


def _line(file: str, line: int, module: Module) -> str:
    """The line of the source itself, "" if it cannot be found."""
    if file == module.path:
        lines = module.code.splitlines()
    else:
        try:
            lines = Path(file).read_text("utf-8").splitlines()
        except OSError:
            return ""
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""
