"""What the benchmarks make of what they measure: ratios, what is flat, tables, a picture; and that they take turns."""

from __future__ import annotations

import functools
import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.benchmarks import __main__ as report
from tests.benchmarks import ops, picture, roofline, scaling, train_step, turns


class Clock:
    """A side that says when it worked."""

    def __init__(self, settings):
        self.facts = {"name": settings.name}

    def time(self, steps):
        start = time.monotonic()
        time.sleep(0.002 * steps)
        return {"ms": 2.0 * steps, "start": start, "end": time.monotonic()}

    def shout(self):
        print("not an answer")
        return "an answer"


@pytest.fixture
def servers():
    with (
        turns.Server("tests.test_benchmarks:Clock", name="a") as a,
        turns.Server("tests.test_benchmarks:Clock", name="b") as b,
    ):
        yield a, b


def test_sides_take_turns(servers):
    asked = []
    for server in servers:
        ask = server.ask
        server.ask = lambda what, ask=ask, name=server.facts["name"], **request: (
            asked.append((name, *(answer := ask(what, **request)).values())), answer)[1]  # fmt: skip
    times = turns.take_turns(servers, 3)
    assert [name for name, *_ in asked] == ["a", "b"] * 4  # the first of each says how long a step takes
    assert all(before[3] + turns.PAUSE <= after[2] for before, after in itertools.pairwise(asked[2:]))
    assert times == [[200.0] * 3] * 2, "bursts of 0.2 s"


def test_what_a_side_prints_is_no_answer(servers, capfd):
    assert servers[0].ask("shout") == "an answer"


def test_ratios_compare_neighbours():
    """A machine that is half as fast in every other round."""
    row = turns.compared([1, 2, 1, 2, 1], [3, 6, 3, 6.4, 3.3])
    assert row == {"ms": 3.3, "ratio": 3, "ratio_low": 3, "ratio_high": pytest.approx(3.2)}
    assert turns.compared([1, 1], [2, 4])["ratio_low"] == 2.5, "within what was measured"
    assert turns.compared([2], [3], "onnx")["onnx_ratio"] == 1.5


def test_gradients_are_compared_each_by_its_size():
    theirs = [np.array(3.0), np.full(4, 1e-3), np.full(2, 1e-17)]
    differ = functools.partial(train_step.largest_difference, theirs=theirs)
    assert differ([theirs[0], theirs[1], -theirs[2]]) < train_step.TOLERANCE, "rounding around 0"
    assert differ([theirs[0], theirs[1] * [1, 1, 1, 1.01], theirs[2]]) == pytest.approx(0.005)
    assert differ([theirs[0], theirs[1], theirs[2] + 1e-12]) > train_step.TOLERANCE
    assert differ([theirs[0] * 1.001, *theirs[1:]]) == pytest.approx(0.001)


def test_rows_above_the_median_are_not_flat():
    rows = [
        {"series": "batch", "batch": n, "mmacs": 7 * n, "ours_ms": n * cost} for n, cost in ((1, 1.2), (2, 1), (4, 1))
    ]
    scaling.judge(rows)
    assert [row["ours_flat"] for row in rows] == [False, True, True]
    assert rows[0]["ours_against_median"] == pytest.approx(1.2)
    deep = [{"series": "depth", "batch": 8, "mmacs": m, "ours_ms": m, "theirs_ms": m**1.5} for m in (1, 2, 3)]
    scaling.judge(deep)
    assert all(row["ours_flat"] for row in deep) and [row["theirs_flat"] for row in deep] == [True, True, False]


ROW = {
    "model": "lenet5", "batch": 64, "input": [1, 32, 32], "threads": 2, "ours_ms": 1.234, "theirs_ms": 4.936,
    "ratio": 4.0, "ratio_low": 3.9, "ratio_high": 4.1, "compiled_ratio": 2.0, "ours_peak_mb": 5.2,
    "theirs_peak_mb": 7.4, "of_roofline": 0.25, "peak_gflops": 370.0, "copy_gbytes": 21.0,
}  # fmt: skip


def test_the_table_says_what_was_measured():
    lines = report.training(
        [ROW, ROW | {"model": "vgg16", "ratio": 1.0, "ours_ms": 1234.5, "compiled_ratio": 0.5}]
    ).split("\n")
    assert lines[2] == (
        "| `lenet5` | 64 × 1 × 32 × 32 | 1.23 ms | 4.94 ms | **4.00** (3.90–4.10) | 2.00 | 5 / 7 MB | 25% |"
    )
    assert "| 1,234 ms |" in lines[3]
    assert lines[4].split(" | ")[4:6] == ["**2.00**", "1.00"], "geometric means"
    alone = {key: ROW[key] for key in ("model", "batch", "input", "threads", "ours_ms")}
    assert report.training([alone]).split("\n")[2:] == ["| `lenet5` | 64 × 1 × 32 × 32 | 1.23 ms |  |  |  |  |  |"]


def test_only_what_is_between_the_markers_changes(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.put_between_markers(file, "new")
    report.put_between_markers(file, "newer")
    assert file.read_text() == f"before\n{report.BEGIN}\nnewer\n{report.END}\nafter\n"
    file.write_text(f"{report.END} nothing {report.BEGIN}")
    with pytest.raises(SystemExit, match="has no lines"):
        report.put_between_markers(file, "new")
    assert file.read_text() == f"{report.END} nothing {report.BEGIN}"


def test_the_picture_is_drawn_for_light_and_dark_pages(tmp_path):
    rows = [ROW, ROW | {"model": "vgg16", "ratio": 0.5}, {"model": "only ours"}]
    files = picture.draw(rows, tmp_path, "where and when")
    first = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in picture.draw(rows, tmp_path, "where and when")] == first
    assert files[0].name == "speed-light.svg" and first[0] != first[1]
    assert picture.PAGES["dark"].ink.encode() in first[1] and picture.PAGES["dark"].ink.encode() not in first[0]


def test_the_work_of_a_step():
    """By hand: LeNet-5's convolutions and linear layers, and no op's array twice."""
    work = roofline.work_of_step("lenet5", 2)
    assert work["operations"] == 6 * 2 * 416_520
    assert roofline.work_of_step("lenet5", 4)["operations"] == 2 * work["operations"]
    weights = 4 * 61_706
    grown = roofline.work_of_step("lenet5", 4)["bytes"] - work["bytes"]  # of two more images: no weights in it
    images = 2 * 4 * (32 * 32 * 2)  # read forward, and for the weight gradient
    pooled = 2 * 4 * (6 * 14 * 14 + 16 * 5 * 5) * 3
    assert images + pooled < grown < 3 * (images + pooled)
    assert work["bytes"] - grown > 5 * weights


def test_parts_are_commands_that_exist():
    args = SimpleNamespace(threads=2, out=report.ROOT, models="lenet5", against=True, compile=True, repeats=1)
    for part, name in report.PARTS.items():
        command = report.command(part, args)
        assert command[2] == f"tests.benchmarks.{name}" and (report.ROOT / "tests/benchmarks" / f"{name}.py").exists()
        assert ("--compile" in command) == (part == "train")


def test_the_peak_is_measured_on_our_tile():
    assert roofline.Machine(SimpleNamespace(threads=1)).flops()["gflops"] > 0


def test_ops_are_those_that_the_network_calls(tmp_path):
    """LeNet-5's five, with what its forward pass multiplies and adds; and one of them computed in both layouts."""
    side = ops.Ours(SimpleNamespace(model="lenet5", batch=2, threads=0))
    assert sorted(case.call.op for case in side.cases) == ["Conv2dReLUMaxPool2d"] * 2 + ["Linear"] * 3
    assert sum(case.macs * case.count for case in side.cases) == 2 * 416_520
    index = next(i for i, case in enumerate(side.cases) if case.call.inputs[0].shape[1] == 6)
    assert side.results(index, str(tmp_path / "results.npz")) == 3
    with np.load(tmp_path / "results.npz") as found:
        plain = list(found.values())
    assert [array.shape for array in plain] == [(2, 400), (2, 6, 14, 14), (16, 6, 5, 5), (16,)]
    side.set_up(index, "blocks")
    for array, tensor in zip(plain, (side.y, *side.backward()), strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-4, atol=1e-6)
