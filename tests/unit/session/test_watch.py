"""One greenlet looks after all links: what one of them does must not cost the others theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gwsync import limits
from gwsync.runtime.clock import SleepWatch
from gwsync.session.watch import Rounds, _readers_turn


class Watched:
    """Stands for a link's watch, and notes what it is told."""

    def __init__(self, notes: list[str], look: Callable[[], object] = lambda: None) -> None:
        self.notes = notes
        self.do = look

    def look(self, now: float) -> None:
        self.notes.append("look")
        self.do()

    def woke(self, slept_s: float, now: float) -> None:
        self.notes.append(f"slept {slept_s:g}")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCH_EVERY_S", 0.01)


def test_after_a_sleep_the_reader_has_its_turn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SleepWatch, "slept_s", lambda self, meant_s: 3.0)
    rounds, notes = Rounds(), list[str]()
    watch: Any = Watched(notes)
    rounds.join(watch)
    gevent.spawn(notes.append, "reader")
    assert rounds.slept()
    rounds.leave(watch)
    assert notes[:2] == ["reader", "slept 3"]


def test_a_turn_in_which_the_process_stood_still_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody held the interpreter: what came in that time is unread still."""
    slow = [0.2, 0.2]
    turns: list[float] = []
    sleep = gevent.sleep

    def stands_still(seconds: float) -> None:
        turns.append(seconds)
        if slow:
            time.sleep(slow.pop())
        sleep(seconds)

    monkeypatch.setattr(gevent, "sleep", stands_still)
    _readers_turn()
    assert len(turns) == 3
    slow[:] = [0.11] * 100
    turns.clear()
    _readers_turn()
    assert len(turns) == limits.READER_TURNS


def test_one_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rounds, notes = Rounds(), list[str]()
    broken: Any = Watched([], look=lambda: 1 // 0)
    sound: Any = Watched(notes)
    rounds.join(broken)
    rounds.join(sound)
    with gevent.Timeout(5):
        while len(notes) < 3:
            gevent.sleep(0.01)
    assert "internal error" in caplog.text
    rounds.leave(broken)
    rounds.leave(sound)


def test_one_that_left_meanwhile_is_not_looked_at() -> None:
    rounds, notes = Rounds(), list[str]()
    second: Any = Watched(notes)
    first: Any = Watched([], look=lambda: rounds.leave(second))
    rounds.join(first)
    rounds.join(second)
    with gevent.Timeout(5):
        while not first.notes:
            gevent.sleep(0.01)
    rounds.leave(first)
    assert notes == []


def test_its_greenlet_ends_with_the_last_link_and_is_back_for_the_next() -> None:
    rounds, notes = Rounds(), list[str]()
    watch: Any = Watched(notes)
    for _ in range(2):
        notes.clear()
        rounds.join(watch)
        rounds.join(watch)
        with gevent.Timeout(5):
            while not notes:
                gevent.sleep(0.01)
        rounds.leave(watch)
        with gevent.Timeout(5):
            while rounds._greenlet is not None:
                gevent.sleep(0.01)
