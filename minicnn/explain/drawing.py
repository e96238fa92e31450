"""Drawing by the pixel: figures, and the images, texts and colours that are put on them; saved as PNG at once.

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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingPackageError, TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100  # of the file; with it, sizes in points are 0.72 of sizes in pixels
LEFT, TOP = 30, 90  # where the content of a board begins, below its title
BLUE, ORANGE, INK, GREY, FAINT = "#0072B2", "#D55E00", "#222222", "#6E6E6E", "#E3E3E3"
NAME_LENGTH = 18  # longer names of classes are cut

PathName = str | os.PathLike[str]


def matplotlib() -> Any:
    """matplotlib, imported when it is first needed."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise MissingPackageError("pictures need matplotlib: pip install matplotlib") from error
    return matplotlib


def figure(width: int, height: int) -> Figure:
    """An empty figure of so many pixels."""
    figure = matplotlib().figure.Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout="none")
    matplotlib().backends.backend_agg.FigureCanvasAgg(figure)
    return figure


def axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
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


def board(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure, and axes over all of it, in pixels from the top left, to put images and text on."""
    width = max(width, 640)  # room for the title
    empty = figure(width, height)
    board = empty.add_axes((0, 0, 1, 1))
    board.set_axis_off()
    board.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return empty, board


def fitted(size: tuple[int, int], box: int) -> tuple[int, int]:
    """Width and height of an image of `size` (H, W) in a square of `box` pixels: enlarged by an integer, or shrunk."""
    rows, columns = size
    scale: float = box // max(size) or box / max(size)
    return max(round(columns * scale), 1), max(round(rows * scale), 1)


def image(board: Axes, rgb: np.ndarray, left: int, top: int, width: int, height: int) -> None:
    """rgb (H, W, 3) from 0 to 1, stretched to so many pixels, in a frame; what is enlarged stays sharp."""
    larger = height >= rgb.shape[0] and width >= rgb.shape[1]
    frame = np.broadcast_to(rgb_of("#B5B5B5"), (1, 1, 3))
    board.imshow(frame, extent=(left - 1, left + width + 1, top + height + 1, top - 1), aspect="auto")
    interpolation = "nearest" if larger else "antialiased"
    board.imshow(rgb, extent=(left, left + width, top + height, top), aspect="auto", interpolation=interpolation)


def say(
    board: Axes, x: float, y: float, text: str, anchor: str, size: float = 10, color: str = INK, **style: Any
) -> None:
    """Text at a pixel, which is the `anchor` ("left top") of the text; a "$" in the name of a class is no formula."""
    ha, va = anchor.split()
    board.text(x, y, text, ha=ha, va=va, fontsize=size, color=color, parse_math=False, **style)


def title(board: Axes, title: str, explained: str) -> None:
    say(board, LEFT, 34, title, "left center", size=13, weight="bold")
    say(board, LEFT, 60, explained, "left center", color=GREY)


def colors(anchors: Sequence[str], share: np.ndarray) -> np.ndarray:
    """share (...) from 0 to 1 -> RGB (..., 3), linear between the anchors; what is not finite is dark grey."""
    table = np.array([rgb_of(name) for name in anchors])
    at = np.nan_to_num(share.astype(np.float64), posinf=0, neginf=0).clip(0, 1)
    rgb = np.stack([np.interp(at, np.linspace(0, 1, len(table)), channel) for channel in table.T], axis=-1)
    return np.where(np.isfinite(share)[..., None], rgb, rgb_of(INK))


def rgb_of(name: str) -> np.ndarray:
    return np.array(matplotlib().colors.to_rgb(name))


def short(name: str) -> str:
    name = str(name)
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rstrip() + "…"


def part_of(shown: int, of: int) -> str:
    return f"{shown:,} of {of:,}" if shown < of else f"all {of:,}" if of > 1 else "just one"


def percent(share: float, digits: int) -> str:
    """Rounded, but never up to a hundred: that is said of all only."""
    if not math.isfinite(share):
        return "no data"
    most = 100 - 10**-digits if share < 1 else 100
    return f"{min(100 * share, most):.{digits}f} %"


def many(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}" if n else f"no {thing}s"


def save(figure: Figure, path: PathName) -> Path:
    """Write the PNG beside `path` and put it there at once. TrainingError if the folder does not take it."""
    path = Path(path)
    png = io.BytesIO()
    matplotlib().backends.backend_agg.FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
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
