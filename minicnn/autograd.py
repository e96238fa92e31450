"""Reverse-mode differentiation: Function (function.py) records the graph, backward() and grad() walk it.

    forward    x ──Conv2d──> h ──ReLU──> y ──Sum──> loss          each op leaves a node that knows its inputs' nodes
    backward   gx <──Conv2d── gh <──ReLU── gy <──Sum── 1          nodes run latest first, so gradients are complete

A node is created after the nodes of its inputs, so running nodes in the reverse order of their creation is a
topological order. Backwards are themselves written with ops: under create_graph they are recorded, and can be
differentiated again.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import device as devices
from . import kernels
from .errors import AnomalyError, DTypeError, GraphError, ShapeError
from .function import Edge, Function, set_autocast, set_grad_enabled
from .recompute import Recompute
from .tensor import Tensor


def backward(
    tensor: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add d tensor / d leaf, contracted with `gradient`, to `.grad` of every leaf that requires a gradient.

    gradient: the cotangent, of the shape of tensor; may be left out if tensor has one element (then it is 1).
    retain_graph: keep the graph for another backward (default: create_graph). create_graph: record the backward pass
    itself, so that the gradients can be differentiated; `.grad` then holds the graph, which holds the leaf: set it to
    None when it is no longer needed, or use grad().
    Raises GraphError if there is no graph or it was consumed, ShapeError if gradient has another shape.
    """
    retain = create_graph if retain_graph is None else retain_graph
    reached = Walk([tensor], [gradient], None, retain, create_graph).leaves()
    with set_grad_enabled(create_graph):
        for leaf, total in reached:
            leaf.grad = total if leaf.grad is None else Accumulate.apply(leaf.grad, total)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Σ over outputs of d output / d input, contracted with grad_outputs: one gradient per input; leaves keep `.grad`.

    inputs may be leaves or results of ops. An input that the outputs do not depend on raises GraphError, or gives
    None with allow_unused. The other arguments and errors are those of backward().
    """
    outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]  # type: ignore[list-item]
    inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]  # type: ignore[list-item]
    cotangents = list(grad_outputs) if isinstance(grad_outputs, list | tuple) else [grad_outputs] * len(outputs)
    if len(cotangents) != len(outputs):
        raise ShapeError(f"grad got {len(outputs)} outputs and {len(cotangents)} grad_outputs: give one for each")
    for tensor in (*outputs, *inputs):
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"grad takes Tensors, got a {type(tensor).__name__}")
    for position, tensor in enumerate(inputs):
        if not tensor.requires_grad:
            raise GraphError(f"input {position} of grad, of shape {tensor.shape}, does not require a gradient")
    retain = create_graph if retain_graph is None else retain_graph
    walk = Walk(outputs, cotangents, inputs, retain, create_graph)
    found = walk.captured()
    for position, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise GraphError(
                f"the outputs do not depend on input {position} of grad (shape {inputs[position].shape}): "
                "pass allow_unused=True to get None for it"
            )
    return tuple(found)


def retain_grad(tensor: Tensor) -> Tensor:
    """Let backward() fill `.grad` of a tensor inside of the graph too."""
    if tensor.grad_fn is not None:
        reference = weakref.ref(tensor)  # the hook hangs on the node, which must not keep its output alive

        def keep(gradient: Tensor) -> None:
            alive = reference()
            if alive is not None:
                alive.grad = Copy.apply(gradient) if alive.grad is None else Accumulate.apply(alive.grad, gradient)

        tensor.register_hook(keep)
    return tensor


class Accumulate(Function):
    """a + b for two gradients of one tensor; what ops.add is for users."""

    name = "accumulate"

    def forward(self, a: Any, b: Any) -> Any:
        return kernels.add(a, b)

    def backward(self, gy: Tensor) -> Any:
        return gy, gy


class Copy(Function):
    """The same numbers in an array of their own, for a gradient that others hold too."""

    def forward(self, x: Any) -> Any:
        return kernels.copy(x)

    def backward(self, gy: Tensor) -> Any:
        return gy


class Walk:
    """One pass over the graph, latest node first; a gradient is passed on once all its parts have arrived."""

    def __init__(
        self,
        outputs: Sequence[Tensor],
        cotangents: Sequence[Any],
        inputs: Sequence[Tensor] | None,
        retain: bool,
        create_graph: bool,
    ):
        self.gradients: dict[Function, list[Tensor | None]] = {}  # node -> gradients of its outputs, as far as known
        self.leaf_gradients: dict[int, tuple[Tensor, Tensor, bool]] = {}  # id -> leaf, gradient, array shared?
        self.inputs = inputs
        self.found: dict[tuple[int, int], Tensor | None] = {}  # (id of node, output) -> gradient, of the inputs only
        self.useful: set[int] | None = None  # ids of what leads to the inputs; None: all does
        if inputs is not None:
            self.found = {(id(t.grad_fn), t.output_index): None for t in inputs if t.grad_fn is not None}
            self.useful = {id(t if t.grad_fn is None else t.grad_fn) for t in inputs}
            self.mark_useful(outputs)
        self.create_graph = create_graph
        queue: list[tuple[int, Function]] = []
        self.queue = queue
        seeds = [_cotangent(*both) for both in zip(outputs, cotangents, strict=True)]
        with set_grad_enabled(create_graph), set_autocast(None):  # gradients have the dtypes that forward had
            self.deliver_to(outputs, seeds)
            while queue:
                self.run(heapq.heappop(queue)[1], retain)

    def deliver_to(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Begin at outputs, if they lead anywhere."""
        for output, gradient in zip(outputs, gradients, strict=True):
            if gradient is not None and output.requires_grad:
                edge = Edge(output.grad_fn, output.output_index, output)
                if self._is_useful(edge):
                    self.deliver(edge, gradient, shared=True)

    def deliver(self, edge: Edge, gradient: Tensor, shared: bool) -> None:
        """Add a gradient to what has arrived for a leaf, or for one output of a node."""
        if edge.leaf is not None:
            if id(edge.leaf) in self.leaf_gradients:
                before = self.leaf_gradients[id(edge.leaf)][1]
                gradient, shared = Accumulate.apply(before, gradient), False
            self.leaf_gradients[id(edge.leaf)] = edge.leaf, gradient, shared
            return
        node = edge.node
        assert node is not None  # an edge leads to a leaf or to a node
        if node not in self.gradients:
            if node.consumed:
                raise GraphError(_consumed(node))
            self.gradients[node] = [None] * len(node.outputs)
            heapq.heappush(self.queue, (-node.order, node))
        arrived = self.gradients[node]
        earlier = arrived[edge.output_index]
        arrived[edge.output_index] = gradient if earlier is None else Accumulate.apply(earlier, gradient)

    def run(self, node: Function, retain: bool) -> None:
        """All gradients of this node's outputs are complete: run its backward and deliver what it returns."""
        arrived = self.gradients.pop(node)
        for index, gradient in enumerate(arrived):
            if gradient is not None and node.output_hooks:
                arrived[index] = _through_hooks(gradient, node.output_hooks.get(index))
            if self.found and (id(node), index) in self.found:
                self.found[id(node), index] = arrived[index]
        node.active = [edge is not None and (self.useful is None or self._is_useful(edge)) for edge in node.edges]
        if True in node.active:
            if isinstance(node, Recompute):
                self.go_inside(node, arrived)
            else:
                self.pass_on(
                    node, [_zeros(node, i) if gradient is None else gradient for i, gradient in enumerate(arrived)]
                )
        if not retain:
            node.release()

    def pass_on(self, node: Function, complete: list[Tensor]) -> None:
        """Run a node's backward, and deliver what it returns."""
        returned, active = _call_backward(node, complete), node.active
        for position, (edge, gradient) in enumerate(zip(node.edges, returned, strict=True)):
            if edge is not None and gradient is not None and active[position]:
                array = gradient.stored
                if array.shape != edge.shape or array.dtype != edge.dtype:
                    raise GraphError(
                        f"backward of {node.name} returned a gradient of shape {gradient.shape}, {gradient.dtype} "
                        f"for input {position} of shape {edge.shape}, {edge.dtype}: they must be equal"
                    )
                shared = edge.leaf is not None and _is_shared(gradient, position, returned, complete, node)
                self.deliver(edge, gradient, shared)

    def go_inside(self, node: Recompute, gradients: list[Tensor | None]) -> None:
        """Run the checkpoint's function again. Its nodes are the newest of all, so the walk goes through them next."""
        outputs = node.again()
        self.mark_useful(outputs, since=node.order)
        self.deliver_to(outputs, gradients)

    def leaves(self) -> list[tuple[Tensor, Tensor]]:
        """The leaves that were reached, each with a gradient whose array is its own."""
        done = []
        for leaf, gradient, shared in self.leaf_gradients.values():
            total = _through_hooks(gradient, leaf.hooks) if leaf.hooks else gradient
            done.append((leaf, self._own(total) if shared or leaf.hooks else total))
        return done

    def captured(self) -> list[Tensor | None]:
        """The gradients of the inputs that were asked for; None for those that were not reached."""
        leaves = {id(leaf): total for leaf, total in self.leaves()}
        gradients = []
        for tensor in self.inputs or ():
            if tensor.grad_fn is None:
                gradients.append(leaves.get(id(tensor)))
            else:
                inner = self.found[id(tensor.grad_fn), tensor.output_index]
                gradients.append(None if inner is None else self._own(inner))
        return gradients

    def _own(self, gradient: Tensor) -> Tensor:
        """An add hands one gradient to both its inputs: each gets an array of its own, which it may change in place."""
        with set_grad_enabled(self.create_graph):
            return Copy.apply(gradient)

    def _is_useful(self, edge: Edge) -> bool:
        return self.useful is None or id(edge.leaf if edge.node is None else edge.node) in self.useful

    def mark_useful(self, outputs: Sequence[Tensor], since: int = -1) -> None:
        """Add to `useful` the nodes, made after number `since`, from which the inputs can be reached."""
        if self.useful is None:
            return
        reached: dict[int, Function] = {}
        waiting = [output.grad_fn for output in outputs]
        while waiting:
            node = waiting.pop()
            if node is not None and node.order > since and id(node) not in reached:
                reached[id(node)] = node
                waiting.extend(edge.node for edge in node.edges if edge is not None)
        for node in sorted(reached.values(), key=lambda node: node.order):  # inputs come before what is made of them
            if any(edge is not None and self._is_useful(edge) for edge in node.edges):
                self.useful.add(id(node))


def _call_backward(node: Function, gradients: list[Tensor]) -> tuple[Tensor | None, ...]:
    try:
        returned = node.backward(*gradients)
    except AnomalyError as error:
        raise AnomalyError(f"backward of {node.name}, called at {node.call_line}, made the first NaN") from error
    returned = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
    for gradient in returned:
        if gradient is not None and not isinstance(gradient, Tensor):
            raise GraphError(f"backward of {node.name} must return Tensors or None, not a {type(gradient).__name__}")
    if len(returned) != len(node.edges):
        raise GraphError(
            f"backward of {node.name} returned {len(returned)} gradients for {len(node.edges)} inputs: "
            "return one for each, None where there is none"
        )
    return returned


def _cotangent(tensor: Tensor, gradient: Any) -> Tensor:
    """What the walk begins with at `tensor`: 1 for a single number, else the gradient that was given."""
    if not tensor.requires_grad:
        raise GraphError(
            f"a tensor of shape {tensor.shape} that does not require a gradient has no graph to go back through: "
            "set requires_grad=True on what you differentiate by, and do not compute it under no_grad()"
        )
    if gradient is None:
        if tensor.size != 1:
            raise ShapeError(
                f"backward of a tensor of shape {tensor.shape} needs `gradient`, a tensor of the same shape; "
                "only of a single number it is 1 by itself: reduce it with .sum() or .mean() first"
            )
        with devices.computing(tensor.device):
            return Tensor._made(kernels.full(tensor.shape, 1, tensor.dtype), tensor.device)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, tensor.dtype), device=tensor.device)
    if gradient.shape != tensor.shape or gradient.dtype != tensor.dtype:
        raise ShapeError(
            f"the gradient given to backward has shape {gradient.shape}, {gradient.dtype}; it must be that of the "
            f"tensor, {tensor.shape}, {tensor.dtype}"
        )
    return gradient


def _zeros(node: Function, index: int) -> Tensor:
    """The gradient of an output that nothing used."""
    shape, dtype = node.outputs[index]
    with devices.computing(node.device):
        return Tensor._made(kernels.full(shape, 0, dtype), node.device)


def _is_shared(
    gradient: Tensor,
    position: int,
    returned: Sequence[Tensor | None],
    arrived: Sequence[Tensor],
    node: Function,
) -> bool:
    """Whether anything else may hold this gradient's array: another gradient, what forward saved, a view's owner."""
    array = gradient.stored
    if hasattr(array.base, "dtype"):  # else that is memory of its own, whoever keeps it
        return True
    for other in arrived:
        if other.stored is array:
            return True
    for index, returned_one in enumerate(returned):
        if index != position and returned_one is not None and returned_one.stored is array:
            return True
    return any(entry.array is array for entry in node._saved)


def _through_hooks(gradient: Tensor, hooks: Sequence[Callable] | None) -> Tensor:
    for hook in tuple(hooks or ()):
        replaced = hook(gradient)
        if replaced is not None:
            if not isinstance(replaced, Tensor):
                raise GraphError(f"a hook must return a Tensor or None, not a {type(replaced).__name__}")
            if replaced.shape != gradient.shape or replaced.dtype != gradient.dtype:
                raise ShapeError(
                    f"a hook turned a gradient of shape {gradient.shape}, {gradient.dtype} into one of "
                    f"{replaced.shape}, {replaced.dtype}: they must be equal"
                )
            gradient = replaced
    return gradient


def _consumed(node: Function) -> str:
    return (
        f"this graph was already used by a backward(), which freed it at {node.name}: "
        "pass retain_graph=True to the first one, or compute the loss again"
    )
