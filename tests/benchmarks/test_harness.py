"""The benchmarks themselves: every Python peer runs, and figures and plots come out of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
ROWS = ("events-200", "request", "request-16-threads", "request-many-64")
FLEET_ROWS = ("fleet-call", "fleet-events")
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


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("redis-server") or find_spec("redis") is None, reason="a fleet needs Redis"
)
def test_a_fleet_is_measured_beside_a_direct_connection(tmp_path: Path) -> None:
    _, rows = measured(FLEET_ROWS, tmp_path)
    for row in rows.values():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
    assert set(rows["fleet-call"]["sides"]) == {"gwsync fleet", "gwsync, direct"}
    assert rows["fleet-events"]["sides"]["gwsync fleet"]["lost"]["median"] == 0


def measured(rows: tuple[str, ...], directory: Path) -> tuple[str, dict[str, Any]]:
    """What a run of the benchmarks says, and its figures; the plots are in ``directory``."""
    figures = directory / "figures.json"
    options = ["--rounds", "1", "--scale", "0.002", "--no-node", "--json", figures]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *rows, *options, "--plots", directory],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())["rows"]
    assert set(found) == set(rows)
    return done.stdout, found


def every_side_has_figures_or_says_why_not(row: dict[str, Any]) -> None:
    for name, side in row["sides"].items():
        why = row["missing"].get(name, "")
        assert bool(side) != bool(why), name
        if found := re.fullmatch(r"No module named '(\w+).*'", why):
            assert find_spec(found[1]) is None
        elif why:
            assert why in ("Node's packages are not here", "nginx is not here", "wrk is not here")


def every_bar_has_a_verdict(row: dict[str, Any]) -> None:
    for bar in row["bars"]:
        if bar["ratio"] is None:
            assert bar["verdict"] == "not measured"
            assert {bar["ours"], bar["peer"]} & set(row["missing"])
        else:
            assert bar["verdict"] in ("met", "MISSED")


def the_plot_names_each_side(row: dict[str, Any], path: Path) -> None:
    drawing = ElementTree.parse(path).getroot()
    said = {text.text for text in drawing.iter(f"{SVG}text")}
    measured = {name for name, side in row["sides"].items() if side}
    assert measured <= said
    assert len(list(drawing.iter(f"{SVG}circle"))) == len(measured)
