"""Through every proxy, plain and over TLS, with credentials and without: all of it arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conformance.tools import eventually
from loopback.support import Bench

from .conftest import WITH_AUTH, one_of_its_own

REQUESTS = 1_000
BIG = 5_000_000  # characters of one frame
WAIT_S = 60.0

Settings = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_a_thousand_requests_and_a_big_frame_each_way(
    name: str, auth: bool, scheme: str, proxies: Any, bench: Bench, target: Settings
) -> None:
    bench.gateway.on_method("echo", lambda params: params)
    proxy = proxies(name, auth)
    connection = bench.connection(proxy=proxy.url(), **target(scheme))
    for number in range(REQUESTS):
        assert connection.request("echo", {"n": number})["n"] == number
    big = {"big": "x" * BIG}
    assert connection.request("echo", big, timeout=WAIT_S) == big
    status = connection.status()
    assert status.trace is not None
    assert "proxy" in [record.stage for record in status.trace.stages]
    assert (status.state, status.reconnects) == ("connected", 0)
    assert bench.gateway.sockets_total == 1


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("danted", "socks4"), ("danted", "socks5"), ("ssh", "socks4"), ("ssh", "socks4a")],
)
@pytest.mark.parametrize("secure", ["ws", "wss"])
def test_the_other_dialects_of_socks(
    name: str, scheme: str, secure: str, proxies: Any, bench: Bench, target: Settings
) -> None:
    proxy = proxies(name)
    # socks4 knows addresses only: ours resolves the name for it, as for socks5
    connection = bench.connection(proxy=proxy.url(scheme), **target(secure, "localhost"))
    for _ in range(20):
        assert connection.request("health")["ok"] is True


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_the_proxy_resolves_the_name(
    name: str, auth: bool, proxies: Any, bench: Bench, target: Settings
) -> None:
    connection = bench.connection(proxy=proxies(name, auth).url(), **target("wss", "localhost"))
    assert connection.request("health")["ok"] is True


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_a_healthy_run_leaves_no_complaint_in_the_log(
    name: str, auth: bool, bench: Bench, target: Settings, request: pytest.FixtureRequest
) -> None:
    with one_of_its_own(name, auth, request) as proxy:
        for scheme in ("ws", "wss"):
            connection = bench.connection(proxy=proxy.url(), **target(scheme))
            for _ in range(20):
                assert connection.request("health")["ok"] is True
            connection.close()
        bench.gateway.wait_connections(open=0)
        assert proxy.complaints() == []


@pytest.mark.parametrize(("name", "auth"), WITH_AUTH)
def test_a_proxy_restarts_under_a_live_connection(
    name: str, auth: bool, bench: Bench, target: Settings, request: pytest.FixtureRequest
) -> None:
    with one_of_its_own(name, auth, request) as proxy:
        connection = bench.connection(proxy=proxy.url(), **target("ws"))
        assert connection.request("health")["ok"] is True
        proxy.stop()
        eventually(lambda: connection.status().state != "connected", "the loss is noticed")
        proxy.start()
        assert connection.request("health", timeout=WAIT_S)["ok"] is True
        assert connection.status().reconnects == 1
