"""What each proxy says when it does not let us through, and what that is called here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gwsync
from conformance.tools import elapsed_below
from loopback.support import Bench, error_of

from .conftest import WAYS, one_of_its_own
from .servers import FORBIDDEN, KINDS, PASSWORD, REFUSED, Tinyproxy
from .ssh import SshServer

WAIT_S = 20.0
WRONG = "not-it-0123456789"

NOBODY = f"ws://127.0.0.1:{REFUSED}"
UNKNOWN = "ws://no-such-name.invalid:8080"

REFUSALS = {
    "microsocks": "TARGET_REFUSED",
    "danted": "TARGET_REFUSED",
    "tinyproxy": "TARGET_FAILED",
    "squid": "TARGET_FAILED",
    "ssh": "PROXY_CLOSED_ON_CONNECT",
}
NO_SUCH_NAME = {
    "microsocks": "TARGET_GENERAL_FAILURE",
    "danted": "TARGET_HOST_UNREACHABLE",
    "tinyproxy": "TARGET_FAILED",
    "squid": "TARGET_FAILED",
    "ssh": "PROXY_CLOSED_ON_CONNECT",
}


def failure(bench: Bench, proxy: str, **options: Any) -> Any:
    """The error of a first request through ``proxy``."""
    connection = bench.connection(proxy=proxy, allow_plaintext=True, **options)
    error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.ProxyError), repr(error)
    assert "\n" not in str(error)
    assert all(secret not in str(error) for secret in (PASSWORD, WRONG))
    return error


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_password(
    name: str, scheme: str, proxies: Any, bench: Bench, target: Callable[..., dict[str, Any]]
) -> None:
    proxy = proxies(name, auth=True).url(password=WRONG)
    error = failure(bench, proxy, **target(scheme))
    assert error.finding == "PROXY_AUTH_WRONG"
    assert not error.retryable
    assert WRONG.encode() not in error.sent


@pytest.mark.parametrize("name", KINDS)
def test_no_credentials_where_they_are_wanted(
    name: str, proxies: Any, bench: Bench, target: Callable[..., dict[str, Any]]
) -> None:
    error = failure(bench, proxies(name, auth=True).url(password=None), **target("ws"))
    assert error.finding == "PROXY_AUTH_REQUIRED"
    assert not error.retryable


@pytest.mark.parametrize("name", WAYS)
def test_nothing_listens_at_the_target(name: str, proxies: Any, bench: Bench) -> None:
    error = failure(bench, proxies(name).url(), url=NOBODY)
    assert error.finding == REFUSALS[name]
    assert error.retryable
    if name == "squid":  # the only one of them that passes on the reason
        assert "ERR_CONNECT_FAIL 111" in str(error)


@pytest.mark.parametrize("name", WAYS)
def test_a_name_that_the_proxy_does_not_know(name: str, proxies: Any, bench: Bench) -> None:
    error = failure(bench, proxies(name).url(), url=UNKNOWN)
    assert error.finding == NO_SUCH_NAME[name]
    assert error.retryable


@pytest.mark.parametrize("name", ["danted", "tinyproxy", "squid"])
def test_a_rule_forbids_the_target(name: str, bench: Bench) -> None:
    proxy = Tinyproxy(only=[REFUSED]) if name == "tinyproxy" else KINDS[name]()
    with proxy:
        error = failure(bench, proxy.url(), url=f"ws://127.0.0.1:{FORBIDDEN}")
    assert error.finding == "TARGET_DENIED_BY_PROXY"
    assert f"127.0.0.1:{FORBIDDEN}" in str(error)
    assert not error.retryable


@pytest.mark.parametrize("name", WAYS)
def test_the_proxy_is_not_there(name: str, bench: Bench, request: pytest.FixtureRequest) -> None:
    with one_of_its_own(name, False, request) as proxy:
        proxy.stop()
        error = failure(bench, proxy.url(), url=NOBODY)
    assert error.finding == "PROXY_PORT_CLOSED"
    assert error.retryable


@pytest.mark.parametrize(
    ("name", "scheme", "finding"),
    [
        ("microsocks", "socks4a", "PROXY_IS_SOCKS5"),
        ("microsocks", "http", "PROXY_IS_SOCKS5"),
        # they hang up on what is no SOCKS; who they are is asked by doctor
        ("danted", "http", "PROXY_CLOSES_AT_ONCE"),
        ("ssh", "http", "PROXY_CLOSES_AT_ONCE"),
        # they wait for the end of a head
        ("tinyproxy", "socks5h", "PROXY_SILENT"),
        ("squid", "socks5h", "PROXY_SILENT"),
        ("squid", "socks4a", "PROXY_IS_HTTP"),
    ],
)
def test_another_dialect_than_the_proxys(
    name: str, scheme: str, finding: str, proxies: Any, bench: Bench
) -> None:
    limit = (("proxy", 1.0),)
    error = failure(bench, proxies(name).url(scheme), url=NOBODY, stage_timeouts=limit)
    assert error.finding == finding


@pytest.mark.parametrize("name", ["danted", "ssh"])
def test_a_refused_target_in_socks4(name: str, proxies: Any, bench: Bench) -> None:
    error = failure(bench, proxies(name).url("socks4"), url=NOBODY)
    if name == "ssh":  # nothing was said before: it may hang up on everybody
        assert error.finding in ("PROXY_CLOSED_ON_CONNECT", "PROXY_CLOSES_AT_ONCE")
    else:
        assert error.finding == "TARGET_GENERAL_FAILURE"


def test_an_ssh_tunnel_to_a_gateway(ssh_server: SshServer, bench: Bench) -> None:
    with ssh_server.tunnel(bench.gateway.port) as tunnel:
        url = f"ws://127.0.0.1:{tunnel.port}"
        connection = bench.connection(url=url, token=bench.gateway.token)
        for _ in range(20):
            assert connection.request("health")["ok"] is True
        connection.close()
        bench.gateway.wait_connections(open=0)
        assert tunnel.complaints() == []


def test_an_ssh_tunnel_to_a_dead_target(ssh_server: SshServer, bench: Bench) -> None:
    """It accepts and hangs up: no proxy, and TCP works, so it is the upgrade that fails."""
    with ssh_server.tunnel(REFUSED) as tunnel:
        connection = bench.connection(url=f"ws://127.0.0.1:{tunnel.port}")
        with elapsed_below(5, "a dead tunnel"):
            error: Any = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.DialError)
    assert error.stage == "upgrade"
    assert error.retryable


def test_an_ssh_tunnel_to_a_dead_target_as_a_proxy(ssh_server: SshServer, bench: Bench) -> None:
    with ssh_server.tunnel(REFUSED) as tunnel:
        for scheme in ("socks5h", "http"):
            error = failure(bench, f"{scheme}://127.0.0.1:{tunnel.port}", url=NOBODY)
            assert error.finding == "PROXY_CLOSES_AT_ONCE"
