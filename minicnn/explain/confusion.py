"""The figure of a confusion matrix: with every count in its cell, or, for many classes, seen from afar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError, ShapeError
from . import drawing
from .drawing import BLUE, DPI, FAINT, GREY, INK, LEFT, ORANGE, TOP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NUMBERED = 25  # classes, for which there is room to print every count
MISTAKES = ("#FFFFFF", "#F7C79B", ORANGE, "#7A2E00")


def confusion_matrix_figure(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    counts, n = np.asarray(matrix), len(classes)
    if counts.shape != (n, n) or not n:
        raise ShapeError(f"the confusion matrix of {n} classes has shape ({n}, {n}), got {counts.shape}")
    if counts.dtype.kind not in "iub" and not np.array_equal(counts, np.floor(counts)):
        raise ArgumentError("a confusion matrix holds counts of examples, got numbers that are not whole")
    counts = counts.astype(np.int64)
    names = [drawing.short(name) for name in classes]
    return (_matrix_with_numbers if n <= MOST_NUMBERED else _matrix_from_afar)(counts, names)


def _matrix_with_numbers(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Every count is printed in its cell, but for the zeros."""
    n, longest = len(counts), 8 * max(map(len, names))
    cell = max(28, min(60, 640 // n))
    size, side, left, top = 10 if cell >= 36 else 9, n * cell, 50 + longest, TOP + 25
    tilted = longest > cell
    below = 25 + longest * 3 // 4 if tilted else 35
    figure, board = drawing.board(left + side + 105, top + side + below + 35)
    drawing.title(board, "Which class was taken for which", _facts(counts, names, figure))

    mistakes = _off_diagonal(counts)
    drawing.image(board, _mistake_colors(counts), left, top, side, side)
    board.hlines(top + cell * np.arange(1, n), left, left + side, color=FAINT, linewidth=0.7)
    board.vlines(left + cell * np.arange(1, n), top, top + side, color=FAINT, linewidth=0.7)
    for (t, p), count in np.ndenumerate(counts):
        if count:
            text = f"{count:,}" if cell >= 50 else str(count)
            color = GREY if t == p else "white" if mistakes[t, p] > 0.4 * mistakes.max() else INK
            fitting = min(size + 1, cell / len(text))
            x, y = left + cell * (p + 0.5), top + cell * (t + 0.5)
            drawing.say(board, x, y, text, "center center", size=fitting, color=color)

    recall = _recall(counts)
    lowest = min(recall[np.isfinite(recall)], default=1)
    drawing.say(board, left + side + 15, top - 6, "right", "left bottom", color=GREY)
    for i, name in enumerate(names):
        middle = cell * (i + 0.5)
        drawing.say(board, left - 8, top + middle, name, "right center", size)
        anchor, angle = ("right center", 40) if tilted else ("center top", 0)
        drawing.say(board, left + middle, top + side + 8, name, anchor, size, rotation=angle, rotation_mode="anchor")
        weight = "bold" if recall[i] == lowest < 1 else "normal"
        drawing.say(
            board, left + side + 15, top + middle, drawing.percent(recall[i], 1), "left center", size, weight=weight
        )
    drawing.say(board, left + side / 2, top + side + below, "predicted", "center top")
    drawing.say(board, 22, top + side / 2, "true", "center center", rotation=90)
    return figure


def _matrix_from_afar(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """For many classes: cells without numbers, accuracies as bars, and lists of what is worst."""
    n = len(counts)
    names = [f"{i} {name}" for i, name in enumerate(names)]
    side, left, top = 700 // n * n if n <= 700 else 950, 85, TOP + 25
    figure, board = drawing.board(left + side + 130, top + side + 290)
    drawing.title(board, "Which class was taken for which", _facts(counts, names, figure))
    drawing.image(board, _mistake_colors(counts), left, top, side, side)

    recall, bars = _recall(counts), left + side + 20
    filled = np.arange(80) < 80 * np.nan_to_num(recall)[:, None]
    drawing.image(
        board, np.where(filled[..., None], drawing.rgb_of(BLUE), drawing.rgb_of("white")), bars, top, 80, side
    )
    drawing.say(board, bars, top - 6, "right", "left bottom", color=GREY)
    drawing.say(board, bars, top + side + 8, "0", "left top", size=9)
    drawing.say(board, bars + 80, top + side + 8, "100 %", "right top", size=9)
    for i in range(0, n, 10 if n <= 200 else 100):
        middle = side * (i + 0.5) / n
        drawing.say(board, left - 8, top + middle, str(i), "right center", size=9)
        drawing.say(board, left + middle, top + side + 8, str(i), "center top", size=9)
    drawing.say(board, left + side / 2, top + side + 32, "predicted (number of the class)", "center top")
    drawing.say(board, 22, top + side / 2, "true (number of the class)", "center center", rotation=90)

    hardest = [i for i in np.argsort(recall, kind="stable")[:10] if recall[i] < 1]
    pairs = [f"{names[t]} as {names[p]}: {counts[t, p]:,}" for t, p in _most_frequent(counts, 10)]
    for x, title, lines in (
        (left, "Most frequent mistakes", pairs),
        (left + 420, "Least accurate classes", [f"{names[i]}: {drawing.percent(recall[i], 1)}" for i in hardest]),
    ):
        drawing.say(board, x, top + side + 75, title, "left top", weight="bold")
        for i, line in enumerate(lines or ["none"]):
            drawing.say(board, x, top + side + 97 + 17 * i, line, "left top", size=9)
    return figure


def _off_diagonal(counts: np.ndarray) -> np.ndarray:
    return counts * (1 - np.eye(len(counts), dtype=counts.dtype))


def _mistake_colors(counts: np.ndarray) -> np.ndarray:
    """(n, n) -> RGB (n, n, 3): white to brown for mistakes (the root lifts rare ones off the white), grey for hits."""
    mistakes = _off_diagonal(counts)
    rgb = drawing.colors(MISTAKES, np.sqrt(mistakes / max(mistakes.max(), 1)))
    rgb[np.eye(len(counts), dtype=bool)] = drawing.rgb_of(FAINT)
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
    said = f"{drawing.percent(right / total if total else math.nan, 2)} right, {drawing.many(total - right, 'mistake')}"
    for i, (t, p) in enumerate(_most_frequent(counts, 3)):
        longer = f"{said}{', ' if i else '; most often '}{names[t]} as {names[p]} ({counts[t, p]:,})"
        if 7.2 * len(longer) > figure.get_figwidth() * DPI - 2 * LEFT:
            break
        said = longer
    return said
