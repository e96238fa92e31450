"""The machine of graph_machine.py plays, and wins; and it loses against each of the faults that are planted here."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from minicnn import Tensor, autograd, function
from minicnn import tensor as tensor_module
from minicnn.autograd import Accumulate, Walk
from minicnn.function import Function, SavedInput, SavedOutput
from minicnn.ops.arithmetic import Add, Neg, Sub
from minicnn.ops.reduction import Sum

from .faults.planting import attribute, replaced
from .graph_machine import GraphMachine

GAMES, MOVES = 120, 30
PLAY = settings(max_examples=max(GAMES, settings.default.max_examples), stateful_step_count=MOVES,
                suppress_health_check=list(HealthCheck))  # fmt: skip
# To find a fault: the same games each time, and the first that is lost is enough. A hundred will usually do.
LOSE = settings(PLAY, max_examples=1000, derandomize=True, database=None, phases=[Phase.generate],
                verbosity=Verbosity.quiet, report_multiple_bugs=False)  # fmt: skip


class TestGraph(GraphMachine.TestCase):
    settings = PLAY


def each_part_through_hooks(right):
    """Hooks see each part of a gradient as it arrives; what they return arrives."""

    def deliver(self, edge, gradient, shared):
        hooks = edge.leaf.hooks if edge.leaf is not None else edge.node.output_hooks.get(edge.output_index)
        right(self, edge, autograd._through_hooks(gradient, hooks), shared)

    return deliver


def stays_in_the_graph(self):
    same = Tensor._made(self.data, self.device)
    same.version, same.requires_grad = self.version, self.requires_grad
    same.grad_fn, same.output_index = self.grad_fn, self.output_index
    return same


def always(**options):
    """The walk begins with other options than were asked for."""
    right = Walk.__init__

    def __init__(self, outputs, cotangents, inputs, retain, create_graph):
        given = {"inputs": inputs, "retain": retain, "create_graph": create_graph} | options
        right(self, outputs, cotangents, **given)

    return __init__


def everything_is_useful(self, outputs, since=-1):
    self.useful = None


def holds_its_result(self, array, inputs, outputs, results, right=Function._keep):
    self.result = outputs[0]
    return right(self, array, inputs, outputs, results)


def forgets_where_it_came_from(self, right=Function.release):
    right(self)
    self.edges = []


def each_input_once(self, node, complete, right=Walk.pass_on):
    """A set of inputs, where one may be there twice."""
    seen = set()
    for position, edge in enumerate(node.edges):
        source = edge and (edge.node or edge.leaf, edge.output_index)
        node.active[position] &= source not in seen
        seen.add(source)
    right(self, node, complete)


def twice(right):
    return lambda *arguments: (right(*arguments), right(*arguments))[1]


@contextlib.contextmanager
def saves_what_it_does_not_need():
    """Inputs of linear ops, as a base class does that keeps `self.inputs`."""
    with contextlib.ExitStack() as stack:
        for op in (Add, Neg, Sub, Sum):
            forward, backward = op.forward, op.backward
            wrong_forward = lambda self, *inputs, _f=forward, **o: (self.save(*inputs), _f(self, *inputs, **o))[1]  # noqa: E731
            wrong_backward = lambda self, gy, _b=backward: (self.saved, _b(self, gy))[1]  # noqa: E731
            stack.enter_context(replaced(op, "forward", wrong_forward))
            stack.enter_context(replaced(op, "backward", wrong_backward))
        yield


first_come_first_served = SimpleNamespace(heappush=list.append, heappop=lambda queue: queue.pop(0))

FAULTS = {
    "one gradient array for two consumers": attribute(autograd, "_is_shared", lambda *args: False),
    "retain_grad keeps the array that is passed on": attribute(autograd.Copy, "forward", lambda self, x: x),
    "a second gradient overwrites the first": attribute(Accumulate, "forward", lambda self, a, b: b),
    "gradients accumulate in place": attribute(
        Accumulate, "forward", lambda self, a, b: np.add(a, b, out=a) if a.ndim else a + b
    ),
    "nodes run in the order of their discovery": attribute(autograd, "heapq", first_come_first_served),
    "a tensor in two places of one call counts once": attribute(Walk, "pass_on", each_input_once),
    "hooks see parts": attribute(Walk, "deliver", each_part_through_hooks(Walk.deliver)),
    "hooks are called twice": attribute(autograd, "_through_hooks", twice(autograd._through_hooks)),
    "removed hooks are called": attribute(tensor_module.Handle, "remove", lambda self: None),
    "no_grad goes on after its block": attribute(function.no_grad, "__exit__", lambda self, *exc: None),
    "no_grad records": attribute(function.no_grad, "__enter__", lambda self: self.before.append(True)),
    "detach stays in the graph": attribute(Tensor, "detach", stays_in_the_graph),
    "a graph is freed though it was to be retained": attribute(Walk, "__init__", always(retain=False)),
    "a graph is never freed": attribute(Function, "release", lambda self: None),
    "a freed graph is a constant": attribute(Function, "release", forgets_where_it_came_from),
    "a partial walk goes everywhere": attribute(Walk, "mark_useful", everything_is_useful),
    "a gradient of a gradient lacks what was saved": attribute(
        SavedInput, "__call__", lambda self, node, right=SavedInput.__call__: right(self, node).detach()
    ),
    "writing to an input is not noticed": attribute(SavedInput, "__call__", lambda self, node: self.tensor),
    "writing to a result is not noticed": attribute(SavedOutput, "version_then", property(
        lambda self: self.version[0], lambda self, value: None)),
    "writing to a view is not noticed": attribute(function, "_share_version", lambda view, inputs: None),
    "writing to what nobody needs is refused": saves_what_it_does_not_need,
    "broadcasting is not summed": attribute(Tensor, "sum_to", lambda x, shape: x[(0,) * (x.ndim - len(shape))][
        tuple(slice(0, size) if size == 1 else slice(None) for size in shape)]),
    "a node holds its result": attribute(Function, "_keep", holds_its_result),
    "a checkpoint counts twice": attribute(Walk, "go_inside", twice(Walk.go_inside)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_machine_finds(fault):
    with FAULTS[fault](), pytest.raises(Exception) as found:
        run_state_machine_as_test(GraphMachine, settings=LOSE)
    assert not isinstance(found.value, TypeError) or "argument" not in str(found.value), "it is not what it claims"


def test_the_same_games_are_won_without_a_fault():
    run_state_machine_as_test(GraphMachine, settings=settings(LOSE, max_examples=GAMES // 3))
