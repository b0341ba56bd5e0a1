"""What a benchmark is: rows of sides that do the same work, and the bars between them."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Metrics of which more is better; of all others less is.
MORE_IS_BETTER = {"rate", "mb_s"}
UNITS = {
    "cpu_us": "us CPU",
    "rate": "a second",
    "mb_s": "MB a second",
    "failed": "failed",
    "p50_us": "us p50",
    "p50_first_us": "us p50 of the first",
    "p99_us": "us p99",
    "ms": "ms",
    "cpu_ms": "ms CPU",
    "peak_mb": "MB peak",
    "modules": "modules",
    "kb_each": "KB each",
    "kb_each_first": "KB each of the first 1,000",
    "connects": "connected a second",
    "dropped": "dropped",
    "grown_mb": "MB grown",
    "times": "times",
    "pushed": "pushed a second",
    "lost": "lost",
}
Figures = dict[str, float]  # of one run of one side, by metric
RunSide = Callable[["Context", dict[str, Any]], Figures]


@dataclass(frozen=True)
class Side:
    """One client, or one floor. ``share``: of the row's count, for those that are slow."""

    name: str
    run: RunSide
    job: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    node: bool = False  # needs Node and packages of npm


@dataclass(frozen=True)
class Bar:
    """``ours`` against ``peer`` (or, without one, against the limit itself).

    ``least``: so many times better than the peer. ``most``: at most so many times the peer's
    figure, or without a peer that figure.
    """

    metric: str
    ours: str
    peer: str | None = None
    least: float | None = None
    most: float | None = None
    unless: str = ""  # why it may not apply


@dataclass(frozen=True)
class Row:
    """What is measured side by side. ``source`` are arguments for benchmarks.source."""

    key: str
    title: str
    sides: tuple[Side, ...]
    bars: tuple[Bar, ...] = ()
    metrics: tuple[str, ...] = ("cpu_us", "rate")
    job: dict[str, Any] = field(default_factory=dict)
    source: tuple[str, ...] | None = None
    rounds: int | None = None  # if it should differ from the others
    prepare: Callable[[Context], contextlib.AbstractContextManager[object]] | None = None
    note: str = ""


@dataclass
class Context:
    """What sides need to run: where the source listens, how much, and what was prepared."""

    port: int = 0
    scale: float = 1.0
    packages: Any = None  # where Node and its packages are
    made: Any = None  # what ``prepare`` gave


@dataclass
class Measured:
    """Figures of one row: for each side a list with one entry per round."""

    row: Row
    sides: dict[str, list[Figures]]
    missing: dict[str, str] = field(default_factory=dict)  # side: why it did not run

    def values(self, side: str, metric: str) -> list[float]:
        return [one[metric] for one in self.sides.get(side, ()) if metric in one]

    def median(self, side: str, metric: str) -> float | None:
        found = self.values(side, metric)
        return statistics.median(found) if found else None

    def ratios(self, bar: Bar) -> tuple[float, float, float] | None:
        """Of the medians, and the least and greatest of the single rounds."""
        mine = self.values(bar.ours, bar.metric)
        theirs = self.values(bar.peer, bar.metric) if bar.peer else [1.0] * len(mine)
        if not mine or not theirs:
            return None
        better = bar.least is not None and bar.metric not in MORE_IS_BETTER

        def ratio(ours: float, peer: float) -> float:
            return peer / ours if better else ours / peer

        single = [ratio(*pair) for pair in zip(mine, theirs, strict=False)]
        return (
            ratio(statistics.median(mine), statistics.median(theirs)),
            min(single),
            max(single),
        )


def verdict(bar: Bar, ratio: float) -> str:
    if bar.least is not None:
        return "met" if ratio >= bar.least else "MISSED"
    assert bar.most is not None
    return "met" if ratio <= bar.most else "MISSED"
