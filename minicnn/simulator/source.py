"""From the text of a .cu file to C++ that g++ compiles.

Three things are not C++: macros and includes have been expanded before (compiler.py), so that what is left is

    __shared__ float s[32], t;        becomes a reference to the block's object: one for all of its threads
    extern __shared__ float s[];      becomes a pointer to the block's dynamic shared memory
    a kernel's name and parameters    are read off its head, so that Python can call it and errors can name an array
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import CompileError

_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # three deep
_ALIGN = rf"(?:(?:__align__|alignas)\s*(?P<align>{_PARENTHESES})\s*)?"
_WORDS = r"(?:const|volatile|unsigned|signed|typename|struct|long|short)"
_TYPE = (
    rf"(?P<type>(?:{_WORDS}\s+)*[A-Za-z_][\w:]*(?:\s*<[^;<>]*(?:<[^;<>]*>[^;<>]*)*>(?:::\w+)?)?"
    r"(?:\s+(?:int|char|short|long|float|double)\b)*(?:\s*\*+(?:\s*const\b)?)?)"
)
_GAP = r"(?:\s+|(?<=\*))"  # between a type and a name
_DYNAMIC = re.compile(rf"extern\s+__shared__\s+{_ALIGN}{_TYPE}{_GAP}(?P<name>[A-Za-z_]\w*)\s*\[\s*\]\s*;")
_STATIC = re.compile(rf"(?:static\s+)?__shared__\s+{_ALIGN}{_TYPE}{_GAP}(?P<names>[^;]*);")
_DECLARATOR = re.compile(r"\s*(?P<name>\w+)\s*(?P<sizes>(?:\[[^\]]*\]\s*)*)$")
_BOUNDS = rf"(?:__launch_bounds__\s*(?P<{{}}>{_PARENTHESES})\s*)?"
_KERNEL = re.compile(
    r"(?P<c>extern\s+\"C\"\s+)?(?:static\s+|inline\s+)*__global__\s+(?:static\s+|inline\s+)*"
    + _BOUNDS.format("before") + r"void\s+" + _BOUNDS.format("after") + r"(?P<name>\w+)\s*\("
)  # fmt: skip
_C_BLOCK = re.compile(r'extern\s+"C"\s*\{')


class Head(NamedTuple):
    """What a kernel's declaration says: its name, the names of its parameters, and its __launch_bounds__ (0: none)."""

    name: str
    parameters: tuple[str, ...]
    most_threads: int
    is_c: bool  # extern "C": found by its name


def heads(text: str) -> list[Head]:
    """The kernels of a preprocessed file, templates included."""
    c_blocks = [(m.end(), _closing(text, m.end() - 1, "{}")) for m in _C_BLOCK.finditer(text)]
    found = []
    for m in _KERNEL.finditer(text):
        parameters = text[m.end() : _closing(text, m.end() - 1, "()")]
        names = [re.search(r"(\w+)\s*(?:\[[^\]]*\])?\s*$", part) for part in _split(parameters)]
        bounds = re.match(r"\(\s*(\d+)\s*[,)]", m["before"] or m["after"] or "")
        is_c = bool(m["c"]) or any(start <= m.start() < end for start, end in c_blocks)
        head = Head(m["name"], tuple(n[1] if n else "?" for n in names), int(bounds[1]) if bounds else 0, is_c)
        found.append(head)
    return found


def translate(text: str) -> str:
    """Shared memory as C++; the rest as it is, line by line."""
    text = _STATIC.sub(_static, _DYNAMIC.sub(_dynamic, text))
    left = re.search(r"[^\n]*(?:__shared__|<<<)[^\n]*", text)
    if left:
        what = "kernels are launched from Python" if "<<<" in left[0] else "declare a type and names, nothing more"
        raise CompileError(f"the simulator does not understand `{left[0].strip()}`: {what}")
    return text


def _dynamic(m: re.Match[str]) -> str:
    name, kind = m["name"], m["type"]
    lines = "\n" * m[0].count("\n")
    return f'{kind}* {name} = ({kind}*)sim_dynamic_shared("{name}", sizeof({kind}));{lines}'


def _static(m: re.Match[str]) -> str:
    parts = []
    for declarator in _split(m["names"], "[]"):
        d = _DECLARATOR.match(declarator)
        if not d:
            raise CompileError(f"the simulator does not understand `{' '.join(m[0].split())}`")
        name, shape = d["name"], f"sim_type_{d['name']}"
        align = m["align"] or f"alignof({shape})"
        parts.append(
            f"typedef {m['type']} {shape}{d['sizes']}; static char sim_key_{name}; {shape}& {name} = *({shape}*)"
            f'sim_shared(&sim_key_{name}, "{name}", sizeof({shape}), sizeof({m["type"]}), {align});'
        )
    return " ".join(parts) + "\n" * m[0].count("\n")


def _split(text: str, brackets: str = "()<>[]") -> list[str]:
    """The parts between commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        if character in brackets:
            depth += 1 if brackets.index(character) % 2 == 0 else -1
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text.strip() else []


def _closing(text: str, opening: int, pair: str) -> int:
    """Where the bracket at `opening` closes."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == pair[0]) - (text[at] == pair[1])
        if depth == 0:
            return at
    return len(text)
