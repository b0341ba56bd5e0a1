"""The example notebooks in JupyterLab, in a browser, against a gateway of the test's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")

from playwright.sync_api import Page

from browsers.lab import Lab, browser
from conformance.tools import eventually
from loopback.support import Bench

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat.ipynb"
ERROR = "[data-mime-type='application/vnd.jupyter.stderr']"  # also what a cell raised
LONG = "words=4000 delay=20"  # the stop button comes long before its end


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.fixture(scope="module")
def lab(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), bench.environment()).running() as made:
        yield made


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as made:
        yield made


def example(*changes: tuple[str, str]) -> tuple[str, list[str]]:
    """The example notebook with some words changed, and the sources of its code cells."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return text, ["".join(cell["source"]) for cell in cells]


def cell_with(words: str, cells: list[str]) -> int:
    return next(at for at, source in enumerate(cells) if words in source)


def picture(page: Page, name: str, height: int = 3600) -> None:
    """For people, into the directory that GWSYNC_SCREENSHOTS names."""
    directory = os.environ.get("GWSYNC_SCREENSHOTS")
    if directory:
        page.set_viewport_size({"width": 1280, "height": height})
        page.screenshot(path=Path(directory) / f"{name}.png")


def test_the_example_from_its_first_cell_to_its_last(lab: Lab, page: Page) -> None:
    text, cells = example()
    (lab.notebooks / "chat.ipynb").write_text(text)
    notebook = lab.open(page, "chat.ipynb")
    shown = [notebook.run(at) for at in range(len(cells))]
    board = cell_with("board = display", cells)
    eventually(lambda: "look at the cell above" in notebook.output(board), "the thread's update")
    picture(page, "light")
    assert "OpenClaw gateway" in shown[0]
    assert "word59" in shown[cell_with("words=60", cells)]
    assert "<b>what the model says is text</b>" in shown[cell_with("echo:<b>", cells)]
    assert "failed: LLM request failed" in shown[cell_with("fail=400", cells)]
    assert "somebody heard" not in shown[cell_with("words=12", cells)]
    notebook.shows(cell_with("gwsync.on", cells), "somebody heard: word0")
    assert "sessions" in shown[cell_with("sessions.list", cells)]
    assert "operator.write" in shown[cell_with("gwsync.rpc.chat", cells)]
    assert page.locator(".jp-RenderedSVG, .jp-RenderedHTML svg").count() == 1  # the waterfall
    assert page.locator(ERROR).count() == 0


def test_the_stop_button_aborts_a_chat_that_streams(bench: Bench, lab: Lab, page: Page) -> None:
    text, cells = example(("words=60 delay=20", LONG))
    (lab.notebooks / "stop.ipynb").write_text(text)
    lab.settings({"apputils-extension/themes": {"theme": "JupyterLab Dark"}})
    notebook = lab.open(page, "stop.ipynb")
    chat, callback = cell_with(LONG, cells), cell_with("gwsync.on", cells)
    notebook.run(0)
    notebook.run(callback)
    notebook.start(chat)
    notebook.shows(chat, "word3 ")
    notebook.shows(chat, "word20 ")  # more, while the cell is busy
    assert notebook.prompt(chat) == "[*]:"
    final = {"state": "final", "runId": "x", "message": {"role": "assistant", "content": "a push"}}
    bench.gateway.push("chat", final)  # to the callback of the other cell
    notebook.shows(callback, "somebody heard: a push")
    notebook.stop()
    notebook.wait(chat)
    picture(page, "dark")
    assert "a push" not in notebook.output(chat)
    assert "aborted" in notebook.output(chat)
    assert "KeyboardInterrupt: run " in notebook.output(chat)
    assert page.locator(ERROR).count() == 1
    (sent,) = [one for one in bench.gateway.ledger if LONG in str(one.params)]
    aborts = [one.params["runId"] for one in bench.gateway.ledger if one.method == "chat.abort"]
    assert aborts == [sent.idempotency_key]
    bench.gateway.push("chat", {**final, "message": {"role": "assistant", "content": "late"}})
    notebook.shows(callback, "somebody heard: late")  # while no cell runs
    assert "ended" in notebook.run(cell_with("echo:<b>", cells))  # the kernel goes on
