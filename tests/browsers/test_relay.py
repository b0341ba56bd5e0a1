"""JupyterLab in Chromium through the relay, by way of microsocks: a kernel and a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")

from playwright.sync_api import Page

from browsers.lab import WAIT_S, Lab, browser
from browsers.test_jupyterlab import picture
from browsers.workbench import soon
from conformance.tools import eventually
from gwsync.relay import Relay
from proxies.servers import Microsocks

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "one",
            "metadata": {},
            "outputs": [],
            "source": "print(6 * 7)",
        }
    ],
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Relay]]:
    """A JupyterLab whose address is the relay's."""
    with (
        Lab(tmp_path_factory.mktemp("lab"), {}).running() as lab,
        Microsocks() as proxy,
        Relay(lab.url.rstrip("/"), proxy=proxy.url()) as relay,
    ):
        lab.url = f"{relay.url}/"
        yield lab, relay


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as made:
        yield made


def test_a_cell_and_a_terminal(relayed: tuple[Lab, Relay], page: Page) -> None:
    lab, relay = relayed
    (lab.notebooks / "one.ipynb").write_text(json.dumps(NOTEBOOK))
    notebook = lab.open(page, "one.ipynb")
    assert notebook.run(0).strip() == "42"
    picture(page, "relay-notebook")
    sockets = [one for one in relay.status().connections if one.kind == "websocket"]
    assert any("/channels" in one.what for one in sockets)

    page.evaluate("async () => { await jupyterapp.commands.execute('terminal:create-new') }")
    page.locator(".jp-Terminal .xterm-helper-textarea").first.wait_for(state="attached")
    proof: Path = lab.notebooks / "proof"

    def typed() -> bool:  # a shell that is still starting may take no keys
        if not proof.exists():
            page.locator(".jp-Terminal .xterm-screen").first.click()
            page.keyboard.type(f"echo $((6 * 7)) > '{proof}'\n")
        return soon(lambda: proof.exists() and proof.read_text() == "42\n", str(proof))

    eventually(typed, "what the terminal was told", WAIT_S)
    picture(page, "relay-terminal")
    sockets = [one for one in relay.status().connections if one.kind == "websocket"]
    assert any(one.what.startswith("GET /terminals/websocket/") for one in sockets)
