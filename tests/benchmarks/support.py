"""Runs the benchmarks and looks at what came out of them, for the tests of this directory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
NOT_HERE = (
    "Node's packages are not here",
    "nginx is not here",
    "wrk is not here",
    "redis-server is not here",
    "redis-py is not here",
)


def load_benchmarks(name: str) -> Any:
    """A module of the project's ``benchmarks``, whose directory's parent is on no path here: what
    is tested is the installed gwsync, not the one beside it."""
    package = "the_benchmarks"
    if package not in sys.modules:
        directory = ROOT / "benchmarks"
        spec = spec_from_file_location(
            package, directory / "__init__.py", submodule_search_locations=[str(directory)]
        )
        assert spec is not None
        sys.modules[package] = module_from_spec(spec)
    return import_module(f"{package}.{name}")


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
            assert why in NOT_HERE


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
