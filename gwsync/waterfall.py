"""A trace as a picture: a bar a stage, where it began and how long it took. SVG, no I/O.

What a gateway sent may stand in a stage's detail; everything leaves here as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .values import Trace

WIDTH, ROW, LEFT, RIGHT, TOP = 800, 24, 96, 120, 40
DETAIL_CHARS = 90
OK, FAILED, INK, FAINT = "#3b7dd8", "#c8372d", "#222222", "#888888"


class Bar:
    """One stage, in pixels."""

    def __init__(
        self, label: str, x: float, y: float, width: float, colour: str, text: str
    ) -> None:
        self.label, self.x, self.y, self.width = label, x, y, width
        self.colour, self.text = colour, text


def bars(trace: Trace) -> list[Bar]:
    """Where everything goes, for whoever draws it."""
    total = max(trace.elapsed_s, 1e-9)
    scale = (WIDTH - LEFT - RIGHT) / total
    return [
        Bar(
            _plain(one.stage, 12),
            LEFT + one.started_s * scale,
            TOP + index * ROW,
            max(one.elapsed_s * scale, 1.5),
            OK if one.ok else FAILED,
            f"{one.elapsed_s * 1000:.1f} ms{'' if one.ok else ', failed'}",
        )
        for index, one in enumerate(trace.stages)
    ]


def height(trace: Trace) -> int:
    return TOP + ROW * max(len(trace.stages), 1) + 8


def title(trace: Trace) -> str:
    return _plain(f"{trace.url}, {trace.elapsed_s * 1000:.1f} ms", DETAIL_CHARS)


def svg(trace: Trace, *, paper: bool = True) -> str:
    """The picture as one SVG element, in the browser's own fonts.

    ``paper``: dark on white, as a file has to be; else in the colour of the page around it.
    """
    from html import escape

    ink = INK if paper else "currentColor"
    back = f'<rect width="{WIDTH}" height="{height(trace)}" fill="#ffffff"/>' if paper else ""
    tall = height(trace)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{tall}" '
        f'viewBox="0 0 {WIDTH} {tall}" font-family="sans-serif" font-size="12">',
        back,
        f'<text x="8" y="20" fill="{ink}">{escape(title(trace))}</text>',
        f'<line x1="{LEFT}" y1="{TOP - 8}" x2="{LEFT}" y2="{tall - 8}" stroke="{FAINT}"/>',
    ]
    for bar, one in zip(bars(trace), trace.stages, strict=True):
        parts.append(
            f"<g><title>{escape(_plain(f'{one.stage}: {one.detail}', 200))}</title>"
            f'<text x="8" y="{bar.y + 12:.0f}" fill="{ink}">{escape(bar.label)}</text>'
            f'<rect x="{bar.x:.1f}" y="{bar.y:.0f}" width="{bar.width:.1f}" height="16" '
            f'fill="{bar.colour}"/>'
            f'<text x="{bar.x + bar.width + 6:.1f}" y="{bar.y + 12:.0f}" fill="{FAINT}">'
            f"{escape(bar.text)}</text></g>"
        )
    return "".join([*parts, "</svg>"])


def _plain(text: str, limit: int) -> str:
    shown = "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
