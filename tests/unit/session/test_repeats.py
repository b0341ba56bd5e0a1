"""Bursts of identical log lines collapse into one with a count."""

from __future__ import annotations

import logging

import gevent
import pytest

from gwsync.session.repeats import Repeats

log = logging.getLogger("gwsync.test_repeats")  # nobody else writes there


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == log.name]


def test_a_burst_is_a_few_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(log, within_s=0.5, most=2)
    for attempt in range(100):
        repeats.write(logging.WARNING, "lost; attempt %d", attempt)
        repeats.write(logging.WARNING, "another line")
    assert lines(caplog) == [
        "lost; attempt 0",
        "another line",
        "lost; attempt 1",
        "another line",
    ]
    with gevent.Timeout(5):
        while len(lines(caplog)) < 6:
            gevent.sleep(0.01)
    assert set(lines(caplog)[4:]) == {
        "lost; attempt 99 (98 more like it)",
        "another line (98 more like it)",
    }
    repeats.write(logging.WARNING, "lost; attempt %d", 100)  # the burst is over
    assert lines(caplog)[-1] == "lost; attempt 100"


def test_what_was_counted_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(log, most=1)
    for attempt in range(3):
        repeats.write(logging.WARNING, "lost; attempt %d", attempt)
    repeats.flush()
    repeats.flush()
    assert lines(caplog) == ["lost; attempt 0", "lost; attempt 2 (2 more like it)"]
