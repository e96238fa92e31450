"""checkpoint(fn, ...) in place of fn(...): the same bytes, less memory. Each check is a row, and each planted fault.

A case builds a loss from a `run`, which is `checkpoint` or, for comparison, a plain call; everything that can be seen
of the two must be equal: values, gradients, what hooks saw, the random stream, running statistics.
"""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, autograd, checkpoint, function, nn, ops, recompute
from minicnn.errors import AnomalyError, ArgumentError, GraphError, ShapeError
from minicnn.explain.op_hooks import MemoryHook

from .faults.planting import replaced


def plain(fn, *inputs, **options):
    return fn(*inputs, **options)


def numbers(*shape, seed=0, requires_grad=True):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32), requires_grad)


class Counting(nn.Module):
    """What batch norm does to its statistics: each forward in training moves them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", np.zeros(3, np.float32))

    def forward(self, x):
        if self.training and not function.is_recomputing():
            self.mean.copy_(self.mean.numpy() * 0.9 + x.numpy().mean(0) * 0.1)
        return x - x.mean(axis=0)


# --- the same bytes ---------------------------------------------------------------------------------------------------
# Each case takes `run` and returns what it makes of it: tensors, whose values and gradients are compared, and others.


def layers_and_dropout(run):
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.4), nn.Linear(5, 2))
    x = numbers(4, 3)
    loss = (run(net, x) ** 2).sum()
    after = ops.dropout(Tensor(np.ones(20, np.float32)))  # the stream goes on as if nothing had been run twice
    loss.backward()
    return [x, *net.parameters(), loss, after, ops.dropout(Tensor(np.ones(20, np.float32)))]


def three_in_a_row(run):
    nets = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.Dropout(0.5)) for _ in range(3)]
    h = x = numbers(2, 2, 5, 5, requires_grad=False)
    for net in nets:
        h = run(net, h)
    loss = ops.max_pool2d(h, 2).mean()
    loss.backward()
    return [x, loss, *(p for net in nets for p in net.parameters())]


def a_network_with_fused_layers(run):
    first = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 3))
    x = numbers(3, 2, 6, 6)
    loss = run(lambda x, labels: ops.cross_entropy(second(run(first, x)), labels), x, np.array([0, 2, 1]))
    loss.backward()
    return [x, loss, *first.parameters(), *first.buffers(), *second.parameters()]


def weights_shared_with_the_outside(run):
    """Sums of four and more: in another order they would round otherwise."""
    w, x = numbers(6, 6), numbers(3, 6, seed=1)
    h = ops.tanh(x @ w)
    h = run(lambda x: ops.tanh(ops.tanh(x @ w) @ w + x), h) @ w + run(lambda: w * w + w).sum()
    (h @ w).sum().backward()
    (run(lambda: ops.tanh(x @ w))).sum().backward()  # into .grad that is there already
    return [x, w]


def inputs_used_many_times(run):
    x = numbers(5)
    h = x * 3.0
    y = run(lambda a, b: a * b + a.exp() * 0.1 + b, h, h)
    (y * h + ops.sigmoid(h)).sum().backward()
    return [x, h, y]


def several_results(run):
    x, y = numbers(4), numbers(4, seed=1)
    a, b, c = run(lambda x, y: [x * y, ops.exp(x), x + y], x, y)
    (a * c + c).sum().backward()  # b is not used
    return [x, y, a, b, c]


def results_that_pass_through(run):
    x, labels, w = numbers(4), Tensor(np.arange(4)), numbers(4, seed=1)
    a, b, c, d, e, f = run(lambda x, n: (x, n, (y := x * w), y, w, n * 2), x * 1.0, labels)
    (a * c + d.exp() * e + a * d * 0.3).sum().backward()
    return [x, w, a, c, b, f, b.requires_grad, f.requires_grad, c is d]


def one_inside_another(run):
    w = numbers(4, 4)
    inner = lambda h: ops.dropout(ops.tanh(h @ w), 0.3)  # noqa: E731
    x = numbers(2, 4)
    y = run(lambda x: run(inner, run(inner, x) * 2.0) @ w, x)
    y.sum().backward()
    return [x, w, y]


def options_numbers_and_arrays(run):
    x = numbers(2, 3)
    y = run(lambda x, scale, add, axis: (x * scale + add).sum(axis=axis), x, 2.0, np.ones(3, np.float32), axis=1)
    (y * y).sum().backward()
    return [x, y]


def two_precisions(run):
    x, w = numbers(3), Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    run(lambda x, w: x.to("float64") * w, x, w).sum().backward()
    return [x, w]


def hooks_everywhere(run):
    x, w, seen = numbers(3), numbers(3, seed=1), []
    watch = lambda name, factor: lambda g: (seen.append((name, g.numpy().tobytes())), g * factor)[1]  # noqa: E731
    for tensor, name in ((x, "x"), (w, "w")):
        tensor.register_hook(watch(name, 0.7))
    h = x * w
    h.register_hook(watch("h", 1.3))
    y = run(lambda h: ops.tanh(h * w) * w + w, h).retain_grad()
    y.register_hook(watch("y", 3.0))
    ((y * w).sum() + (y * y).sum()).backward()
    return [x, w, y, seen]


def statistics(run):
    net = nn.Sequential(nn.Linear(3, 3), Counting(), nn.Tanh(), nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None))
    x = numbers(4, 3)
    for _ in range(2):  # two batches before one backward
        x = x + run(net, x)
    x.sum().backward()
    return [*net.parameters(), *net.buffers()]


def partial_gradients(run):
    x, w, v = numbers(4), numbers(4, seed=1), numbers(4, seed=2)
    h = x * 2.0
    y = run(lambda h: ops.tanh(h * w) * v, h)
    z = y * y
    of = lambda *inputs: minicnn.grad(z.sum(), inputs, retain_graph=True)  # noqa: E731
    unused = minicnn.grad(z.sum(), [w, numbers(1)], retain_graph=True, allow_unused=True)[1]
    return [
        *of(w),
        *of(v),
        *of(x),
        *of(h),
        *of(h, w),
        *of(y),
        *of(y, x),
        x.grad is None,
        w.grad is None,
        unused is None,
    ]


def retained_and_used_again(run):
    x, w = numbers(4), numbers(4, seed=1)
    y = run(lambda x: ops.dropout(ops.tanh(x * w), 0.5), x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(GraphError, match="already used by a backward"):
        y.backward()
    with pytest.raises(GraphError, match="already used by a backward"):
        minicnn.grad(y, w)
    return [x, w]


def forward_on_another_device(run):
    x = numbers(3, 4)
    places = set()

    def fn(x):
        places.add(minicnn.device.current())
        return ops.softmax(x + Tensor(np.ones(4, np.float32)))

    with minicnn.use("reference" if x.device == "cpu" else x.device):
        y = run(fn, x)
    (y * y).sum().backward()
    return [x, y, y.device, x.grad.device, places]


def gradients_inside(run):
    """A penalty on a gradient, and a leaf that the function makes for itself."""

    def penalised(x):
        with minicnn.enable_grad():
            own = Tensor(np.ones(3, np.float32), requires_grad=True)
            (g,) = minicnn.grad((own * x.detach()).exp().sum(), own, create_graph=True)
        return x * g.detach()

    x = numbers(3)
    run(penalised, x).sum().backward()
    return [x]


SAME = [
    layers_and_dropout, three_in_a_row, a_network_with_fused_layers, weights_shared_with_the_outside,
    inputs_used_many_times, several_results, results_that_pass_through, one_inside_another, options_numbers_and_arrays,
    two_precisions, hooks_everywhere, statistics, partial_gradients, retained_and_used_again,
    forward_on_another_device, gradients_inside,
]  # fmt: skip


def bytes_of(thing):
    if isinstance(thing, Tensor):
        return (
            str(thing.dtype),
            thing.shape,
            thing.numpy().tobytes(),
            None if thing.grad is None else bytes_of(thing.grad),
        )
    return thing


def gives_the_same(case):
    found = []
    for run in (plain, checkpoint):
        minicnn.manual_seed(7)
        found.append([bytes_of(thing) for thing in case(run)])
        assert minicnn.is_grad_enabled() and not function.is_recomputing()
        found[-1].append((minicnn.generator.seed, minicnn.generator.calls))
    assert found[0] == found[1]


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.__name__)
def test_all_that_can_be_seen_is_the_same_to_the_byte(case, device):
    with minicnn.use(device):
        gives_the_same(case)


def second_derivatives_agree():
    for order in (1, 2, 3):
        results = []
        for run in (plain, checkpoint):
            x = Tensor(np.array([0.3, -0.7, 1.1]), requires_grad=True)
            w = Tensor(np.array([[1.0, 0.5, -0.2], [0.4, 2.0, 0.1], [0.3, 0.2, -1.0]]), requires_grad=True)
            y = run(lambda x, w=w: ops.tanh(ops.tanh(x @ w) * x), x * 1.5)
            for _ in range(order - 1):
                (g,) = minicnn.grad((y * y).sum(), x, create_graph=True)
                y = ops.tanh(g) @ w
            y.sum().backward()
            results.append((x.grad.numpy(), w.grad.numpy()))
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def gradcheck_agrees():
    w = Tensor(np.array([0.5, -1.5, 2.0]))
    minicnn.gradcheck(
        lambda x, y: checkpoint(lambda x: ops.exp(x * w) * y, x), [np.array([0.1, 0.2, 0.3]), np.ones(3)], order=2
    )


# --- memory -----------------------------------------------------------------------------------------------------------

LAYERS, WIDTH, BATCH = 16, 32, 512


def peaks(segments):
    """Bytes at the worst moment of a training step: of all new arrays, and of those that the graph kept."""
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(LAYERS)]
    length = LAYERS // (segments or 1)
    nets = [nn.Sequential(*layers[start : start + length]) for start in range(0, LAYERS, length)]
    x = numbers(BATCH, WIDTH, requires_grad=False)
    for p in [p for net in nets for p in net.parameters()]:
        p.grad = Tensor(np.zeros_like(p.numpy()))
    tracemalloc.start()
    try:
        with MemoryHook() as memory:
            h = x
            for net in nets:
                h = checkpoint(net, h) if segments else net(h)
            h.sum().backward()
        return tracemalloc.get_traced_memory()[1], memory.peak_bytes
    finally:
        tracemalloc.stop()


def memory_falls():
    """16 layers keep their 16 activations; 4 segments of 4 layers keep 4, and in backward 4 or 5 more."""
    with minicnn.use("reference"):
        all_plain, kept_plain = peaks(0)
        all_less, kept_less = peaks(4)
    assert kept_plain >= 16 * BATCH * WIDTH * 4
    assert kept_less < 0.5 * kept_plain, f"the graph kept {kept_less:,} bytes, without checkpoints {kept_plain:,}"
    assert all_less < 0.6 * all_plain, f"{all_less:,} bytes at most, without checkpoints {all_plain:,}"


def nothing_stays_alive():
    gc.collect()
    gc.disable()
    try:
        x, w = numbers(3), numbers(3, seed=1)
        inside = []

        def fn(x):
            h = ops.tanh(x * w)
            inside.append(weakref.ref(h.numpy()))
            return h * h

        for used in (False, True):
            y = checkpoint(fn, x * 2.0)
            assert inside[-1]() is None, "the inside is kept"
            y.sum().backward(retain_graph=True)
            assert inside[-1]() is None, "the second inside is kept"
            ends = [weakref.ref(y), weakref.ref(y.numpy()), weakref.ref(y.grad_fn), y.grad_fn._saved[0].tensor]
            ends[-1] = weakref.ref(ends[-1])
            if used:
                y.sum().backward()
                assert ends[-1]() is None, "backward does not free the input"
            del y
            assert [end() for end in ends] == [None] * 4 and inside[-1]() is None
    finally:
        gc.enable()


def the_same_work_is_counted():
    """An op hook sees the ops inside twice, results are memory once, and inputs are what is kept."""
    x = numbers(4, 3)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    with MemoryHook() as without:
        plain(net, x).sum().backward()
    x.grad = None
    net.zero_grad()
    with MemoryHook() as memory:
        y = checkpoint(net, x)
        made = memory.result_bytes
        assert memory.kept_bytes == 0, "the input is a leaf, and all else are parameters"
        y.sum().backward()
    assert made == 2 * y.nbytes and without.result_bytes == memory.result_bytes - made
    assert {row.name: row.calls for row in memory.rows}["linear"] == 2


# --- what may go wrong ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def refuses(error, words):
    with pytest.raises(error, match=words) as caught:
        yield
    assert "\n" not in str(caught.value)


def changes_are_noticed():
    """Also of what a plain backward would not need, such as a bias: the second run would compute something else."""
    x, w, b, batch = numbers(3), numbers(3, seed=1), numbers(3, seed=2), numbers(3, seed=3, requires_grad=False)
    changes = [lambda: b.copy_(w), lambda: w.copy_(b), lambda: batch.copy_(b), lambda: x.detach().__setitem__(0, 9.0)]
    for change in changes:
        y = checkpoint(lambda x, batch: x * w + b + batch, x, batch).sum()
        change()
        with refuses(GraphError, r"checkpoint needs a tensor of shape \(3,\) as it was in forward"):
            y.backward()


def another_result_is_refused():
    x, calls = numbers(5000), []

    def drifting(x):
        calls.append(1)
        return x * float(len(calls))

    def shrinking(x):
        calls.append(1)
        return x[len(calls) :]

    def fewer(x):
        calls.append(1)
        return (x * 1.0, x * 2.0)[: 1 + (len(calls) == 1)]

    for fn in (drifting, shrinking, fewer):
        calls.clear()
        y = checkpoint(fn, x)
        with refuses(GraphError, f"checkpoint ran {fn.__name__} again .*result of shape .* was another one"):
            (y if isinstance(y, Tensor) else y[1]).sum().backward()
        assert x.grad is None


def what_is_no_tensor_is_refused():
    x = numbers(2)
    with refuses(ArgumentError, "checkpoint takes a function or module and its inputs, got Tensor as fn"):
        checkpoint(x, x)
    for wrong, words in ((None, "NoneType$"), ({}, "dict$"), ((x, 1.0), "got float in a tuple"), ([None], "in a list")):
        with refuses(GraphError, f"checkpoint needs <lambda> to return a Tensor, .*{words}"):
            checkpoint(lambda x, wrong=wrong: wrong, x)
    with refuses(GraphError, "checkpoint needs Identity to return a Tensor"):
        checkpoint(nn.Identity(), None)


def errors_inside_come_out():
    x, broken = numbers(2, 3), []

    def fn(x):
        if broken:
            return x @ x
        return x * 2.0

    y = checkpoint(fn, x).sum()
    broken.append(1)
    minicnn.manual_seed(3)
    with pytest.raises(ShapeError, match="matmul") as caught:
        y.backward()
    assert caught.value.__notes__ == ["(in backward, where a checkpoint ran fn for the second time)"]
    assert not function.is_recomputing() and (minicnn.generator.seed, minicnn.generator.calls) == (3, 0)
    with pytest.raises(ShapeError):
        checkpoint(fn, x)  # and in the first run: the hook that looks for parameters is gone
    assert function._mode.op_hooks == () and minicnn.is_grad_enabled()
    with minicnn.detect_anomaly(), pytest.raises(AnomalyError, match=r"^log of"):
        checkpoint(ops.log, -ops.exp(x))


def without_a_graph_it_is_a_call():
    x, constant = numbers(2), numbers(2, requires_grad=False)
    with minicnn.no_grad():
        assert checkpoint(lambda x: x * 2.0, x).grad_fn is None
    assert checkpoint(lambda x: x * 2.0, constant).grad_fn is None
    assert checkpoint(lambda x: x, x) is x
    assert not checkpoint(lambda x: x > 0, x).requires_grad
    assert checkpoint(lambda x: x * 2.0, x).grad_fn.name == "checkpoint"


CHECKS = {check.__name__: check for check in (
    second_derivatives_agree, gradcheck_agrees, memory_falls, nothing_stays_alive, the_same_work_is_counted,
    changes_are_noticed, another_result_is_refused, what_is_no_tensor_is_refused, errors_inside_come_out,
    without_a_graph_it_is_a_call,
)}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_of_the_checkpoint(check):
    CHECKS[check]()


# --- the checks are checked -------------------------------------------------------------------------------------------


def twice(right):
    def go_inside(self, node, gradients):
        right(self, node, gradients)
        right(self, node, gradients)

    return go_inside


def backward_of_its_own(self, node, gradients):
    """As a reentrant checkpoint does it: a second walk, whose sums go into .grad at once."""
    for y, gradient in zip(node.again(), gradients, strict=True):
        if gradient is not None:
            autograd.backward(y, gradient, retain_graph=True)


def inputs_only(right):
    def __init__(self, inputs):
        right(self, inputs)
        self.before = lambda function, inputs: None

    return __init__


def first_result_only(right):
    return lambda self, node, gradients: right(self, node, [gradients[0], *[None] * (len(gradients) - 1)])


def not_released(right):
    def again(self):
        self.kept = right(self)
        return self.kept

    return again


Recompute, Walk = recompute.Recompute, autograd.Walk
FAULTS = {  # what is planted: (where, name, by what), and a check or a case that must fail
    "dropout mask redrawn": (recompute, "generator", SimpleNamespace(seed=0, calls=0), layers_and_dropout),
    "statistics updated twice": (recompute, "set_recomputing", contextlib.nullcontext, statistics),
    "parameters not looked for": (recompute._Met, "__init__", inputs_only(recompute._Met.__init__), three_in_a_row),
    "parameters' gradients lost": (Walk, "mark_useful", lambda self, outputs, since=-1: None, partial_gradients),
    "gradient counted twice": (Walk, "go_inside", twice(Walk.go_inside), inputs_used_many_times),
    "a walk of its own: hooks see parts": (Walk, "go_inside", backward_of_its_own, hooks_everywhere),
    "a walk of its own: another rounding": (Walk, "go_inside", backward_of_its_own, weights_shared_with_the_outside),
    "a walk of its own: grad() fills .grad": (Walk, "go_inside", backward_of_its_own, partial_gradients),
    "only the first result": (Walk, "go_inside", first_result_only(Walk.go_inside), several_results),
    "first run recorded": (recompute, "no_grad", contextlib.nullcontext, memory_falls),
    "second run kept": (Recompute, "again", not_released(Recompute.again), nothing_stays_alive),
    "second run on another device": (recompute.devices, "use", contextlib.nullcontext, forward_on_another_device),
    "versions not looked at": (function.SavedInput, "__call__", lambda self, node: self.tensor, changes_are_noticed),
    "results not compared": (recompute, "_sample", lambda array: (array.shape, None), another_result_is_refused),
    "second run not recorded": (recompute, "enable_grad", contextlib.nullcontext, three_in_a_row),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_noticed(fault):
    owner, name, wrong, check = FAULTS[fault]
    with replaced(owner, name, wrong), pytest.raises((AssertionError, GraphError, pytest.fail.Exception)):
        check() if check.__name__ in CHECKS else gives_the_same(check)
