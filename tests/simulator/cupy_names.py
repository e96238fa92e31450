"""The public names of CuPy 14.2.0, recorded in cupy_names.txt.

`python -m tests.simulator.cupy_names` records them anew. CuPy imports without a GPU and without a driver, so that this
needs no more than its wheel.
"""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_suffix(".txt")
INSIDE = (  # whose own names are recorded too
    "ndarray", "RawModule", "RawKernel", "lib", "lib.stride_tricks", "cuda", "cuda.Stream", "cuda.Event", "cuda.Device",
    "cuda.Graph", "cuda.MemoryPool", "cuda.MemoryPointer", "cuda.PinnedMemoryPool", "cuda.PinnedMemoryPointer",
    "cuda.memory", "cuda.runtime", "cuda.compiler", "cuda.driver", "cuda.graph", "cuda.stream",
)  # fmt: skip


def names_of(module: Any) -> dict[str, list[str]]:
    """The public names of a module and of what is inside, if it is: {"": [...], "cuda.Stream": [...]}."""
    found = {}
    for path in ("", *INSIDE):
        thing = module
        for part in path.split(".") if path else ():
            thing = getattr(thing, part, None)
        if thing is not None:
            found[path] = sorted(name for name in dir(thing) if not name.startswith("_"))
    return found


def recorded() -> set[str]:
    """The dotted names of the record."""
    names, prefix = set(), ""
    for line in RECORD.read_text("utf-8").splitlines():
        if line.startswith("cupy"):
            prefix = line.rstrip(":").removeprefix("cupy").removeprefix(".")
        else:
            names |= {f"{prefix}.{name}".lstrip(".") for name in line.split()}
    return names


def main() -> None:
    warnings.simplefilter("ignore")
    import cupy

    lines = []
    for prefix, names in names_of(cupy).items():
        lines += [f"cupy.{prefix}".rstrip(".") + ":"]
        lines += textwrap.wrap(" ".join(names), 118, initial_indent="    ", subsequent_indent="    ")
    RECORD.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
