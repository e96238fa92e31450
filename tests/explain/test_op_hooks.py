"""Op hooks: what they count is what ran, and they leave no trace: none installed, no tensor kept alive."""

import contextlib
import gc
import io
import re
import time
import weakref

import numpy as np
import pytest

from minicnn import Function, Tensor, nn, no_grad, ops
from minicnn import function as engine
from minicnn.errors import ShapeError
from minicnn.explain import MemoryHook, PrintHook, TimerHook
from minicnn.table import format_table


class Nap(Function):
    """x, after a while."""

    def forward(self, x, seconds):
        time.sleep(seconds)
        return x + 0

    def backward(self, gy):
        return gy


class Names:
    """The plainest hook: what ran, in order."""

    def __init__(self):
        self.seen = []

    def before(self, function, inputs):
        pass

    def after(self, function, inputs, outputs):
        self.seen.append(function.name)


@pytest.fixture(autouse=True)
def nothing_stays_installed():
    yield
    assert engine._mode.op_hooks == ()


@pytest.fixture
def no_gc():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)
    )


def images(n=3):
    return Tensor(np.random.default_rng(0).random((n, 1, 14, 14), np.float32))


def by_name(hook):
    return {row.name: row for row in hook.rows}


# --- timer ------------------------------------------------------------------------------------------------------------


def test_the_timer_counts_every_op_forward_and_backward():
    model, plain = network(), Names()
    engine.install(plain)
    with TimerHook() as timer:
        model(images()).sum().backward()
    engine.remove(plain)
    assert {row.name: row.calls for row in timer.rows} == {name: plain.seen.count(name) for name in plain.seen}
    ran = {"conv2d", "conv2d_act", "conv2d_weight", "conv_transpose2d", "linear", "linear_gradient", "relu_mask"}
    assert ran <= {row.name for row in timer.rows}


def test_the_timer_adds_up_multiply_adds():
    model = network()
    with TimerHook() as timer:
        model(images(3)).sum().backward()
        model(images(1))
    rows = by_name(timer)
    first, second = 4 * 9 * 12 * 12, 6 * 4 * 9 * 4 * 4  # a image: K · C·R·S · P·Q
    assert rows["conv2d"].macs == 4 * first
    assert rows["conv2d_act"].macs == 4 * second  # Sequential computes the second convolution with its relu
    assert rows["conv2d_weight"].macs == 3 * (first + second)
    assert rows["conv_transpose2d"].macs == 3 * second  # nobody asked for the gradient of the images
    assert rows["linear_gradient"].macs == 3 * 2 * 96 * 10
    assert rows["tanh"].macs == 0 and rows["tanh"].gflops == 0
    row = rows["conv2d"]
    assert row.gflops == pytest.approx(2 * row.macs / row.seconds / 1e9)


def test_the_slowest_op_is_first_with_its_time_and_share():
    with TimerHook() as timer:
        x = Nap.apply(Tensor([1.0]), seconds=0.02)
        Nap.apply(x + x, seconds=0.02)
    nap = timer.rows[0]
    assert (nap.name, nap.calls) == ("nap", 2)
    assert 0.04 <= nap.seconds <= timer.seconds <= timer.wall_seconds
    share = nap.seconds / timer.seconds
    assert f"{share:.1%}" in str(timer).splitlines()[2]


def test_time_between_ops_is_not_an_ops_time():
    with TimerHook() as timer:
        ops.relu(Tensor([1.0]))
        time.sleep(0.03)
        inside = timer.wall_seconds
    after = timer.wall_seconds
    time.sleep(0.01)
    assert inside <= after == timer.wall_seconds
    assert timer.seconds + 0.03 <= inside  # however long the op took, compiling included, the pause is not part of it
    assert re.search(r"in all, of which \d+\.\d\d ms \(\d+\.\d%\) outside of ops$", str(timer))


def test_a_timer_goes_on_counting_when_entered_again():
    timer = TimerHook()
    for _ in range(3):
        with timer:
            Nap.apply(Tensor([1.0]), seconds=0.01)
        Nap.apply(Tensor([1.0]), seconds=0.01)  # not watched
    assert by_name(timer)["nap"].calls == 3
    assert timer.wall_seconds >= timer.seconds >= 0.03


# --- memory -----------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_summary_says():
    model = network()
    with MemoryHook() as memory:
        output = model(images(2))
    assert memory.kept_bytes == memory.live_bytes == model.summary((2, 1, 14, 14)).activation_bytes
    assert output.shape == (2, 10)


def test_an_array_is_credited_once_to_the_first_op_that_keeps_it():
    x = Tensor(np.ones((10, 10), np.float32), requires_grad=True)
    w = nn.Parameter(np.ones((10, 10), np.float32))
    with MemoryHook() as memory:
        h = ops.relu(x @ w)  # relu keeps its output ...
        y = h @ w  # ... which this product keeps, too; w is a parameter, and x a leaf like one
    rows = by_name(memory)
    assert (rows["relu"].kept_bytes, rows["matmul"].kept_bytes) == (400, 0)
    assert (rows["relu"].result_bytes, rows["matmul"].result_bytes) == (400, 800)
    assert y.grad_fn is not None


def test_frozen_parameters_do_not_count_either():
    frozen = nn.Parameter(np.ones((10, 10), np.float32), requires_grad=False)
    x = Tensor(np.ones((10, 10), np.float32), requires_grad=True)
    with MemoryHook() as memory:
        y = x @ frozen
    assert memory.kept_bytes == 0 and y.requires_grad


def test_views_make_nothing_but_keep_the_whole_array():
    x = Tensor(np.ones((8, 100), np.float32), requires_grad=True)
    with MemoryHook() as memory:
        doubled = x + x  # 3200 bytes, which + itself does not keep
        left, right = doubled[:, :1], doubled[:, 99:]
        y = left * right  # keeps 2 × 32 bytes, and with them all of the 3200
    rows = by_name(memory)
    assert rows["getitem"].result_bytes == 0
    assert rows["add"].kept_bytes == 0
    assert rows["mul"].kept_bytes == memory.live_bytes == 3200
    assert y.shape == (8, 1)


def test_of_a_data_set_only_the_batch_counts():
    dataset = np.ones((1000, 1, 14, 14), np.float32)
    w = nn.Parameter(np.ones((2, 1, 3, 3), np.float32))
    with MemoryHook() as memory:
        y = ops.conv2d(Tensor(dataset[5:7]), w)
    assert memory.kept_bytes == dataset[5:7].nbytes and y.requires_grad


def test_nothing_is_kept_when_nothing_is_recorded():
    model = network()
    with MemoryHook() as memory, no_grad():
        model(images())
    assert memory.kept_bytes == memory.peak_bytes == 0 < memory.result_bytes


def test_a_forward_may_return_and_keep_a_plain_number():
    class Total(Function):
        def forward(self, x):
            y = x.sum()
            self.save(y)
            return y

    with MemoryHook() as memory:
        y = Total.apply(Tensor([1.0, 2.0], requires_grad=True))
    assert memory.kept_bytes == y.nbytes and y.requires_grad


def test_live_memory_falls_as_the_graph_dies_and_the_peak_stays(no_gc):
    model = network()
    with MemoryHook() as memory:
        for _ in range(3):
            loss = model(images()).sum()
            kept = memory.live_bytes
            loss.backward()
    assert memory.peak_bytes == kept > 0
    assert memory.kept_bytes == 3 * kept  # three steps, one after the other
    del loss, model
    assert memory.live_bytes == 0 and memory._known == {}


def test_the_peak_is_not_the_last():
    model = network()
    with MemoryHook() as memory:
        model(images(8)).sum().backward()
        peak = memory.peak_bytes
        model(images(1)).sum().backward()
    assert memory.peak_bytes == peak > memory.kept_bytes - peak > 0


def test_live_memory_shows_a_graph_that_is_held():
    model, losses = network(), []
    with MemoryHook() as memory:
        for _ in range(3):
            losses.append(model(images()).sum())
    assert memory.live_bytes == memory.peak_bytes == memory.kept_bytes > 0


# --- print ------------------------------------------------------------------------------------------------------------


def test_each_op_is_printed_as_it_runs():
    stream = io.StringIO()
    w = nn.Parameter(np.ones((4, 1, 3, 3)))
    with PrintHook(stream):
        y = ops.conv2d(Tensor(np.ones((2, 1, 5, 5))), w)
        assert stream.getvalue() == "conv2d             (2, 1, 5, 5), (4, 1, 3, 3), - -> (2, 4, 3, 3)  float64\n"
        y.sum().backward()
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["conv2d", "sum", "reshape", "broadcast_to", "conv2d_weight"]
    assert lines[1] == "sum                (2, 4, 3, 3) -> ()  float64"


def test_an_op_that_fails_has_a_line():
    class Broken(Function):
        def forward(self, x):
            raise ValueError("broken")

    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), PrintHook(stream):
        Broken.apply(Tensor([1.0, 2.0]))
    with PrintHook(stream):
        with pytest.raises(ValueError, match="broken"):
            Broken.apply(Tensor([1.0]))
        ops.relu(Tensor([1.0]))
    assert stream.getvalue().splitlines() == [
        "broken             (2,) -> error",
        "broken             (1,) -> error",
        "relu               (1,) -> (1,)  float32",
    ]


def test_printing_goes_to_stderr(capsys):
    hook = PrintHook()
    with hook:
        ops.relu(Tensor([1.0]))
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("relu ")


# --- all hooks --------------------------------------------------------------------------------------------------------


def quiet_printer():
    return PrintHook(io.StringIO())


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook, quiet_printer])
def test_an_error_takes_the_hook_away(hook):
    with pytest.raises(ShapeError), hook():
        ops.relu(Tensor([1.0]))
        ops.matmul(Tensor([[1.0]]), Tensor([[1.0], [2.0]]))
    assert engine._mode.op_hooks == ()


def test_nested_hooks_each_see_every_op_once():
    stream = io.StringIO()
    with TimerHook() as outer, MemoryHook() as memory:
        ops.relu(Tensor([1.0]))
        with PrintHook(stream), TimerHook() as inner, outer, memory:
            ops.relu(Tensor([1.0]))
        ops.relu(Tensor([1.0]))  # outer and memory were entered twice, and left once
    assert [by_name(hook)["relu"].calls for hook in (outer, memory, inner)] == [3, 3, 1]
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook, quiet_printer])
def test_hooks_keep_no_tensor_alive(hook, no_gc):
    model = network()
    with hook() as watching:
        x = images()
        hidden = model(x)
        loss = hidden.sum()
        loss.backward()
        dying = [weakref.ref(thing) for thing in (x, x.data, hidden, hidden.data, hidden.grad_fn, loss)]
        del x, hidden, loss
        assert [ref() is None for ref in dying] == [True] * 6
        x = Tensor(np.ones(3, np.float32), requires_grad=True)
        y = ops.relu(x)
        dying = [weakref.ref(thing) for thing in (x, x.data, y, y.data)]
        del x, y
        assert [ref() is None for ref in dying] == [True] * 4  # nor the tensors of the last op
    assert watching is not None


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook])
def test_hooks_keep_no_op_that_failed_alive(hook, no_gc):
    class Broken(Function):
        def forward(self, x):
            self.save(x)
            failed.append(weakref.ref(self))
            raise ValueError("broken")

    failed = []
    with hook() as watching:
        with contextlib.suppress(ValueError):
            Broken.apply(Tensor([1.0]))
        assert failed[0]() is None
        ops.relu(Tensor([1.0]))
    assert [row.name for row in watching.rows] == ["relu"]


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook, quiet_printer])
def test_a_hook_is_part_of_no_cycle(hook, no_gc):
    model = network()
    with hook() as watching:
        y = model(images())
    gone = weakref.ref(watching)
    del watching
    assert gone() is None
    del y  # the arrays outlived the hook, and find nobody to tell


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook])
def test_the_table_is_aligned_and_has_every_op(hook):
    with hook() as watching:
        network()(images()).sum().backward()
    lines = str(watching).splitlines()
    rules = [line for line in lines if set(line) == {"─"}]
    head, body = lines[0], lines[2 : 2 + len(watching.rows)]
    assert [line.split()[0] for line in body] == [row.name for row in watching.rows]
    assert len(rules) == 2 and lines[-2].startswith("total") and all(line == line.rstrip() for line in lines)
    calls_end = head.index("calls") + len("calls")
    for line, row in zip(body, watching.rows, strict=True):
        assert line[:calls_end].endswith(f" {row.calls}") and len(line) <= len(rules[0])


@pytest.mark.parametrize("hook", [TimerHook, MemoryHook])
def test_the_table_of_a_hook_that_saw_nothing(hook):
    with hook() as watching:
        pass
    assert str(watching).splitlines()[3].split()[:2] == ["total", "0"]
    assert str(hook())  # not even entered


def test_format_table():
    assert format_table(["op", "n"], [["a", "1,000"], ["long", ""]], "<>", ["sum", "7"]).splitlines() == [
        "op        n",
        "───────────",
        "a     1,000",
        "long",
        "───────────",
        "sum       7",
    ]
    assert format_table(["op", "n"], [], "<>") == "op  n\n─────"
    for rows, align in (([["a"]], "<>"), ([["a", "1"]], "<")):
        with pytest.raises(ValueError):
            format_table(["op", "n"], rows, align)
