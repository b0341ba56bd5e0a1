"""The dial against servers that are not there, silent, slow, hostile or somebody else."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gwsync
from conformance.tools import elapsed_below, eventually
from gwsync.session import attempt
from loopback.support import (
    WAIT_S,
    Bench,
    accepted,
    answers,
    error_of,
    http,
    read_head,
    reset,
    until_closed,
)

CANARY = "canary-0123456789-token"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``resolver("127.0.0.2", "127.0.0.1")``: what every name resolves to from then on."""

    def use(*addresses: str) -> None:
        def lookup(host: str, port: Any, family: int, kind: int) -> list[Any]:
            wanted = [one for one in addresses if (":" in one) == (family == socket.AF_INET6)]
            if not wanted:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return [(family, kind, 6, "", (one, 0)) for one in wanted]

        monkeypatch.setattr("gwsync.transport.resolve.getaddrinfo", lookup)

    return use


@pytest.fixture
def swallowing() -> Iterator[Callable[[str, int], int]]:
    """Listens with a full backlog: further SYNs are dropped. Returns the port."""
    opened: list[socket.socket] = []

    def listen(host: str = "127.0.0.1", port: int = 0) -> int:
        listener = socket.socket()
        opened.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            opened.append(filler)
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        return int(listener.getsockname()[1])

    yield listen
    for one in opened:
        one.close()


def fails(bench: Bench, url: str, **options: Any) -> Any:
    """The error of the first attempt; it must come soon and leave no socket."""
    connection = bench.connection(**{"url": url, "token": CANARY, **options})
    with elapsed_below(3, "the first failure"):
        return error_of(connection.request, "health", timeout=WAIT_S)


def stages(error: Any) -> list[tuple[str, bool]]:
    assert error.trace is not None
    return [(record.stage, record.ok) for record in error.trace.stages]


# -- nobody there ------------------------------------------------------------------------


def test_a_refused_port(bench: Bench) -> None:
    error = fails(bench, "ws://127.0.0.1:9")
    assert isinstance(error, gwsync.TcpError)
    assert isinstance(error, ConnectionError)
    assert not isinstance(error, TimeoutError)
    assert stages(error) == [("resolve", True), ("tcp", False)]
    assert "127.0.0.1:9 connection refused" in str(error)
    assert "is the port right" in error.hint
    assert error.retryable


@pytest.mark.usefixtures("unknown_names")
def test_a_name_that_does_not_resolve(bench: Bench) -> None:
    connection = bench.connection(url="wss://nonexistent.invalid", token=CANARY)
    error: Any = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.ResolveError)
    assert "nonexistent.invalid" in str(error)
    assert "check the spelling" in error.hint
    assert stages(error) == [("resolve", False)]


def test_a_resolver_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several attempts share the one lookup; nothing else of the process is held up."""
    stuck, lookups = threading.Event(), []

    def lookup(*args: Any) -> list[Any]:
        lookups.append(args)
        stuck.wait(20)
        return []

    monkeypatch.setattr("gwsync.transport.resolve.getaddrinfo", lookup)
    other = bench.connection()
    try:
        for _ in range(3):
            error = fails(bench, "ws://slow.ts.net", connect_timeout=0.2)
            assert isinstance(error, gwsync.DialTimeout)
            assert error.stage == "resolve"
            assert "MagicDNS" in error.hint
            assert other.request("health")["ok"] is True
        assert len(lookups) == 1
    finally:
        stuck.set()


# -- silence -----------------------------------------------------------------------------


def drip(sock: socket.socket) -> None:
    read_head(sock)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-A: y\r\n" * 1000:
        sock.sendall(bytes([byte]))
        if select_readable(sock, 0.02):
            return


def select_readable(sock: socket.socket, timeout: float) -> bool:
    import select

    return bool(select.select([sock], [], [], timeout)[0])


def no_challenge(sock: socket.socket) -> None:
    sock.sendall(accepted(read_head(sock)))
    until_closed(sock)


def pings_only(sock: socket.socket) -> None:
    sock.sendall(accepted(read_head(sock)))
    while not select_readable(sock, 0.01):
        sock.sendall(b"\x89\x00")


SILENT: dict[str, tuple[str, Callable[[socket.socket], Any], str]] = {
    "tls": ("wss", until_closed, "tls"),
    "upgrade": ("ws", until_closed, "upgrade"),
    "drip": ("ws", drip, "upgrade"),
    "challenge": ("ws", no_challenge, "handshake"),
    "pings": ("ws", pings_only, "handshake"),
}


@pytest.mark.parametrize("case", SILENT)
def test_silence_at_each_stage_is_a_timeout_that_names_it(bench: Bench, case: str) -> None:
    scheme, serve, stage = SILENT[case]
    gone = threading.Event()

    def watched(sock: socket.socket) -> None:
        try:
            serve(sock)
            until_closed(sock)
        finally:
            gone.set()

    server = bench.server(watched)
    url = f"{scheme}://127.0.0.1:{server.port}"
    error = fails(bench, url, connect_timeout=0.4)
    assert isinstance(error, gwsync.DialTimeout)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, ConnectionError)
    assert (error.stage, error.outcome, error.retryable) == (stage, "not_sent", True)
    assert stages(error)[-1] == (stage, False)
    assert all(ok for _, ok in stages(error)[:-1])
    assert [name for name, _ in stages(error)][:2] == ["resolve", "tcp"]
    assert 0.3 < error.trace.elapsed_s < 2
    assert error.hint
    assert gone.wait(2), "the socket was not closed"
    assert str(error.trace).count("\n") == len(error.trace.stages) - 1


def test_a_host_that_swallows_packets(bench: Bench, swallowing: Callable[..., int]) -> None:
    for _ in range(5):
        error = fails(bench, f"ws://127.0.0.1:{swallowing()}", connect_timeout=0.3)
        assert isinstance(error, gwsync.DialTimeout)
        assert error.stage == "tcp"
        assert stages(error) == [("resolve", True), ("tcp", False)]
        assert "timed out" in str(error)


# -- addresses ---------------------------------------------------------------------------


def test_every_address_is_tried(bench: Bench, resolver: Callable[..., None]) -> None:
    resolver("127.0.0.2", "127.0.0.3", "127.0.0.1")
    connection = bench.connection(
        url=f"ws://box.ts.net:{bench.gateway.port}", token=bench.gateway.token
    )
    connection.connect()
    trace = connection.status().trace
    assert trace is not None
    tcp = trace.stages[1]
    assert "127.0.0.2" in tcp.detail
    assert "127.0.0.3" in tcp.detail
    assert f"connected to 127.0.0.1:{bench.gateway.port}" in tcp.detail


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    bench: Bench, resolver: Callable[..., None], swallowing: Callable[..., int]
) -> None:
    port = swallowing("127.0.0.2", bench.gateway.port)
    assert port == bench.gateway.port
    resolver("127.0.0.2", "127.0.0.1")
    connection = bench.connection(
        url=f"ws://box.ts.net:{port}", token=bench.gateway.token, connect_timeout=2
    )
    with elapsed_below(2, "the dial"):
        connection.connect()


def test_all_addresses_fail(bench: Bench, resolver: Callable[..., None]) -> None:
    resolver("127.0.0.2", "127.0.0.3")
    error = fails(bench, "ws://box.ts.net:9")
    assert isinstance(error, gwsync.TcpError)
    assert "127.0.0.2:9" in str(error)
    assert "127.0.0.3:9" in str(error)


def test_localhost_is_both_loopbacks(bench: Bench) -> None:
    try:
        gateway = bench.another_gateway(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    connection = bench.connection(url=f"ws://localhost:{gateway.port}", token=gateway.token)
    assert connection.connect().protocol == 4
    other = bench.connection(url=f"ws://localhost:{bench.gateway.port}", token=bench.gateway.token)
    assert other.connect().protocol == 4


def test_no_ipv6_address_is_ever_dialled_by_default(
    bench: Bench, resolver: Callable[..., None]
) -> None:
    resolver("::1")
    error = fails(bench, "ws://box.ts.net:9")
    assert isinstance(error, gwsync.ResolveError)


# -- HTTP answers that are no upgrade ----------------------------------------------------


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("404 Not Found", "right path"),
        ("426 Upgrade Required", "gateway's port"),
        ("429 Too Many Requests", "wait"),
        ("200 OK", "gateway's port"),
        ("204 No Content", "gateway's port"),
        ("500 Internal Server Error", "gateway's port"),
        ("502 Bad Gateway", "gateway's port"),
    ],
)
def test_an_http_status_is_told(bench: Bench, status: str, hint: str) -> None:
    server = bench.server(answers(http(status, "<h1>no</h1>\r\n\x1b[31m" + CANARY[:3])))
    error = fails(bench, server.url)
    assert isinstance(error, gwsync.UpgradeError)
    assert error.status == int(status[:3])
    assert hint in error.hint
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)
    assert stages(error)[-1] == ("upgrade", False)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_refused_credentials_at_the_upgrade_park(bench: Bench, status: str) -> None:
    server = bench.server(answers(http(status, "no")))
    connection = bench.connection(url=server.url, token=CANARY)
    error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.AuthError)
    assert error.code == f"HTTP_{status[:3]}"
    assert connection.status().state == "parked"
    assert server.accepted == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(bench: Bench, status: int) -> None:
    target = bench.server(until_closed)
    server = bench.server(
        answers(http(f"{status} Moved", Location=f"{target.url}/?token=secret-of-theirs"))
    )
    error = fails(bench, server.url)
    assert isinstance(error, gwsync.UpgradeError)
    assert error.status == status
    assert "secret-of-theirs" not in str(error)
    assert target.accepted == 0


@pytest.mark.parametrize(
    "case",
    [
        "accept missing",
        "accept wrong",
        "no upgrade header",
        "no connection header",
        "garbage",
        "empty",
        "half a line",
        "reset",
        "http 1.0",
        "bad status",
        "negative length",
        "extension",
        "subprotocol",
    ],
)
def test_an_answer_that_is_no_upgrade(bench: Bench, case: str) -> None:
    def serve(sock: socket.socket) -> None:
        head = read_head(sock)
        good = accepted(head)
        lines = good.split(b"\r\n")
        if case == "reset":
            return reset(sock)
        answer = {
            "accept missing": b"\r\n".join(lines[:3]) + b"\r\n\r\n",
            "accept wrong": b"\r\n".join([*lines[:3], b"Sec-WebSocket-Accept: AAAA", b"", b""]),
            "no upgrade header": b"\r\n".join([lines[0], *lines[2:]]),
            "no connection header": b"\r\n".join([*lines[:2], *lines[3:]]),
            "garbage": b"\x00\xff\r\n\r\n\r\n",
            "empty": b"",
            "half a line": b"HTTP/1.1 10",
            "http 1.0": b"HTTP/1.0 200 OK\r\n\r\n",
            "extension": good[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            "subprotocol": good[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
            "bad status": b"HTTP/1.1 abc\r\n\r\n",
            "negative length": b"HTTP/1.1 404 No\r\nContent-Length: -5\r\n\r\n",
        }[case]
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    error = fails(bench, bench.server(serve).url, connect_timeout=5)
    assert isinstance(error, gwsync.UpgradeError), repr(error)
    assert stages(error)[-1] == ("upgrade", False)


@pytest.mark.parametrize("case", ["headers", "line", "body"])
def test_an_endless_answer_ends_at_its_budget(bench: Bench, case: str) -> None:
    sent = []

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        start, piece = {
            "headers": (b"HTTP/1.1 101 OK\r\n", b"X-Header: value\r\n" * 100),
            "line": (b"HTTP/1.1 101 OK\r\nX-Header: ", b"x" * 2000),
            "body": (b"HTTP/1.1 404 No\r\nContent-Length: 99999999\r\n\r\n", b"x" * 2000),
        }[case]
        sock.sendall(start)
        while True:
            sock.sendall(piece)
            sent.append(len(piece))

    error = fails(bench, bench.server(serve).url)
    assert isinstance(error, gwsync.UpgradeError)
    if case == "body":
        assert error.status == 404
    else:
        assert "65536" in str(error)
    assert sum(sent) < 20_000_000


def test_a_body_that_does_not_come_does_not_hide_the_status(bench: Bench) -> None:
    server = bench.server(answers("HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\nhalf"))
    error = fails(bench, server.url, connect_timeout=0.5)
    assert isinstance(error, gwsync.UpgradeError)
    assert error.status == 404


# -- what the server sees ----------------------------------------------------------------


def test_the_request_says_what_it_should_and_no_more(
    bench: Bench, resolver: Callable[..., None]
) -> None:
    heads: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        heads.append(read_head(sock))
        sock.sendall(
            http("404 Not Found", "", Set_Cookie="a=b; Domain=gateway.tail.ts.net").encode()
        )

    server = bench.server(serve)
    resolver("127.0.0.1")
    url = f"ws://gateway.tail.ts.net:{server.port}/base/path?x=1"
    for _ in range(2):
        fails(bench, url, headers={"X-Mine": "yes"})
    for head in heads:
        lines = head.decode().split("\r\n")
        assert lines[0] == "GET /base/path?x=1 HTTP/1.1"
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        names = [name.lower() for name in fields]
        assert fields["Host"] == f"gateway.tail.ts.net:{server.port}"
        assert fields["X-Mine"] == "yes"
        assert "origin" not in names
        assert "cookie" not in names
        assert "sec-websocket-extensions" not in names
        assert "authorization" not in names
        assert CANARY not in head.decode()
    assert len(heads) == 2


def test_a_cookie_of_a_gateway_is_not_kept(bench: Bench, resolver: Callable[..., None]) -> None:
    """websocket-client's cookie jar is one for the whole process."""
    heads: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        head = read_head(sock)
        heads.append(head)
        cookie = b"\r\nSet-Cookie: a=b; Domain=cookie.ts.net\r\n\r\n"
        sock.sendall(accepted(head)[:-4] + cookie)
        until_closed(sock)

    server = bench.server(serve)
    resolver("127.0.0.1")
    for _ in range(2):
        fails(bench, f"ws://cookie.ts.net:{server.port}", connect_timeout=0.2)
    assert len(heads) == 2
    assert b"cookie: " not in b"".join(heads).lower()


def test_nagle_is_off(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    supervisor = connection._supervisor
    assert supervisor is not None
    assert supervisor.link is not None
    sock = supervisor.link._sock
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_nothing_of_the_environment_takes_it_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = bench.server(until_closed)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
    connection = bench.connection()
    connection.connect()
    assert elsewhere.accepted == 0


# -- the record --------------------------------------------------------------------------


def test_each_stage_has_its_lines_and_the_token_is_in_none(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = bench.another_gateway(token=CANARY)
    connection = bench.connection(url=gateway.url, token=CANARY)
    connection.connect()
    connection.request("health", {"secret": "canary-of-params"})
    lines = [r.getMessage() for r in caplog.records if r.name == "gwsync.dial"]
    for stage in ("resolve", "tcp", "upgrade", "handshake"):
        assert len([line for line in lines if line.startswith(f"{stage}: ")]) == 2
    assert lines[0].startswith("dialling ws://127.0.0.1")
    bad = bench.connection(url=gateway.url, token=CANARY + "-wrong")
    error = error_of(bad.connect)
    assert any("failed after" in r.getMessage() for r in caplog.records if r.name == "gwsync.dial")
    logged = [r.getMessage() for r in caplog.records if not r.name.startswith("gwsync.testing")]
    said = "".join(logged) + repr(error) + str(error) + repr(error.__dict__) + repr(bad)
    said += repr(connection.status()) + repr(connection.hello())
    assert CANARY not in said
    assert "canary-of-params" not in said
    token = connection.hello().raw.get("auth", {}).get("deviceToken")
    assert token is None


def test_the_trace_of_a_good_dial(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    trace = connection.status().trace
    assert trace is not None
    assert [record.stage for record in trace.stages] == ["resolve", "tcp", "upgrade", "handshake"]
    assert all(record.ok for record in trace.stages)
    starts = [record.started_s for record in trace.stages]
    assert starts == sorted(starts)
    for before, after in zip(trace.stages, trace.stages[1:], strict=False):
        assert before.started_s + before.elapsed_s <= after.started_s + 0.001
    assert trace.url == bench.gateway.url


# -- a hostile handshake -----------------------------------------------------------------


def frame(text: bytes) -> bytes:
    if len(text) < 126:
        return bytes([0x81, len(text)]) + text
    if len(text) < 65536:
        return b"\x81\x7e" + len(text).to_bytes(2, "big") + text
    return b"\x81\x7f" + len(text).to_bytes(8, "big") + text


CHALLENGES: dict[str, bytes] = {
    "no nonce": b'{"type":"event","event":"connect.challenge","payload":{"ts":1}}',
    "long nonce": b'{"type":"event","event":"connect.challenge","payload":{"nonce":"'
    + b"n" * 2000
    + b'","ts":1}}',
    "bad ts": b'{"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":-1}}',
    "no payload": b'{"type":"event","event":"connect.challenge"}',
    "close": b"",
}


@pytest.mark.parametrize("case", CHALLENGES)
def test_nothing_is_said_to_a_bad_challenge(bench: Bench, case: str) -> None:
    said: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        sock.sendall(accepted(read_head(sock)))
        sock.sendall(b"\x88\x02\x03\xf0" if case == "close" else frame(CHALLENGES[case]))
        said.append(until_closed(sock))

    error = fails(bench, bench.server(serve).url)
    assert isinstance(error, gwsync.HandshakeError), repr(error)
    assert error.outcome == "not_sent"
    assert stages(error)[-1] == ("handshake", False)
    eventually(lambda: said, "the socket is closed", 5)
    assert len(said[0]) < 20  # a close frame, nothing signed


def test_a_server_that_floods_is_left_in_time(bench: Bench) -> None:
    """A reader whose socket is never empty must still see its deadline."""
    flood = frame(b'{"type":"res","id":"x","ok":true}') * 2000

    def serve(sock: socket.socket) -> None:
        sock.sendall(accepted(read_head(sock)))
        while True:
            sock.sendall(flood)

    other = bench.connection()
    other.connect()
    server = bench.server(serve)
    connection = bench.connection(url=server.url, token=CANARY, connect_timeout=0.5)
    with elapsed_below(3, "the flood"):
        error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.DialTimeout)
    assert error.stage == "handshake"
    assert other.request("health")["ok"] is True


@pytest.mark.parametrize("size", [2**40, 100_000], ids=["ever", "before hello-ok"])
def test_a_message_over_the_limit_before_hello(bench: Bench, size: int) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(accepted(read_head(sock)))
        sock.sendall(b"\x81\x7f" + size.to_bytes(8, "big") + b"x" * 1000)
        until_closed(sock)

    error = fails(bench, bench.server(serve).url)
    assert isinstance(error, gwsync.GatewayError)
    assert "bytes" in str(error)


def test_a_state_directory_that_does_not_answer_is_the_deadlines_matter_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home on a network file system whose server is gone: open() never returns."""
    never = threading.Event()
    monkeypatch.setattr(attempt, "load_identity", lambda state_dir: never.wait(20))
    connection = bench.connection(connect_timeout=0.3)
    try:
        with elapsed_below(2, "the deadline"), pytest.raises(gwsync.DialTimeout) as caught:
            connection.connect()
    finally:
        never.set()
    assert caught.value.stage == "identity"
    assert "state_dir" in caught.value.hint
