"""What ``--write`` leaves: results/ (JSON, the table, the plots), and the table in README.rst."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from . import plots, relaying
from .model import UNITS
from .table import block, number

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.rst"
BEGIN = ".. speed: written by python -m benchmarks --write"
END = ".. end of speed"
LIBRARIES = (
    "gevent",
    "msgspec",
    "websocket-client",
    "websockets",
    "picows",
    "orjson",
    "aiohttp",
)


def document(figures: dict[str, Any], packages: Any, load: list[float]) -> dict[str, Any]:
    """``load``: what else kept the machine busy; wall times mean little where it is high."""
    return {"machine": {**machine(packages), "load_before_each_row": load}, "rows": figures}


def machine(packages: Any) -> dict[str, Any]:
    """Where this was measured: figures of one machine say little about another's."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if (nginx := relaying.nginx_program()) is not None:
        done = subprocess.run([nginx, "-v"], capture_output=True, text=True)
        versions["nginx"] = done.stderr.strip().rpartition("/")[2]
    if packages is not None:
        done = subprocess.run([packages.node, "--version"], capture_output=True, text=True)
        versions["node"] = done.stdout.strip().lstrip("v")
        for name, directory in (
            ("ws", packages.ws),
            ("@openclaw/gateway-client", packages.official),
        ):
            described = directory / "node_modules" / name / "package.json"
            versions[name] = json.loads(described.read_text())["version"]
    return {
        "day": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def write(whole: dict[str, Any]) -> None:
    """A run of some rows replaces those and leaves the others as they were."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "results.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        whole = {"machine": _both(before, whole), "rows": {**before["rows"], **whole["rows"]}}
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    draw(whole, RESULTS)
    blocks = "\n\n".join(block(key, row) for key, row in whole["rows"].items())
    (RESULTS / "table.txt").write_text(blocks + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN + "\n")
    _, end, tail = rest.partition(END + "\n")
    if begin and end:
        README.write_text(f"{head}{begin}\n{table(whole)}\n{end}{tail}", encoding="utf-8")


def _both(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The machine of old rows and new ones: all versions, and the loads of all."""
    kept = set(before["rows"]) - set(now["rows"])
    if not kept:
        return dict(now["machine"])
    versions = {**before["machine"]["versions"], **now["machine"]["versions"]}
    load = [*before["machine"]["load_before_each_row"], *now["machine"]["load_before_each_row"]]
    return {**now["machine"], "versions": versions, "load_before_each_row": load}


def draw(whole: dict[str, Any], directory: Path) -> None:
    for name, drawing in plots.draw(whole["rows"]).items():
        (directory / f"{name}.svg").write_text(drawing, encoding="utf-8")


def table(whole: dict[str, Any]) -> str:
    """Every bar, one line for what was measured, as reStructuredText."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 40 14 46",
        "",
        "   * - what",
        "     - gwsync",
        "     - beside, and the bar",
    ]
    for key, row in whole["rows"].items():
        groups: dict[tuple[str, str], list[str]] = {}
        for judged in row["bars"]:
            if judged["ratio"] is None or not judged["ours"].startswith("floor"):
                groups.setdefault((judged["ours"], judged["metric"]), []).append(_reached(judged))
        for (ours, metric), reached in groups.items():
            mine = row["sides"].get(ours, {}).get(metric)
            unit = UNITS.get(metric, metric)
            lines += [
                f"   * - ``{key}``: {row['title']}{_whose(ours)}",
                f"     - {number(mine['median']) + ' ' + unit if mine else 'not measured'}",
                f"     - {'; '.join(reached)}",
            ]
    stand = whole["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in stand["versions"].items())
    load = stand["load_before_each_row"]
    lines += [
        "",
        f"{stand['system']}, {stand['cpus']} cores, {stand['day']}, load {min(load):.1f} to "
        f"{max(load):.1f}: {versions}.",
    ]
    return "\n".join([*lines, ""])


def _whose(ours: str) -> str:
    return f"; {ours.removeprefix('gwsync, ')}" if ours.startswith("gwsync, ") else ""


def _reached(judged: dict[str, Any]) -> str:
    """ "websocket-client: 22x better (at least 20x better)", and MISSED where it is."""
    against = f"{judged['peer']}: " if judged["peer"] else ""
    if judged["ratio"] is None:
        return f"{against}not measured ({judged['wanted']})"
    reached = f"{against}{number(judged['ratio'])}{'x' if judged['peer'] else ''}"
    missed = "" if judged["verdict"] == "met" else ", **MISSED**"
    return f"{reached} ({judged['wanted']}{missed})"
