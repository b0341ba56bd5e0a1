"""VS Code in Chromium through the relay, by way of microsocks: an editor and a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from browsers.lab import browser
from browsers.servers import CodeServer
from browsers.test_jupyterlab import picture
from browsers.workbench import Workbench
from gwsync.relay import Relay
from proxies.servers import Microsocks

HEIGHT = 800


@pytest.fixture(scope="module")
def code() -> Iterator[CodeServer]:
    with CodeServer() as server:
        yield server


@pytest.fixture
def relay(code: CodeServer) -> Iterator[Relay]:
    with (
        Microsocks() as proxy,
        Relay(code.url, proxy=proxy.url(), status_page=True) as relay,
    ):
        yield relay


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as made:
        made.set_viewport_size({"width": 1280, "height": HEIGHT})
        yield made


def test_a_file_and_a_terminal(code: CodeServer, relay: Relay, page: Page) -> None:
    note, proof = code.folder / "note.md", code.folder / "proof"
    note.write_text("as it was\n")
    workbench = Workbench(page, f"{relay.url}/?folder={code.folder}")
    workbench.open("note.md")
    workbench.write("# What was *typed* here", note)
    picture(page, "code-server-editor", HEIGHT)

    terminal = workbench.terminal()
    assert terminal.run("echo $((6 * 7))", proof) == "42\n"
    terminal.shows(f"{proof.name}42")
    picture(page, "code-server-terminal", HEIGHT)

    # a page in the page, which a service worker of its own feeds
    workbench.command("Markdown: Open Preview to the Side")
    preview = page.frame_locator("iframe.webview.ready").frame_locator("iframe#active-frame")
    preview.locator("h1 em", has_text="typed").wait_for()
    picture(page, "code-server-preview", HEIGHT)

    open_now = relay.status().connections
    sockets = [one for one in open_now if one.kind == "websocket"]
    assert len(sockets) == 2
    assert {one.status for one in sockets} == {101}
    assert relay.status().failed == relay.status().refused == 0
    page.goto(f"{relay.url}/.gwsync/status")
    picture(page, "relay-status", HEIGHT)
