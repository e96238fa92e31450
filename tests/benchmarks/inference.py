"""Time of one forward pass in evaluation mode, beside PyTorch's eager mode and onnxruntime.

    python -m tests.benchmarks.inference --models resnet18 --against torch --threads 2 --json FILE

With one image, and with the batch that a training step has. PyTorch runs under inference_mode in the faster of NCHW and
channels-last. onnxruntime, where it is installed, gets the same PyTorch program through torch.onnx, with all of its
optimizations on. Batch norms have the statistics of the batch, so that numbers keep their size from layer to layer;
outputs are compared before anything is timed: PyTorch's in float64, onnxruntime's, which has no other, in float32.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.sides import BATCH, LAYOUTS, Side, data, image_shape, network
from tests.benchmarks.turns import Server, compared, installed, median_ms, parsed, parser, take_turns, write

SIDES = {name: f"tests.benchmarks.inference:{name.capitalize()}" for name in ("ours", "theirs", "onnx")}
TOLERANCE = {"theirs": 1e-7, "onnx": 1e-3}  # of outputs, relative to their norm


def trained(name: str) -> Any:
    """The network in evaluation mode; its batch norms as if the data of the benchmark had been all it ever saw."""
    import minicnn

    model = network(name).train()
    norms = [module for module in model.modules() if getattr(module, "running_mean", None) is not None]
    if norms:
        momenta = [module.momentum for module in norms]
        for module in norms:
            module.momentum = 1.0
        with minicnn.no_grad():
            model(minicnn.Tensor(data(name, BATCH.get(name, 8))[0]))
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
    return model.eval()


class Ours(Side):
    """This engine."""

    def __init__(self, settings: Any):
        import minicnn

        if settings.threads:
            minicnn.set_num_threads(settings.threads)
        self.settings, self.minicnn = settings, minicnn
        self.network = trained(settings.model)
        self.x = data(settings.model, settings.batch)[0]
        self.facts = {"threads": minicnn.get_num_threads()}

    def step(self) -> Any:
        with self.minicnn.no_grad():
            return self.network(self.minicnn.Tensor(self.x))

    def output(self, file: str, dtype: str) -> None:
        """What the network gives, into a file."""
        self.network.to(dtype)
        self.x = self.x.astype(dtype)
        np.save(file, self.step().numpy())


class Theirs(Side):
    """PyTorch, eager."""

    def __init__(self, settings: Any):
        import torch

        from tests.benchmarks.translate import to_torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.torch = settings, torch
        x = data(settings.model, settings.batch)[0]
        self.program = to_torch(trained(settings.model), x, training=False).requires_grad_(False)
        self.plain = self.x = torch.from_numpy(x)
        self.facts = {"threads": torch.get_num_threads()}

    def step(self) -> Any:
        with self.torch.inference_mode():
            return self.program(self.x)

    def output(self, file: str, dtype: str) -> None:
        """What the network gives, into a file."""
        self.program.to(getattr(self.torch, dtype))
        self.x = self.x.to(getattr(self.torch, dtype))
        np.save(file, self.step().numpy())

    def choose(self) -> dict[str, Any]:
        """The faster layout, by some steps of each."""
        formats = dict(zip(LAYOUTS, (self.torch.contiguous_format, self.torch.channels_last), strict=True))

        def arrange(layout: str) -> None:
            self.program.to(memory_format=formats[layout])
            self.x = self.plain.to(memory_format=formats[layout])

        times = {}
        for layout in LAYOUTS:
            arrange(layout)
            median_ms(self.step, 3, limit=1.0)
            times[layout] = median_ms(self.step, 7, limit=3.0)
        self.facts["layout"] = min(times, key=times.__getitem__)
        arrange(self.facts["layout"])
        return self.facts


class Onnx(Side):
    """onnxruntime, on the same PyTorch program."""

    def __init__(self, settings: Any):
        import onnxruntime

        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = settings.threads
        session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.settings = settings
        self.x, self.facts = data(settings.model, settings.batch)[0], {"threads": settings.threads}
        try:
            model = exported(Theirs(settings))
        except Exception as error:  # the exporter's business, of whatever kind
            self.facts["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            return
        self.session = onnxruntime.InferenceSession(model, session, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def step(self) -> Any:
        return self.session.run(None, {self.name: self.x})[0]

    def output(self, file: str, dtype: str) -> None:
        """What the network gives, into a file."""
        np.save(file, self.step())


def exported(side: Theirs) -> bytes:
    """The program as an ONNX file."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no other package says that it is the older one
        side.torch.onnx.export(side.program.eval(), (side.plain,), file, dynamo=False, opset_version=17)
    return file.getvalue()


def difference(settings: dict[str, Any], side: str, folder: Path) -> float:
    """How far the outputs of a side are from ours, relative to their norm."""
    dtype = "float32" if side == "onnx" else "float64"
    found = []
    for name in ("ours", side):
        file = folder / f"{name}-{dtype}.npy"
        with Server(SIDES[name], **settings) as server:
            server.ask("output", file=str(file), dtype=dtype)
        found.append(np.load(file))
    return float(np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[1]))


def compare(settings: dict[str, Any], sides: list[str], repeats: int) -> dict[str, Any]:
    """One row of the result."""
    row: dict[str, Any] = {"model": settings["model"], "batch": settings["batch"]}
    row["input"] = list(image_shape(settings["model"]))
    if "onnx" in sides:
        with Server(SIDES["onnx"], **settings) as server:
            failed = server.facts.get("failed")
        if failed:
            row["onnx_failed"], sides = failed, sides[:-1]
    for side in sides[1:]:
        with tempfile.TemporaryDirectory() as folder:
            row[f"{side}_difference"] = worst = difference(settings, side, Path(folder))
        if not worst < TOLERANCE[side]:
            raise SystemExit(f"{row['model']}: outputs of {side} differ by {worst:.1e}: the sides do not do the same")
    servers = [Server(SIDES[side], **settings) for side in sides]
    for side, server in zip(sides, servers, strict=True):
        if side == "theirs":
            row["theirs_layout"] = server.ask("choose")["layout"]
        server.ask("warm_up")
    ours, *others = take_turns(servers, repeats)
    for server in servers:
        server.close()
    row["ours_ms"] = statistics.median(ours)
    for side, times in zip(sides[1:], others, strict=True):
        row |= compared(ours, times, side)
    return row


def said(row: dict[str, Any]) -> str:
    """A row in words."""
    text = f"{row['model']}, batch {row['batch']}: ours {row['ours_ms']:.2f} ms"
    for side, name in (("theirs", f"PyTorch ({row.get('theirs_layout')})"), ("onnx", "onnxruntime")):
        if f"{side}_ms" in row:
            text += (f", {name} {row[f'{side}_ms']:.2f} ms, ratio {row[f'{side}_ratio']:.2f} "
                     f"({row[f'{side}_ratio_low']:.2f} to {row[f'{side}_ratio_high']:.2f})")  # fmt: skip
    return text + (f", export to ONNX failed ({row['onnx_failed']})" if "onnx_failed" in row else "")


def main() -> None:
    options = parser(__doc__, models="lenet5")
    options.add_argument("--batch", type=int, action="append", help="may be given several times; default: 1, and that "
                         "of a training step")  # fmt: skip
    args = parsed(options)
    sides = ["ours", *(["theirs"] if args.against else [])]
    sides += ["onnx"] if args.against and installed("onnxruntime") and installed("onnx") else []
    rows = []
    for model in args.models.split(","):
        for batch in args.batch or (1, BATCH.get(model, 8)):
            rows.append(compare({"model": model, "batch": batch, "threads": args.threads, "device": "cpu"}, sides,
                                args.repeats))  # fmt: skip
            print(said(rows[-1]), flush=True)
            write(args, rows)


if __name__ == "__main__":
    main()
