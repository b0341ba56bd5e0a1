"""The real gateway's own pages in Chromium through the relay, by way of microsocks: a chat.

Once with the token in the browser, once with a relay that adds it: then it is in nothing that
the browser ever sent, received or kept.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Error, Locator, Page, Request, WebSocket

from browsers.lab import browser
from browsers.test_jupyterlab import picture
from browsers.workbench import soon
from conformance.tools import eventually
from gwsync.relay import Relay
from proxies.servers import Microsocks
from real.runner import RealGateway

# How many words of the answer to the last message are shown, each time that changes.
WATCH = """message => {
    window.shown = [];
    new MutationObserver(() => {
        const text = document.body.textContent;
        const words = text.slice(text.lastIndexOf(message)).match(/word[0-9]+/g) || [];
        if (words.length > (window.shown.at(-1) || 0)) window.shown.push(words.length);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


class Seen:
    """All that a page says, hears and keeps."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.frames: list[str] = []
        self.sockets = 0
        self._finished: list[Request] = []  # the bodies of others may never be whole
        page.on("websocket", self._websocket)
        page.on("requestfinished", lambda request: self._finished.append(request))

    def _websocket(self, opened: WebSocket) -> None:
        self.sockets += 1
        self.frames.append(opened.url)
        for event in ("framesent", "framereceived"):
            opened.on(event, lambda payload: self.frames.append(str(payload)))  # type: ignore[call-overload]

    def everything(self) -> str:
        """As one text."""
        page = self._page
        parts: list[Any] = [page.url, page.content(), *self.frames]
        parts.append(page.evaluate("JSON.stringify([localStorage, sessionStorage])"))
        parts.append(json.dumps(page.context.storage_state(indexed_db=True)))
        for request in tuple(self._finished):
            parts += [request.url, request.all_headers(), request.post_data_buffer]
            response = request.response()
            assert response is not None
            parts.append(response.all_headers())
            with contextlib.suppress(Error):  # a redirect has none, nor has what was kept since
                parts.append(response.body().decode("latin-1"))
        return "\n".join(map(str, parts))


@pytest.fixture(scope="module")
def gateway() -> Iterator[RealGateway]:
    with RealGateway() as running:
        yield running


@pytest.fixture
def page(gateway: RealGateway) -> Iterator[Page]:
    with browser() as made:
        made.set_viewport_size({"width": 1280, "height": 900})
        made.set_default_timeout(120_000)  # a gateway that has just started takes its time
        yield made
    print(gateway.log_tail())  # shown if the test failed


@contextlib.contextmanager
def relay_to(gateway: RealGateway, **options: Any) -> Iterator[Relay]:
    with (
        Microsocks() as proxy,
        Relay(f"http://localhost:{gateway.port}", proxy=proxy.url(), **options) as relay,
    ):
        yield relay


def chat(page: Page, words: int) -> None:
    """Ask the model for so many words; they come one after another."""
    message = f"words={words} delay=100"
    composer = page.get_by_label("Chat composer")
    composer.wait_for()
    page.evaluate(WATCH, message)
    composer.fill(message)
    eventually(lambda: sent(composer), "a page that takes the message", 120)
    page.wait_for_function("words => window.shown.at(-1) === words", arg=words)
    assert len(page.evaluate("window.shown")) > 3, page.evaluate("window.shown")


def sent(composer: Locator) -> bool:
    """Press Enter, as often as it takes: a page that still loads its session keeps the text."""
    composer.press("Enter")
    return soon(lambda: composer.input_value() == "", "an empty composer")


def check_went_through(relay: Relay) -> None:
    (row,) = [one for one in relay.status().connections if one.kind == "websocket"]
    assert row.bytes_down > 10_000
    assert relay.status().failed == 0


def test_with_the_token_in_the_browser(gateway: RealGateway, page: Page) -> None:
    seen = Seen(page)
    with relay_to(gateway) as relay:
        page.goto(f"{relay.url}/#token={gateway.token}")
        chat(page, 60)
        picture(page, "relay-control-ui")
        check_went_through(relay)
        assert gateway.token in seen.everything()  # that is how the other test would find it


def test_with_the_token_in_the_relay_only(gateway: RealGateway, page: Page, tmp_path: Path) -> None:
    seen = Seen(page)
    with relay_to(gateway, inject_token=gateway.token, state_dir=str(tmp_path)) as relay:
        page.goto(relay.url)
        chat(page, 61)
        picture(page, "relay-control-ui-injected")
        check_went_through(relay)
        everything = seen.everything()
        assert "hello-ok" in everything
        assert "word60" in everything
        assert "<title>OpenClaw Control</title>" in everything
        assert gateway.token not in everything
        assert '"deviceToken"' not in "".join(seen.frames)


def test_it_comes_back_with_the_gateway(gateway: RealGateway, page: Page, tmp_path: Path) -> None:
    """A gateway that restarts says 1012; the page waits, and the token is added once more."""
    seen = Seen(page)
    with relay_to(gateway, inject_token=gateway.token, state_dir=str(tmp_path)) as relay:
        page.goto(relay.url)
        page.get_by_label("Chat composer").wait_for()
        gateway.reload()
        eventually(lambda: again(seen, page), "another WebSocket", 150)
        gateway.wait_ready()
        chat(page, 62)
        assert gateway.token not in "".join(seen.frames)
        assert relay.status().refused == 0


def again(seen: Seen, page: Page) -> bool:
    page.wait_for_timeout(100)  # its events come only meanwhile
    return seen.sockets > 1
