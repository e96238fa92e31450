"""The roofline of this machine, and where a training step stands under it.

    python -m tests.benchmarks.roofline --threads 2        the machine
                                     ____________________  multiply-adds a second at most (fma_tile on data in L1)
    operations        ·  ·  ·  /
    a second               /                               bytes a second at most (a copy much larger than the caches)
                       /
                   /   operations for each byte →

A step can take no less than operations / peak, and no less than bytes / bandwidth; the share that is reported is the
larger of these two times over the measured one. What counts as the work of a step is a convention, the same for all:

    operations    2 · 3 · multiply-adds of forward: each product once, for its two gradients twice
    bytes         what all ops of forward and backward read and write, each input and result of an op once, with nothing
                  left in a cache from one op to the next; and for SGD with momentum five times the parameters. Counted
                  on a step that is walked through with shapes alone. Small networks stay in the caches: their bytes
                  can pass faster than this bandwidth, and the share exceed 1
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.kernels.cpu import microkernels
from minicnn.kernels.cpu.drivers import driver
from minicnn.kernels.cpu.microkernels import call_tile, place
from minicnn.kernels.cpu.threads import parallel_for
from tests.benchmarks.sides import image_shape, network
from tests.benchmarks.turns import Server, parsed, parser, write

DEPTH = 150  # steps of a tile, as in convolutions: its operands stay in L1
BYTES = 1 << 28  # for each copied array, far more than any cache a core has to itself
TIMES = 40  # of each, of which the best counts: on a busy machine most are disturbed


class Machine:
    """Measures, in a process of its own, what all threads together reach."""

    def __init__(self, settings: Any):
        import minicnn

        if settings.threads:
            minicnn.set_num_threads(settings.threads)
        self.threads = minicnn.get_num_threads()
        self.facts = {"threads": self.threads}

    def flops(self) -> dict[str, float]:
        """10⁹ operations a second of fma_tile, a multiply-add being two; the best of some bursts."""
        machine = microkernels.machine()
        rows, vectors, lanes = machine.tile_rows, machine.tile_vectors, machine.lanes("float32")
        tile = microkernels.address("float32", microkernels.fma_tile, rows=rows, vectors=vectors)
        width = vectors * lanes

        a, b, c = (_on_a_cache_line((self.threads, size)) for size in (DEPTH * rows, DEPTH * width, rows * width))
        offsets, repeats = np.arange(DEPTH) * width * 4, 4_000

        def work() -> None:
            parallel_for(self.threads, _multiply, tile, repeats, DEPTH, width * 4, a, offsets, b, c)

        work()
        operations = 2 * self.threads * repeats * DEPTH * rows * width
        return {"gflops": operations / _least_seconds(work) / 1e9}

    def copies(self) -> dict[str, float]:
        """10⁹ bytes a second, read and written, of NumPy's copy, a part of the array in each thread."""
        source, target = np.ones(BYTES, np.uint8), np.zeros(BYTES, np.uint8)
        parts = list(zip(np.array_split(source, self.threads), np.array_split(target, self.threads), strict=True))

        def work() -> None:
            copying = [threading.Thread(target=np.copyto, args=(to, part)) for part, to in parts]
            for thread in copying:
                thread.start()
            for thread in copying:
                thread.join()

        return {"gbytes": 2 * BYTES / _least_seconds(work) / 1e9}


@driver
def _multiply(share, first, last, tile, repeats, depth, c_row, a, offsets, b, c):
    for _ in range(repeats):
        call_tile(
            tile, (depth, place(a[share], 0), place(offsets, 0), place(b[share], 0), place(c[share], 0), c_row, 0)
        )


def _on_a_cache_line(shape: tuple[int, ...]) -> np.ndarray:
    """Ones of float32, each row of them beginning on a cache line."""
    columns = -(-shape[1] // 16) * 16
    memory = np.ones(shape[0] * columns + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + shape[0] * columns].reshape(shape[0], columns)


def _least_seconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@functools.cache
def machine(threads: int) -> dict[str, float]:
    """{"gflops", "gbytes"}, measured now."""
    with Server("tests.benchmarks.roofline:Machine", threads=threads) as server:
        return server.ask("flops") | server.ask("copies")


# --- the work of a step -----------------------------------------------------------------------------------------------


class _Traffic:
    """An op hook that counts the bytes of what ops read and write."""

    def __init__(self) -> None:
        self.bytes = 0

    def before(self, function: Any, inputs: Any) -> None:
        pass

    def after(self, function: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        given = [x for x in inputs if x is not None]
        viewed = {id(y.stored.base) for y in outputs}
        if not any(id(x.stored) in viewed for x in given):  # else a reshape, which moves nothing
            self.bytes += sum(tensor.nbytes for tensor in (*given, *outputs))


@functools.cache
def work_of_step(model: str, batch: int, size: int | None = None) -> dict[str, float]:
    """Operations and bytes of a training step, as the head of this file counts them."""
    from minicnn.function import install, remove
    from minicnn.nn import training_memory

    net, shape = network(model), (batch, *image_shape(model, size))
    traffic = _Traffic()
    install(traffic)
    try:
        training_memory(net, shape)
    finally:
        remove(traffic)
    parameters = sum(p.nbytes for p in net.parameters())
    macs = net.summary(shape).macs
    return {"operations": 6 * macs, "bytes": traffic.bytes + 5 * parameters}


def distance(ms: float, settings: dict[str, Any]) -> dict[str, float]:
    """How far a measured step is from the roofline: the machine's numbers, those of the step, and their quotient."""
    here = machine(settings["threads"])
    work = work_of_step(settings["model"], settings["batch"], settings["size"])
    compute, move = work["operations"] / here["gflops"] / 1e6, work["bytes"] / here["gbytes"] / 1e6  # milliseconds
    return {"peak_gflops": here["gflops"], "copy_gbytes": here["gbytes"], "gflop": work["operations"] / 1e9,
            "gbyte": work["bytes"] / 1e9, "compute_ms": compute, "memory_ms": move,
            "of_roofline": max(compute, move) / ms}  # fmt: skip


def main() -> None:
    args = parsed(parser(__doc__, models=""))
    row = machine(args.threads)
    print(f"{row['gflops']:.0f} GFLOP/s, {row['gbytes']:.1f} GB/s")
    write(args, [row])


if __name__ == "__main__":
    main()
