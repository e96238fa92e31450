"""Random graphs: a machine plays with two engines, minicnn and a naive one, and they must agree after every move.

A move makes a leaf, calls an op (also under no_grad, with one tensor twice, in a checkpoint), detaches, hangs up or
takes down a hook, writes into an array, walks back from anywhere, forgets a gradient, drops a tensor. After each move
all values, gradients and calls of hooks are those of oracles/naive_engine.py; a walk through a graph that is gone, or
that needs an array which was written to, is refused, and no other; and what the naive engine lets go, minicnn lets go.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections import Counter

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from minicnn import Tensor, checkpoint, function, grad, no_grad, ops
from minicnn.errors import GraphError

from .oracles.naive_engine import Node, bilinear, everything, gradient, linear, pointwise

MOST_PATHS, LARGEST, HIGHEST = 12, 12, 30.0  # the naive engine follows every path; small numbers show differences

# --- the ops: what minicnn calls, what the naive engine does, and which arrays must stay as they are ------------------


def tanh_slope(x):
    return 1 - np.tanh(x) ** 2


TANH = pointwise(np.tanh, tanh_slope, lambda x: -2 * np.tanh(x) * tanh_slope(x), None)
SQUARE = pointwise(np.square, lambda x: 2 * x, lambda x: 0 * x + 2, None)
RELU = pointwise(lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, lambda x: 0 * x, None)
ABS = pointwise(np.abs, np.sign, lambda x: 0 * x, None)


def times(a, b):
    return bilinear(np.multiply, a, b)


def each(f):
    return lambda *inputs: linear(f, *inputs)


def larger(a, b):
    share = (a.value > b.value) + 0.5 * (a.value == b.value)
    return linear(lambda a, b: share * a + (1 - share) * b, a, b)


def checkered(where, a, b):
    mask = np.indices(np.broadcast_shapes(a.shape, b.shape)).sum(axis=0) % 2 == 0
    return where(mask, a, b)


VIEW = "the result is a view"
OF_ONE = {  # "x" and "a": that input must stay as it is until backward, if the other one needs it; "y": the result
    "tanh": (ops.tanh, TANH, "y"),
    "square": (lambda x: x**2.0, SQUARE, "x"),
    "relu": (ops.relu, RELU, "y"),
    "abs": (ops.abs, ABS, ""),
    "negative": (lambda x: -x, each(np.negative), ""),
    "two thirds": (lambda x: x * (2 / 3), each(lambda x: x * (2 / 3)), ""),
    "sum": (lambda x: x.sum(), each(np.sum), ""),
    "mean of rows": (lambda x: x.mean(axis=-1, keepdims=True), each(lambda x: x.mean(-1, keepdims=True)), ""),
    "transpose": (lambda x: x.T, each(np.transpose), VIEW),
    "as a row": (lambda x: x.reshape(1, -1), each(lambda x: x.reshape(1, -1)), VIEW),
    "two of them": (lambda x: x.broadcast_to((2, *x.shape)), each(lambda x: np.broadcast_to(x, (2, *x.shape))), VIEW),
    "backwards": (lambda x: x[..., ::-1], each(lambda x: x[..., ::-1]), VIEW),
    "detach": (lambda x: x.detach(), each(lambda x: x), VIEW),
    "the first again": (lambda x: x[..., [0, -1, 0]], each(lambda x: x[..., [0, -1, 0]]), ""),
}  # fmt: skip
OF_TWO = {
    "add": (ops.add, each(np.add), ""),
    "subtract": (ops.sub, each(np.subtract), ""),
    "multiply": (ops.mul, times, "a b"),
    "maximum": (ops.maximum, larger, ""),
    "where": (lambda a, b: checkered(ops.where, a, b), each(lambda a, b: checkered(np.where, a, b)), ""),
    "matmul": (ops.matmul, lambda a, b: bilinear(np.matmul, a, b), "a b"),
    "stack": (lambda a, b: ops.stack([a, b]), each(lambda a, b: np.stack([a, b])), ""),
    "concat": (lambda a, b: ops.concat([a, b], -1), each(lambda a, b: np.concatenate([a, b], -1)), ""),
    "checkpoint": (lambda a, b: checkpoint(lambda a: ops.tanh(a * b) * b, a),
                   lambda a, b: times(TANH(times(a, b)), b), "all"),
}  # fmt: skip


OPS = OF_ONE | OF_TWO


def fits(op, *inputs):
    """Whether an op takes these tensors."""
    a, b = (pair.tensor.shape for pair in (inputs * 2)[:2])
    if op in OF_ONE:
        return bool(a) or op not in ("mean of rows", "backwards", "the first again")
    if op == "matmul":
        return len(a) == len(b) == 2 and a[1] == b[0]
    if op == "concat":
        return len(a) == len(b) > 0 and a[:-1] == b[:-1]
    return a == b or (op != "stack" and all(n == m or 1 in (n, m) for n, m in zip(a[::-1], b[::-1], strict=False)))


# --- what the machine remembers ---------------------------------------------------------------------------------------

Node.call, Node.is_leaf = None, False  # of every node that the machine does not say more about


class Cell:
    """Some memory, shared by views; how often it was written to."""

    writes = 0


class Call:
    """One recorded call of an op: the memory that must not be written to, and whether a walk has used the call up."""

    def __init__(self, kept):
        self.kept, self.consumed = [(cell, cell.writes) for cell in kept], False

    @property
    def stale(self):
        return any(cell.writes != writes for cell, writes in self.kept)


class Pair:
    """One tensor in both engines. `now` is its node with the value that was written last, `grad` what .grad must be."""

    def __init__(self, tensor, node, cell, call, paths):
        self.tensor, self.node, self.now, self.cell, self.paths = tensor, node, node, cell, paths
        self.grad = self.arrived = None
        self.kept = False  # retain_grad was called
        node.call, node.is_leaf = call, call is None and tensor.requires_grad

    def __repr__(self):
        return f"<{self.tensor.shape}>"

    def writes(self, value):
        self.now = Node(value, [(self.node, lambda g: g)] if self.tensor.requires_grad else [])
        self.now.root = self.node

    def arrives(self):
        """What a hook has seen is added to .grad."""
        if self.arrived is not None:
            self.grad, self.arrived = self.arrived + (0 if self.grad is None else self.grad), None


class Hook:
    """Hangs on a tensor in both engines; `saw` is what minicnn showed it, `must_see` what the naive engine did."""

    KINDS = {  # for minicnn, for the naive engine
        "look": (lambda g: None, lambda g: None),
        "halve": (lambda g: g * 0.5, each(lambda g: g * 0.5)),
        "square": (lambda g: g * g, lambda g: times(g, g)),  # of a sum it is not the sum of the parts'
    }

    def __init__(self, pair, kind):
        self.saw, self.must_see, self.hooks = [], [], pair.node.hooks
        ours, theirs = self.KINDS[kind]
        self.handle = pair.tensor.register_hook(lambda g: (self.saw.append(g.data.copy()), ours(g))[1])
        self.naive = lambda g: (self.must_see.append(g.value), theirs(g))[1]
        self.hooks.append(self.naive)

    def take_down(self):
        self.handle.remove()
        self.hooks.remove(self.naive)


def close(found, wanted, what):
    assert found.shape == wanted.shape, f"{what} has shape {found.shape}, not {wanted.shape}"
    assert (np.abs(found - wanted) <= 1e-9 + 1e-9 * np.abs(wanted)).all(), f"{what} is {found}, not {wanted}"


def refused(walk):
    """Whether minicnn says GraphError. (pytest.raises would keep the traceback, and with it the graph.)"""
    try:
        walk()
    except GraphError:
        return True
    return False


SEEDS = st.integers(0, 99)
OFTEN = [
    "add",
    "multiply",
    "square",
    "tanh",
    "transpose",
]  # gradients passed on, second derivatives, kept arrays, views
NAMES = st.lists(st.tuples(st.sampled_from(sorted(OPS) + 2 * OFTEN), SEEDS), min_size=2, max_size=6)
NEARLY_ALWAYS = st.sampled_from([True] * 5 + [False])


def array(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


class GraphMachine(RuleBasedStateMachine):
    tensors = Bundle("tensors")

    def __init__(self):
        super().__init__()
        gc.disable()  # what dies must die by itself
        self.pairs: list[Pair] = []
        self.hung: list[Hook] = []
        self.given = []  # cotangents, and copies of them
        self.watched = []  # weak references to a naive node, and to what minicnn has for it

    def teardown(self):
        self.names_to_values.clear()
        self.pairs.clear()
        self.hung.clear()
        try:
            self.what_was_let_go_is_dead()
        finally:
            function._mode.recording = True
            gc.enable()

    # --- making tensors ---

    def both_made(self, tensor, node, cell, call=None, paths=1):
        """They must agree. None if the result is not worth going on with."""
        close(tensor.data, node.value, "result")
        if tensor.size > LARGEST or np.abs(node.value).max() > HIGHEST:
            return None
        pair = Pair(tensor, node, cell, call, paths)
        self.pairs.append(pair)
        self.watched += [
            (weakref.ref(node), weakref.ref(ours)) for ours in (tensor, tensor.grad_fn) if ours is not None
        ]
        return pair

    @initialize(target=tensors, seed=SEEDS)
    def begin(self, seed):
        """Some leaves, and a sum of two: both get the gradient that the sum gets."""
        leaves = [self.leaf(shape, seed + i, True) for i, shape in enumerate([(2, 3), (2, 3), (3,), (2, 1)])]
        return multiple(*leaves, self.call("add", leaves[:2], recorded=True))

    @rule(target=tensors, shape=st.sampled_from([(), (3,), (2, 3), (3, 2)]), seed=SEEDS, needs=NEARLY_ALWAYS)
    def leaf(self, shape, seed, needs):
        value = array(shape, seed)
        return self.both_made(Tensor(value.copy(), requires_grad=needs), Node(value), Cell())

    def call(self, name, inputs, recorded):
        """One op in both engines; None where the graph would grow too large for the naive one."""
        ours, theirs, keeps = OPS[name]
        paths = sum(pair.paths for pair in inputs) + 2 * (keeps == "all")
        if paths > MOST_PATHS:
            return None
        with contextlib.nullcontext() if recorded else no_grad():
            tensor = ours(*[pair.tensor for pair in inputs])
        if tensor is inputs[0].tensor:  # a row is a row already
            return None
        node = theirs(*[pair.now for pair in inputs])
        needs = [pair.tensor.requires_grad for pair in inputs]
        recorded = recorded and any(needs) and name != "detach"
        assert tensor.requires_grad == recorded, f"recorded: {tensor.requires_grad}"
        view = keeps is VIEW and np.shares_memory(tensor.data, inputs[0].tensor.data)
        cell = inputs[0].cell if view else Cell()
        if not recorded:
            return self.both_made(tensor, Node(node.value), cell)
        kept = {"x": [inputs[0].cell], "y": [cell], "all": [pair.cell for pair in inputs]}.get(keeps, [])
        if keeps == "a b":
            kept = [pair.cell for pair, of_the_other in zip(inputs, needs[::-1], strict=True) if of_the_other]
        return self.both_made(tensor, node, cell, Call(kept), paths)

    @rule(target=tensors, x=tensors, names=NAMES, recorded=NEARLY_ALWAYS)
    def ops(self, x, names, recorded):
        """One op after the other. Where it takes two tensors, the other is the first that fits, from some place on."""
        made = []
        for name, place in names:
            others = [x] * (place % 5 == 0) + self.pairs[place % len(self.pairs) :] + self.pairs
            inputs = [x] if name in OF_ONE else [x, next((y for y in others if fits(name, x, y)), x)]
            if fits(name, *inputs) and (pair := self.call(name, inputs, recorded)):
                x = pair
                made.append(pair)
        return multiple(*made)

    @rule(target=tensors, x=tensors, names=NAMES)
    def more_ops(self, x, names):
        """The same, so that it happens more often."""
        return self.ops(x, names, True)

    # --- changing what is there ---

    def needed_memory(self):
        """Tensors whose memory a walk back would read: those that share it with others, if some do."""
        calls = [pair.node.call for pair in self.pairs if pair.node.call]
        kept = {id(cell) for call in calls if not call.consumed and not call.stale for cell, _ in call.kept}
        needed = [pair for pair in self.pairs if id(pair.cell) in kept]
        users = Counter(id(pair.cell) for pair in self.pairs)
        return [pair for pair in needed if users[id(pair.cell)] > 1] or needed

    @rule(x=tensors, seed=SEEDS, copy=st.booleans())
    def write(self, x, seed, copy):
        """Later uses see the new value, and pass their gradients to the tensor that it was written to."""
        if seed % 2 and (needed := self.needed_memory()):
            x = needed[seed % len(needed)]
        seen_by = [pair for pair in self.pairs if pair.cell is x.cell]
        x = seen_by[seed % len(seen_by)]
        if not x.tensor.data.flags.writeable:
            return
        value = array(x.tensor.shape, seed)
        if copy:
            x.tensor.copy_(value)
        else:
            x.tensor.detach()[...] = value
        x.cell.writes += 1
        for pair in seen_by:
            pair.writes(pair.tensor.data)
        nodes = {pair.node for pair in seen_by}
        for pair in [pair for pair in self.pairs if not nodes.isdisjoint(everything(pair.node))][-8:]:
            self.backward(pair, seed, retain=True)  # some need the old value, some do not

    @rule(x=tensors, kind=st.sampled_from([*sorted(Hook.KINDS), "retain_grad"]))
    def hang_up(self, x, kind):
        if kind != "retain_grad" and x.tensor.requires_grad:
            self.hung.append(Hook(x, kind))
        elif x.node.call and not x.kept:
            x.tensor.retain_grad()
            x.kept, pair = True, weakref.ref(x)
            x.node.hooks.append(lambda g: setattr(pair(), "arrived", g.value) if pair() else None)

    @rule(place=SEEDS)
    def take_down(self, place):
        """It stays among `hung`: nobody may call it again."""
        up = [hook for hook in self.hung if hook.naive in hook.hooks]
        if up:
            up[place % len(up)].take_down()

    @rule(x=tensors)
    def forget_gradient(self, x):
        x.tensor.grad = x.grad = None

    @rule(x=consumes(tensors))
    def drop(self, x):
        self.pairs.remove(x)

    # --- walking back ---

    def cotangents(self, pairs, seed):
        values = [array(pair.tensor.shape, seed + i) for i, pair in enumerate(pairs)]
        self.given += [(Tensor(value.copy()), value) for value in values]
        return [tensor for tensor, _ in self.given[-len(pairs) :]], [Node(value) for value in values]

    def way(self, outputs, inputs):
        """The nodes that a walk comes to, and whether it must be refused: they are consumed, or what they need is."""
        comes_to = {node for node in everything(*outputs) if not everything(node).isdisjoint(inputs)}
        calls = [node for node in comes_to if node.call]
        runs = [node for node in calls if any(x in comes_to for x, _ in node.edges)]
        return comes_to, any(node.call.consumed for node in calls) or any(node.call.stale for node in runs)

    def after_walk(self, comes_to, outputs, seeds, consumed):
        """Hooks have seen the gradients of all nodes that the walk came to; afterwards the calls are used up."""
        for node in comes_to:
            if node.hooks:
                gradient(outputs, seeds, node)
        for hook in self.hung:
            assert len(hook.saw) == bool(hook.must_see), f"a hook was called {len(hook.saw)} times"
            for saw, must_see in zip(hook.saw, hook.must_see, strict=False):
                close(saw, must_see, "what a hook saw")
        for node in comes_to if consumed else ():
            if node.call:
                node.call.consumed = True
        for pair in self.pairs:
            pair.arrives()
            if pair.grad is not None:  # in place: where two share their memory, or one with something else, it shows
                pair.tensor.grad.data[...] *= 0.5
                pair.grad = pair.grad * 0.5
        self.forget_hooks()

    def forget_hooks(self, partly=()):
        """partly: nodes of which it is not known whether a walk came to them, so that .grad may be there or not."""
        for hook in self.hung:
            hook.saw.clear()
            hook.must_see.clear()
        for pair in self.pairs:
            pair.arrived = None
            if pair.kept and pair.node in partly:
                pair.tensor.grad = pair.grad = None

    @rule(x=tensors, seed=SEEDS, retain=st.booleans())
    def backward(self, x, seed, retain):
        given, seeds = self.cotangents([x], seed)
        if not x.tensor.requires_grad:
            assert refused(lambda: x.tensor.backward(given[0])), "no graph, no error"
            return
        leaves = {node for node in everything(x.node) if node.is_leaf}
        comes_to, must_refuse = self.way([x.node], leaves)
        was_refused = refused(lambda: x.tensor.backward(given[0], retain_graph=retain or must_refuse))
        assert was_refused == must_refuse, f"backward was {'' if was_refused else 'not '}refused"
        if was_refused:
            self.forget_hooks(partly=comes_to)
            return
        for pair in self.pairs:
            if pair.node in leaves:
                pair.arrived = gradient([x.node], seeds, pair.node).value
        self.after_walk(comes_to, [x.node], seeds, consumed=not retain)

    @rule(x=tensors, seed=SEEDS, retain=st.booleans())
    def partial(self, x, seed, retain):
        """From x, or x and another, to some of the tensors that they are made of."""
        places = np.random.default_rng(seed)
        for _ in range(3):
            outputs = [pair for pair in (x, places.choice(self.pairs)) if pair.tensor.requires_grad][: 1 + seed % 2]
            made_of = everything(*[pair.node for pair in outputs])
            inputs = [pair for pair in self.pairs if pair.tensor.requires_grad and (pair.node in made_of or pair is x)]
            if inputs and outputs:
                self.walk_from_to(outputs, list(places.choice(inputs, 2)), seed, retain)

    def walk_from_to(self, outputs, inputs, seed, retain):
        given, seeds = self.cotangents(outputs, seed)
        nodes, wanted = [x.node for x in outputs], {x.node for x in inputs}
        comes_to, must_refuse = self.way(nodes, wanted)
        found = []
        was_refused = refused(lambda: found.extend(grad(
            [x.tensor for x in outputs], [x.tensor for x in inputs], given, retain or must_refuse, allow_unused=True
        )))  # fmt: skip
        assert was_refused == must_refuse, f"grad was {'' if was_refused else 'not '}refused"
        if was_refused:
            self.forget_hooks(partly=comes_to)
            return
        for g, x in zip(found, inputs, strict=True):
            naive = gradient(nodes, seeds, x.node)
            assert (g is None) == (naive is None), "a gradient where there is no way, or none where there is one"
            if g is not None:
                close(g.data, naive.value, "gradient")
        self.after_walk(comes_to, nodes, seeds, consumed=not retain)

    @rule(x=tensors, place=SEEDS, seed=SEEDS)
    def second_derivative(self, x, place, seed):
        """By any tensor that x is made of, then by all leaves that the first derivative is made of."""
        inner = [pair for pair in self.pairs if pair.tensor.requires_grad and pair.node in everything(x.node)]
        if not inner or self.way([x.node], {(at := inner[place % len(inner)]).node})[1]:
            return
        given, seeds = self.cotangents([x], seed)
        (g,) = grad(x.tensor, at.tensor, given[0], create_graph=True)
        first = gradient([x.node], seeds, at.node)
        close(g.data, first.value, "recorded gradient")
        self.after_walk(self.way([x.node], {at.node})[0], [x.node], seeds, consumed=False)
        for pair in self.pairs:
            if pair.kept and pair.grad is not None:  # a recorded .grad is made of the tensor that holds it: a cycle
                pair.tensor.grad = pair.tensor.grad.detach()
        made_of = everything(first, x.node)
        if any(node.call and (node.call.consumed or node.call.stale or node.hooks) for node in made_of):
            return  # the slope of y = tanh x is 1 − y² in one engine, which calls a hook at y; not so in the other
        inputs = [pair for pair in self.pairs if pair.node.is_leaf and pair.node in everything(first)]
        seeds = [Node(array(g.shape, seed + 7))]
        found = [None] * len(inputs)
        if inputs and g.requires_grad:
            found = grad(g, [pair.tensor for pair in inputs], seeds[0].value, retain_graph=True, allow_unused=True)
        for second, pair in zip(found, inputs, strict=True):
            wanted = gradient([first], seeds, pair.node).value
            close(np.zeros(wanted.shape) if second is None else second.data, wanted, "second derivative")
        self.forget_hooks(partly=made_of)  # where a derivative is zero, one engine may have a way and the other none

    # --- what holds after every move ---

    @invariant()
    def gradients_agree(self):
        for pair in self.pairs:
            grad = pair.tensor.grad
            assert (grad is None) == (pair.grad is None), f".grad of {pair} is {grad}, must be {pair.grad}"
            if grad is not None:
                close(grad.data, pair.grad, ".grad")

    @invariant()
    def values_agree(self):
        for pair in self.pairs:
            close(pair.tensor.data, pair.now.value, "value")
        for tensor, value in self.given:
            close(tensor.data, value, "cotangent that was given")

    @invariant()
    def what_was_let_go_is_dead(self):
        for node, ours in self.watched:
            assert node() is not None or ours() is None, f"a {type(ours()).__name__} that nothing needs is alive"
        self.watched = [(node, ours) for node, ours in self.watched if node() is not None]

    @invariant()
    def blocks_have_ended(self):
        assert function._mode.recording, "no_grad goes on after its block"
