"""Pictures of a training run, as PNG files: curves, filters, confusions, mistakes.

Each public function builds a figure (its private twin, ..._figure, does only that) and writes it to `path` in one
step: whoever reads the file sees the old picture or the new one, never half of one. Same input, same bytes.

matplotlib is imported when the first picture is drawn, and used through Figure and Agg only, never through pyplot: no
window, no state shared between threads. Positions are in pixels from the top left, so that an image of 28×28 is shown
with every pixel as a square of the same size. Colours are those of Okabe and Ito, which the colour-blind can tell
apart; what colour says is also said by a marker, a number or a name.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, MissingPackageError, ShapeError, TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100  # of the file; with it, sizes in points are 0.72 of sizes in pixels
BLUE, ORANGE, INK, GREY, FAINT = "#0072B2", "#D55E00", "#222222", "#6E6E6E", "#E3E3E3"
NAME_LENGTH = 18  # longer names of classes are cut

PathName = str | os.PathLike[str]


def learning_curves(history: Sequence[Mapping[str, Any]], path: PathName) -> Path:
    """Two panels over the epochs, loss and error rate, with the best epoch of each; for training and test.

    history: one dict an epoch, with "epoch" (from 1) and any of "train_loss", "train_accuracy", "test_loss",
    "test_accuracy" (accuracies from 0 to 1). An axis is logarithmic where its values span a factor of 4 or more.
    Returns path. Raises ArgumentError for an empty history, TrainingError if path cannot be written.
    """
    return _save(_learning_curves_figure(history), path)


def first_layer_filters(weight: ArrayLike, path: PathName) -> Path:
    """The filters of a convolution on one colour scale: blue below zero, white zero, red above.

    weight (K, C, R, S), array or Tensor. Filters of C = 3 channels are shown as colours, with grey for zero; of other
    C > 1 every channel is a picture of its own, a row for each filter. What does not fit is left out, and the title
    says so. Returns path. Raises ShapeError for other shapes, TrainingError if path cannot be written.
    """
    return _save(_first_layer_filters_figure(weight), path)


def confusion_matrix(matrix: ArrayLike, classes: Sequence[str], path: PathName) -> Path:
    """Which class was taken for which: colour shows the mistakes only, and the accuracy of each class is at its side.

    matrix (n, n): matrix[t, p] examples of class t were predicted as p. classes: n names.
    Returns path. Raises ShapeError if sizes do not fit, TrainingError if path cannot be written.
    """
    return _save(_confusion_matrix_figure(matrix, classes), path)


def worst_mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    confidences: ArrayLike,
    classes: Sequence[str],
    path: PathName,
    count: int = 32,
) -> Path:
    """The images that were classified wrongly with most confidence: true -> predicted class, and that confidence.

    images (N, H, W), (N, 1, H, W) or (N, 3, H, W), uint8 or float (then the range of those shown becomes black to
    white); labels, predictions (N,) indices into classes; confidences (N,) probabilities of the predictions.
    Returns path. Raises ShapeError if sizes do not fit, ArgumentError for count < 1, TrainingError if path cannot be
    written.
    """
    return _save(_worst_mistakes_figure(images, labels, predictions, confidences, classes, count), path)


# --- learning curves --------------------------------------------------------------------------------------------------


def _learning_curves_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    if not history:
        raise ArgumentError("learning curves need at least one epoch, the history is empty")
    figure = _figure(1120, 420)
    loss = _axes(figure, 70, 60, 380, 300)
    error = _axes(figure, 630, 60, 380, 300)
    _curves(loss, history, "Loss", "loss", lambda value: value, lambda value: f"{value:.3g}")
    _curves(error, history, "Error rate", "accuracy", lambda value: 100 * (1 - value), lambda value: f"{value:.2f} %")
    return figure


def _curves(
    axes: Axes,
    history: Sequence[Mapping[str, Any]],
    title: str,
    key: str,
    convert: Callable[[float], float],
    describe: Callable[[float], str],
) -> None:
    """One panel: training and test, and beside it the best epoch of test (of training, where there is no test)."""
    epochs = [int(row["epoch"]) for row in history]
    drawn: list[float] = []
    for split, color, marker, style in (("train", BLUE, "s", "--"), ("test", ORANGE, "o", "-")):
        name = f"{split}_{key}"
        points = [(epoch, convert(float(row[name]))) for epoch, row in zip(epochs, history, strict=True) if name in row]
        finite = [(value, epoch) for epoch, value in points if math.isfinite(value)]
        if not finite:
            continue
        few = len(points) <= 30
        x, y = zip(*points, strict=True)
        y = [value if math.isfinite(value) else math.nan for value in y]
        label = "training" if split == "train" else "test"
        axes.plot(x, y, style, color=color, marker=marker if few else "", markersize=4, linewidth=1.8, label=label)
        drawn += [value for value, _ in finite]
        best, when = min(finite)
    _plain(axes, title, legend=bool(drawn))
    axes.set_xlabel("epoch", color=GREY)
    if not drawn:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not measured", color=GREY, ha="center", va="center", transform=axes.transAxes)
        return
    _epoch_axis(axes, epochs)
    _value_axis(axes, drawn, describe)
    axes.plot([when, axes.get_xlim()[1]], [best, best], ":", color=color, linewidth=1, zorder=1)
    axes.plot([when], [best], "o", color=color, markersize=9, markerfacecolor="none", markeredgewidth=1.5)
    axes.annotate(
        f"best {label}\n{describe(best)}\nepoch {when}", (1, best), (8, 0), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", color=color, fontsize=9, va="center", annotation_clip=False,
    )  # fmt: skip
