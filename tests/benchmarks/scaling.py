"""Whether the time of a training step grows as its work does: with the batch, the size of images, and the depth.

    python -m tests.benchmarks.scaling --threads 2 --against torch --json FILE

    batch    1 to 64 images of a network             time for each image
    size     images from small to large              time for each multiply-add
    depth    20 to 56 layers of one kind             time for each multiply-add

Each is to be flat: no row of a series may be more than 15 % above its median. Rows that are, say so ("breaks it"); the
exit status counts nothing, since it is the machine's as much as ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.sides import SIDES, image_shape, network, settings_of
from tests.benchmarks.turns import Server, compared, parsed, parser, take_turns, write

FLAT = 0.15
DEPTHS = ("resnet20_cifar", "resnet32_cifar", "resnet44_cifar", "resnet56_cifar")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
IMAGE_SIZES = (96, 128, 160, 192, 224, 256)


def series(args: Any) -> dict[str, list[dict[str, Any]]]:
    """The settings of all rows, by what grows."""
    chosen = {
        "batch": [settings_of(args.of_batch, batch, args.threads) for batch in BATCHES if batch <= args.largest],
        "size": [settings_of(args.of_size, 4, args.threads, size) for size in IMAGE_SIZES],
        "depth": [settings_of(model, min(32, args.largest), args.threads) for model in DEPTHS],
    }
    return {kind: rows for kind, rows in chosen.items() if kind in args.series.split(",")}


def measured(kind: str, settings: dict[str, Any], args: Any) -> dict[str, Any]:
    """One row: milliseconds, and nanoseconds for each thousand multiply-adds of forward."""
    size = image_shape(settings["model"], settings["size"])
    macs = network(settings["model"]).summary((settings["batch"], *size)).macs
    row: dict[str, Any] = {"series": kind, "model": settings["model"], "batch": settings["batch"], "input": list(size),
                           "mmacs": macs / 1e6}  # fmt: skip
    servers = [Server(SIDES["ours"], **settings)]
    if args.against:
        servers.append(Server(SIDES["theirs"], **settings))
        row["theirs_layout"] = servers[1].ask("choose")["layout"]
    for server in servers:
        server.ask("warm_up")
    ours, *theirs = take_turns(servers, args.repeats)
    for server in servers:
        server.close()
    row["ours_ms"] = statistics.median(ours)
    if theirs:
        both = compared(ours, theirs[0])
        row |= {"theirs_ms": both.pop("ms"), **both}
    return row


def judge(rows: list[dict[str, Any]]) -> None:
    """Into each row of a series, for each side: its time for an image (or a multiply-add), against the median's."""
    for side in ("ours", "theirs"):
        if f"{side}_ms" not in rows[0]:
            continue
        unit = "batch" if rows[0]["series"] == "batch" else "mmacs"
        costs = [row[f"{side}_ms"] / row[unit] for row in rows]
        usual = statistics.median(costs)
        for row, cost in zip(rows, costs, strict=True):
            row |= {f"{side}_ms_per_{unit}": cost, f"{side}_against_median": cost / usual}
            row[f"{side}_flat"] = cost / usual <= 1 + FLAT


def said(row: dict[str, Any]) -> str:
    """A row in words."""
    shape = "×".join(map(str, row["input"]))
    text = f"{row['series']:<6} {row['model']:<16} batch {row['batch']:<3} {shape:<10}"
    for side, name in (("ours", "ours"), ("theirs", "PyTorch")):
        if f"{side}_ms" in row:
            broken = "" if row[f"{side}_flat"] else " breaks it"
            text += f"  {name} {row[f'{side}_ms']:9.2f} ms, {row[f'{side}_against_median']:.2f} of the median{broken};"
    return text


def measured_series(kind: str, settings: list[dict[str, Any]], args: Any) -> Iterator[dict[str, Any]]:
    """The rows of one series, judged."""
    rows = [measured(kind, one, args) for one in settings]
    judge(rows)
    yield from rows


def main() -> None:
    options = parser(__doc__, models="", repeats=5)
    options.add_argument("--series", default="batch,size,depth")
    options.add_argument("--of-batch", default="resnet20_cifar", help="the network whose batch grows")
    options.add_argument("--of-size", default="resnet18", help="the network whose images grow")
    options.add_argument("--largest", type=int, default=64, help="largest batch")
    args = parsed(options)
    rows = []
    for kind, settings in series(args).items():
        for row in measured_series(kind, settings, args):
            rows.append(row)
            print(said(row), flush=True)
        write(args, rows)


if __name__ == "__main__":
    main()
