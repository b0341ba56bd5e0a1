"""A real gateway through the relay, by way of microsocks: gwsync, OpenClaw's client, its pages."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import gwsync
from conformance.tools import eventually
from gwsync.relay import Relay
from proxies.servers import Microsocks
from real.official import OfficialClient
from real.runner import RealGateway


@dataclass(frozen=True)
class Place:
    """Where OpenClaw's client is told to go."""

    url: str
    token: str


@pytest.fixture
def relay(gateway: RealGateway) -> Iterator[Relay]:
    port = gateway.url.rpartition(":")[2]
    with (
        Microsocks() as proxy,
        Relay(f"http://localhost:{port}", proxy=proxy.url(), allow_missing_origin=True) as running,
    ):
        yield running


def url_of(relay: Relay) -> str:
    return f"ws://127.0.0.1:{relay.port}"


def test_gwsync_talks_through_it(relay: Relay, gateway: RealGateway, tmp_path: Path) -> None:
    config = gwsync.Config(url=url_of(relay), token=gateway.token, state_dir=str(tmp_path))
    with gwsync.Connection(config) as connection:
        assert connection.connect().scopes == ("operator.read", "operator.write")
        message = gateway.chat_message("one two three")
        assert connection.chat(message, session="relayed").text() == "one two three"
        assert connection.http.health()["ok"] is True
        (row,) = [one for one in relay.status().connections if one.kind == "websocket"]
        assert row.bytes_down > 1000
        gateway.reload()
        eventually(lambda: connection.status().reconnects == 1, "it is back")
        assert connection.request("health")["ok"] is True


def test_openclaws_own_client(relay: Relay, gateway: RealGateway) -> None:
    with OfficialClient(Place(url_of(relay), gateway.token)) as client:  # type: ignore[arg-type]
        assert client.heard("hello")["auth"]["scopes"] == ["operator.read", "operator.write"]
        assert client.heard("health")["ok"] is True
        client.interrupt()
        assert client.end() == (0, "")


def test_the_token_is_added_on_the_way(gateway: RealGateway, tmp_path: Path) -> None:
    """OpenClaw's client does not know it, and is let in as the relay's device."""
    target = f"http://localhost:{gateway.url.rpartition(':')[2]}"
    options = {"inject_token": gateway.token, "state_dir": str(tmp_path)}
    with Relay(target, allow_missing_origin=True, **options) as relay:
        place = Place(url_of(relay), "not-the-token")
        with OfficialClient(place) as client:  # type: ignore[arg-type]
            auth = client.heard("hello")["auth"]
            assert auth["scopes"] == ["operator.read", "operator.write"]
            assert "deviceToken" not in auth
            assert client.heard("health")["ok"] is True
            client.interrupt()
            assert client.end() == (0, "")


def test_its_pages(relay: Relay) -> None:
    with urllib.request.urlopen(relay.url, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"<html" in answer.read().lower()
    with urllib.request.urlopen(relay.url + "/healthz", timeout=30) as answer:
        assert answer.read() == b'{"ok": true, "finding": "OK"}\n'
