"""All benchmarks in one command, and from their results the tables and the picture of the README.

    python -m tests.benchmarks                                   training, inference and scaling, beside PyTorch
    python -m tests.benchmarks --parts train --models lenet5     some of it
    python -m tests.benchmarks --parts "" --readme               only write what has been measured before

Each part is a command of its own (train_step, inference, ops, scaling), whose rows lie in FOLDER as JSON with the
machine they are from; --readme puts the tables between the markers in README.md, and the picture in tests/benchmarks.
Nothing else should run on the machine meanwhile: see how far the quartiles are apart.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.picture import draw
from tests.benchmarks.sides import BATCH
from tests.benchmarks.turns import ROOT, facts, installed

NETWORKS = ",".join(name for name in BATCH if name != "lenet5_1998")
PARTS = {"train": "train_step", "inference": "inference", "ops": "ops", "scaling": "scaling"}
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
PICTURE = """<picture>
  <source media="(prefers-color-scheme: dark)" srcset="tests/benchmarks/speed-dark.svg">
  <img src="tests/benchmarks/speed-light.svg" alt="{alt}">
</picture>"""


def command(part: str, args: argparse.Namespace) -> list[str]:
    """The command of a part."""
    made = [sys.executable, "-m", f"tests.benchmarks.{PARTS[part]}", "--threads", str(args.threads)]
    made += ["--json", str(args.out / f"{part}.json")]
    made += ["--models", args.models] if part != "scaling" else []
    made += ["--against", "torch"] if args.against else []
    made += ["--compile"] if part == "train" and args.compile and args.against else []
    return made + (["--repeats", str(args.repeats)] if args.repeats else [])


def rows_of(part: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What a part has measured, now or before."""
    file = args.out / f"{part}.json"
    return json.loads(file.read_text()) if file.exists() else []


# --- tables -----------------------------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; all columns but the first to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(row: dict[str, Any], name: str = "") -> str:
    """A ratio with its quartiles, "" where there is none."""
    name = f"{name}_" if name else ""
    if f"{name}ratio" not in row:
        return ""
    return f"**{row[f'{name}ratio']:.2f}** ({row[f'{name}ratio_low']:.2f}–{row[f'{name}ratio_high']:.2f})"


def milliseconds(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f} ms"


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def training(rows: list[dict[str, Any]]) -> str:
    """The table of training steps, with the geometric mean of the ratios."""
    body = []
    for row in rows:
        shape = f"{row['batch']} × {' × '.join(map(str, row['input']))}"
        compiled = f"{row['compiled_ratio']:.2f}" if "compiled_ratio" in row else ""
        compiled = "does not run" if "compiled_failed" in row else compiled
        memory = [f"{row[key]:,.0f}" for key in ("ours_peak_mb", "theirs_peak_mb") if key in row]
        body.append([
            f"`{row['model']}`", shape, milliseconds(row["ours_ms"]), milliseconds(row.get("theirs_ms")), ratio(row),
            compiled, f"{' / '.join(memory)} MB" if memory else "",
            f"{row['of_roofline']:.0%}" if "of_roofline" in row else "",
        ])  # fmt: skip
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    if ratios:
        compiled_ratios = [row["compiled_ratio"] for row in rows if "compiled_ratio" in row]
        mean = f"{geometric_mean(compiled_ratios):.2f}" if compiled_ratios else ""
        body.append(["geometric mean", "", "", "", f"**{geometric_mean(ratios):.2f}**", mean, "", ""])
    head = ["training step", "batch", "ours", "PyTorch", "PyTorch / ours", "compiled / ours", "peak memory, ours / "
            "PyTorch", "of the roofline"]  # fmt: skip
    return table(head, body)


def inference(rows: list[dict[str, Any]]) -> str:
    """The table of forward passes."""
    body = [
        [f"`{row['model']}`", str(row["batch"]), milliseconds(row["ours_ms"]), milliseconds(row.get("theirs_ms")),
         ratio(row, "theirs"), milliseconds(row.get("onnx_ms")), ratio(row, "onnx")]
        for row in rows
    ]  # fmt: skip
    return table(["inference", "batch", "ours", "PyTorch", "PyTorch / ours", "onnxruntime", "onnxruntime / ours"], body)


def scaling(rows: list[dict[str, Any]]) -> str:
    """A sentence for each series: how far its rows are from flat."""
    sentences = []
    unit = {"batch": "an image", "size": "a multiply-add", "depth": "a multiply-add"}
    for kind in dict.fromkeys(row["series"] for row in rows):
        found = [row for row in rows if row["series"] == kind]
        worst = max(row["ours_against_median"] for row in found)
        key = {"batch": "batch", "size": "input", "depth": "model"}[kind]
        name = [str(row[key][-1] if kind == "size" else row[key]) for row in found]
        broken = [n for n, row in zip(name, found, strict=True) if not row["ours_flat"]]
        text = f"- {kind}, {name[0]} to {name[-1]}: the time of {unit[kind]} is at most {worst:.2f} times the median"
        sentences.append(text + (f"; above 1.15: {', '.join(broken)}" if broken else ""))
    return "How a step grows:\n\n" + "\n".join(sentences)


def report(args: argparse.Namespace) -> str:
    """All that has been measured, in Markdown."""
    parts = []
    origin = json.loads((args.out / "machine.json").read_text())
    rows = rows_of("train", args)
    if rows:
        threads = f"{rows[0]['threads']} thread{'s' if rows[0]['threads'] > 1 else ''}"
        line = ", ".join([origin["date"], origin["cpu"], origin["cores"], f"{threads} on each side"])
        versions = ", ".join(origin[name] for name in ("python", "numpy", "numba", "torch") if name in origin)
        roof = f"; roofline: {rows[0]['peak_gflops']:.0f} GFLOP/s, {rows[0]['copy_gbytes']:.0f} GB/s"
        if any("ratio" in row for row in rows):
            files = draw(rows, args.pictures, line)
            print("drawn:", *files)
            parts.append(PICTURE.format(alt="Speed and memory of a training step, beside PyTorch: the table below"))
        parts += [training(rows), f"Measured {line}{roof if 'peak_gflops' in rows[0] else ''}. {versions}."]
    if rows_of("inference", args):
        parts.append(inference(rows_of("inference", args)))
    if rows_of("scaling", args):
        parts.append(scaling(rows_of("scaling", args)))
    return "\n\n".join(parts)


def put_between_markers(file: Path, text: str) -> None:
    """Replace what stands between the markers; nothing else changes."""
    before = file.read_text()
    if not re.search(f"{BEGIN}.*{END}", before, re.DOTALL):
        raise SystemExit(f"{file} has no lines {BEGIN} and {END}: put them where the tables are to stand")
    start, end = before.index(BEGIN) + len(BEGIN), before.index(END)
    file.write_text(f"{before[:start]}\n{text}\n{before[end:]}")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", default="train,inference,scaling", help=f"of {', '.join(PARTS)}")
    options.add_argument("--models", default=NETWORKS, help="names, separated by commas")
    options.add_argument("--threads", type=int, default=0, help="of all sides; default: each one's own choice")
    options.add_argument("--repeats", type=int, help="default: that of each part")
    options.add_argument("--compile", action="store_true", help="also torch.compile; needs a C++ compiler")
    options.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for the measured rows")
    options.add_argument("--readme", action="store_true", help="write tables and picture into the README")
    options.add_argument("--file", type=Path, help="write the tables into this file, between the same markers")
    args = options.parse_args()
    args.against = installed("torch")
    args.out.mkdir(parents=True, exist_ok=True)
    args.pictures = ROOT / "tests" / "benchmarks" if args.readme else args.out
    unknown = set(filter(None, args.parts.split(","))) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    if args.parts:
        (args.out / "machine.json").write_text(json.dumps(facts(), indent=1) + "\n")
    failed = 0
    for part in filter(None, args.parts.split(",")):
        print(f"== {part}", flush=True)
        failed += subprocess.run(command(part, args), cwd=ROOT, check=False).returncode != 0
    text = report(args)
    print(text)
    for file in (*([ROOT / "README.md"] if args.readme else []), *([args.file] if args.file else [])):
        put_between_markers(file, text)
    return failed


if __name__ == "__main__":
    sys.exit(main())
