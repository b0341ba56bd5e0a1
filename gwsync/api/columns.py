"""Rows as tables: columns of text that fit a terminal, HTML for notebooks. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .. import markup
from .display import cells, fit, safe

GAP = "  "
LEAST = 6  # columns are not made narrower to let others be whole


class Printer(Protocol):
    """IPython's, which prefers it to a bundle's plain text where a value is a list."""

    def text(self, obj: str) -> None: ...


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


def bundle(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """The table as IPython wants to have it: HTML, and text for whoever cannot show that."""
    return {
        "text/html": markup.table(title, map(tuple, rows), head),
        "text/plain": "\n".join([safe(title), *lines(head, rows, None)]),
    }


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
