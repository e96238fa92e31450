"""Time of one training step (zero_grad, forward, loss, backward, SGD with momentum), beside PyTorch's.

    python tests/benchmarks/train_step.py                                          this engine alone
    python tests/benchmarks/train_step.py --against torch --threads 2 --json FILE  side by side

The two sides (sides.py) take turns (turns.py), each in a process of its own; before anything is timed, both sides' loss
and gradients are compared, in float64. Reported is the median of the ratios, and their quartiles as its spread.
Peak memory is that of a step in a process that has done nothing else (memory.py).

    --compile          also what torch.compile makes of PyTorch's side
    --device cuda      on a GPU: time between two synchronisations; --capture replays both sides' steps as CUDA graphs
    --precision        float32 (no TF32 on either side), tf32, float16 or bfloat16 (autocast on both sides)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it also runs as a script

from tests.benchmarks.memory import step_memory
from tests.benchmarks.roofline import distance
from tests.benchmarks.sides import SIDES, image_shape, settings_of
from tests.benchmarks.turns import Server, compared, parsed, parser, take_turns, write

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
TOLERANCE = 1e-7  # of loss and gradients in float64
GPU_BATCH = {"resnet18": 16, "resnet50": 64}


def difference(settings: dict[str, Any]) -> float:
    """The largest relative difference between loss and gradients of the two sides, in float64."""
    found: list[list[np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            file = str(Path(folder) / f"{side}.npz")
            with Server(SIDES[side], **settings) as server:  # ends then: it holds memory that a step does not need
                server.ask("gradients", file=file)
            with np.load(file) as arrays:
                found.append([arrays[name] for name in arrays.files])
    ours, theirs = found
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        raise SystemExit(f"{settings['model']}: the two sides have different parameters, so they do not do the same")
    return largest_difference(ours, theirs)


def largest_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Of arrays, each relative to its norm, or to a millionth of the norm of all: a gradient may be 0 but for rounding,
    such as that of a shift in front of a batch norm."""
    least = 1e-6 * float(np.sqrt(sum(np.sum(b * b) for b in theirs)))
    return max(
        float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), least) for a, b in zip(ours, theirs, strict=True)
    )


def compare(settings: dict[str, Any], args: Any, compiled: bool = False, capture: bool = False) -> dict[str, Any]:
    """Times and ratios of one network, the sides checked before."""
    row: dict[str, Any] = {"model": settings["model"], "batch": settings["batch"]}
    row["input"] = list(image_shape(settings["model"], settings["size"]))
    servers = {"ours": Server(SIDES["ours"], **settings)}
    row["threads"] = servers["ours"].facts["threads"]
    if args.against:
        row["difference"] = difference(settings)
        if not row["difference"] < TOLERANCE:
            raise SystemExit(
                f"{row['model']}: loss or gradients differ by {row['difference']:.1e}: the sides do not do the same"
            )
        servers["theirs"] = Server(SIDES["theirs"], **settings)
        row |= {f"theirs_{key}": value for key, value in servers["theirs"].ask("choose").items()}
    if compiled:
        chosen = {key: servers["theirs"].facts[key] if key == "threads" else row[f"theirs_{key}"]
                  for key in ("layout", "optimizer", "threads")}  # fmt: skip
        server = Server(SIDES["theirs"], **{**settings, **chosen})
        row |= {f"compiled_{key}": value for key, value in server.ask("compile").items()}
        if "compiled_failed" not in row:
            servers["compiled"] = server
        else:
            server.close()
    for server in servers.values():
        if capture:
            server.ask("capture")
        server.ask("warm_up")
    times = dict(zip(servers, take_turns(list(servers.values()), args.repeats), strict=True))
    for server in servers.values():
        server.close()
    row["ours_ms"] = statistics.median(times["ours"])
    if "theirs" in times:
        both = compared(times["ours"], times["theirs"])
        row |= {"theirs_ms": both.pop("ms"), **both}
    if "compiled" in times:
        row |= compared(times["ours"], times["compiled"], "compiled")
    return row


def said(row: dict[str, Any]) -> str:
    """A row in words."""
    text = f"{row['model']}, batch {row['batch']}: ours {row['ours_ms']:.2f} ms"
    if "theirs_ms" in row:
        text += (f", PyTorch ({row['theirs_layout']}) {row['theirs_ms']:.2f} ms, ratio {row['ratio']:.2f} "
                 f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})")  # fmt: skip
    if "compiled_ms" in row:
        text += f", compiled {row['compiled_ms']:.2f} ms, ratio {row['compiled_ratio']:.2f}"
    if "compiled_failed" in row:
        text += f", torch.compile failed ({row['compiled_failed']})"
    if "of_roofline" in row:
        text += f"; {row['of_roofline']:.0%} of the roofline"
    if "ours_peak_mb" in row:
        text += f"; peak memory of a step {row['ours_peak_mb']:.0f} MB"
        text += f", PyTorch {row['theirs_peak_mb']:.0f} MB" if "theirs_peak_mb" in row else ""
    return text


def main() -> None:
    options = parser(__doc__, models="lenet5")
    options.add_argument("--batch", type=int, help="default: each network's own")
    options.add_argument("--device", default="cpu")
    options.add_argument("--precision", default="float32", choices=PRECISIONS)
    options.add_argument("--capture", action="store_true", help="on a GPU: both sides as CUDA graphs")
    options.add_argument("--compile", action="store_true", help="also torch.compile; needs a C++ compiler")
    args = parsed(options)
    if args.compile and not args.against:
        raise SystemExit("--compile needs --against torch")
    rows = []
    for model in args.models.split(","):
        batch = args.batch or (GPU_BATCH.get(model) if args.device == "cuda" else None)
        settings = settings_of(model, batch, args.threads) | {"device": args.device, "precision": args.precision}
        row = compare(settings, args, args.compile, args.capture)
        if args.device == "cpu":
            row |= distance(row["ours_ms"], settings)
            row |= step_memory(settings, row)
        rows.append(row)
        print(said(row), flush=True)
        write(args, rows)


if __name__ == "__main__":
    main()
