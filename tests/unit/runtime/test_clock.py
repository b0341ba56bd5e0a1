"""Sleeps of the machine and stops of the process, told from ordinary passing of time."""

from __future__ import annotations

import time

import pytest

from gwsync import limits
from gwsync.runtime import clock
from gwsync.runtime.clock import SleepWatch


class Clocks:
    """The three clocks, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic = self.sleepless = self.wall = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(clock, "_sleepless", lambda: self.sleepless)

    def go(self, monotonic: float, sleepless: float, wall: float) -> None:
        self.monotonic += monotonic
        self.sleepless += sleepless
        self.wall += wall


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ((1.0, 1.0, 1.0), 0.0),
        ((1.3, 1.3, 1.3), 0.0),  # a busy machine
        ((1.0, 3601.0, 3601.0), 3600.0),  # slept: Linux stops the monotonic clock
        ((11.0, 11.0, 11.0), 10.0),  # stopped, or a debugger
        ((1.0, 1.0, 3601.0), limits.JUMP_S),  # the wall clock was set: no more than a suspicion
        ((1.0, 1.0, -3599.0), limits.JUMP_S),
    ],
)
def test_what_went_by_without_us(
    monkeypatch: pytest.MonkeyPatch, passed: tuple[float, float, float], expected: float
) -> None:
    clocks = Clocks(monkeypatch)
    watch = SleepWatch()
    clocks.go(*passed)
    assert watch.slept_s(1.0) == pytest.approx(expected)
    clocks.go(1.0, 1.0, 1.0)
    assert watch.slept_s(1.0) == 0.0


def test_there_is_a_clock_that_goes_on() -> None:
    first = clock._sleepless()
    assert clock._sleepless() >= first


def test_without_one_it_is_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    monkeypatch.setattr(time, "time", lambda: 5.0)
    assert clock._sleepless() == 5.0
