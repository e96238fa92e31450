"""The picture of the README: how many times as fast as PyTorch a training step is, and how much memory it needs.

Drawn twice, for light and dark pages, on nothing: the page shows through. The same rows give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Colours(NamedTuple):
    """Of text, of what is less important, of lines in the background, and of the two engines (Okabe and Ito)."""

    ink: str
    grey: str
    faint: str
    ours: str
    other: str


PAGES = {
    "light": Colours("#1f2328", "#59636e", "#d8dee4", "#0072B2", "#D55E00"),
    "dark": Colours("#e6edf3", "#9198a1", "#3d444d", "#56B4E9", "#E69F00"),
}
WIDTH, ROW, TOP, BOTTOM = 880, 30, 64, 44  # pixels
LEFT, SPEED, GAP, MEMORY = 150, 400, 60, 230  # names, first panel, space, second panel
DPI = 100


def draw(rows: list[dict[str, Any]], folder: Path, title: str) -> list[Path]:
    """speed-light.svg and speed-dark.svg, from the rows of train_step.py that have both sides."""
    rows = [row for row in rows if "ratio" in row]
    files = []
    for page, colours in PAGES.items():
        files.append(folder / f"speed-{page}.svg")
        _draw(rows, files[-1], colours, title)
    return files


def _draw(rows: list[dict[str, Any]], file: Path, colours: Colours, title: str) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = TOP + ROW * len(rows) + BOTTOM
    style = {"svg.hashsalt": "speed", "font.family": "DejaVu Sans", "svg.fonttype": "path"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        figure.patch.set_alpha(0)
        _speed(_panel(figure, LEFT, SPEED, len(rows), colours), rows, colours)
        _memory(_panel(figure, LEFT + SPEED + GAP, MEMORY, len(rows), colours), rows, colours)
        figure.text(LEFT / WIDTH, 8 / height, title, color=colours.grey, fontsize=7.5)
        figure.savefig(file, metadata={"Date": None}, transparent=True)


def _panel(figure: Any, left: int, width: int, count: int, colours: Colours) -> Any:
    """Axes of `count` rows, the first one on top, with nothing but a line at 1: PyTorch."""
    height = figure.get_size_inches()[1] * DPI
    axes = figure.add_axes((left / WIDTH, BOTTOM / height, width / WIDTH, ROW * count / height))
    axes.patch.set_alpha(0)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(True, axis="x", color=colours.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", color=colours.faint, labelcolor=colours.grey, labelsize=8, length=0)
    axes.axvline(1, color=colours.ink, linewidth=1.2, zorder=3)
    return axes


def _headed(axes: Any, text: str, remark: str, colours: Colours) -> None:
    lift = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "annotation_clip": False}
    axes.annotate(text, (0, 1), (0, 22), color=colours.ink, fontsize=10, fontweight="bold", **lift)
    axes.annotate(remark, (0, 1), (0, 8), color=colours.grey, fontsize=8, **lift)


def _speed(axes: Any, rows: list[dict[str, Any]], colours: Colours) -> None:
    """Bars of the ratios with their quartiles, and a mark for torch.compile."""
    compiled = any("compiled_ratio" in row for row in rows)
    remark = "times as fast as PyTorch (line)" + (", and as torch.compile (◆)" if compiled else "")
    _headed(axes, "Speed of a training step", remark, colours)
    axes.set_xlim(0, 1.16 * max(max(row["ratio_high"], row.get("compiled_ratio", 0)) for row in rows))
    for place, row in enumerate(rows):
        axes.barh(place, row["ratio"], height=0.56, color=colours.ours, zorder=2)
        axes.plot([row["ratio_low"], row["ratio_high"]], [place] * 2, color=colours.ink, linewidth=1.4, zorder=4)
        if "compiled_ratio" in row:
            axes.plot(row["compiled_ratio"], place, "D", color=colours.other, markersize=4.5, zorder=5)
        end = max(row["ratio"], row["ratio_high"], row.get("compiled_ratio", 0))
        axes.annotate(f"{row['ratio']:.2f}", (end, place), (6, 0), textcoords="offset points", va="center",
                      color=colours.ink, fontsize=9)  # fmt: skip
        axes.annotate(row["model"], (0, place), (-8, 3), textcoords="offset points", va="center", ha="right",
                      color=colours.ink, fontsize=9, annotation_clip=False)  # fmt: skip
        shape = f"{row['batch']} × {' × '.join(map(str, row['input']))}"
        axes.annotate(shape, (0, place), (-8, -7), textcoords="offset points", va="center", ha="right",
                      color=colours.grey, fontsize=6.5, annotation_clip=False)  # fmt: skip


def _memory(axes: Any, rows: list[dict[str, Any]], colours: Colours) -> None:
    """Bars of our peak over PyTorch's, with ours in MB."""
    _headed(axes, "Peak memory", "as a share of PyTorch's (line); in MB", colours)
    shares = [row["ours_peak_mb"] / row["theirs_peak_mb"] if "theirs_peak_mb" in row else 0.0 for row in rows]
    axes.set_xlim(0, 1.45 * max([1.0, *shares]))
    for place, (row, share) in enumerate(zip(rows, shares, strict=True)):
        axes.barh(place, share, height=0.56, color=colours.ours, alpha=0.55, zorder=2)
        if share:
            axes.annotate(f"{row['ours_peak_mb']:,.0f}", (max(share, 1.0), place), (6, 0), textcoords="offset points",
                          va="center", color=colours.ink, fontsize=9)  # fmt: skip
