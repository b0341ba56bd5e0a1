"""JupyterLab's kernel: real notebooks, executed in a process that this one starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopback.support import Bench

for needed in ("nbclient", "ipykernel", "nbformat"):
    pytest.importorskip(needed)

RUNNER = Path(__file__).with_name("notebooks.py")
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(argument: str, home: Path, env: dict[str, str] | None = None) -> Any:
    """What the runner has to tell; nothing of Jupyter's is kept in this user's home."""
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    done = subprocess.run(
        [sys.executable, str(RUNNER), argument],
        env={**os.environ, **{name: str(home / name) for name in places}, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each cell of a session gave."""
    results = run("--session", tmp_path_factory.mktemp("jupyter"))
    for name, cell in results.items():
        if name not in ("interrupt", "stopped chat", "token", "aborts"):
            assert (cell["errors"], cell["stderr"]) == ([], ""), name
    return results


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("request", "{'n': 6}"),
        ("between", "2"),
        ("coroutine", "{'n': 7}"),
        ("to_thread", "{'n': 8} True"),
    ],
    ids=["request-in-a-cell", "pushes-between-cells", "request-in-a-coroutine", "to-thread"],
)
def test_a_cell(session: dict[str, Any], cell: str, text: str) -> None:
    assert session[cell]["text"].strip() == text


def test_an_interrupted_cell_and_the_next_one(session: dict[str, Any]) -> None:
    assert session["interrupt"]["errors"] == ["KeyboardInterrupt"]
    assert session["after"]["text"].strip() == "{'n': 9} 1"  # over the same socket


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("status()", ("<table>", "connected", "ws://127.0.0.1", "handshake")),
        ("hello()", ("<table>", "operator.read")),
        ("status().trace", ("<table>", "resolve", "upgrade", " ms")),
    ],
)
def test_values_are_shown_as_html(
    session: dict[str, Any], cell: str, words: tuple[str, ...]
) -> None:
    html = session[cell]["html"]
    assert [word for word in words if word not in html] == []
    assert session["token"] not in html


def test_a_callback_prints_into_no_other_cell(session: dict[str, Any]) -> None:
    assert session["another cell"]["text"] == "heard True\n"
    assert session["another cell"]["displayed"] == ""


def test_a_chat_is_shown_in_its_cell(session: dict[str, Any]) -> None:
    assert session["chat"]["displayed"].startswith("<b>hello</b>\n[main, ended, ")


def test_a_chat_that_is_stopped(session: dict[str, Any]) -> None:
    stopped = session["stopped chat"]
    assert stopped["errors"] == ["KeyboardInterrupt"]
    assert stopped["traceback"].startswith("KeyboardInterrupt: run ")
    assert stopped["traceback"].endswith(" was aborted")
    assert "word9 " in stopped["displayed"]
    assert "\n[main, aborted, run " in stopped["displayed"]
    assert session["aborts"] == 1


def test_sessions_are_a_table(session: dict[str, Any]) -> None:
    assert session["lists"]["text"] == "1\n"
    assert "<table>" in session["lists"]["html"]


@pytest.mark.parametrize(("name", "words"), [("notebook", "snapshot"), ("chat", "word59")])
def test_an_example_runs(name: str, words: str, bench: Bench, tmp_path: Path) -> None:
    example = EXAMPLES / f"{name}.ipynb"
    written = json.loads(example.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in written)
    cells = run(str(example), tmp_path, bench.environment())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    plain = [str(one.get("text", one.get("data", {}).get("text/plain", ""))) for one in outputs]
    assert words in "".join(plain)
    assert "<table>" in "".join(outputs[-1]["data"]["text/html"])
