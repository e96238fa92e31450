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
from collections.abc import Mapping, Sequence
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
    C > 1 every channel is a picture of its own, below one another. What does not fit is left out, and the title says
    so. Returns path. Raises ShapeError for other shapes, TrainingError if path cannot be written.
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

SPLITS = {"train": ("training", BLUE, "s", "--"), "test": ("test", ORANGE, "o", "-")}  # the last is the one that counts


def _learning_curves_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    if not history:
        raise ArgumentError("learning curves need at least one epoch, the history is empty")
    figure = _figure(1120, 400)
    losses = {split: _series(history, f"{split}_loss") for split in SPLITS}
    accuracies = {split: _series(history, f"{split}_accuracy") for split in SPLITS}
    errors = {split: [(epoch, 100 * (1 - value)) for epoch, value in accuracies[split]] for split in SPLITS}
    _curves(_axes(figure, 60, 60, 380, 280), "Loss", losses, "{:#.3g}")
    _curves(_axes(figure, 630, 60, 380, 280), "Error rate", errors, "{:.2f} %")
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
    axes.xaxis.set_major_locator(_matplotlib().ticker.MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _value_scale(axes: Axes, values: Sequence[float], unit: str) -> None:
    """Logarithmic where the values span a factor of 4 or more; a zero among them then lies at the bottom."""
    ticker = _matplotlib().ticker
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
    width, height = _fitted((rows, columns), min(110, 960 // across - 10))
    pitch_x, pitch_y = max(width, 36) + 10, height + 28
    figure, board = _board(2 * LEFT + across * pitch_x + (0 if channels == 3 else 80), TOP + down * pitch_y + 15)
    size = f"{rows} × {columns}" if len(shown) == 1 else f"each {rows} × {columns}"
    _title(board, f"First-layer filters: {_part(len(shown), filters)}, {size}", explained)
    for index, tile in enumerate(tiles):
        left, top = LEFT + index % across * pitch_x, TOP + index // across * pitch_y
        number = str(index) if channels in (1, 3) else f"{index % across}, {index // across}"
        _image(board, tile, left, top, width, height)
        _say(board, left + width / 2, top + height + 5, number, "center top", size=8, color=GREY)
    if channels != 3:
        _color_bar(board, LEFT + across * pitch_x + 15, TOP, min(max(down * pitch_y - 28, 90), 260), limit)
    return figure


def _signed_colors(share: np.ndarray) -> np.ndarray:
    """share (...) from −1 to 1 -> RGB (..., 3): blue, white at 0, red; dark grey where it is not finite."""
    return _colors(SIGNED, 0.5 + 0.5 * share)


def _color_bar(board: Axes, left: int, top: int, height: int, limit: float) -> None:
    """A vertical scale from −limit to limit."""
    _image(board, _signed_colors(np.linspace(1, -1, height)[:, None]), left, top, 14, height)
    for share, sign in ((1, "+"), (0, ""), (-1, "−")):
        number = f"{sign}{limit:.2g}" if share else "0"
        _say(board, left + 22, top + height * (1 - share) / 2, number, "left center", size=9)


# --- confusion matrix -------------------------------------------------------------------------------------------------

MOST_NUMBERED = 25  # classes, for which there is room to print every count


def _confusion_matrix_figure(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    counts, n = np.asarray(matrix), len(classes)
    if counts.shape != (n, n) or not n:
        raise ShapeError(f"the confusion matrix of {n} classes has shape ({n}, {n}), got {counts.shape}")
    if counts.dtype.kind not in "iub" and not np.array_equal(counts, np.floor(counts)):
        raise ArgumentError("a confusion matrix holds counts of examples, got numbers that are not whole")
    counts = counts.astype(np.int64)
    names = [_short(name) for name in classes]
    return (_matrix_with_numbers if n <= MOST_NUMBERED else _matrix_from_afar)(counts, names)


def _matrix_with_numbers(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Every count is printed in its cell, but for the zeros."""
    n, longest = len(counts), 8 * max(map(len, names))
    cell = max(28, min(60, 640 // n))
    size, side, left, top = 10 if cell >= 36 else 9, n * cell, 50 + longest, TOP + 25
    tilted = longest > cell
    below = 25 + longest * 3 // 4 if tilted else 35
    figure, board = _board(left + side + 105, top + side + below + 35)
    _title(board, "Which class was taken for which", _facts(counts, names, figure))

    mistakes = _off_diagonal(counts)
    _image(board, _mistake_colors(counts), left, top, side, side)
    board.hlines(top + cell * np.arange(1, n), left, left + side, color=FAINT, linewidth=0.7)
    board.vlines(left + cell * np.arange(1, n), top, top + side, color=FAINT, linewidth=0.7)
    for (t, p), count in np.ndenumerate(counts):
        if count:
            text = f"{count:,}" if cell >= 50 else str(count)
            color = GREY if t == p else "white" if mistakes[t, p] > 0.4 * mistakes.max() else INK
            fitting = min(size + 1, cell / len(text))
            x, y = left + cell * (p + 0.5), top + cell * (t + 0.5)
            _say(board, x, y, text, "center center", size=fitting, color=color)

    recall = _recall(counts)
    lowest = min(recall[np.isfinite(recall)], default=1)
    _say(board, left + side + 15, top - 6, "right", "left bottom", color=GREY)
    for i, name in enumerate(names):
        middle = cell * (i + 0.5)
        _say(board, left - 8, top + middle, name, "right center", size)
        anchor, angle = ("right center", 40) if tilted else ("center top", 0)
        _say(board, left + middle, top + side + 8, name, anchor, size, rotation=angle, rotation_mode="anchor")
        weight = "bold" if recall[i] == lowest < 1 else "normal"
        _say(board, left + side + 15, top + middle, _percent(recall[i], 1), "left center", size, weight=weight)
    _say(board, left + side / 2, top + side + below, "predicted", "center top")
    _say(board, 22, top + side / 2, "true", "center center", rotation=90)
    return figure


def _matrix_from_afar(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """For many classes: cells without numbers, accuracies as bars, and lists of what is worst."""
    n = len(counts)
    names = [f"{i} {name}" for i, name in enumerate(names)]
    side, left, top = 700 // n * n if n <= 700 else 950, 85, TOP + 25
    figure, board = _board(left + side + 130, top + side + 290)
    _title(board, "Which class was taken for which", _facts(counts, names, figure))
    _image(board, _mistake_colors(counts), left, top, side, side)

    recall, bars = _recall(counts), left + side + 20
    filled = np.arange(80) < 80 * np.nan_to_num(recall)[:, None]
    _image(board, np.where(filled[..., None], _rgb(BLUE), _rgb("white")), bars, top, 80, side)
    _say(board, bars, top - 6, "right", "left bottom", color=GREY)
    _say(board, bars, top + side + 8, "0", "left top", size=9)
    _say(board, bars + 80, top + side + 8, "100 %", "right top", size=9)
    for i in range(0, n, 10 if n <= 200 else 100):
        middle = side * (i + 0.5) / n
        _say(board, left - 8, top + middle, str(i), "right center", size=9)
        _say(board, left + middle, top + side + 8, str(i), "center top", size=9)
    _say(board, left + side / 2, top + side + 32, "predicted (number of the class)", "center top")
    _say(board, 22, top + side / 2, "true (number of the class)", "center center", rotation=90)

    hardest = [i for i in np.argsort(recall, kind="stable")[:10] if recall[i] < 1]
    pairs = [f"{names[t]} as {names[p]}: {counts[t, p]:,}" for t, p in _most_frequent(counts, 10)]
    for x, title, lines in (
        (left, "Most frequent mistakes", pairs),
        (left + 420, "Least accurate classes", [f"{names[i]}: {_percent(recall[i], 1)}" for i in hardest]),
    ):
        _say(board, x, top + side + 75, title, "left top", weight="bold")
        for i, line in enumerate(lines or ["none"]):
            _say(board, x, top + side + 97 + 17 * i, line, "left top", size=9)
    return figure


def _off_diagonal(counts: np.ndarray) -> np.ndarray:
    return counts * (1 - np.eye(len(counts), dtype=counts.dtype))


def _mistake_colors(counts: np.ndarray) -> np.ndarray:
    """(n, n) -> RGB (n, n, 3): white to brown for mistakes (the root lifts rare ones off the white), grey for hits."""
    mistakes = _off_diagonal(counts)
    rgb = _colors(MISTAKES, np.sqrt(mistakes / max(mistakes.max(), 1)))
    rgb[np.eye(len(counts), dtype=bool)] = _rgb(FAINT)
    return rgb


def _recall(counts: np.ndarray) -> np.ndarray:
    """The share of each class that was right; NaN for a class without examples."""
    with np.errstate(invalid="ignore"):
        return np.diag(counts) / counts.sum(axis=1)


def _most_frequent(counts: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(true, predicted) of the most frequent mistakes."""
    mistakes = _off_diagonal(counts)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return [pair for pair in pairs if mistakes[pair]]


def _facts(counts: np.ndarray, names: Sequence[str], figure: Figure) -> str:
    """One line: the accuracy, and as many of the most frequent mistakes as it has room for."""
    total, right = int(counts.sum()), int(np.trace(counts))
    said = f"{_percent(right / total if total else math.nan, 2)} right, {_many(total - right, 'mistake')}"
    for i, (t, p) in enumerate(_most_frequent(counts, 3)):
        longer = f"{said}{', ' if i else '; most often '}{names[t]} as {names[p]} ({counts[t, p]:,})"
        if 7.2 * len(longer) > figure.get_figwidth() * DPI - 2 * LEFT:
            break
        said = longer
    return said


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
        figure, board = _board(0, 170)
        _title(board, "The most confident mistakes", f"none: all of {_many(n, 'image')} were classified rightly")
        _say(board, LEFT, 120, "no mistakes", "left center", size=14, color=GREY)
        return figure

    names = [_short(name) for name in classes]
    captions = [_caption(names[true[i]], names[predicted[i]], float(sure[i])) for i in worst]
    across, box = min(len(worst), 8), 128
    width, height = _fitted(pictures.shape[2:], box)
    pitch_x, pitch_y = box + 12, height + 18 * max(map(len, captions)) + 22
    figure, board = _board(2 * LEFT + across * pitch_x, TOP + math.ceil(len(worst) / across) * pitch_y)
    explained = f"true class → predicted class, and how sure the network was; from {_many(n, 'image')}"
    _title(board, f"The most confident mistakes: {_part(len(worst), len(wrong))}", explained)
    for index, (tile, lines) in enumerate(zip(_displayable(pictures[worst]), captions, strict=True)):
        left, top = LEFT + index % across * pitch_x, TOP + index // across * pitch_y
        _image(board, tile, left + (box - width) // 2, top, width, height)
        for row, line in enumerate(lines):
            color, weight = (GREY, "normal") if row == len(lines) - 1 else (INK, "bold")
            _say(board, left + box / 2, top + height + 7 + 18 * row, line, "center top", color=color, weight=weight)
    return figure


def _caption(true: str, predicted: str, confidence: float) -> list[str]:
    names = [f"{true} → {predicted}"] if len(true) + len(predicted) <= 12 else [true, f"→ {predicted}"]
    return [*names, _percent(confidence, 0 if confidence < 0.99 else 2)]


def _displayable(pictures: np.ndarray) -> np.ndarray:
    """(M, C, H, W), C 1 or 3 -> RGB (M, H, W, 3) from 0 to 1: bytes are levels, the range of others is stretched."""
    levels = pictures.astype(np.float64).transpose(0, 2, 3, 1)
    low, high = 0.0, 255.0
    if pictures.dtype != np.uint8:
        finite = levels[np.isfinite(levels)]
        low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    shown = np.nan_to_num((levels - low) / ((high - low) or 1.0)).clip(0, 1)
    return np.broadcast_to(shown, (*shown.shape[:3], 3))


# --- drawing ----------------------------------------------------------------------------------------------------------

LEFT, TOP = 30, 90  # where the content of a board begins, below its title
SIGNED = ("#053B61", BLUE, "#FFFFFF", "#C8232C", "#67001F")
MISTAKES = ("#FFFFFF", "#F7C79B", ORANGE, "#7A2E00")


def _matplotlib() -> Any:
    """matplotlib, imported when it is first needed."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise MissingPackageError("pictures need matplotlib: pip install matplotlib") from error
    return matplotlib


def _figure(width: int, height: int) -> Figure:
    """An empty figure of so many pixels."""
    figure = _matplotlib().figure.Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout="none")
    _matplotlib().backends.backend_agg.FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes for a plot, placed in pixels; everything is set here, so that a user's matplotlibrc changes nothing."""
    w, h = figure.get_size_inches() * DPI
    axes = figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h), facecolor="white")
    axes.set_axisbelow(True)
    axes.grid(True, color=FAINT, linewidth=0.8, linestyle="-")
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=GREY, linewidth=0.8)
    return axes


def _board(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure, and axes over all of it, in pixels from the top left, to put images and text on."""
    width = max(width, 640)  # room for the title
    figure = _figure(width, height)
    board = figure.add_axes((0, 0, 1, 1))
    board.set_axis_off()
    board.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, board


def _fitted(size: tuple[int, int], box: int) -> tuple[int, int]:
    """Width and height of an image of `size` (H, W) in a square of `box` pixels: enlarged by an integer, or shrunk."""
    rows, columns = size
    scale: float = box // max(size) or box / max(size)
    return max(round(columns * scale), 1), max(round(rows * scale), 1)


def _image(board: Axes, rgb: np.ndarray, left: int, top: int, width: int, height: int) -> None:
    """rgb (H, W, 3) from 0 to 1, stretched to so many pixels, in a frame; what is enlarged stays sharp."""
    larger = height >= rgb.shape[0] and width >= rgb.shape[1]
    frame = np.broadcast_to(_rgb("#B5B5B5"), (1, 1, 3))
    board.imshow(frame, extent=(left - 1, left + width + 1, top + height + 1, top - 1), aspect="auto")
    interpolation = "nearest" if larger else "antialiased"
    board.imshow(rgb, extent=(left, left + width, top + height, top), aspect="auto", interpolation=interpolation)


def _say(
    board: Axes, x: float, y: float, text: str, anchor: str, size: float = 10, color: str = INK, **style: Any
) -> None:
    """Text at a pixel, which is the `anchor` ("left top") of the text; a "$" in the name of a class is no formula."""
    ha, va = anchor.split()
    board.text(x, y, text, ha=ha, va=va, fontsize=size, color=color, parse_math=False, **style)


def _title(board: Axes, title: str, explained: str) -> None:
    _say(board, LEFT, 34, title, "left center", size=13, weight="bold")
    _say(board, LEFT, 60, explained, "left center", color=GREY)


def _colors(anchors: Sequence[str], share: np.ndarray) -> np.ndarray:
    """share (...) from 0 to 1 -> RGB (..., 3), linear between the anchors; what is not finite is dark grey."""
    table = np.array([_rgb(name) for name in anchors])
    at = np.nan_to_num(share.astype(np.float64), posinf=0, neginf=0).clip(0, 1)
    rgb = np.stack([np.interp(at, np.linspace(0, 1, len(table)), channel) for channel in table.T], axis=-1)
    return np.where(np.isfinite(share)[..., None], rgb, _rgb(INK))


def _rgb(name: str) -> np.ndarray:
    return np.array(_matplotlib().colors.to_rgb(name))


def _short(name: str) -> str:
    name = str(name)
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rstrip() + "…"


def _part(shown: int, of: int) -> str:
    return f"{shown:,} of {of:,}" if shown < of else f"all {of:,}" if of > 1 else "just one"


def _percent(share: float, digits: int) -> str:
    """Rounded, but never up to a hundred: that is said of all only."""
    if not math.isfinite(share):
        return "no data"
    most = 100 - 10**-digits if share < 1 else 100
    return f"{min(100 * share, most):.{digits}f} %"


def _many(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}" if n else f"no {thing}s"


def _save(figure: Figure, path: PathName) -> Path:
    """Write the PNG beside `path` and put it there at once. TrainingError if the folder does not take it."""
    path = Path(path)
    png = io.BytesIO()
    _matplotlib().backends.backend_agg.FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(png.getvalue())
        os.replace(part, path)
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror}): choose a folder that exists and is writable"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()
    return path
