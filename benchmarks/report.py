"""What ``--write`` leaves: results/results.json, the plots, and the table in README.rst."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from . import plots
from .model import UNITS
from .table import number

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


def document(figures: dict[str, Any], packages: Any = None) -> dict[str, Any]:
    return {"machine": machine(packages), "rows": figures}


def machine(packages: Any) -> dict[str, Any]:
    """Where this was measured: figures of one machine say little about another's."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
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
        before = json.loads(path.read_text(encoding="utf-8"))["rows"]
        whole = {**whole, "rows": {**before, **whole["rows"]}}
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    draw(whole, RESULTS)
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN + "\n")
    _, _, after = rest.partition(END + "\n")
    if rest:
        README.write_text(f"{before}{BEGIN}\n\n{table(whole)}\n{END}\n{after}", encoding="utf-8")


def draw(whole: dict[str, Any], directory: Path) -> None:
    for name, drawing in plots.draw(whole["rows"]).items():
        (directory / f"{name}.svg").write_text(drawing, encoding="utf-8")


def table(whole: dict[str, Any]) -> str:
    """Every bar, as a table of reStructuredText."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 46 24 14 16",
        "",
        "   * - what",
        "     - against",
        "     - bar",
        "     - reached",
    ]
    for key, row in whole["rows"].items():
        for judged in row["bars"]:
            if judged["ours"].startswith("floor"):
                continue  # shown in the full table: the source is faster than the clients
            unit = UNITS.get(judged["metric"], judged["metric"])
            lines += [
                f"   * - ``{key}``, {unit}{_whose(judged['ours'])}",
                f"     - {judged['peer'] or 'the limit'}",
                f"     - {judged['wanted']}",
                f"     - {_reached(judged)}",
            ]
    stand = whole["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in stand["versions"].items())
    lines += ["", f"{stand['system']}, {stand['cpus']} cores, {stand['day']}: {versions}.", ""]
    return "\n".join(lines)


def _whose(ours: str) -> str:
    return "" if ours in ("gwsync", "import gwsync") else f" ({ours.removeprefix('gwsync, ')})"


def _reached(judged: dict[str, Any]) -> str:
    if judged["ratio"] is None:
        return "not measured"
    times = "x" if judged["peer"] else ""
    reached = f"{number(judged['ratio'])}{times}"
    return reached if judged["verdict"] == "met" else f"{reached}, **MISSED**"
