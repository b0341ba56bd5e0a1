"""A terminal in Chromium through the relay, by way of microsocks; its token asked for in a form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from browsers.lab import browser
from browsers.servers import Wetty
from browsers.test_jupyterlab import picture
from browsers.workbench import Terminal
from conformance.tools import eventually
from gwsync.relay import Relay, Route
from proxies.servers import Microsocks

HEIGHT = 500
TOKEN = "the-token-of-this-relay"
# it draws its rows; what they are is known to the object that it leaves in the page
SCREEN = """(buffer => buffer && Array.from({length: buffer.length}, (_, at) =>
    buffer.getLine(at).translateToString(true)).join(''))(window.wetty_term?.buffer.active)"""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Microsocks]:
    with Microsocks() as made:
        yield made


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as made:
        made.set_viewport_size({"width": 1000, "height": HEIGHT})
        yield made


def proved(wetty: Wetty, relay: Relay, page: Page, name: str) -> None:
    """A command runs, over a WebSocket: what began as requests has become one."""
    proof = wetty.folder / name
    terminal = Terminal(page, "#terminal", SCREEN)
    assert terminal.run("echo $((6 * 7))", proof) == "42\n"
    terminal.shows(f"{proof.name}42")
    picture(page, f"wetty-{name}", HEIGHT)

    def sockets() -> list[tuple[str, int]]:
        now = relay.status().connections
        return [(one.what, one.status) for one in now if one.kind == "websocket"]

    (socket,) = eventually(sockets, "a WebSocket")
    assert socket[0].endswith("/socket.io/")
    assert socket[1] == 101
    assert relay.status().failed == 0


def test_a_terminal_behind_the_form_that_asks_for_the_token(proxy: Microsocks, page: Page) -> None:
    with Wetty("/") as wetty, Relay(wetty.url, proxy=proxy.url(), token=TOKEN) as relay:
        page.goto(f"{relay.url}/?from=a%20link")
        page.get_by_label("Token").fill("not this one")
        picture(page, "relay-login", HEIGHT)
        page.get_by_role("button").click()
        page.get_by_text("That is not the token.").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button").click()
        page.wait_for_url(f"{relay.url}/?from=a%20link")
        proved(wetty, relay, page, "behind-the-form")
        page.context.clear_cookies()
        page.reload()
        page.get_by_text("This relay asks for its token").wait_for()


def test_a_terminal_below_a_path(proxy: Microsocks, page: Page) -> None:
    base = "/a/terminal/"
    with Wetty(base) as wetty:
        route = Route(wetty.url, prefix=base, strip=False, options={"proxy": proxy.url()})
        with Relay(routes=[route]) as relay:
            page.goto(f"{relay.url}{base}")
            proved(wetty, relay, page, "below-a-path")
