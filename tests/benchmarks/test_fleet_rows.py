"""The rows of a fleet: with a redis-server, which `tox -e fleet` wants, and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import every_bar_has_a_verdict, every_side_has_figures_or_says_why_not, measured

ROWS = ("fleet-call", "fleet-events")


@pytest.mark.slow
def test_a_fleet_is_measured_beside_a_direct_connection(tmp_path: Path) -> None:
    _, rows = measured(ROWS, tmp_path)
    for row in rows.values():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
    assert set(rows["fleet-call"]["sides"]) == {"gwsync fleet", "gwsync, direct"}
    assert rows["fleet-call"]["sides"]["gwsync fleet"]["p50_us"]["median"] > 0
    assert rows["fleet-events"]["sides"]["gwsync fleet"]["lost"]["median"] == 0


def test_without_redis_the_rows_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said, rows = measured(ROWS, tmp_path)
    assert "redis-server is not here" in said
    for row in rows.values():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
