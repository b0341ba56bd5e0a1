"""Rates of events as a chart of plain characters, drawn over itself. Prints nothing itself."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable

from ..api.display import cells, fit, safe

HISTORY_S = 600  # one count a second is kept for so long
BARS = {True: " ▁▂▃▄▅▆▇█", False: " .:-=+*#@"}  # with and without Unicode
NAME, RATE, TOTAL = 24, 8, 9  # columns for each


class Rates:
    """Events a second, by name. ``count`` one, then ``tick`` once a second."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._past: dict[str, deque[int]] = {}
        self._seconds = 0

    def count(self, name: str) -> None:
        self.totals[name] += 1
        self._now[name] += 1

    def tick(self, seconds: int = 1) -> None:
        """``seconds`` have passed: what was counted came in the first of them."""
        for index in range(min(seconds, HISTORY_S)):
            for name in self.totals:
                past = self._past.setdefault(name, deque(maxlen=HISTORY_S))
                past.append(0 if index else self._now[name])
            self._now.clear()
        self._seconds += seconds

    def past(self, name: str, seconds: int) -> list[int]:
        """Counts of the last seconds, the newest last; 0 before it was first seen."""
        found = list(self._past.get(name, ()))[-seconds:]
        return [0] * (seconds - len(found)) + found

    def names(self) -> list[str]:
        """The busiest of late first."""
        return sorted(self.totals, key=lambda name: (-sum(self.past(name, 60)), name))


def draw(
    rates: Rates, width: int, height: int, *, unicode: bool = True, note: str = ""
) -> list[str]:
    """The chart as lines of at most ``width`` columns and at most ``height`` lines."""
    bars = BARS[unicode]
    room = max(width - NAME - RATE - TOTAL - 3, 8)
    head = f"{'EVENT':<{NAME}} {'PER SEC':>{RATE}} {'TOTAL':>{TOTAL}} last {room} s"
    names = rates.names()
    shown = names[: max(height - 2, 1)]
    lines = [head]
    for name in shown:
        past = rates.past(name, room)
        recent = rates.past(name, 10)
        rate = f"{sum(recent) / len(recent):.1f}"
        label = fit(safe(name), NAME)
        pad = " " * (NAME - cells(label))
        spark = _spark(past, bars)
        lines.append(f"{label}{pad} {rate:>{RATE}} {rates.totals[name]:>{TOTAL}} {spark}")
    hidden = len(names) - len(shown)
    foot = ", ".join(filter(None, [f"{hidden} more" if hidden else "", note]))
    if foot:
        lines.append(foot)
    return [fit(line, width).rstrip() for line in lines]


def _spark(counts: Iterable[int], bars: str) -> str:
    """One character a second; each line has a scale of its own, and one event is seen."""
    counts = list(counts)
    most = max(counts, default=0)
    top = len(bars) - 1
    return "".join(
        bars[0] if not count else bars[max(1, math.ceil(count / most * top))] for count in counts
    )
