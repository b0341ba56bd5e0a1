"""The plots as SVG: dots on a logarithmic axis, with the least and greatest round as a line.

No library: a few hundred bytes of text each. Colours follow the reader's light or dark scheme
where the viewer says which it is, and are readable on both where it does not.
"""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

from .model import MORE_IS_BETTER, UNITS
from .table import number

WIDTH, LEFT, RIGHT, TOP, LINE = 760, 220, 80, 62, 26
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #6e7781 }
.title { font-size: 15px; font-weight: 600 }
.ours { font-weight: 600; fill: #1f7a4d }
line { stroke: #8c959f; stroke-width: 1 }
.grid { stroke-opacity: .3 }
.range { stroke-width: 3; stroke-opacity: .6 }
circle { fill: #8c959f }
circle.ours { fill: #1f9d5c }
circle.floor { fill: none; stroke: #8c959f; stroke-width: 2 }
@media (prefers-color-scheme: light) { text { fill: #24292f } .ours { fill: #116239 } }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .ours { fill: #4ac585 } }
"""
# Which rows have a plot, and of what.
PLOTTED = {
    "events-200": "cpu_us",
    "events-2k": "cpu_us",
    "events-64k-untouched": "cpu_us",
    "paced-2000": "p50_us",
    "request": "p50_us",
    "request-16-threads": "rate",
    "request-many-64": "rate",
    "request-1m": "rate",
    "idle-connections": "kb_each",
    "import": "ms",
    "one-shot": "ms",
    "relay-stream": "mb_s",
    "relay-short-16": "cpu_us",
}


def draw(rows: dict[str, Any]) -> dict[str, str]:
    return {key: plot(rows[key], metric) for key, metric in PLOTTED.items() if key in rows}


def plot(row: dict[str, Any], metric: str) -> str:
    """One row's sides, the best at the top."""
    found = [(name, side[metric]) for name, side in row["sides"].items() if metric in side]
    found.sort(key=lambda pair: pair[1]["median"], reverse=metric in MORE_IS_BETTER)
    if not found:
        return ""
    low, high = _decades(found)
    height = TOP + LINE * len(found) + 30

    def x(value: float) -> float:
        part = (math.log10(max(value, 1e-9)) - low) / (high - low)
        return LEFT + min(max(part, 0), 1) * (WIDTH - LEFT - RIGHT)

    better = "more" if metric in MORE_IS_BETTER else "less"
    unit = UNITS.get(metric, metric)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(row['title'])}</title><style>{STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(row["title"])}</text>',
        f'<text x="8" y="40">{unit}, logarithmic; {better} is better; '
        f"median, least and greatest of {row.get('rounds', '?')} rounds</text>",
    ]
    bottom = TOP + LINE * len(found)
    for decade in range(low, high + 1):
        at = x(10.0**decade)
        label = number(10.0**decade)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for index, (name, side) in enumerate(found):
        parts += _dot(name, side, TOP + LINE * index + LINE / 2, x)
    return "\n".join([*parts, "</svg>", ""])


def _dot(name: str, side: dict[str, float], y: float, x: Any) -> list[str]:
    kind = "floor" if name.startswith("floor") else "ours" if "gwsync" in name else "peer"
    at, end = x(side["median"]), x(side["most"])
    return [
        f'<text class="{kind}" x="{LEFT - 10}" y="{y + 4:.0f}" text-anchor="end">{escape(name)}'
        "</text>",
        f'<line class="range" x1="{x(side["least"]):.1f}" x2="{end:.1f}" y1="{y}" y2="{y}"/>',
        f'<circle class="{kind}" cx="{at:.1f}" cy="{y}" r="5"/>',
        f'<text class="{kind}" x="{max(at, end) + 10:.1f}" y="{y + 4:.0f}">'
        f"{number(side['median'])}</text>",
    ]


def _decades(found: list[tuple[str, dict[str, float]]]) -> tuple[int, int]:
    """Whole powers of ten around all that is shown."""
    low = math.floor(math.log10(max(min(side["least"] for _, side in found), 1e-3)))
    high = math.ceil(math.log10(max(side["most"] for _, side in found)))
    return low, max(high, low + 1)
