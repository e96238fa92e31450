"""Time of single ops, forward and backward, at the shapes that the networks call them with, beside PyTorch's.

    python -m tests.benchmarks.ops --models resnet18 --against torch --threads 2 --json FILE
    python -m tests.benchmarks.ops --models mobilenet_v2 --only conv2d --most 5

Nothing is listed by hand: a training step of each network is watched, calls with equal shapes and options are one, and
measured are those that should take longest in all, by their multiply-adds and bytes. Inputs and gradients are in the
layout that is faster for this op: of PyTorch NCHW or channels-last, of ours plain or in blocks of channels. Backward is
the gradient of all inputs that need one in the network. Results and gradients are compared before anything is timed.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.sides import BATCH, LAYOUTS, image_shape, network
from tests.benchmarks.turns import Server, compared, median_ms, parsed, parser, take_turns, write

SIDES = {"ours": "tests.benchmarks.ops:Ours", "theirs": "tests.benchmarks.ops:Theirs"}
TOLERANCE = 1e-4  # of results and gradients in float32, relative to their norm
FLOPS, BYTES = 1e11, 1e10  # a second, to tell large from small


class Case(NamedTuple):
    """One op with certain shapes, as often as a network calls it."""

    call: Any  # calls.Call
    macs: int
    count: int

    @property
    def seconds(self) -> float:
        """What it should take, roughly."""
        moved = sum(tensor.nbytes for tensor in (*self.call.inputs, *self.call.outputs) if tensor is not None)
        return self.count * (2 * self.macs / FLOPS + moved / BYTES)

    def describe(self) -> str:
        shapes = ", ".join("-" if x is None else "×".join(map(str, x.shape)) for x in self.call.inputs[:2])
        found = {k: v for k, v in self.call.attributes.items() if k in ("groups", "axis", "cap", "size") and v}
        window = self.call.attributes.get("window")
        if window is not None:
            found |= {"kernel": "×".join(map(str, window.kernel)), "stride": window.stride[0]}
        return f"{shapes} {' '.join(f'{k}={v}' for k, v in found.items() if (k, v) != ('groups', 1))}".strip()


class _Macs:
    """An op hook that lists the multiply-adds of each call."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def before(self, function: Any, inputs: Any) -> None:
        pass

    def after(self, function: Any, inputs: Any, outputs: Any) -> None:
        self.found.append(function.macs)


def cases(model: str, batch: int) -> list[Case]:
    """The ops of a network's forward pass in training, those that should take longest first."""
    from minicnn import Tensor, device
    from minicnn.function import install, remove
    from tests.benchmarks.calls import watched

    counter, found = _Macs(), {}
    install(counter)
    try:
        with device.shapes_only(), watched() as calls:
            network(model).train()(Tensor(np.zeros((batch, *image_shape(model)), np.float32)))
    finally:
        remove(counter)
    for call, macs in zip(calls, counter.found, strict=True):
        options = {k: v for k, v in call.attributes.items() if k != "running"}
        key = call.op, *[None if x is None else (x.shape, x.requires_grad) for x in call.inputs], repr(options)
        found[key] = Case(call, macs, found[key].count + 1 if key in found else 1)
    return sorted(found.values(), key=lambda case: -case.seconds)


def arrays(case: Case) -> Iterator[np.ndarray | None]:
    """Inputs, and then the gradient of the (first) output."""
    random = np.random.default_rng(0)
    for x in (*case.call.inputs, case.call.outputs[0]):
        if x is None:
            yield None
        else:
            scale = 1 / np.sqrt(max(np.prod(x.shape[1:]), 1)) if x.ndim > 1 and len(case.call.inputs) > 1 else 1.0
            yield (random.standard_normal(x.shape) * scale).astype(np.float32)


class _OpSide:
    """What both sides share. They differ in how an array becomes a tensor, and in how an op is called."""

    layouts: tuple[str, ...]

    def __init__(self, settings: Any):
        self.settings, self.current = settings, None
        self.cases = cases(settings.model, settings.batch)
        self.facts = {"ops": [[case.call.op, case.describe(), case.count, case.macs] for case in self.cases]}

    def set_up(self, index: int, layout: str) -> None:
        """The inputs of one case, in one layout."""
        if self.current == (index, layout):
            return
        self.current, case = (index, layout), self.cases[index]
        *inputs, gy = [None if array is None else self.tensor(array, layout) for array in arrays(case)]
        self.inputs, self.gy = inputs, gy
        self.leaves = []
        for x, original in zip(inputs, case.call.inputs, strict=True):
            if x is not None and original.requires_grad:
                x.requires_grad_()
                self.leaves.append(x)
        self.compute = self.function(case)
        self.y = self.forward()

    def forward(self) -> Any:
        y = self.compute(*self.inputs)
        return y[0] if isinstance(y, tuple) else y

    def time(self, steps: int, index: int, layout: str, backward: bool) -> dict[str, float]:
        self.set_up(index, layout)
        return {"ms": median_ms(self.backward if backward else self.forward, steps)}

    def choose(self, index: int) -> dict[str, str]:
        """The faster layout, forward and backward together."""
        times = {}
        for layout in self.layouts:
            self.set_up(index, layout)
            works = [self.forward, *([self.backward] if self.leaves else [])]
            for work in works:
                median_ms(work, 2, limit=0.5)
            times[layout] = sum(median_ms(work, 5, limit=0.5) for work in works)
        return {"layout": min(times, key=times.__getitem__)}

    def results(self, index: int, file: str) -> int:
        """Output and gradients into a file; how many gradients there are."""
        self.set_up(index, self.layouts[0])
        np.savez(file, *map(self.array, (self.y, *(self.backward() if self.leaves else ()))))
        return len(self.leaves)


class Ours(_OpSide):
    layouts = ("plain", "blocks")

    def __init__(self, settings: Any):
        import minicnn

        if settings.threads:
            minicnn.set_num_threads(settings.threads)
        self.minicnn = minicnn
        super().__init__(settings)

    def tensor(self, array: np.ndarray, layout: str) -> Any:
        from minicnn.kernels.cpu.blocked import blocked

        if layout == "blocks" and array.ndim == 4 and min(array.shape[2:]) > 1 and array is not None:
            return self.minicnn.Tensor._made(blocked(array), "cpu")
        return self.minicnn.Tensor(array)

    def function(self, case: Case) -> Any:
        kinds, waiting = {}, [self.minicnn.function.Function]
        while waiting:
            kind = waiting.pop()
            kinds[kind.__name__] = kind
            waiting += kind.__subclasses__()
        return lambda *inputs: kinds[case.call.op].apply(*inputs, **case.call.attributes)

    def backward(self) -> Any:
        return self.minicnn.grad([self.y], self.leaves, [self.gy], retain_graph=True)

    def array(self, tensor: Any) -> np.ndarray:
        return tensor.numpy()


class Theirs(_OpSide):
    layouts = LAYOUTS

    def __init__(self, settings: Any):
        import torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.torch = torch
        super().__init__(settings)

    def tensor(self, array: np.ndarray, layout: str) -> Any:
        x = self.torch.from_numpy(array)
        return x.to(memory_format=self.torch.channels_last) if layout == LAYOUTS[1] and array.ndim == 4 else x

    def function(self, case: Case) -> Any:
        from tests.benchmarks.translate import ROWS

        if case.call.op not in ROWS:
            raise SystemExit(f"translate.py does not know {case.call.op} yet: add a row to ROWS")
        return ROWS[case.call.op](case.call, **case.call.attributes)

    def backward(self) -> Any:
        return self.torch.autograd.grad(self.y, self.leaves, self.gy, retain_graph=True)

    def array(self, tensor: Any) -> np.ndarray:
        return tensor.detach().numpy()


def check(servers: dict[str, Server], index: int, name: str) -> int:
    """That both sides give the same; how many gradients there are."""
    found, gradients = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for side, server in servers.items():
            file = str(Path(folder) / f"{side}.npz")
            gradients = server.ask("results", index=index, file=file)
            with np.load(file) as stored:
                found.append([stored[key] for key in stored.files])
    for a, b in zip(*found, strict=True) if len(found) > 1 else ():
        worst = float(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1))
        if not worst < TOLERANCE:
            raise SystemExit(f"{name}: results or gradients differ by {worst:.1e}: the sides do not do the same")
    return gradients


def measured(model: str, batch: int, args: Any) -> Iterator[dict[str, Any]]:
    """The rows of one network."""
    settings = {"model": model, "batch": batch, "threads": args.threads}
    servers = {side: Server(SIDES[side], **settings) for side in (SIDES if args.against else ["ours"])}
    ops = list(enumerate(servers["ours"].facts["ops"]))
    wanted = [(index, op) for index, op in ops if re.search(args.only, op[0], re.IGNORECASE)][: args.most]
    for index, (op, shapes, count, macs) in wanted:
        gradients = check(servers, index, f"{model}: {op} {shapes}")
        row = {"model": model, "batch": batch, "op": op, "shapes": shapes, "calls": count, "mmacs": macs / 1e6}
        layouts = {side: server.ask("choose", index=index)["layout"] for side, server in servers.items()}
        row |= {f"{side}_layout": layout for side, layout in layouts.items()}
        for part in ("forward", "backward")[: 2 if gradients else 1]:
            asked = [_Asked(server, layouts[side]) for side, server in servers.items()]
            ours, *theirs = take_turns(asked, args.repeats, index=index, backward=part == "backward")  # type: ignore[arg-type]
            row[f"ours_{part}_ms"] = statistics.median(ours)
            if theirs:
                row |= compared(ours, theirs[0], part)
        yield row
    for server in servers.values():
        server.close()


class _Asked(NamedTuple):
    """A server whose requests name a layout."""

    server: Server
    layout: str

    def ask(self, what: str, **request: Any) -> Any:
        return self.server.ask(what, layout=self.layout, **request)


def said(row: dict[str, Any]) -> str:
    """A row in words."""
    text = f"{row['model']:<16} {row['op']:<20} {row['shapes']:<52} ×{row['calls']:<3}"
    for part in ("forward", "backward"):
        if f"ours_{part}_ms" in row:
            text += f" {part} {row[f'ours_{part}_ms']:.2f} ms"
            text += f", PyTorch {row[f'{part}_ms']:.2f}: {row[f'{part}_ratio']:.2f};" if f"{part}_ms" in row else ";"
    return text


def main() -> None:
    options = parser(__doc__, models="resnet18", repeats=5)
    options.add_argument("--batch", type=int, help="default: each network's own")
    options.add_argument("--only", default="", help="ops whose name matches this regular expression")
    options.add_argument("--most", type=int, default=12, help="so many of each network")
    args = parsed(options)
    rows = []
    for model in args.models.split(","):
        for row in measured(model, args.batch or BATCH.get(model, 8), args):
            rows.append(row)
            print(said(row), flush=True)
            write(args, rows)


if __name__ == "__main__":
    main()
