"""Rows of losses."""

from __future__ import annotations

import math

import numpy as np

from minicnn import Tensor, ops

from ..oracles import loss
from ..strategies import Case, Choices, arrays, with_options
from .row import Op, edge

REDUCTIONS = ["mean", "sum", "none"]

# --- recipes ----------------------------------------------------------------------------------------------------------


def _weight(choose: Choices, shape: tuple[int, ...]) -> np.ndarray | None:
    return choose.one_of(None, np.random.default_rng(choose.seed()).uniform(0.5, 2.0, shape))


def labels_inputs(choose: Choices) -> Case:
    """One position or several for each image; labels that count for nothing: a number that is no class, or a class."""
    classes = choose.integer(2, 5)
    shape = choose.one_of((classes + 1,), (2, 3), (2, 2, 3))
    rng = np.random.default_rng(choose.seed())
    target = rng.permutation(np.resize(np.arange(classes), math.prod(shape))).reshape(shape)
    ignore_index = choose.one_of(-100, -1, 255, 0)
    if ignore_index in (-1, 255):
        target[rng.random(shape) < 0.4] = ignore_index
    target.flat[-1] = classes - 1  # this one counts
    options = {"target": target, "weight": _weight(choose, (classes,)), "ignore_index": ignore_index,
               "reduction": choose.one_of(*REDUCTIONS)}  # fmt: skip
    return Case(((shape[0], classes, *shape[1:]),), options, seed=choose.seed())


def probabilities_inputs(choose: Choices) -> Case:
    classes = choose.integer(2, 4)
    shape = (2, classes, *choose.one_of((), (3,), (2, 2)))
    options = {"weight": _weight(choose, (classes,)), "reduction": choose.one_of(*REDUCTIONS),
               "label_smoothing": choose.one_of(0.0, 0.2)}  # fmt: skip
    return Case((shape, shape), options, seed=choose.seed())


def binary_inputs(choose: Choices) -> Case:
    """Weights of one number, for each class, for each image, for each number."""
    shape = choose.shape((2, 2), (2, 4))
    options = {
        "weight": _weight(choose, choose.one_of((), shape[1:], (shape[0], 1))),
        "pos_weight": _weight(choose, choose.one_of((), shape[1:])),
        "reduction": choose.one_of(*REDUCTIONS),
    }
    return Case((shape, shape), options, seed=choose.seed())


def focal_inputs(choose: Choices) -> Case:
    shape = choose.shape((1, 3), (2, 4))
    targets = np.random.default_rng(choose.seed()).permutation(np.resize([0.0, 1.0], math.prod(shape))).reshape(shape)
    options = {
        "targets": targets.astype(choose.one_of(int, bool)),
        "alpha": choose.one_of(0.25, 0.9, -1),
        "gamma": choose.one_of(2.0, 0.0, 0.5, 1, 3.5),
        "reduction": choose.one_of(*REDUCTIONS),
    }
    return Case((shape,), options, seed=choose.seed())


def of_probability(function):
    """The second input, normally distributed, becomes a probability, and nothing is kept of that for backward."""
    return lambda x, scores, per=0.1, **options: function(x, scores * per + 0.5, **options)


# --- the plain ops ----------------------------------------------------------------------------------------------------


def reduced(losses: Tensor, how: str) -> Tensor:
    return losses if how == "none" else losses.sum() if how == "sum" else losses.sum() / float(losses.size)


def targets_of(logits, target, weight, ignore_index):
    """One-hot targets times the weights, whether a position counts, and the sum of the weights of those that do."""
    each_class = (-1, *[1] * (logits.ndim - 2))
    counts = (target != ignore_index)[:, None]
    weights = (np.ones(logits.shape[1]) if weight is None else weight).reshape(each_class)
    one_hot = (target[:, None] == np.arange(logits.shape[1]).reshape(each_class)) * counts * weights
    return Tensor(one_hot), Tensor(counts * weights), one_hot.sum()


def nll_composed(x, target, weight, ignore_index, reduction):
    one_hot, _, total = targets_of(x, target, weight, ignore_index)
    losses = -(x * one_hot).sum(axis=1)
    return losses.sum() / float(total) if reduction == "mean" else reduced(losses, reduction)


def cross_entropy_composed(logits, target, weight, ignore_index, reduction, label_smoothing):
    one_hot, everywhere, total = targets_of(logits, target, weight, ignore_index)
    q = (1 - label_smoothing) * one_hot + label_smoothing / logits.shape[1] * everywhere
    losses = -(ops.log_softmax(logits, axis=1) * q).sum(axis=1)
    return losses.sum() / float(total) if reduction == "mean" else reduced(losses, reduction)


def probabilities_composed(logits, q, weight, reduction, label_smoothing):
    """As mixture: (1 − ε) of one loss and ε of another."""
    weights = np.ones(logits.shape[1]) if weight is None else weight
    surprise = -ops.log(ops.softmax(logits, axis=1)) * Tensor(weights.reshape(-1, *[1] * (logits.ndim - 2)))
    hard, soft = (surprise * q).sum(axis=1), surprise.mean(axis=1)
    return reduced((1 - label_smoothing) * hard + label_smoothing * soft, reduction)


def binary_composed(x, t, weight, reduction, pos_weight):
    p = ops.sigmoid(x)
    pos_weight = 1.0 if pos_weight is None else Tensor(pos_weight)
    losses = -(pos_weight * t * ops.log(p) + (1.0 - t) * ops.log(1.0 - p))
    return reduced(losses if weight is None else losses * Tensor(weight), reduction)


def focal_composed(x, targets, alpha, gamma, reduction):
    """As torchvision writes it."""
    t = targets.astype(float)
    p = ops.sigmoid(x)
    p_right = p * t + (1.0 - p) * (1 - t)
    losses = -((1.0 - p_right) ** gamma) * ops.log(p_right)
    return reduced(losses if alpha == -1 else losses * (alpha * t + (1 - alpha) * (1 - t)), reduction)


def smooth_l1_composed(x, target, reduction, beta):
    d = ops.abs(x - target)
    return reduced(ops.where(d < beta, d * d / (2 * beta), d - beta / 2), reduction)


def huber_composed(x, target, reduction, delta):
    d = ops.abs(x - target)
    return reduced(ops.where(d < delta, d * d / 2, delta * (d - delta / 2)), reduction)


# --- the rows ---------------------------------------------------------------------------------------------------------

NONE, IGNORED = np.zeros(0, int), np.array([-100, -100])

LOSSES = (
    # over classes
    Op("cross_entropy", ops.cross_entropy, loss.cross_entropy, order=3, analytic=True, keeps=(0, "own"),
       inputs=with_options(labels_inputs, label_smoothing=[0.0, 0.1, 0.6, 1.0]), composition=cross_entropy_composed,
       edges=(edge((0, 3), target=NONE, reduction="sum"), edge((1, 1), target=np.zeros(1, int), reduction="mean"),
              edge((2, 3, 0), target=np.zeros((2, 0), int), reduction="none"),
              edge((2, 3), target=IGNORED, reduction="sum"), edge((2, 3), target=IGNORED, reduction="none"),
              edge((70, 40), target=np.arange(70) % 40, weight=np.linspace(0, 2, 40), label_smoothing=0.1),
              edge((3, 20), values="large", target=np.array([0, 19, 1]), reduction="none"),
              edge((3, 4), values="large", target=np.array([0, 3, 1]), reduction="mean", label_smoothing=0.1))),
    Op("cross_entropy (of probabilities)", of_probability(ops.cross_entropy),
       of_probability(loss.cross_entropy_of_probabilities), probabilities_inputs, order=2, analytic=True,
       keeps=(0, "own"), composition=of_probability(probabilities_composed),
       edges=(edge((0, 3), (0, 3), reduction="none"), edge((1, 1), (1, 1)),
              edge((3, 20), (3, 20), values="large", per=1e-4))),
    Op("nll_loss", ops.nll_loss, loss.nll_loss, labels_inputs, order=2, analytic=True, affine="all", keeps=("own",),
       composition=nll_composed,
       edges=(edge((0, 3), target=NONE, reduction="sum"), edge((1, 1), target=np.zeros(1, int)),
              edge((2, 3, 0), target=np.zeros((2, 0), int), reduction="none"),
              edge((2, 3), target=IGNORED, reduction="none"))),
    # yes or no
    Op("binary_cross_entropy_with_logits", of_probability(ops.binary_cross_entropy_with_logits),
       of_probability(loss.binary_cross_entropy), binary_inputs, order=2, analytic=True, affine=(1,),
       keeps=(0, "own"), composition=of_probability(binary_composed),
       edges=(edge((0, 2), (0, 2), reduction="sum"), edge((), ()), edge((1, 1), (1, 1), pos_weight=np.array([3.0])),
              edge((4, 5), (4, 5), values="large", per=1e-4, reduction="none", pos_weight=0.0))),
    Op("sigmoid_focal_loss", ops.sigmoid_focal_loss, loss.sigmoid_focal_loss, focal_inputs, order=2, analytic=True,
       keeps=(0, "own"), composition=focal_composed,
       edges=(edge((0, 2), targets=np.zeros((0, 2)), reduction="none"), edge((), targets=np.array(1), reduction="mean"),
              edge((4, 3), values="large", targets=np.resize([1, 0], (4, 3)), gamma=0.5),
              edge((4, 3), values="large", targets=np.resize([1, 0], (4, 3)), gamma=0.0, reduction="sum"))),
    # differences
    Op("mse_loss", ops.mse_loss, loss.mse_loss, order=2, analytic=True, keeps=("own",),
       inputs=with_options(arrays(2), reduction=REDUCTIONS),
       composition=lambda x, target, reduction: reduced((x - target) ** 2, reduction),
       edges=(edge((0, 2), (0, 2), reduction="sum"), edge((1,), (1,)), edge((), ()))),
    Op("l1_loss", ops.l1_loss, loss.l1_loss, order=2, kinks="ties", at_kinks=loss.clipped_difference, keeps=("own",),
       inputs=with_options(arrays(2, "distinct"), reduction=REDUCTIONS),
       composition=lambda x, target, reduction: reduced(ops.maximum(x, target) - ops.minimum(x, target), reduction),
       edges=(edge((0, 2), (0, 2), reduction="sum"), edge((1,), (1,), values="distinct"),
              edge((), (), values="distinct"))),
    Op("smooth_l1_loss", ops.smooth_l1_loss, loss.smooth_l1_loss, order=2, kinks="|x − target| = beta",
       at_kinks=loss.clipped_difference, keeps=("own",),
       inputs=with_options(arrays(2, "distinct", (1, 3)), reduction=REDUCTIONS, beta=[0.375, 1.125, 2.625]),
       composition=smooth_l1_composed,
       edges=(edge((0, 2), (0, 2), reduction="sum"), edge((2, 3), (2, 3), values="distinct", beta=0.0),
              edge((2, 3), (2, 3), values="large", beta=1e-300), edge((), (), values="distinct", beta=0.375))),
    Op("huber_loss", ops.huber_loss, loss.huber_loss, order=2, kinks="|x − target| = delta",
       at_kinks=loss.clipped_difference, keeps=("own",),
       inputs=with_options(arrays(2, "distinct", (1, 3)), reduction=REDUCTIONS, delta=[0.375, 1.125, 2.625]),
       composition=huber_composed,
       edges=(edge((0, 2), (0, 2), reduction="none"), edge((), (), values="distinct", delta=0.375))),
)  # fmt: skip
