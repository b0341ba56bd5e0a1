"""Every row of the table of proxy findings, from a tiny server that does just that.

Each must get its own name, within three seconds, and no other row's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from doctor.support import Full, closed_port, detail, examined, stages
from gwsync.doctor import Report
from gwsync.doctor.proxied import NOISE
from gwsync.transport import resolve
from loopback.support import Bench, answers, http, reset, until_closed
from loopback.support_proxy import Proxy
from loopback.support_tls import Authority, Terminator

Serve = Callable[[socket.socket], None]
SECRET = "pa55word-of-the-proxy"
CLOSE = b""
OK5 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"


def speaks(replies: dict[bytes, Any]) -> Serve:
    """Answers the first bytes by their beginning: bytes, or a function; else silence."""

    def serve(sock: socket.socket) -> None:
        first = sock.recv(65536)
        reply = next((one for start, one in replies.items() if first.startswith(start)), None)
        if callable(reply):
            reply(sock)
        elif reply == CLOSE:
            sock.shutdown(socket.SHUT_RDWR)
        elif reply is not None:
            sock.sendall(reply)
        until_closed(sock)

    return serve


def socks5(reply: bytes | None, control: bytes | None = None) -> Serve:
    """A SOCKS5 server without auth; ``control`` is for requests to 127.0.0.1:1."""

    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x05\x00")
        request = sock.recv(65536)
        answer = control if request.endswith(b"\x7f\x00\x00\x01\x00\x01") else reply
        if answer == CLOSE:
            sock.shutdown(socket.SHUT_RDWR)
        elif answer is not None:
            sock.sendall(answer)
        until_closed(sock)

    return serve


def rep(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


def password(verdict: bytes) -> Serve:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x05\x02")
        sock.recv(65536)
        sock.sendall(verdict)
        until_closed(sock)

    return serve


def says(data: bytes) -> Serve:
    def serve(sock: socket.socket) -> None:
        sock.sendall(data)
        until_closed(sock)

    return serve


def hangs_up(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def after_a_byte(sock: socket.socket) -> None:
    sock.recv(1)
    reset(sock)


def method(choose: Callable[[bytes], bytes]) -> Serve:
    """Answers the greeting by the methods in it."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(choose(sock.recv(65536)[2:]))
        until_closed(sock)

    return serve


def page(status: str, **headers: str) -> bytes:
    return http(status, "", **headers).encode()


WEB = {b"CONNECT": page("400 Bad Request")}
LOGIN = f"user:{SECRET}@"
# id, what serves, the proxy's scheme and credentials, the finding, the stage
ROWS: list[tuple[str, Serve, str, str]] = [
    ("silent", until_closed, "socks5h://", "PROXY_SILENT"),
    ("closes", hangs_up, "socks5h://", "PROXY_CLOSES_AT_ONCE"),
    ("resets", reset, "socks5h://", "PROXY_CLOSES_AT_ONCE"),
    ("resets-later", after_a_byte, "socks5h://", "PROXY_CLOSES_AT_ONCE"),
    ("web-400", speaks(WEB), "socks5h://", "PROXY_IS_HTTP"),
    ("web-404", speaks({b"CONNECT": page("404 Not Found")}), "socks5h://", "PROXY_IS_HTTP"),
    ("web-501", speaks({b"CONNECT": page("501 No")}), "socks5h://", "PROXY_IS_HTTP"),
    ("web-answers-05", answers(page("400 Bad")), "socks5h://", "PROXY_IS_HTTP"),
    ("http-200", speaks({b"CONNECT": page("200 OK")[:-22]}), "socks5h://", "PROXY_IS_HTTP_CONNECT"),
    ("http-403", speaks({b"CONNECT": page("403 No")}), "socks5h://", "PROXY_IS_HTTP_CONNECT"),
    ("http-407", speaks({b"CONNECT": page("407 Who")}), "socks5h://", "PROXY_IS_HTTP_CONNECT"),
    ("http-502", speaks({b"CONNECT": page("502 No")}), "socks5h://", "PROXY_IS_HTTP_CONNECT"),
    (
        "squid",  # which answers SOCKS too
        speaks({b"\x05": page("400 Bad Request"), b"CONNECT": page("503 No")}),
        "socks5h://",
        "PROXY_IS_HTTP_CONNECT",
    ),
    ("tls-alert", speaks({b"\x16": b"\x15\x03\x03\x00\x02\x02\x28"}), "socks5h://", "PROXY_IS_TLS"),
    ("tls-to-05", speaks({b"\x05": b"\x15\x03\x01\x00\x02\x02\x0a"}), "socks5h://", "PROXY_IS_TLS"),
    ("tls-to-http", speaks({b"\x16": b"\x16\x03\x03\x00\x7a"}), "http://", "PROXY_IS_TLS"),
    ("ssh", says(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "socks5h://", "PROXY_IS_SSH"),
    ("ssh-to-http", says(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "http://", "PROXY_IS_SSH"),
    ("smtp", says(b"220 mail.example ESMTP\r\n"), "socks5h://", "PROXY_IS_BANNER"),
    ("pop3", says(b"+OK ready\r\n"), "socks5h://", "PROXY_IS_BANNER"),
    ("socks4", speaks({b"\x04": b"\x00\x5b" + bytes(6)}), "socks5h://", "PROXY_IS_SOCKS4"),
    ("socks4-to-05", speaks({b"": b"\x00\x5b" + bytes(6)}), "socks5h://", "PROXY_IS_SOCKS4"),
    ("socks5-ff", speaks({b"": b"\x05\xff"}), "http://", "PROXY_IS_SOCKS5"),
    (
        "socks5-eof",  # ssh -D and dante
        speaks({b"CONNECT": CLOSE, b"\x05": b"\x05\x00"}),
        "http://",
        "PROXY_IS_SOCKS5",
    ),
    ("other-bytes", says(b"\x99\x98\x97"), "socks5h://", "PROXY_UNKNOWN_REPLY"),
    (
        "auth-missing",
        method(lambda asked: b"\x05\x02" if 2 in asked else b"\x05\xff"),
        "socks5h://",
        "PROXY_AUTH_REQUIRED",
    ),
    ("auth-missing-http", speaks({b"C": page("407 Who")}), "http://", "PROXY_AUTH_REQUIRED"),
    ("auth-wrong", password(b"\x01\x01"), f"socks5h://{LOGIN}", "PROXY_AUTH_WRONG"),
    ("auth-wrong-http", speaks({b"C": page("407 Who")}), f"http://{LOGIN}", "PROXY_AUTH_WRONG"),
    ("auth-wrong-401", speaks({b"C": page("401 Who")}), f"http://{LOGIN}", "PROXY_AUTH_WRONG"),
    ("web-401", speaks({b"C": page("401 Who")}), "http://", "PROXY_IS_WEB_SERVER"),
    ("no-method", method(lambda asked: b"\x05\xff"), "socks5h://", "PROXY_AUTH_METHOD_REJECTED"),
    ("gssapi", method(lambda asked: b"\x05\x01"), "socks5h://", "PROXY_AUTH_METHOD_UNSUPPORTED"),
    ("rep-1", socks5(rep(1)), "socks5h://", "TARGET_GENERAL_FAILURE"),
    ("rep-2", socks5(rep(2)), "socks5h://", "TARGET_DENIED_BY_PROXY"),
    ("rep-3", socks5(rep(3)), "socks5h://", "TARGET_NET_UNREACHABLE"),
    ("rep-4", socks5(rep(4)), "socks5h://", "TARGET_HOST_UNREACHABLE"),
    ("rep-5", socks5(rep(5)), "socks5h://", "TARGET_REFUSED"),
    ("rep-6", socks5(rep(6)), "socks5h://", "TARGET_TTL_EXPIRED"),
    ("rep-7", socks5(rep(7)), "socks5h://", "PROXY_NO_CONNECT_COMMAND"),
    ("rep-8", socks5(rep(8)), "socks5h://", "PROXY_ATYP_UNSUPPORTED"),
    ("rep-9", socks5(rep(9)), "socks5h://", "PROXY_UNKNOWN_REP"),
    ("http-denied", speaks({b"C": page("403 No")}), "http://", "TARGET_DENIED_BY_PROXY"),
    ("hangs-up", socks5(CLOSE), "socks5h://", "PROXY_CLOSED_ON_CONNECT"),
    ("target-silent", socks5(None, rep(5)), "socks5h://", "TARGET_NO_ANSWER"),
    ("target-silent-ssh", socks5(None, CLOSE), "socks5h://", "TARGET_NO_ANSWER"),
    ("stalls", socks5(None, None), "socks5h://", "PROXY_STALLS_ON_CONNECT"),
    ("http-500", speaks({b"C": page("500 No")}), "http://", "TARGET_FAILED"),
    ("http-bad-gateway", speaks({b"C": page("502 No")}), "http://", "TARGET_FAILED"),
    ("http-503", speaks({b"C": page("503 No")}), "http://", "TARGET_FAILED"),
    ("http-504", speaks({b"C": page("504 Late")}), "http://", "TARGET_TIMEOUT"),
    ("not-a-proxy", speaks({b"C": page("405 No")}), "http://", "PROXY_IS_WEB_SERVER"),
    ("not-a-proxy-404", speaks({b"C": page("404 No")}), "http://", "PROXY_IS_WEB_SERVER"),
    ("a-page", speaks({b"C": http("200 OK", "hi").encode()}), "http://", "PROXY_IS_WEB_SERVER"),
    ("http-silent", speaks({b"\x05": page("400 Bad")}), "http://", "TARGET_NO_ANSWER"),
    ("all-silent", until_closed, "http://", "PROXY_OR_TARGET_SILENT"),
    ("tunnel-silent", socks5(OK5), "socks5h://", "TUNNEL_SILENT"),
]


@pytest.mark.parametrize(
    ("serve", "scheme", "finding"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_row(bench: Bench, serve: Serve, scheme: str, finding: str) -> None:
    server = bench.server(serve)
    report = through(bench, f"{scheme}127.0.0.1:{server.port}")
    assert report.finding == finding
    assert report.stage in ("proxy", "upgrade")
    assert SECRET not in str(report) + str(report.as_json())
    asked = {"identify", "control", "reason", "login"} & set(stages(report))
    assert (NOISE in report.notes) is bool(asked)


def through(bench: Bench, proxy: str, url: str = "ws://gateway.local:18789") -> Report:
    return examined(bench.config(url=url, token="t0ken-of-mine", proxy=proxy))


# -- rows about where the proxy is --------------------------------------------------------------
def test_port_closed(bench: Bench) -> None:
    report = through(bench, f"socks5h://127.0.0.1:{closed_port()}")
    assert (report.finding, report.stage) == ("PROXY_PORT_CLOSED", "tcp")
    assert "tailscaled --tun=userspace-networking" in report.hint


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "::1"), ("[::1]", "127.0.0.1")])
def test_wrong_loopback(bench: Bench, host: str, other: str) -> None:
    server = bench.server(until_closed, host=other)
    report = through(bench, f"socks5h://{host}:{server.port}")
    assert report.finding == "PROXY_WRONG_LOOPBACK"
    assert other in report.message


def test_unreachable(bench: Bench) -> None:
    with Full() as full:
        report = through(bench, f"socks5h://127.0.0.1:{full.port}")
    assert (report.finding, report.stage) == ("PROXY_UNREACHABLE", "tcp")


def test_a_bad_name(bench: Bench, unknown_names: None) -> None:
    report = through(bench, "socks5h://proxy.local:1055")
    assert (report.finding, report.stage) == ("PROXY_NAME_UNKNOWN", "resolve")


def test_what_has_not_accepted_is_named(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        report = through(bench, f"socks5h://127.0.0.1:{listener.getsockname()[1]}")
    assert report.finding == "PROXY_SILENT"
    assert "has not accepted" in report.hint
    assert "(pid " in report.hint


def test_the_gateway_itself_as_the_proxy(bench: Bench) -> None:
    report = through(bench, f"socks5h://127.0.0.1:{bench.gateway.port}")
    assert report.finding == "PROXY_IS_HTTP"


# -- names --------------------------------------------------------------------------------------
@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that does not answer while the test runs."""
    over = threading.Event()

    def getaddrinfo(*arguments: Any) -> list[Any]:
        over.wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(resolve, "getaddrinfo", getaddrinfo)
    yield
    over.set()


@pytest.mark.parametrize("names", ["unknown_names", "slow_names"])
def test_names_that_are_resolved_here(
    bench: Bench, names: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(names)
    server = bench.server(socks5(rep(5)))
    report = through(bench, f"socks5://127.0.0.1:{server.port}", "ws://box.ts.net:18789")
    assert (report.finding, report.stage) == ("TARGET_NAME_UNKNOWN_LOCALLY", "resolve")
    assert "socks5h://" in report.hint
    assert "could not read packet header" in report.hint


# -- what the proxy says -----------------------------------------------------------------------
def test_tailscales_reason_is_quoted(bench: Bench) -> None:
    reason = "dial tcp 100.64.0.9:18789: connect: connection refused"

    def serve(sock: socket.socket) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\x05":
            socks5(rep(1))(sock)
        else:
            answers(page("500 Internal Server Error", Tailscale_Connect_Error=reason))(sock)

    server = bench.server(serve)
    report = through(bench, f"socks5h://127.0.0.1:{server.port}")
    assert report.finding == "TARGET_GENERAL_FAILURE"
    assert reason in report.message


@pytest.mark.parametrize("header", ["X-Squid-Error", "Tailscale-Connect-Error", "Proxy-Status"])
def test_the_headers_of_http_proxies_are_quoted(bench: Bench, header: str) -> None:
    server = bench.server(answers(page("503 No", **{header: "ERR_CONNECT_FAIL 111"})))
    report = through(bench, f"http://127.0.0.1:{server.port}")
    assert report.finding == "TARGET_FAILED"
    assert "ERR_CONNECT_FAIL 111" in report.message


# -- through the tunnel ------------------------------------------------------------------------
@pytest.fixture(params=["socks5", "http"])
def proxy(request: pytest.FixtureRequest, bench: Bench) -> str:
    """The URL of a proxy that works."""
    scheme = "socks5h" if request.param == "socks5" else "http"
    return Proxy(bench, request.param).url(scheme)


def test_healthy(bench: Bench, proxy: str) -> None:
    url = f"ws://localhost:{bench.gateway.port}"
    report = examined(bench.config(url=url, token=bench.gateway.token, proxy=proxy))
    assert report.ok, report
    assert stages(report)[:5] == ["config", "resolve", "tcp", "proxy", "upgrade"]
    assert proxy.partition("://")[0] in detail(report, "config")
    assert report.notes == ()  # nothing was asked, so nothing is in the proxy's log


def test_healthy_over_tls(bench: Bench, proxy: str, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    settings = {"url": front.url(), "token": bench.gateway.token, "ca_file": authority.ca_file}
    report = examined(bench.config(proxy=proxy, **settings))
    assert report.ok, report


@pytest.mark.parametrize(
    ("serve", "finding"),
    [
        (hangs_up, "TUNNEL_CLOSED"),
        (until_closed, "TUNNEL_SILENT"),
        (answers(http("403 Forbidden")), "UPGRADE_REJECTED"),
        (says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "NOT_A_GATEWAY"),
    ],
)
def test_what_is_behind(bench: Bench, proxy: str, serve: Serve, finding: str) -> None:
    server = bench.server(serve)
    report = through(bench, proxy, f"ws://localhost:{server.port}")
    assert (report.finding, report.stage) == (finding, "upgrade")


@pytest.mark.parametrize(
    ("serve", "finding"), [(hangs_up, "TUNNEL_CLOSED"), (until_closed, "TUNNEL_SILENT")]
)
def test_what_is_behind_wss(bench: Bench, proxy: str, serve: Serve, finding: str) -> None:
    server = bench.server(serve)
    report = through(bench, proxy, f"wss://localhost:{server.port}")
    assert (report.finding, report.stage) == (finding, "tls")


def test_tls_behind_ws(bench: Bench, proxy: str, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    report = through(bench, proxy, f"ws://localhost:{front.server.port}")
    assert report.finding == "TARGET_IS_TLS"


def test_no_tls_behind_wss(bench: Bench, proxy: str) -> None:
    report = through(bench, proxy, f"wss://localhost:{bench.gateway.port}")
    assert report.finding == "TARGET_NOT_TLS"


def test_a_bad_certificate(bench: Bench, proxy: str, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("elsewhere.example"))
    url = f"wss://localhost:{front.server.port}"
    report = examined(bench.config(url=url, proxy=proxy, ca_file=authority.ca_file))
    assert report.finding == "TLS_CERT_INVALID"
