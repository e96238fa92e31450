"""A second engine, to judge the first by: the chain rule, read off its definition and asked from the input's side.

It knows no op's gradient: a linear map tells its adjoint when it is fed unit arrays, only functions of one number say
what their derivative is. No order of nodes, no queue, no sum that grows: the gradient at x is what all uses of x pass
back, each found in the same way. Gradients are nodes, so they have gradients. Exponential, and too plain to be wrong.
"""

import numpy as np


class Node:
    """A value, the nodes it was made of with the way back to each, and hooks on its gradient: Node -> Node or None."""

    def __init__(self, value, edges=()):
        self.value, self.edges, self.hooks = np.array(value, np.float64), list(edges), []


def adjoint(f, shape, g):
    """For linear f: the array of this shape whose product with any e is that of f(e) with g."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.array([np.sum(f(e) * g) for e in units]).reshape(shape)


def linear(f, *inputs):
    """f(inputs), linear in all of them together."""

    def way_back(position, x):
        alone = lambda e: f(*[e if i == position else 0 * other.value for i, other in enumerate(inputs)])  # noqa: E731
        return lambda g: linear(lambda g: adjoint(alone, x.value.shape, g), g)

    return Node(f(*[x.value for x in inputs]), [(x, way_back(i, x)) for i, x in enumerate(inputs)])


def bilinear(f, a, b):
    """f(a, b), linear in each; so its gradients are bilinear, too."""
    to_a = lambda g, b: adjoint(lambda e: f(e, b), a.value.shape, g)  # noqa: E731
    to_b = lambda g, a: adjoint(lambda e: f(a, e), b.value.shape, g)  # noqa: E731
    return Node(f(a.value, b.value), [(a, lambda g: bilinear(to_a, g, b)), (b, lambda g: bilinear(to_b, g, a))])


def pointwise(f, *derivatives):
    """The function that applies f to each element; after it come its derivative, the derivative of that, and so on."""
    return lambda x: Node(f(x.value), [(x, lambda g: bilinear(np.multiply, g, pointwise(*derivatives)(x)))])


def everything(*nodes):
    """These nodes and all they are made of."""
    return set(nodes).union(*(everything(x) for node in nodes for x, _ in node.edges))


def gradient(outputs, seeds, at):
    """d Σ outputs·seeds / d at: what all uses of `at` pass back, through its hooks; None if it is not used."""
    uses = [(user, back) for user in everything(*outputs) for x, back in user.edges if x is at]
    parts = [seed for output, seed in zip(outputs, seeds, strict=True) if output is at]
    parts += [back(gradient(outputs, seeds, user)) for user, back in uses]
    total = linear(lambda *parts: sum(parts), *parts) if parts else None
    for hook in at.hooks if parts else ():
        total = hook(total) or total
    return total
