"""The way without a proxy: every finding of it, from the servers that cause it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import gwsync
from doctor.support import (
    Full,
    challenge,
    checked,
    closed_port,
    detail,
    examined,
    frame,
    gateway,
    refusal,
    stages,
)
from gwsync.doctor import diagnose
from gwsync.testing import GatewayRefusal
from gwsync.transport import resolve
from loopback.support import Bench, accepted, answers, http, read_head, reset, until_closed
from loopback.support_tls import Authority, Terminator

HELLO_STAGES = ["upgrade", "handshake", "scopes", "clock", "latency", "push"]


# -- what works -------------------------------------------------------------------------------
def test_a_gateway_that_is_well(bench: Bench) -> None:
    config = bench.config()

    def health(params: Any) -> dict[str, bool]:
        bench.gateway.push("health", {"ok": True})
        return {"ok": True}

    bench.gateway.on_method("health", health)
    report = examined(config)
    assert (report.finding, report.stage, report.exit_code) == ("OK", None, 0)
    assert stages(report) == ["config", "resolve", "tcp", *HELLO_STAGES]
    assert detail(report, "latency").startswith("10 requests: median ")
    assert detail(report, "push").startswith("health ")
    assert "agree" in detail(report, "clock")
    assert report.notes == ()


def test_a_quiet_gateway_is_well_too(bench: Bench) -> None:
    report = examined(bench.config())
    assert report.ok
    assert "at rest a tick comes every 30 s" in detail(report, "push")


def test_over_tls(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    config = bench.config(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file, state_dir=None
    )
    report = examined(gwsync.Config(**{**vars_of(config), "state_dir": bench.state_dir}))
    assert report.ok
    assert stages(report) == ["config", "resolve", "tcp", "tls", *HELLO_STAGES]


def vars_of(config: gwsync.Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("url", "token", "ca_file")}


def test_the_connection_is_closed_afterwards(bench: Bench) -> None:
    examined(bench.config())
    bench.gateway.wait_connections(0)


# -- names and TCP ----------------------------------------------------------------------------
def test_an_unknown_name(bench: Bench, unknown_names: None) -> None:
    report = examined(bench.config(url="ws://nowhere.local:1"))
    assert (report.finding, report.stage) == ("NAME_UNKNOWN", "resolve")
    assert "nowhere.local" in report.message


@pytest.mark.parametrize("listens", [True, False])
def test_a_name_without_an_ipv4_address(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    def getaddrinfo(host: str, port: Any, family: int, kind: int) -> list[Any]:
        if family == socket.AF_INET6:
            return [(family, kind, 6, "", ("::1", 0, 0, 0))]
        raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")

    monkeypatch.setattr(resolve, "getaddrinfo", getaddrinfo)
    server = bench.server(until_closed, host="::1")
    port = server.port if listens else closed_port()
    report = examined(bench.config(url=f"ws://six.local:{port}"))
    assert (report.finding, report.stage) == ("NO_IPV4_ADDRESS", "resolve")
    assert ("IPv6 works" in report.hint) is listens


def test_ipv4_is_dead_and_ipv6_lives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: Any, family: int, kind: int) -> list[Any]:
        address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return [(family, kind, 6, "", (address, 0))]

    monkeypatch.setattr(resolve, "getaddrinfo", getaddrinfo)
    server = bench.server(until_closed, host="::1")
    report = examined(bench.config(url=f"ws://both.local:{server.port}"))
    assert report.finding == "TCP_REFUSED"
    assert "IPv6 works" in report.hint


def test_nothing_listens(bench: Bench) -> None:
    report = examined(bench.config(url=f"ws://127.0.0.1:{closed_port()}"))
    assert (report.finding, report.stage, report.exit_code) == ("TCP_REFUSED", "tcp", 3)


def test_syns_are_dropped(bench: Bench) -> None:
    with Full() as full:
        report = examined(bench.config(url=f"ws://127.0.0.1:{full.port}"))
    assert (report.finding, report.stage) == ("TCP_TIMEOUT", "tcp")


def test_a_host_without_a_way_to_it(bench: Bench) -> None:
    # a link-local address without its link: the kernel says so before a packet leaves
    report = examined(bench.config(url="ws://[fe80::1]:1", address_family="ipv6"))
    assert (report.finding, report.stage) == ("TCP_UNREACHABLE", "tcp")


# -- TLS --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["elsewhere.example"], {}, "mismatch"),
        (["localhost"], {"expired": True}, "expired"),
    ],
)
def test_a_bad_certificate(
    bench: Bench, authority: Authority, names: list[str], options: dict[str, bool], words: str
) -> None:
    front = Terminator(bench, authority.issue(*names, **options))
    report = examined(bench.config(url=front.url(), ca_file=authority.ca_file))
    assert (report.finding, report.stage) == ("TLS_CERT_INVALID", "tls")
    assert words in report.message.lower()


def test_an_authority_that_nobody_knows(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    report = examined(bench.config(url=front.url()))
    assert (report.finding, report.stage) == ("TLS_CERT_INVALID", "tls")


def test_tls_behind_ws(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    report = examined(bench.config(url=f"ws://127.0.0.1:{front.server.port}"))
    assert (report.finding, report.stage) == ("TARGET_IS_TLS", "upgrade")


def test_no_tls_behind_wss(bench: Bench) -> None:
    url = bench.gateway.url.replace("ws:", "wss:")
    report = examined(bench.config(url=url))
    assert (report.finding, report.stage) == ("TARGET_NOT_TLS", "tls")


def test_tls_that_breaks(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        if sock.recv(65536):
            reset(sock)

    server = bench.server(serve)
    report = examined(bench.config(url=f"wss://127.0.0.1:{server.port}"))
    assert (report.finding, report.stage) == ("TLS_FAILED", "tls")


# -- the upgrade ------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
def test_another_answer_than_101(bench: Bench, status: str) -> None:
    server = bench.server(answers(http(status, "who are you?")))
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.stage) == ("UPGRADE_REJECTED", "upgrade")
    assert status[:3] in report.message
    assert "who are you?" in report.message
    assert "subprotocol" in report.hint


@pytest.mark.parametrize("status", ["404 Not Found", "503 Starting", "301 Moved"])
def test_other_statuses(bench: Bench, status: str) -> None:
    server = bench.server(answers(http(status)))
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.stage) == ("UPGRADE_REJECTED", "upgrade")


def banner(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    until_closed(sock)


def hangs_up(sock: socket.socket) -> None:
    read_head(sock)
    sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("serve", [banner, hangs_up, until_closed])
def test_another_kind_of_server(bench: Bench, serve: Any) -> None:
    server = bench.server(serve)
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.stage) == ("NOT_A_GATEWAY", "upgrade")


def test_a_program_that_does_not_accept_is_named(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        report = examined(bench.config(url=f"ws://127.0.0.1:{port}"))
    assert (report.finding, report.stage) == ("NOT_A_GATEWAY", "upgrade")
    assert "has not accepted" in report.hint


# -- the handshake ----------------------------------------------------------------------------
def silent_websocket(sock: socket.socket) -> None:
    sock.sendall(accepted(read_head(sock)))
    until_closed(sock)


@pytest.mark.parametrize(
    "serve",
    [
        silent_websocket,
        gateway(challenge(), frame({"type": "res", "id": "1", "ok": True, "payload": {}})),
        gateway(challenge(ts_ms=-1)),
    ],
)
def test_a_websocket_that_is_no_gateway(bench: Bench, serve: Any) -> None:
    server = bench.server(serve)
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.stage) == ("NOT_A_GATEWAY", "handshake")


def test_a_wrong_token(bench: Bench) -> None:
    report = examined(bench.config(token="not-the-token"))
    assert (report.finding, report.stage, report.exit_code) == ("AUTH_REJECTED", "handshake", 4)
    assert "not-the-token" not in str(report.as_json())


def test_a_device_that_is_not_paired(bench: Bench) -> None:
    other = bench.another_gateway(auto_pair=False)
    report = examined(bench.config(url=other.url, token=other.token))
    assert (report.finding, report.exit_code) == ("PAIRING_REQUIRED", 4)
    assert "openclaw devices approve " in report.hint


def test_fewer_scopes_than_asked_for(bench: Bench) -> None:
    server = bench.server(gateway(challenge(), refusal("AUTH_SCOPE_MISMATCH")))
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.exit_code) == ("SCOPES_MISSING", 4)


def test_another_protocol(bench: Bench) -> None:
    refused = refusal("PROTOCOL_MISMATCH", expectedProtocol=9)
    server = bench.server(gateway(challenge(), refused))
    report = examined(bench.config(url=server.url))
    assert (report.finding, report.exit_code) == ("PROTOCOL_MISMATCH", 3)
    assert "protocol 9" in report.message


def test_a_gateway_that_never_answers_requests(bench: Bench) -> None:
    config = bench.config()
    bench.gateway.hold("health")
    report = examined(config)
    assert (report.finding, report.stage) == ("TUNNEL_SILENT", "latency")


def test_a_gateway_whose_answer_is_no(bench: Bench) -> None:
    def health(params: Any) -> None:
        raise GatewayRefusal("INVALID_REQUEST", "no such thing")

    bench.gateway.on_method("health", health)
    report = examined(bench.config())
    assert report.ok
    assert detail(report, "latency").endswith("the answer was INVALID_REQUEST")


# -- what is shown ----------------------------------------------------------------------------
def test_a_secret_that_the_server_repeats_is_masked(bench: Bench) -> None:
    server = bench.server(answers(http("400 Bad Request", "token s3cret-token is bad")))
    report = examined(bench.config(url=f"{server.url}/a?key=123", token="s3cret-token"))
    assert "s3cret-token" not in str(report)
    assert "***" in report.message
    assert report.url == f"{server.url}/a"


def test_two_credentials_get_a_note(bench: Bench) -> None:
    report = checked(
        diagnose(
            bench.config(url=f"ws://127.0.0.1:{closed_port()}", token="t0ken", password="pa55")
        )
    )
    assert report.notes == ("token and password are set: only the token is used",)
