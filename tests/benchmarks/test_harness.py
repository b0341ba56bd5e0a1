"""The benchmarks themselves: every Python peer runs, and figures and plots come out of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .support import (
    every_bar_has_a_verdict,
    every_side_has_figures_or_says_why_not,
    measured,
    the_plot_names_each_side,
)

ROWS = ("events-200", "request", "request-16-threads", "request-many-64")
RELAY_ROWS = ("relay-idle", "relay-slow-reader", "relay-stream", "relay-short-1")


@pytest.mark.slow
def test_the_harness_measures_every_python_peer_and_draws_what_it_found(tmp_path: Path) -> None:
    """One round of what takes neither npm nor long, with counts that say nothing."""
    told, rows = measured(ROWS, tmp_path)
    assert "against websocket-client" in told
    for key, row in rows.items():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
        assert all(
            figure["median"] > 0 for side in row["sides"].values() for figure in side.values()
        )
        the_plot_names_each_side(row, tmp_path / f"{key}.svg")
    ran = {name for name, side in rows["events-200"]["sides"].items() if side}
    assert {"gwsync", "gwsync, in the hub", "websocket-client", "floor: drain only"} <= ran


@pytest.mark.slow
def test_the_relay_is_measured_beside_nginx(tmp_path: Path) -> None:
    """Where nginx and wrk are; the relay's WebSockets in any case."""
    _, rows = measured(RELAY_ROWS, tmp_path)
    for row in rows.values():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
    for key, metric in (("relay-idle", "kb_each"), ("relay-stream", "mb_s")):
        assert rows[key]["sides"]["gwsync relay"][metric]["median"] > 0
    the_plot_names_each_side(rows["relay-stream"], tmp_path / "relay-stream.svg")
    if shutil.which("wrk"):
        assert rows["relay-short-1"]["sides"]["gwsync relay"]["rate"]["median"] > 0
        assert rows["relay-short-1"]["sides"]["gwsync relay"]["failed"]["median"] == 0
