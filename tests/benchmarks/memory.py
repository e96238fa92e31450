"""Peak memory of a training step, beside PyTorch's, and beside what nn.training_memory predicts.

    python -m tests.benchmarks.memory --against torch --threads 2 --json FILE

Each side does its first three steps in a fresh process, which has only done a step of LeNet-5 on one image, so that
libraries, compilers and threads are there. Measured is physical memory (RSS): its peak during these steps, less what
there was before. It holds gradients, momentum, activations and working memory; network and batch were there before.
PyTorch's layout and optimizer are the fastest ones, as in train_step.py. 1 MB is 10⁶ bytes.
"""

from __future__ import annotations

from typing import Any

from tests.benchmarks.sides import BATCH, SIDES, image_shape, network, settings_of
from tests.benchmarks.turns import Server, parsed, parser, write

NETWORKS = ",".join(name for name in BATCH if name != "lenet5_1998")


def step_memory(settings: dict[str, Any], chosen: dict[str, Any]) -> dict[str, float]:
    """The peaks. chosen: has theirs_layout and theirs_optimizer, if PyTorch's side is wanted."""
    found: dict[str, float] = {"predicted_mb": predicted(settings["model"], settings["batch"], settings["size"])}
    with Server(SIDES["ours"], **settings) as server:
        found |= _peak("ours", server)
    if "theirs_layout" in chosen:
        own = {"layout": chosen["theirs_layout"], "optimizer": chosen["theirs_optimizer"]}
        with Server(SIDES["theirs"], **{**settings, **own}) as server:
            found |= _peak("theirs", server)
        found["memory_ratio"] = found["theirs_peak_mb"] / found["ours_peak_mb"]
    return found


def _peak(side: str, server: Server) -> dict[str, float]:
    measured = server.ask("peak")
    return {f"{side}_before_mb": measured["before_mb"],
            f"{side}_peak_mb": measured["peak_mb"] - measured["before_mb"]}  # fmt: skip


def predicted(model: str, batch: int, size: int | None = None) -> float:
    """MB that a step of SGD with momentum should need beside parameters and batch."""
    from minicnn.nn import training_memory

    memory = training_memory(network(model), (batch, *image_shape(model, size)))
    return (memory.peak_bytes + memory.all_gradient_bytes - memory.state_bytes - memory.batch_bytes) / 1e6


def measured(model: str, args: Any) -> dict[str, Any]:
    """One row of the result."""
    settings = settings_of(model, args.batch, args.threads)
    chosen = {}
    if args.against:
        with Server(SIDES["theirs"], **settings) as server:
            chosen = {f"theirs_{key}": value for key, value in server.ask("choose").items()}
    row = {"model": model, "batch": settings["batch"], "input": list(image_shape(model)), **chosen}
    return row | step_memory(settings, chosen)


def said(row: dict[str, Any]) -> str:
    """A row in words."""
    text = f"{row['model']}, batch {row['batch']}: ours {row['ours_peak_mb']:.0f} MB"
    text += f" (predicted {row['predicted_mb']:.0f}; {row['ours_before_mb']:.0f} before)"
    if "theirs_peak_mb" in row:
        text += (f", PyTorch ({row['theirs_layout']}) {row['theirs_peak_mb']:.0f} MB ({row['theirs_before_mb']:.0f} "
                 f"before), ratio {row['memory_ratio']:.2f}")  # fmt: skip
    return text


def main() -> None:
    options = parser(__doc__, models=NETWORKS)
    options.add_argument("--batch", type=int, help="default: each network's own")
    args = parsed(options)
    rows = []
    for model in args.models.split(","):
        rows.append(measured(model, args))
        print(said(rows[-1]), flush=True)
        write(args, rows)


if __name__ == "__main__":
    main()
