"""The benchmarks themselves: every Python peer runs, and figures and plots come out of it."""

from __future__ import annotations

import json
import re
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


@pytest.mark.slow
def test_the_harness_measures_every_python_peer_and_draws_what_it_found(tmp_path: Path) -> None:
    """One round of what takes neither npm nor long, with counts that say nothing."""
    figures = tmp_path / "figures.json"
    options = ["--rounds", "1", "--scale", "0.002", "--no-node"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            *ROWS,
            *options,
            "--json",
            figures,
            "--plots",
            tmp_path,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    assert "against websocket-client" in done.stdout
    rows = json.loads(figures.read_text())["rows"]
    assert set(rows) == set(ROWS)
    for key, row in rows.items():
        every_side_has_figures_or_says_why_not(row)
        every_bar_has_a_verdict(row)
        the_plot_names_each_side(row, tmp_path / f"{key}.svg")
    ran = {name for name, side in rows["events-200"]["sides"].items() if side}
    assert {"gwsync", "gwsync, in the hub", "websocket-client", "floor: drain only"} <= ran


def every_side_has_figures_or_says_why_not(row: dict[str, Any]) -> None:
    for name, side in row["sides"].items():
        why = row["missing"].get(name, "")
        assert bool(side) != bool(why), name
        if found := re.fullmatch(r"No module named '(\w+).*'", why):
            assert find_spec(found[1]) is None
        elif why:
            assert why == "Node's packages are not here"
        assert all(figure["median"] > 0 for figure in side.values())


def every_bar_has_a_verdict(row: dict[str, Any]) -> None:
    for bar in row["bars"]:
        if bar["ratio"] is None:
            assert bar["verdict"] == "not measured"
            assert bar["peer"] in row["missing"]
        else:
            assert bar["verdict"] in ("met", "MISSED")


def the_plot_names_each_side(row: dict[str, Any], path: Path) -> None:
    drawing = ElementTree.parse(path).getroot()
    said = {text.text for text in drawing.iter(f"{SVG}text")}
    measured = {name for name, side in row["sides"].items() if side}
    assert measured <= said
    assert len(list(drawing.iter(f"{SVG}circle"))) == len(measured)
