"""Rows as columns that fit a terminal, and times as ages. Prints nothing itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..api.display import cells, fit, safe

GAP = "  "
LEAST = 6  # columns are not made narrower to let others be whole


def lines(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The table, a line each. With a ``width`` the widest columns give way until it fits."""
    table = [[safe(" ".join(cell.split())) for cell in row] for row in (head, *rows)]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    if width is not None:
        spare = sum(widths) + len(GAP) * (len(widths) - 1) - width
        while spare > 0 and max(widths) > LEAST:
            widest = widths.index(max(widths))
            widths[widest] -= 1
            spare -= 1
    return [
        GAP.join(
            _pad(fit(cell, size), size) for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    ]


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def age(at: float, now: float | None = None) -> str:
    """How long ago: ``12s``, ``5m``, ``3h``, ``9d``; empty for never."""
    if at <= 0:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - at)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"


def count(number: int) -> str:
    """``987``, ``12k``, ``3.4M``; empty for none."""
    if number < 10_000:
        return str(number) if number else ""
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"
