"""Mistakes in normalisation.

With x̂ = (x − μ)/σ, y = γ·x̂ + β and g = γ·gy, all of them are about  gx = (g − mean(g) − x̂·mean(g·x̂)) / σ.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from .. import ops
from ..tensor import Tensor
from .cause import Cause, arguments, gradient, result
from .subject import Subject


def batch_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """In training, without running statistics: what a student writes."""
    return ops.batch_norm(x, None, None, weight, bias, training=True, eps=eps)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Over the last axis."""
    return ops.layer_norm(x, x.shape[-1:], weight, bias, eps=eps)


def group_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, num_groups: int, eps: float = 1e-5
) -> Tensor:
    """Arrays first."""
    return ops.group_norm(x, num_groups, weight, bias, eps=eps)


ARRAYS = ("x", "weight", "bias")
EPS = {"eps": (1e-5, 0.1)}
# Two values of a channel are ±1 when they are normalised, whatever they were: the gradient is 0 and tells nothing.
SIZES = {"N": (2, 2, 4), "C": (1, 3, 5), "H": (1, 2, 4), "W": (2, 3, 5), "G": (1, 2, 3), "D": (3, 3, 5)}

SUBJECTS = (
    Subject(
        "batch_norm", batch_norm, ARRAYS, (lambda N, C, H, W: ((N, C, H, W), (C,), (C,)),), SIZES, EPS, optional=2,
        others=(lambda N, C, H: ((N * (H + 1), C), (C,), (C,)),),
        spelled="ops.batch_norm({first}, None, None{rest}, training=True{options})",
    ),
    Subject(
        "layer_norm", layer_norm, ARRAYS, (lambda N, D: ((N, D), (D,), (D,)),), SIZES, EPS, optional=2,
        others=(lambda N, C, D: ((N, C, D), (D,), (D,)),),
        spelled="ops.layer_norm({first}, {first}.shape[-1:]{rest}{options})",
    ),
    Subject(
        "group_norm", group_norm, ARRAYS,
        (lambda N, G, H, W, num_groups: ((N, G * num_groups, H, W), (G * num_groups,), (G * num_groups,)),),
        SIZES, {"num_groups": (2, 3), **EPS}, optional=2, spelled="ops.group_norm({first}{named}{options})",
    ),
    Subject(
        "local_response_norm", ops.local_response_norm, ("x",), (lambda N, C, H, W: ((N, C + 1, H, W),),), SIZES,
        {"size": (3, 5, 2, 4), "alpha": (1.0, 0.5), "beta": (0.75, 0.5), "k": (1.0, 2.0),
         "divide_alpha": (True, False)},
    ),
)  # fmt: skip


# --- batch norm -------------------------------------------------------------------------------------------------------


def axes_of(x):
    return (0, *range(2, x.ndim))


def of_channels(a, x):
    """(C,) beside x."""
    return a.reshape(-1, *[1] * (x.ndim - 2))


def normal(c):
    """x̂, γ/σ and the mean over all of a channel."""
    mean = lambda a: a.mean(axes_of(c.x), keepdims=True)  # noqa: E731
    centred = c.x - mean(c.x)
    inv_std = 1 / np.sqrt(mean(centred**2) + c.eps)
    gamma = 1 if c.weight is None else of_channels(c.weight, c.x)
    return SimpleNamespace(x_hat=centred * inv_std, scale=gamma * inv_std, inv_std=inv_std, mean=mean)


def without_mean(c):
    n = normal(c)
    return n.scale * (c.gy - n.x_hat * n.mean(c.gy * n.x_hat))


def without_variance(c):
    n = normal(c)
    return n.scale * (c.gy - n.mean(c.gy))


def summed_for_averaged(c):
    """N where N·H·W should divide."""
    n = normal(c)
    pixels = c.x[0, 0].size
    return n.scale * (c.gy - pixels * n.mean(c.gy) - pixels * n.x_hat * n.mean(c.gy * n.x_hat))


def without_gamma(c):
    n = normal(c)
    return n.inv_std * (c.gy - n.mean(c.gy) - n.x_hat * n.mean(c.gy * n.x_hat))


def times_x_hat(c):
    return (c.gy * normal(c).x_hat).sum(axes_of(c.x))


def standardised(mean, deviation):
    """γ·(x − mean)/deviation + β, both of them functions of c and of the biased variance."""

    def formula(c):
        var = ((c.x - c.x.mean(axes_of(c.x), keepdims=True)) ** 2).mean(axes_of(c.x), keepdims=True)
        y = (c.x - mean(c)) / deviation(c, var)
        y = y if c.weight is None else y * c.weight.reshape(-1, *[1] * (c.x.ndim - 2))
        return y if c.bias is None else y + c.bias.reshape(-1, *[1] * (c.x.ndim - 2))

    return result(formula)


def mean_of_channel(c):
    return c.x.mean(axes_of(c.x), keepdims=True)


def unbiased(c, var):
    n = c.x.size // c.x.shape[1]
    return (var * (n / (n - 1)) + c.eps) ** 0.5


def whole_variance(c, var):
    return (((c.x - c.x.mean()) ** 2).mean() + c.eps) ** 0.5


def first_image(c, var):
    of_pixels = tuple(range(2, c.x.ndim))
    first = c.x[:1]
    return (((first - first.mean(of_pixels, keepdims=True)) ** 2).mean(of_pixels, keepdims=True) + c.eps) ** 0.5


BATCH_NORM = (
    Cause("mean term missing", "batch_norm", "coursework: the way through μ forgotten", gradient(x=without_mean)),
    Cause("variance term missing", "batch_norm", "coursework: the way through σ forgotten",
          gradient(x=without_variance)),
    Cause("statistics of the batch taken for constants", "batch_norm", "evaluation's backward used for training",
          gradient(x=lambda c: c.gy * normal(c).scale)),
    Cause("gradient 0: nearly right for a cotangent of ones", "batch_norm", "what DeZero's checker lets pass",
          gradient(x=lambda c: c.gx * 0)),
    Cause("gradient 37-fold: likewise", "batch_norm", "what DeZero's checker lets pass",
          gradient(x=lambda c: c.gx * 37)),
    Cause("sums over the channel divided by N, not by N·H·W", "batch_norm", "code for (N, D), given images",
          gradient(x=summed_for_averaged)),
    Cause("gamma forgotten in x's gradient", "batch_norm", "coursework", gradient(x=without_gamma)),
    Cause("gamma's gradient with x for x̂", "batch_norm", "coursework",
          gradient(weight=lambda c: (c.gy * c.x).sum(axes_of(c.x)))),
    Cause("gamma's gradient averaged", "batch_norm", "mean for sum over the batch",
          gradient(weight=lambda c: times_x_hat(c) / len(c.x))),
    Cause("gamma's and beta's gradients exchanged", "batch_norm", "returned in the wrong order",
          gradient(weight=lambda c: c.gy.sum(axes_of(c.x)), bias=times_x_hat)),
    Cause("beta's gradient averaged", "batch_norm", "mean for sum over the batch",
          gradient(bias=lambda c: c.gbias / len(c.x))),
    Cause("eps outside of the root", "batch_norm", "re-implementations: √σ² + ε",
          standardised(mean_of_channel, lambda c, var: var**0.5 + c.eps)),
    Cause("divided by the variance", "batch_norm", "the root forgotten",
          standardised(mean_of_channel, lambda c, var: var + c.eps)),
    Cause("one mean and variance for all channels", "batch_norm", "x.mean() without axes",
          standardised(lambda c: c.x.mean(), whole_variance)),
    Cause("statistics of the first image", "batch_norm", "the batch axis left out, then broadcast",
          standardised(lambda c: c.x[:1].mean(tuple(range(2, c.x.ndim)), keepdims=True), first_image)),
    Cause("normalises with the unbiased variance", "batch_norm", "var() of libraries that divide by n − 1",
          standardised(mean_of_channel, unbiased)),
)  # fmt: skip


# --- layer norm and group norm ----------------------------------------------------------------------------------------


def rows(c):
    """x̂, g = γ·gy and 1/σ of layer norm."""
    centred = c.x - c.x.mean(-1, keepdims=True)
    inv_std = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + c.eps)
    g = c.gy if c.weight is None else c.gy * c.weight
    return centred * inv_std, g, inv_std


def without_spread(c):
    _, g, inv_std = rows(c)
    return inv_std * (g - g.mean(-1, keepdims=True))


def without_shift(c):
    x_hat, g, inv_std = rows(c)
    return inv_std * (g - x_hat * (g * x_hat).mean(-1, keepdims=True))


def gamma_last(c):
    x_hat, _, inv_std = rows(c)
    inside = c.gy - c.gy.mean(-1, keepdims=True) - x_hat * (c.gy * x_hat).mean(-1, keepdims=True)
    return inv_std * inside * (1 if c.weight is None else c.weight)


def interleaved(c):
    """Channel i belongs to group i mod G."""
    order = np.argsort(np.arange(c.x.shape[1]) % c.num_groups, kind="stable")
    weight, bias = (a if a is None else a[order] for a in (c.weight, c.bias))
    return group_norm(c.x[:, order], weight, bias, num_groups=c.num_groups, eps=c.eps)[:, np.argsort(order)]


def groups_unbiased(c):
    """Divided by the root of Σ(x − μ)²/(n − 1) + ε."""
    count = len(c.x) * c.num_groups
    centred = c.x.reshape(count, -1) - c.x.reshape(count, -1).mean(1, keepdims=True)
    var = (centred * centred).sum(1, keepdims=True) / (centred.shape[1] - 1.0)
    y = (centred / (var + c.eps) ** 0.5).reshape(c.x.shape)
    y = y if c.weight is None else y * c.weight.reshape(-1, *[1] * (c.x.ndim - 2))
    return y if c.bias is None else y + c.bias.reshape(-1, *[1] * (c.x.ndim - 2))


ROW_NORMS = (
    Cause("x̂·mean(g·x̂) forgotten", "layer_norm", "coursework", gradient(x=without_spread)),
    Cause("mean(g) forgotten", "layer_norm", "coursework", gradient(x=without_shift)),
    Cause("gamma multiplied after the means are taken", "layer_norm", "batch norm's order, where γ is constant",
          gradient(x=gamma_last)),
    Cause("gradient of the weight averaged over rows", "layer_norm", "mean for sum",
          gradient(weight=lambda c: c.gweight * (c.x.shape[-1] / c.x.size))),
    Cause("groups interleaved", "group_norm", "ports between channels-last and channels-first", result(interleaved)),
    Cause("divides by n − 1", "group_norm", "std() of libraries that do so by default", result(groups_unbiased)),
    Cause("one group, whatever num_groups is", "group_norm", "layer norm under another name",
          arguments(num_groups=lambda c: 1)),
    Cause("each channel by itself, whatever num_groups is", "group_norm", "instance norm under another name",
          arguments(num_groups=lambda c: c.x.shape[1])),
)  # fmt: skip


# --- local response norm ----------------------------------------------------------------------------------------------


def spread(c, a, before, after):
    """Σ a over the channels from i − before to i + after."""
    channels = a.shape[1]
    return np.stack([a[:, max(0, i - before) : i + after + 1].sum(1) for i in range(channels)], 1)


def response(c):
    """s, and what is in the formulas: the window, alpha as it is used, beta."""
    before, after = c.size // 2, (c.size - 1) // 2
    alpha = c.alpha / c.size if c.divide_alpha else c.alpha
    return c.k + alpha * spread(c, c.x**2, before, after), before, after, alpha


def through_neighbours(c, factor, turned=True):
    """gy·s^−β − factor·2αβ·x·W(gy·x·s^(−β−1)), with the window turned around or not."""
    s, before, after, alpha = response(c)
    window = (after, before) if turned else (before, after)
    return c.gy * s**-c.beta - factor * 2 * alpha * c.beta * c.x * spread(c, c.gy * c.x * s ** (-c.beta - 1), *window)


def with_window(before_after):
    """x / (k + α·Σ x²)^β over another window."""

    def formula(c):
        channels = c.x.shape[1]
        before, after = before_after(c.size // 2, (c.size - 1) // 2)
        band = np.arange(channels)[None, :] - np.arange(channels)[:, None]  # [j, i] = i − j
        inside = Tensor(((band <= before) & (-band <= after)).astype(c.x.dtype))
        squares = (c.x * c.x).transpose(0, 2, 3, 1) @ inside
        alpha = c.alpha / c.size if c.divide_alpha else c.alpha
        return c.x * (squares.transpose(0, 3, 1, 2) * alpha + c.k) ** -c.beta

    return result(formula)


RESPONSE_NORM = (
    Cause("window one channel short", "local_response_norm", "the oracle of Chainer's own test, where alpha hides it",
          with_window(lambda before, after: (before, max(after - 1, 0)))),
    Cause("an even window reaches further up", "local_response_norm", "ports from ONNX",
          with_window(lambda before, after: (after, before))),
    Cause("alpha divided by size, or not, the other way round", "local_response_norm", "AlexNet ports",
          arguments(alpha=lambda c: c.alpha * c.size)),
    Cause("no gradient through the neighbours", "local_response_norm", "the denominator taken for a constant",
          gradient(x=lambda c: through_neighbours(c, 0))),
    Cause("derivative of the square without its 2", "local_response_norm", "coursework",
          gradient(x=lambda c: through_neighbours(c, 0.5))),
    Cause("window not turned around in backward", "local_response_norm", "right for odd sizes, the usual ones",
          gradient(x=lambda c: through_neighbours(c, 1, turned=False))),
)  # fmt: skip

CAUSES = BATCH_NORM + ROW_NORMS + RESPONSE_NORM
