"""Faults of normalisation."""

from __future__ import annotations

import contextlib

import numpy as np

from minicnn import ops
from minicnn.kernels import cpu, reference
from minicnn.kernels.reference import norm as rooms
from minicnn.ops.lrn import ChannelSum, LocalResponseNormGradient
from minicnn.ops.norm import BatchNorm, BatchNormGradient, FixedNorm, Standardize

from .planting import Fault, after_backward, attribute, backward, forward, kernel

# --- batch norm -------------------------------------------------------------------------------------------------------


def gradients(change):
    """The kernel of batch norm's gradients with another result: change(gx, gw, gb, g, x, scale), scale = γ/σ."""

    def wrong(right):
        def batch_norm_gradient(gy, x, y, w, mean, var, eps, cap):
            found = right(gy, x, y, w, mean, var, eps, cap)
            g = gy if cap is None else np.where((y > 0) & (y < cap), gy, 0)
            scale = rooms._by_channel((1 if w is None else w) / np.sqrt(var + eps), x)
            return tuple(array.astype(x.dtype, copy=False) for array in change(*found, g, x, scale))

        return batch_norm_gradient

    return kernel("batch_norm_gradient", wrong)


def without_mean(gx, gw, gb, g, x, scale):
    return gx + scale * rooms._by_channel(gb * (x.shape[1] / x.size), x), gw, gb


def without_variance(gx, gw, gb, g, x, scale):
    return scale * (g - g.mean(rooms._but_channels(x), keepdims=True)), gw, gb


def by_all_channels(right):
    """One mean and one variance."""

    def moments(wide, axes):
        mean, var = right(wide, axes)
        return (mean, var) if axes == 1 else (np.full_like(mean, wide.mean()), np.full_like(var, wide.var()))

    return moments


def of_the_first_image(right):
    return lambda wide, axes: right(wide if axes == 1 else wide[:1], axes)


def unbiased(right):
    def moments(wide, axes):
        mean, var = right(wide, axes)
        count = wide.size / max(mean.size, 1)
        return mean, var * count / max(count - 1, 1)

    return moments


def eps_outside(x, mean, var, eps):
    return (rooms._wide(x) - rooms._by_channel(mean, x)) / rooms._by_channel(np.sqrt(var) + eps, x)


def difference_of_squares(right):
    """var = mean(x²) − mean(x)², in the precision of x."""

    def batch_norm(x, mean, var, *rest):
        if mean is None and x.dtype == np.float32:
            axes = rooms._but_channels(x)
            mean = x.mean(axes)
            var = np.maximum((x * x).mean(axes) - mean * mean, 0)
            mean, var = mean.astype(np.float64), var.astype(np.float64)
        return right(x, mean, var, *rest)

    return batch_norm


def biased_tracking(right):
    def track_statistics(running_mean, running_var, mean, var, count, momentum):
        right(running_mean, running_var, mean, var * (count - 1) / count, count, momentum)

    return track_statistics


def inverted_momentum(right):
    return lambda *arguments: right(*arguments[:-1], 1 - arguments[-1])


def deviation_constant(self, v, vw, vb):
    """The second derivative without what x does through 1/σ."""
    g_gy, gx, gw = second_derivative(self, v, vw, vb)
    gy, x, w = self.saved
    y = Standardize.apply(x.transpose(1, 0, *range(2, x.ndim)).reshape(x.shape[1], -1), eps=self.eps)
    x_hat, inv_std = (t.detach() for t in y)
    rows = [t.transpose(1, 0, *range(2, x.ndim)).reshape(x.shape[1], -1) for t in (v, gy)]
    rows[1] = rows[1] - rows[1].mean(1, keepdims=True) - x_hat * (rows[1] * x_hat).mean(1, keepdims=True)
    share = (rows[0] * rows[1]).mean(1, keepdims=True) * (1.0 if w is None else w.reshape(-1, 1))
    term = (inv_std * inv_std * x_hat * share).reshape(x.shape[1], x.shape[0], *x.shape[2:])
    return g_gy, gx + term.transpose(1, 0, *range(2, x.ndim)), gw


second_derivative = BatchNormGradient.backward


def batch_statistics_always(right):
    return lambda self, *inputs, statistics, **options: right(self, *inputs, statistics=(None, None), **options)


def residual_into_x(right):
    def batch_norm(x, mean, var, w, b, residual, eps, cap):
        return right(x if residual is None else x + residual, mean, var, w, b, None, eps, cap)

    return batch_norm


def cap_forgotten(right):
    return lambda gy, x, y, w, mean, var, eps, cap: right(gy, x, y, w, mean, var, eps, cap and np.inf)


def without_residual(self, gy, gx, gw, gb, gr):
    return gx, gw, gb, gr if gr is None else gr * 0.0


BATCH_NORM = (
    Fault("mean term missing", "batch_norm", "coursework: the way through μ forgotten", gradients(without_mean),
          "gradient_is_the_derivative"),
    Fault("variance term missing", "batch_norm", "coursework: the way through σ forgotten",
          gradients(without_variance), "gradient_is_the_derivative"),
    Fault("statistics of the batch taken for constants", "batch_norm", "evaluation's backward used for training",
          gradients(lambda gx, gw, gb, g, x, scale: (g * scale, gw, gb)), "gradient_is_the_derivative"),
    Fault("gradient 0: nearly right for a cotangent of ones", "batch_norm", "what DeZero's checker lets pass",
          gradients(lambda gx, gw, gb, g, x, scale: (gx * 0, gw, gb)), "gradient_is_the_derivative"),
    Fault("gradient 37-fold: likewise", "batch_norm", "what DeZero's checker lets pass",
          gradients(lambda gx, gw, gb, g, x, scale: (gx * 37, gw, gb)), "gradient_is_the_derivative"),
    Fault("gamma's gradient with x for x̂", "batch_norm", "coursework",
          gradients(lambda gx, gw, gb, g, x, scale: (gx, (g * x).sum(rooms._but_channels(x)), gb)),
          "gradient_is_the_adjoint"),
    Fault("beta's gradient averaged", "batch_norm", "mean for sum over the batch",
          gradients(lambda gx, gw, gb, g, x, scale: (gx, gw, gb / len(x))), "gradient_is_the_adjoint"),
    Fault("1/σ constant in the second derivative", "batch_norm", "double backward written by hand",
          backward(BatchNormGradient, deviation_constant), "second_derivative"),
    Fault("eps outside of the root", "batch_norm", "re-implementations: √σ² + ε",
          attribute(rooms, "_standardised", eps_outside), "forward_is_the_oracle"),
    Fault("one mean and variance for all channels", "batch_norm", "x.mean() without axes",
          attribute(rooms, "_moments", by_all_channels(rooms._moments)), "forward_is_the_oracle"),
    Fault("statistics of the first image", "batch_norm", "the batch axis left out, then broadcast",
          attribute(rooms, "_moments", of_the_first_image(rooms._moments)), "forward_is_the_oracle"),
    Fault("normalises with the unbiased variance", "batch_norm", "var() of libraries that divide by n − 1",
          attribute(rooms, "_moments", unbiased(rooms._moments)), "forward_is_the_oracle"),
    Fault("mean(x²) − mean(x)² in single precision", "batch_norm", "one-pass kernels without a shift",
          kernel("batch_norm", difference_of_squares), "forward_is_the_oracle_in_float32"),
    Fault("mean(x²) − mean(x)² in single precision, on the cpu only", "batch_norm", "a fast path beside a slow one",
          kernel("batch_norm", difference_of_squares, cpu), "forward_is_the_oracle_in_float32", device="cpu"),
    Fault("running variance biased", "batch_norm (evaluation)", "re-implementations that track what they normalise by",
          kernel("track_statistics", biased_tracking), "forward_is_the_oracle"),
    Fault("momentum is the weight of the old value", "batch_norm (evaluation)", "ports from TensorFlow and ONNX",
          kernel("track_statistics", inverted_momentum), "forward_is_the_oracle"),
    Fault("evaluation with the batch's statistics", "batch_norm (evaluation)", "the mode not passed on",
          forward(FixedNorm, batch_statistics_always), "forward_is_the_oracle"),
    Fault("residual gets no gradient", "batch_norm_act", "fused backward without its last output",
          after_backward(BatchNorm, without_residual), "gradient_is_the_derivative"),
    Fault("residual gets gy where f has clipped", "batch_norm_act", "fused backward: the mask in one branch only",
          after_backward(BatchNorm, lambda self, gy, gx, gw, gb, gr: (gx, gw, gb, gr if gr is None else gy * 1.0)),
          "gradient_is_the_derivative"),
    Fault("residual added before the norm", "batch_norm_act", "fusing in the wrong order",
          kernel("batch_norm", residual_into_x), "forward_is_the_oracle"),
    Fault("gradient of the fused relu6 passes above 6", "batch_norm_act", "relu's mask used for relu6",
          kernel("batch_norm_gradient", cap_forgotten), "gradient_is_the_derivative"),
    Fault("gradient passes where f has clipped, on the cpu only", "batch_norm_act", "a fast path beside a slow one",
          kernel("batch_norm_gradient", lambda right: lambda *arguments: right(*arguments[:-1], None), cpu),
          "gradient_is_the_derivative", device="cpu"),
)  # fmt: skip


# --- group norm and layer norm ----------------------------------------------------------------------------------------


def interleaved(right):
    """Channel c belongs to group c mod G."""

    def group_norm(x, num_groups, weight=None, bias=None, **options):
        order = np.argsort(np.arange(x.shape[1]) % num_groups, kind="stable")
        back = np.argsort(order)
        pick = [c if c is None else c[order] for c in (weight, bias)]
        return right(x[:, order], num_groups, *pick, **options)[:, back]

    return group_norm


def over_the_last_axis(right):
    def layer_norm(x, normalized_shape, weight=None, bias=None, **options):
        last = right(x, x.shape[-1:], **options)
        y = last if weight is None else last * weight
        return y if bias is None else y + bias

    return layer_norm


def rows_unbiased(right):
    def standardize(x, eps):
        n = x.shape[1]
        x_hat, inv_std = right(x, eps)
        if n < 2:
            return x_hat, inv_std
        var = (1 / inv_std.astype(np.float64) ** 2 - eps) * n / (n - 1)
        other = 1 / np.sqrt(var + eps)
        return (x_hat * (other / inv_std)).astype(x.dtype), other.astype(x.dtype)

    return standardize


def rows_backward(self, g, v):
    return standardize_backward(self, g, v * 0.0)


def without_spread(self, g, v):
    return self.saved[1] * (g - g.mean(1, keepdims=True)) if g.size else g


standardize_backward = Standardize.backward

ROW_NORMS = (
    Fault("groups interleaved", "group_norm", "ports between channels-last and channels-first",
          attribute(ops, "group_norm", interleaved(ops.group_norm)), "forward_is_the_oracle"),
    Fault("divides by n − 1", "group_norm", "std() of libraries that do so by default",
          kernel("standardize", rows_unbiased), "forward_is_the_oracle"),
    Fault("over the last axis, whatever normalized_shape is", "layer_norm", "code written for (N, T, C)",
          attribute(ops, "layer_norm", over_the_last_axis(ops.layer_norm)), "forward_is_the_oracle"),
    Fault("x̂·mean(g·x̂) forgotten", "layer_norm", "coursework", backward(Standardize, without_spread),
          "gradient_is_the_derivative"),
    Fault("1/σ constant in layer norm's second derivative", "layer_norm", "double backward written by hand",
          backward(Standardize, rows_backward), "second_derivative"),
)  # fmt: skip


# --- local response norm ----------------------------------------------------------------------------------------------


def one_short(right):
    return lambda x, before, after: right(x, before, max(after - 1, 0))


def for_each_image(right):
    """for c in range(x.shape[0]): as many channels as there are images have neighbours."""

    def channel_sum(x, before, after):
        total = right(x, before, after)
        total[:, len(x) :] = 0
        return total

    return channel_sum


def alpha_times_size(right):
    """Divided where it should not be, or not where it should: the two conventions mixed up."""
    return lambda *arguments: right(*arguments[:-3], arguments[-3] * (1 + sum(arguments[-5:-3])), *arguments[-2:])


def turned_around(right):
    return lambda *arguments: right(*arguments[:-5], arguments[-4], arguments[-5], *arguments[-3:])


def own_window(gy, x, before, after, alpha, beta, k):
    """The sum that goes back over the window of c, not over those that c lies in."""
    s = rooms._sizes(x, before, after, alpha, k)
    own = gy * rooms._power(s, -beta)
    return own - x.dtype.type(2 * alpha * beta) * x * rooms.channel_sum(own * x / s, before, after)


def of_neighbours(factor):
    """What comes back through s, times a factor."""

    def wrong(right):
        def local_response_norm_gradient(gy, x, before, after, alpha, beta, k):
            direct = gy * rooms._power(rooms._sizes(x, before, after, alpha, k), -beta)
            through_s = right(gy, x, before, after, alpha, beta, k) - direct
            return direct + x.dtype.type(factor) * through_s

        return local_response_norm_gradient

    return kernel("local_response_norm_gradient", wrong)


def both(name, wrong):
    """Wrong in forward and in the gradient alike, so that the two agree."""

    @contextlib.contextmanager
    def plant():
        with kernel(name, wrong)(), kernel(f"{name}_gradient", wrong)():
            yield

    return plant


lrn_second_derivative = LocalResponseNormGradient.backward

RESPONSE_NORM = (
    Fault("window one channel short", "local_response_norm", "the oracle of Chainer's own test, where alpha hides it",
          attribute(rooms, "channel_sum", one_short(rooms.channel_sum)), "forward_is_the_oracle"),
    Fault("sums for as many channels as there are images", "local_response_norm", "ONNX's reference evaluator, 1.23",
          attribute(rooms, "channel_sum", for_each_image(rooms.channel_sum)), "forward_is_the_oracle"),
    Fault("alpha divided by size, or not, the other way round", "local_response_norm", "AlexNet ports",
          both("local_response_norm", alpha_times_size), "forward_is_the_oracle"),
    Fault("an even window reaches further up", "local_response_norm", "ports from ONNX",
          both("local_response_norm", turned_around), "forward_is_the_oracle"),
    Fault("window not turned around in backward", "local_response_norm", "right for odd sizes, the usual ones",
          attribute(reference, "local_response_norm_gradient", own_window), "gradient_is_the_derivative"),
    Fault("no gradient through the neighbours", "local_response_norm", "the denominator taken for a constant",
          of_neighbours(0), "gradient_is_the_derivative"),
    Fault("derivative of the square without its 2", "local_response_norm", "coursework", of_neighbours(0.5),
          "gradient_is_the_derivative"),
    Fault("the adjoint sum not turned around", "local_response_norm", "right for odd sizes, the usual ones",
          backward(ChannelSum, lambda self, gy: ChannelSum.apply(gy, before=self.window[0], after=self.window[1])),
          "third_derivative"),
    Fault("half of the second derivative in x", "local_response_norm", "a Hessian filled on one side only",
          backward(LocalResponseNormGradient,
                   lambda self, v: (lambda g, gx: (g, gx * 0.5))(*lrn_second_derivative(self, v))),
          "second_derivative"),
)  # fmt: skip
