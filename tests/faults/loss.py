"""Faults of losses."""

from __future__ import annotations

import numpy as np

from minicnn.kernels.cpu import losses as cpu_losses
from minicnn.kernels.reference import functions, losses
from minicnn.ops import elementwise_loss
from minicnn.ops.elementwise_loss import BinaryCrossEntropy, SigmoidFocal, SmoothL1
from minicnn.ops.loss import CrossEntropy, CrossEntropyGradient, SoftCrossEntropy

from .planting import Fault, after_backward, attribute, backward, forward, kernel

# --- over classes: the targets (labels, weight, smoothing, divisor) ---------------------------------------------------


def with_targets(change):
    """forward (and so backward) with change(*targets)."""
    return lambda right: lambda self, x, targets: right(self, x, change(*targets))


def divided_by_all(labels, weight, smoothing, divisor):
    return labels, weight, smoothing, divisor and (divisor if divisor == 1 else labels.size)


def divided_by_count(labels, weight, smoothing, divisor):
    return labels, weight, smoothing, divisor and (divisor if divisor == 1 else np.count_nonzero(labels >= 0))


def off_by_one(labels, *options):
    return np.where(labels > 0, labels - 1, labels), *options


def one_hot(shape, dtype, labels):
    classes = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    return (labels[:, None] == classes).astype(dtype)


def label_gets_all_of_epsilon(right):
    def class_targets(shape, dtype, labels, weight, smoothing, divisor):
        q = right(shape, dtype, labels, weight, smoothing, divisor)
        return q + one_hot(shape, dtype, labels) * smoothing / (divisor or 1)

    return class_targets


def over_the_others(right):
    def class_targets(shape, dtype, labels, weight, smoothing, divisor):
        classes = shape[1]
        if classes > 1:
            smoothing = smoothing * classes / (classes - 1)
        return right(shape, dtype, labels, weight, smoothing, divisor)

    return class_targets


def weight_at_the_label_only(right):
    def class_targets(shape, dtype, labels, weight, smoothing, divisor):
        hard = right(shape, dtype, labels, weight, 0.0, divisor) * dtype.type(1 - smoothing)
        return hard + right(shape, dtype, labels, None, 1.0, divisor) * dtype.type(smoothing)

    return class_targets


def last_class_is_minus_one(right):
    def class_targets(shape, dtype, labels, *options):
        return right(shape, dtype, labels % shape[1], *options)

    return class_targets


def gradient_of_ignored(right):
    def gradient(g, z, labels, weight, smoothing, divisor):
        g_row = g[:, None] if g.ndim else g
        everywhere = g_row * functions.softmax(z, 1) / z.dtype.type(divisor or 1)
        return np.where((labels < 0)[:, None], everywhere, right(g, z, labels, weight, smoothing, divisor))

    return gradient


def no_weights_in_gradient(right):
    return lambda g, z, labels, weight, smoothing, divisor: right(g, z, labels, None, smoothing, divisor)


def no_weights(right):
    return lambda shape, dtype, labels, weight, *options: right(shape, dtype, labels, None, *options)


right_backward = CrossEntropyGradient.backward


def probabilities_constant(self, v):
    ggy, gz = right_backward(self, v)
    return ggy, gz * 0.0


def no_weights_in_smoothing(right):
    def parts(z, weight, smoothing, divisor):
        at_label, _ = right(z, weight, smoothing, divisor)
        return at_label, right(z, None, smoothing, divisor)[1]

    return parts


# --- yes or no, and differences ---------------------------------------------------------------------------------------


def overflowing(x):
    return np.log(1 + np.exp(x))


def weight_of_both(right):
    def loss(x, t, pos_weight):
        return right(x, t, None) * (1 if pos_weight is None else pos_weight)

    return loss


def no_pos_weight(self, gy, gx, gt):
    x, t = self.saved
    return gx if gx is None else gy * (x.sigmoid() - t), gt


def unweighted_sum(self, gy, gz, gq):
    """SoftCrossEntropy with 1 for Σq."""
    z, q = self.saved
    return gz if gz is None else gy.reshape(gy.shape[0], 1, *gy.shape[1:]) * (z.softmax(1) - q), gq


def minus_logits(self, gy, gz, gq):
    return gz, gq if gq is None else -gy.reshape(gy.shape[0], 1, *gy.shape[1:]) * self.saved[0]


def factor_is_constant(self, gy):
    """SigmoidFocal with (1 − p)^γ as a number: no term with γ."""
    (x,) = self.saved
    y = self.yes.astype(x.dtype)
    p = x.sigmoid()
    right_answer = p * y + (1.0 - p) * (1 - y)
    weight = self.alpha[0] * y + self.alpha[1] * (1 - y)
    return gy * (p - y) * (1.0 - right_answer) ** self.gamma * weight


def alpha_of_the_other(right):
    return lambda x, yes, alpha, gamma: right(x, yes, alpha[::-1], gamma)


def beta_forgotten(d, beta):
    return np.where(np.abs(d) < beta, d * d / 2, np.abs(d) - beta / 2)


def delta_forgotten(op, x, target, reduction, delta):
    return right_smooth_l1(op, x, target, reduction, 1.0)


right_smooth_l1 = elementwise_loss._smooth_l1


def mean_over_images(name, values, reduction):
    """The sum over everything but the first axis."""
    y = right_reduce(name, values, "none" if reduction == "none" else "sum")
    return y / float(values.shape[0]) if reduction == "mean" and values.ndim else y


right_reduce = elementwise_loss.reduce

LOSSES = (
    Fault("the mean is divided by N though labels are ignored", "cross_entropy", "masks added to a loss afterwards",
          forward(CrossEntropy, with_targets(divided_by_all)), "forward_is_the_oracle"),
    Fault("the weighted mean is divided by N", "cross_entropy", "ports that know reduction by mean() only",
          forward(CrossEntropy, with_targets(divided_by_count)), "forward_is_the_oracle"),
    Fault("label off by one", "cross_entropy", "classes numbered from 1",
          forward(CrossEntropy, with_targets(off_by_one)), "forward_is_the_oracle"),
    Fault("cotangent ignored", "cross_entropy", "the loss is taken to be the end of the graph",
          after_backward(CrossEntropy, lambda self, gy, gz: gz / (gy.reshape(gy.shape[0], 1, *gy.shape[1:])
                                                                 if gy.ndim else gy)), "gradient_is_the_derivative"),
    Fault("probabilities are constants in the second derivative", "cross_entropy", "fused kernels that keep p",
          backward(CrossEntropyGradient, probabilities_constant), "second_derivative"),
    Fault("ε goes to the true class twice", "cross_entropy", "smoothing added to a one-hot that is not lowered",
          kernel("class_targets", label_gets_all_of_epsilon, losses), "forward_is_the_oracle"),
    Fault("ε is shared by the C − 1 others", "cross_entropy", "the other convention of label smoothing",
          kernel("class_targets", over_the_others, losses), "forward_is_the_oracle"),
    Fault("class weights in the label's term only", "cross_entropy", "smoothing and weights added one after the other",
          kernel("class_targets", weight_at_the_label_only, losses), "forward_is_the_oracle"),
    Fault("smoothing without weights on the fast path", "cross_entropy", "an option that one backend learnt later",
          kernel("_parts_of_targets", no_weights_in_smoothing, cpu_losses), "device_equals_reference", device="cpu"),
    Fault("an ignored label counts as the last class", "cross_entropy", "NumPy's index −1",
          kernel("class_targets", last_class_is_minus_one, losses), "forward_is_the_oracle"),
    Fault("ignored positions get a gradient", "cross_entropy", "fused kernels that mask the loss only",
          kernel("softmax_cross_entropy_gradient", gradient_of_ignored), "gradient_is_the_derivative"),
    Fault("class weights forgotten in the gradient", "cross_entropy", "p − onehot from the book",
          kernel("softmax_cross_entropy_gradient", no_weights_in_gradient), "gradient_is_the_derivative"),
    Fault("softmax over the last axis of images", "cross_entropy", "segmentation with a loss made for (N, C)",
          kernel("log_softmax", lambda right: lambda x, axis: right(x, -1), losses), "forward_is_the_oracle"),
    Fault("−z for −ln p as the gradient in the targets", "cross_entropy (of probabilities)", "distillation, coursework",
          after_backward(SoftCrossEntropy, minus_logits), "gradient_is_the_derivative"),
    Fault("p − q though Σq is not 1", "cross_entropy (of probabilities)", "weights folded into the targets",
          after_backward(SoftCrossEntropy, unweighted_sum), "gradient_is_the_derivative"),
    Fault("the minus forgotten", "nll_loss", "coursework: the loss falls below 0",
          kernel("negative_log_likelihood", lambda right: lambda *given: -right(*given)), "forward_is_the_oracle"),
    Fault("no weights in the gradient of nll", "nll_loss", "weights added to forward later",
          kernel("class_targets", no_weights),           "gradient_is_the_derivative"),
    Fault("pos_weight on both terms", "binary_cross_entropy_with_logits", "pos_weight taken for weight",
          kernel("binary_cross_entropy", weight_of_both), "forward_is_the_oracle"),
    Fault("pos_weight forgotten in the gradient", "binary_cross_entropy_with_logits", "σ(x) − t from the book",
          after_backward(BinaryCrossEntropy, no_pos_weight), "gradient_is_the_derivative"),
    Fault("e^x overflows", "binary_cross_entropy_with_logits", "log(1 + exp(x)) as it stands in the paper",
          attribute(losses, "_softplus", overflowing), "forward_is_the_oracle"),
    Fault("the factor (1 − p)^γ is not differentiated", "sigmoid_focal_loss", "the factor taken for a weight",
          backward(SigmoidFocal, factor_is_constant), "gradient_is_the_derivative"),
    Fault("alpha weighs the negatives", "sigmoid_focal_loss", "alpha = 0.25 read as rare positives weigh less",
          kernel("sigmoid_focal_loss", alpha_of_the_other), "forward_is_the_oracle"),
    Fault("beta forgotten in the quadratic part", "smooth_l1_loss", "Fast R-CNN's formula, where beta is 1",
          kernel("smooth_l1", lambda right: beta_forgotten), "forward_is_the_oracle"),
    Fault("gradient d for d/beta", "smooth_l1_loss", "Fast R-CNN's formula, where beta is 1",
          after_backward(SmoothL1, lambda self, gy, gd: gd * self.beta), "gradient_is_the_derivative"),
    Fault("delta forgotten", "huber_loss", "smooth L1 under another name",
          attribute(elementwise_loss, "_smooth_l1", delta_forgotten), "forward_is_the_oracle"),
    Fault("divided by the batch, not by all elements", "mse_loss", "losses made for (N,)",
          attribute(elementwise_loss, "reduce", mean_over_images), "forward_is_the_oracle"),
)  # fmt: skip
