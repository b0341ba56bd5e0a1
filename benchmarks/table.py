"""The figures as text: one block a row, then every bar with what was reached."""

from __future__ import annotations

import statistics
from typing import Any

from .model import MORE_IS_BETTER, UNITS, Bar, Measured, verdict


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def block(key: str, row: dict[str, Any]) -> str:
    """A table of one row: medians of every side, and the ratio to the first side."""
    sides = row["sides"]
    first = next(iter(sides))
    head = "".join(f"{UNITS.get(metric, metric):>28}" for metric in row["metrics"])
    lines = [f"{key}: {row['title']}", f"  {'':36}{head}"]
    for name, side in sides.items():
        cells = ""
        for metric in row["metrics"]:
            cells += f"{_cell(metric, side, None if name == first else sides[first]):>28}"
        lines.append(f"  {name:36}{cells}".rstrip())
        if name in row["missing"]:
            lines.append(f"      {row['missing'][name]}")
    if row["note"]:
        lines.append(f"  ({row['note']})")
    return "\n".join([*lines, *(f"  {bar_line(judged)}" for judged in row["bars"])])


def _cell(metric: str, side: dict[str, Any], first: dict[str, Any] | None) -> str:
    if metric not in side:
        return "-" + " " * 10
    value = side[metric]["median"]
    if first is None or metric not in first or not value or not first[metric]["median"]:
        return number(value) + " " * 10
    base = first[metric]["median"]
    ratio = base / value if metric in MORE_IS_BETTER else value / base
    return f"{number(value)} {ratio:8.2f}x"


def judge(measured: Measured) -> list[dict[str, Any]]:
    """Each bar with the ratio reached, its spread, and the verdict."""
    found = []
    for bar in measured.row.bars:
        ratios = measured.ratios(bar)
        found.append(
            {
                "what": _what(bar),
                "wanted": _wanted(bar),
                "metric": bar.metric,
                "ours": bar.ours,
                "peer": bar.peer,
                "ratio": round(ratios[0], 3) if ratios else None,
                "spread": [round(one, 3) for one in ratios[1:]] if ratios else None,
                "verdict": verdict(bar, ratios[0]) if ratios else "not measured",
            }
        )
    return found


def bar_line(judged: dict[str, Any]) -> str:
    if judged["ratio"] is None:
        return f"{'not measured':12} {judged['what']}: {judged['wanted']}"
    low, high = judged["spread"]
    reached = f"{number(judged['ratio'])} ({number(low)} to {number(high)})"
    return f"{judged['verdict']:12} {judged['what']}: {reached}, bar {judged['wanted']}"


def _what(bar: Bar) -> str:
    unit = UNITS.get(bar.metric, bar.metric)
    return f"{bar.ours}, {unit}" + (f", against {bar.peer}" if bar.peer else "")


def _wanted(bar: Bar) -> str:
    if bar.least is not None:
        return f"at least {bar.least:g}" + ("x better" if bar.peer else "")
    return f"at most {bar.most:g}" + ("x" if bar.peer else "")


def as_json(measured: Measured) -> dict[str, Any]:
    return {
        "title": measured.row.title,
        "note": measured.row.note,
        "metrics": list(measured.row.metrics),
        "sides": {
            name: {
                metric: {
                    "median": statistics.median(values),
                    "least": min(values),
                    "most": max(values),
                    "values": values,
                }
                for metric in dict.fromkeys(key for one in rounds for key in one)
                if (values := measured.values(name, metric))
            }
            for name, rounds in measured.sides.items()
        },
        "missing": measured.missing,
        "bars": judge(measured),
    }
