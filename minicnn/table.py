"""Plain-text tables, for reports that are printed: model summaries, timings, memory."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], align: str, total: Sequence[str] | None = None
) -> str:
    """Columns of equal width, with a rule under the head and above the total; no line ends in spaces.

    align: one character a column, "<" to the left or ">" to the right. All lines have as many cells as the head.
    """
    lines = [head, *rows, *([] if total is None else [total])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))

    def line(cells: Sequence[str]) -> str:
        return "  ".join(f"{cell:{side}{w}}" for cell, side, w in zip(cells, align, widths, strict=True)).rstrip()

    text = [line(cells) for cells in lines]
    text[1:1] = [rule]
    if total is not None:
        text[-1:-1] = [rule]
    return "\n".join(text)


def format_bytes(n: int) -> str:
    """Five digits at most, with thousands separated: 9,216 B, 123.4 KiB, 1,234.5 MiB."""
    return f"{n:,} B" if n < 10_000 else f"{n / 1024:,.1f} KiB" if n < 10_000 * 1024 else f"{n / 1024**2:,.1f} MiB"
