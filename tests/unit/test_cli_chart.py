"""The chart of ``gwsync watch --plot``."""

from __future__ import annotations

import pytest

from gwsync.api.display import cells
from gwsync.cli.chart import Rates, draw
from gwsync.cli.table import age, count, lines


def rates(**counts: list[int]) -> Rates:
    """Counts a second, by name."""
    made = Rates()
    for second in range(max(map(len, counts.values()))):
        for name, past in counts.items():
            for _ in range(past[second] if second < len(past) else 0):
                made.count(name)
        made.tick()
    return made


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits(width: int, unicode: bool) -> None:
    made = rates(agent=[5] * 20, **{"a" * 60: [1]}, **{"宽" * 30: [1]})
    made.count("\x1b[31m")
    made.tick()
    shown = draw(made, width, 10, unicode=unicode, note="waiting: " + "x" * 300)
    assert len(shown) <= 10
    assert all(cells(line) <= width for line in shown)
    assert "\x1b" not in "".join(shown)
    assert unicode or "".join(shown).replace("宽", "").isascii()


def test_the_busiest_come_first_and_few_lines_say_how_many_more() -> None:
    shown = draw(rates(slow=[1], fast=[9], middle=[4]), 80, 4)
    assert [line.split()[0] for line in shown[1:3]] == ["fast", "middle"]
    assert shown[-1] == "1 more"


def test_one_event_is_seen_beside_thousands() -> None:
    line = draw(rates(chat=[1, 3000, 0, 2]), 80, 4)[1]
    assert line.endswith("▁█ ▁")
    assert line.split()[1:3] == ["300.3", "3003"]


def test_seconds_that_nobody_drew_count() -> None:
    made = Rates()
    made.count("chat")
    made.tick(5)
    assert made.past("chat", 6) == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("ago", "shown"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages(ago: float, shown: str) -> None:
    assert age(1000_000.0, 1000_000.0 + ago) == shown
    assert age(0) == ""


def test_counts() -> None:
    assert [count(n) for n in (0, 12, 9999, 12_345, 3_400_000)] == ["", "12", "9999", "12k", "3.4M"]


def test_a_table_gives_way_where_it_is_widest() -> None:
    rows = [("a", "x" * 100, "b"), ("long-name", "", "c")]
    shown = lines(("ONE", "TWO", "THREE"), rows, 40)
    assert all(cells(line) <= 40 for line in shown)
    assert shown[1].startswith("a ")
    assert shown[2].startswith("long-name ")
