"""Pictures of a training run, as PNG files: curves, filters, confusions, mistakes.

Each public function builds a figure (its twin, ..._figure, does only that) and writes it to `path` in one step:
whoever reads the file sees the old picture or the new one, never half of one. Same input, same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, ShapeError
from . import drawing
from .confusion import confusion_matrix_figure
from .drawing import BLUE, GREY, INK, LEFT, ORANGE, TOP, PathName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curves(history: Sequence[Mapping[str, Any]], path: PathName) -> Path:
    """Two panels over the epochs, loss and error rate, with the best epoch of each; for training and test.

    history: one dict an epoch, with "epoch" (from 1) and any of "train_loss", "train_accuracy", "test_loss",
    "test_accuracy" (accuracies from 0 to 1). An axis is logarithmic where its values span a factor of 4 or more.
    Returns path. Raises ArgumentError for an empty history, TrainingError if path cannot be written.
    """
    return drawing.save(_learning_curves_figure(history), path)


def first_layer_filters(weight: ArrayLike, path: PathName) -> Path:
    """The filters of a convolution on one colour scale: blue below zero, white zero, red above.

    weight (K, C, R, S), array or Tensor. Filters of C = 3 channels are shown as colours, with grey for zero; of other
    C > 1 every channel is a picture of its own, below one another. What does not fit is left out, and the title says
    so. Returns path. Raises ShapeError for other shapes, TrainingError if path cannot be written.
    """
    return drawing.save(_first_layer_filters_figure(weight), path)


def confusion_matrix(matrix: ArrayLike, classes: Sequence[str], path: PathName) -> Path:
    """Which class was taken for which: colour shows the mistakes only, and the accuracy of each class is at its side.

    matrix (n, n): matrix[t, p] examples of class t were predicted as p. classes: n names.
    Returns path. Raises ShapeError if sizes do not fit, TrainingError if path cannot be written.
    """
    return drawing.save(confusion_matrix_figure(matrix, classes), path)


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
    return drawing.save(_worst_mistakes_figure(images, labels, predictions, confidences, classes, count), path)


# --- learning curves --------------------------------------------------------------------------------------------------

SPLITS = {"train": ("training", BLUE, "s", "--"), "test": ("test", ORANGE, "o", "-")}  # the last is the one that counts


def _learning_curves_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    if not history:
        raise ArgumentError("learning curves need at least one epoch, the history is empty")
    figure = drawing.figure(1120, 400)
    losses = {split: _series(history, f"{split}_loss") for split in SPLITS}
    accuracies = {split: _series(history, f"{split}_accuracy") for split in SPLITS}
    errors = {split: [(epoch, 100 * (1 - value)) for epoch, value in accuracies[split]] for split in SPLITS}
    _curves(drawing.axes(figure, 60, 60, 380, 280), "Loss", losses, "{:#.3g}")
    _curves(drawing.axes(figure, 630, 60, 380, 280), "Error rate", errors, "{:.2f} %")
    return figure


def _series(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """(epoch, value) of the epochs that have the key."""
    return [(int(row["epoch"]), float(row[key])) for row in history if row.get(key) is not None]


def _curves(axes: Axes, title: str, series: Mapping[str, list[tuple[int, float]]], number: str) -> None:
    """One panel; beside it the lowest value of test, or of training if there is no test."""
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)
    axes.set_xlabel("epoch", color=INK, fontsize=10)
    every = [value for points in series.values() for _, value in points]
    best = None
    for split, (label, color, marker, line) in SPLITS.items():
        if series[split]:
            epochs, values = zip(*series[split], strict=True)
            marker = marker if len(epochs) <= 30 else ""
            axes.plot(epochs, values, marker + line, markersize=4.5, color=color, linewidth=1.6, label=label)
            finite = [(value, epoch) for epoch, value in series[split] if math.isfinite(value)]
            best = (*min(finite), label, color) if finite else best
    if best is None:
        axes.set(xticks=[], yticks=[])
        said = "no finite value" if every else "not measured"
        axes.text(0.5, 0.5, said, color=GREY, ha="center", va="center", transform=axes.transAxes)
        return
    if not all(map(math.isfinite, every)):
        axes.text(0.02, 0.03, "gap: not a finite number", color=GREY, fontsize=9, transform=axes.transAxes)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 0.99), ncols=2, handlelength=2.8,
        frameon=False, labelcolor=INK, fontsize=10,
    )  # fmt: skip
    _epoch_scale(axes, [epoch for points in series.values() for epoch, _ in points])
    _value_scale(axes, [value for value in every if math.isfinite(value)], " %" if "%" in number else "")
    value, epoch, label, color = best
    height = max(value, axes.get_ylim()[0])  # a zero on a logarithmic axis lies at its bottom
    axes.plot([epoch, axes.get_xlim()[1]], [height, height], ":", color=color, linewidth=1.2)
    axes.plot([epoch], [height], "o", color=color, markersize=11, markerfacecolor="none", clip_on=False)
    axes.annotate(
        f"best {label}\n{number.format(value)}\nepoch {epoch}", (1, height), (6, 0),
        xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center", color=color, fontsize=10,
    )  # fmt: skip


def _epoch_scale(axes: Axes, epochs: Sequence[int]) -> None:
    first, last = min(epochs), max(epochs)
    margin = 0.5 if first == last else 0.04 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(
        drawing.matplotlib().ticker.MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )


def _value_scale(axes: Axes, values: Sequence[float], unit: str) -> None:
    """Logarithmic where the values span a factor of 4 or more; a zero among them then lies at the bottom."""
    ticker = drawing.matplotlib().ticker
    positive = [value for value in values if value > 0] if min(values) >= 0 else []
    if positive and max(positive) / min(positive) >= 4:
        low, high = min(positive), max(positive)
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / 1.25, high * 1.25)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,), numticks=20))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}{unit}"))


# --- filters ----------------------------------------------------------------------------------------------------------

MOST_FILTERS, MOST_CHANNELS = 128, 8  # in one picture
SIGNED = ("#053B61", BLUE, "#FFFFFF", "#C8232C", "#67001F")


def _first_layer_filters_figure(weight: ArrayLike) -> Figure:
    weights = np.asarray(weight)
    if weights.ndim != 4 or not weights.size:
        raise ShapeError(f"filters are an array of shape (K, C, R, S) that is not empty, got shape {weights.shape}")
    filters, channels, rows, columns = weights.shape
    limit = float(np.abs(weights, where=np.isfinite(weights), out=np.zeros(weights.shape)).max()) or 1.0
    if channels == 3:
        shown = weights[:MOST_FILTERS]
        tiles = np.nan_to_num(0.5 + 0.5 * shown / limit).clip(0, 1).transpose(0, 2, 3, 1)
        explained = f"its channels are red, green and blue; grey is zero, full colour ±{limit:.2g}"
    elif channels == 1:
        shown = weights[:MOST_FILTERS]
        tiles = _signed_colors(shown[:, 0] / limit)
        explained = "blue is negative, red positive"
    else:
        shown = weights[:16, :MOST_CHANNELS]
        tiles = _signed_colors(shown.swapaxes(0, 1).reshape(-1, rows, columns) / limit)
        explained = "blue is negative, red positive; a column for each filter, a row for each channel"
        explained += f" (the first {MOST_CHANNELS} of {channels})" if channels > MOST_CHANNELS else ""

    across = min(len(shown), 8 if len(shown) <= 32 and channels in (1, 3) else 16)
    down = math.ceil(len(tiles) / across)
    width, height = drawing.fitted((rows, columns), min(110, 960 // across - 10))
    pitch_x, pitch_y = max(width, 36) + 10, height + 28
    figure, board = drawing.board(2 * LEFT + across * pitch_x + (0 if channels == 3 else 80), TOP + down * pitch_y + 15)
    size = f"{rows} × {columns}" if len(shown) == 1 else f"each {rows} × {columns}"
    drawing.title(board, f"First-layer filters: {drawing.part_of(len(shown), filters)}, {size}", explained)
    for index, tile in enumerate(tiles):
        left, top = LEFT + index % across * pitch_x, TOP + index // across * pitch_y
        number = str(index) if channels in (1, 3) else f"{index % across}, {index // across}"
        drawing.image(board, tile, left, top, width, height)
        drawing.say(board, left + width / 2, top + height + 5, number, "center top", size=8, color=GREY)
    if channels != 3:
        _color_bar(board, LEFT + across * pitch_x + 15, TOP, min(max(down * pitch_y - 28, 90), 260), limit)
    return figure


def _signed_colors(share: np.ndarray) -> np.ndarray:
    """share (...) from −1 to 1 -> RGB (..., 3): blue, white at 0, red; dark grey where it is not finite."""
    return drawing.colors(SIGNED, 0.5 + 0.5 * share)


def _color_bar(board: Axes, left: int, top: int, height: int, limit: float) -> None:
    """A vertical scale from −limit to limit."""
    drawing.image(board, _signed_colors(np.linspace(1, -1, height)[:, None]), left, top, 14, height)
    for share, sign in ((1, "+"), (0, ""), (-1, "−")):
        number = f"{sign}{limit:.2g}" if share else "0"
        drawing.say(board, left + 22, top + height * (1 - share) / 2, number, "left center", size=9)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def _worst_mistakes_figure(
    images: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    confidences: ArrayLike,
    classes: Sequence[str],
    count: int,
) -> Figure:
    pictures, true, predicted, sure = map(np.asarray, (images, labels, predictions, confidences))
    pictures = pictures[:, None] if pictures.ndim == 3 else pictures
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
        raise ShapeError(f"images have shape (N, H, W), (N, 1, H, W) or (N, 3, H, W), got {np.shape(images)}")
    n = len(pictures)
    if not true.shape == predicted.shape == sure.shape == (n,):
        raise ShapeError(
            f"{n} images need labels, predictions and confidences of shape ({n},), "
            f"got {true.shape}, {predicted.shape} and {sure.shape}"
        )
    if count < 1:
        raise ArgumentError(f"count is how many mistakes to show, at least 1, got {count}")
    wrong = np.flatnonzero(true != predicted)
    worst = wrong[np.argsort(-sure[wrong].astype(np.float64), kind="stable")][:count]
    if not len(worst):
        figure, board = drawing.board(0, 170)
        drawing.title(
            board, "The most confident mistakes", f"none: all of {drawing.many(n, 'image')} were classified rightly"
        )
        drawing.say(board, LEFT, 120, "no mistakes", "left center", size=14, color=GREY)
        return figure

    names = [drawing.short(name) for name in classes]
    captions = [_caption(names[true[i]], names[predicted[i]], float(sure[i])) for i in worst]
    across, box = min(len(worst), 8), 128
    width, height = drawing.fitted(pictures.shape[2:], box)
    pitch_x, pitch_y = box + 12, height + 18 * max(map(len, captions)) + 22
    figure, board = drawing.board(2 * LEFT + across * pitch_x, TOP + math.ceil(len(worst) / across) * pitch_y)
    explained = f"true class → predicted class, and how sure the network was; from {drawing.many(n, 'image')}"
    drawing.title(board, f"The most confident mistakes: {drawing.part_of(len(worst), len(wrong))}", explained)
    for index, (tile, lines) in enumerate(zip(_displayable(pictures[worst]), captions, strict=True)):
        left, top = LEFT + index % across * pitch_x, TOP + index // across * pitch_y
        drawing.image(board, tile, left + (box - width) // 2, top, width, height)
        for row, line in enumerate(lines):
            color, weight = (GREY, "normal") if row == len(lines) - 1 else (INK, "bold")
            drawing.say(
                board, left + box / 2, top + height + 7 + 18 * row, line, "center top", color=color, weight=weight
            )
    return figure


def _caption(true: str, predicted: str, confidence: float) -> list[str]:
    names = [f"{true} → {predicted}"] if len(true) + len(predicted) <= 12 else [true, f"→ {predicted}"]
    return [*names, drawing.percent(confidence, 0 if confidence < 0.99 else 2)]


def _displayable(pictures: np.ndarray) -> np.ndarray:
    """(M, C, H, W), C 1 or 3 -> RGB (M, H, W, 3) from 0 to 1: bytes are levels, the range of others is stretched."""
    levels = pictures.astype(np.float64).transpose(0, 2, 3, 1)
    low, high = 0.0, 255.0
    if pictures.dtype != np.uint8:
        finite = levels[np.isfinite(levels)]
        low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    shown = np.nan_to_num((levels - low) / ((high - low) or 1.0)).clip(0, 1)
    return np.broadcast_to(shown, (*shown.shape[:3], 3))
