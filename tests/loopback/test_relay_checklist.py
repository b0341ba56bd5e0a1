"""What a correct relay does, point by point, where the other files do not have it."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

import pytest

from conformance.tools import InThread, elapsed_below, eventually
from gwsync import limits
from gwsync.relay import Relay
from gwsync.relay.stream import keeps_alive
from loopback.support import Bench, RawServer, answers, read_head, until_closed
from loopback.support_relay import Client, relay_to, websocket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Upstream:
    """Answers every request, or makes a WebSocket of it; keeps the heads."""

    def __init__(self, bench: Bench, answer: bytes = OK) -> None:
        self.heads: queue.Queue[str] = queue.Queue()
        self.answer = answer
        self.server: RawServer = bench.server(self._serve)
        self.port = self.server.port

    def _serve(self, sock: socket.socket) -> None:
        while head := sock.recv(65536, socket.MSG_PEEK):
            if b"Upgrade: websocket" in head:
                self.heads.put(websocket(sock).decode())
                until_closed(sock)
                return
            self.heads.put(read_head(sock).decode())
            sock.sendall(self.answer)

    def head(self) -> str:
        return self.heads.get(timeout=10)


@pytest.fixture
def upstream(bench: Bench) -> Upstream:
    return Upstream(bench)


# -- names -----------------------------------------------------------------------------------
@pytest.mark.parametrize("preserve", [False, True])
def test_host_origin_and_referer_move_together(preserve: bool, upstream: Upstream) -> None:
    with relay_to(upstream.port, preserve_host=preserve) as relay, Client(relay.port) as client:
        client.upgrade("/", f"Referer: http://127.0.0.1:{relay.port}/page?x")
        assert client.status() == 101
        seen = relay.port if preserve else upstream.port
        head = upstream.head()
        assert f"\r\nHost: 127.0.0.1:{seen}\r\n" in head
        assert f"\r\nOrigin: http://127.0.0.1:{seen}\r\n" in head
        assert f"\r\nReferer: http://127.0.0.1:{seen}/page?x\r\n" in head


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_asked_where_and_how(host: str, upstream: Upstream) -> None:
    spoofed = b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n"
    with relay_to(upstream.port, forwarded=True, listen=(host, 0)) as relay:
        authority = relay.url.partition("//")[2].encode()
        with socket.create_connection((host, relay.port), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, spoofed))
            assert sock.recv(9) == b"HTTP/1.1 "
        head = upstream.head()
        assert relay.status().url == relay.url  # as its page shows it
    assert f"\r\nX-Forwarded-For: {host}\r\n" in head
    assert f"\r\nX-Forwarded-Host: {authority.decode()}\r\n" in head
    assert "\r\nX-Forwarded-Proto: http\r\n" in head
    assert "1.2.3.4" not in head


def test_an_upgrade_that_is_sent_elsewhere_is_not_followed(bench: Bench) -> None:
    away = (
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/there?x\r\nContent-Length: 0\r\n\r\n"
    )
    upstream = Upstream(bench)
    server = bench.server(lambda sock: answers(away.format(server.port))(sock))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.upgrade()
        head = client.head()
    assert head.startswith("HTTP/1.1 302 ")
    assert "\r\nLocation: /there?x\r\n" in head
    assert upstream.server.accepted == 0


# -- headers ---------------------------------------------------------------------------------
def test_what_belongs_to_a_hop_stays_there(upstream: Upstream) -> None:
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Of-This-Hop\r\nKeep-Alive: timeout=9\r\n"
        b"X-Of-This-Hop: 1\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\n"
        b"Upgrade: h2c\r\nTrailer: X-End\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    )
    with relay_to(upstream.port) as relay, Client(relay.port) as client:
        client.request(
            "/",
            "Connection: keep-alive, X-Mine, TE",
            "X-Mine: 1",
            "TE: trailers",
            "Trailer: X-End",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic eDp5",
            "Proxy-Connection: keep-alive",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
            "X-Gwsync-Relay-Token: nobodys",
            "Authorization: Bearer of-the-client",
            "X-Kept: 1",
        )
        back = client.head()
        client.request()
        assert client.status() == 200  # and the connection is not closed for it
    head = upstream.head()
    lines = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
    assert lines == {"host", "authorization", "x-kept", "connection"}
    assert "\r\nAuthorization: Bearer of-the-client\r\n" in head
    lines = {line.partition(":")[0].lower() for line in back.split("\r\n")[1:] if line}
    assert lines == {"x-kept", "content-length", "connection"}
    assert upstream.server.accepted == 1


def test_cookies_are_for_this_place(upstream: Upstream) -> None:
    upstream.answer = (
        b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Bearer\r\n"
        b"Set-Cookie: a=1; Domain=box.example; Path=/x; Secure; HttpOnly\r\n"
        b"Set-Cookie: b=2; SameSite=None; Secure\r\n"
        b"Set-Cookie: c=3; SameSite=Lax; Max-Age=5\r\nContent-Length: 0\r\n\r\n"
    )
    with relay_to(upstream.port) as relay, Client(relay.port) as client:
        client.request("/", "Cookie: x=1; gwsync_relay=abc; y=2", "Cookie: z=3")
        back = client.head()
    head = upstream.head()
    assert "\r\nCookie: x=1; y=2\r\n" in head
    assert "\r\nCookie: z=3\r\n" in head
    assert "\r\nWWW-Authenticate: Bearer\r\n" in back
    assert "\r\nSet-Cookie: a=1; Path=/x; HttpOnly\r\n" in back
    assert "\r\nSet-Cookie: b=2\r\n" in back
    assert "\r\nSet-Cookie: c=3; SameSite=Lax; Max-Age=5\r\n" in back


# -- answers ---------------------------------------------------------------------------------
def test_early_hints_are_for_those_who_know_them(upstream: Upstream) -> None:
    upstream.answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK
    with relay_to(upstream.port) as relay:
        with Client(relay.port) as client:
            client.request()
            hints = client.head()
            assert hints.startswith("HTTP/1.1 103 ")
            assert "\r\nLink: </a.css>\r\n" in hints
            assert (client.status(), client.exactly(2)) == (200, b"ok")
        old = b"GET / HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % relay.port
        with Client(relay.port, old) as client:
            assert client.rest().startswith(b"HTTP/1.1 200 ")


def test_a_poll_waits_while_others_go_on(bench: Bench) -> None:
    go = threading.Event()

    def serve(sock: socket.socket) -> None:
        if read_head(sock).startswith(b"GET /poll "):
            go.wait(10)
        sock.sendall(OK)
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as one, Client(relay.port) as two:
        one.request("/poll")
        eventually(lambda: server.accepted == 1, "it is asked")
        two.request("/other")
        assert two.status() == 200
        assert not one.heard
        go.set()
        assert one.status() == 200


def test_chunks_go_both_ways_at_the_same_time(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        data = read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = data.partition(b"\r\n\r\n")[2]
        with contextlib.suppress(OSError):
            while not data.endswith(b"0\r\n\r\n"):
                sock.sendall(data)
                data = sock.recv(65536)
            sock.sendall(data)
            until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Transfer-Encoding: chunked", method="POST")
        assert client.status() == 200
        for word in (b"one", b"two", b"three"):
            client.say(b"%x\r\n%b\r\n" % (len(word), word))
            assert client.until(word + b"\r\n") == b"%x\r\n%b\r\n" % (len(word), word)
        client.say(b"0\r\nX-Trailer: dropped\r\n\r\n")
        assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_upload_that_is_answered_early_still_hears_the_answer(bench: Bench) -> None:
    """Its sender does not look before it has sent all, as most do."""

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    server = bench.server(serve)
    size = 24 * 1024 * 1024
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", f"Content-Length: {size}", method="POST")
        for _ in range(size // 65536):
            client.say(b"x" * 65536)
        assert client.head().startswith("HTTP/1.1 413 ")
        assert client.exactly(4) == b"much"


def test_an_answer_that_overtakes_the_end_of_its_request_keeps_the_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_LAST_BYTES_S", 10.0)
    answered = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(OK)
        answered.set()
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Content-Length: 2", method="POST", body=b"a")
        assert answered.wait(10)
        client.say(b"b")
        assert "\r\nConnection: keep-alive\r\n" in client.head()


def test_a_long_upload_outlasts_the_patience_for_an_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_ANSWER_S", 1.5)

    heard: queue.Queue[bytes] = queue.Queue()

    def serve(sock: socket.socket) -> None:
        data = read_head(sock).partition(b"\r\n\r\n")[2] or sock.recv(100)
        while not data.endswith(b"0\r\n\r\n"):
            assert data
            heard.put(data)
            data = sock.recv(100)
        sock.sendall(OK)
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Transfer-Encoding: chunked", method="POST")
        end = time.monotonic() + 1.4 * limits.RELAY_ANSWER_S
        while time.monotonic() < end:
            client.say(b"1\r\nx\r\n")
            heard.get(timeout=10)
        client.say(b"0\r\n\r\n")
        assert client.status() == 200


def test_a_slow_reader_of_a_download_holds_the_upstream(bench: Bench) -> None:
    sent: queue.Queue[int] = queue.Queue()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n")
        sock.settimeout(0.5)
        count = 0
        with contextlib.suppress(TimeoutError):
            while count < 268435456:
                count += sock.send(b"x" * 65536)
        sent.put(count)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request()
        assert sent.get(timeout=60) < 64 * 1024 * 1024
        assert relay.status().open == 1


def test_an_upload_that_is_not_read_holds_its_sender(bench: Bench) -> None:
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        over.wait(60)
        sock.shutdown(socket.SHUT_RDWR)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Content-Length: 268435456", method="POST")
        client.sock.settimeout(0.5)
        count = 0
        with contextlib.suppress(TimeoutError):
            while count < 268435456:
                count += client.sock.send(b"x" * 65536)
        assert count < 64 * 1024 * 1024
        over.set()


# -- upstreams that fail -----------------------------------------------------------------------
class Fickle:
    """Answers the first request on each connection; at the second it does ``then``."""

    def __init__(self, bench: Bench, then: bytes) -> None:
        self.lines: list[bytes] = []
        self._then = then
        self.server = bench.server(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        self.lines.append(read_head(sock).partition(b"\r\n")[0])
        if b"/hang-up" not in self.lines[-1]:
            sock.sendall(OK)
            self.lines.append(read_head(sock).partition(b"\r\n")[0])
            if self._then == b"silence":
                until_closed(sock)
        sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "GET"])
def test_only_what_does_no_harm_is_asked_twice(method: str, bench: Bench) -> None:
    fickle = Fickle(bench, b"hang up")
    with relay_to(fickle.server.port) as relay, Client(relay.port) as client:
        client.request("/first")
        assert (client.status(), client.exactly(2)) == (200, b"ok")
        client.request("/hang-up", "Content-Length: 0", method=method)
        head = client.head()
        assert head.startswith("HTTP/1.1 502 ")
        assert "\r\nX-Gwsync-Proxy-Error: TUNNEL_CLOSED\r\n" in head
    asked = sum(b"/hang-up" in line for line in fickle.lines)
    assert asked == (2 if method == "GET" else 1)


def test_a_kept_connection_that_falls_silent_is_not_asked_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_ANSWER_S", 0.2)
    fickle = Fickle(bench, b"silence")
    with relay_to(fickle.server.port) as relay, Client(relay.port) as client:
        client.request("/first")
        assert (client.status(), client.exactly(2)) == (200, b"ok")
        client.request("/second")
        head = client.head()
        assert head.startswith("HTTP/1.1 504 ")
        assert "\r\nX-Gwsync-Proxy-Error: TARGET_NO_ANSWER\r\n" in head
    assert fickle.lines == [b"GET /first HTTP/1.1", b"GET /second HTTP/1.1"]


def test_a_stream_that_falls_silent_is_ended(bench: Bench) -> None:
    ended = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
        until_closed(sock)
        ended.set()

    server = bench.server(serve)
    with relay_to(server.port, idle_timeout=0.3) as relay, Client(relay.port) as client:
        client.request()
        said = client.rest()
        assert said.endswith(b"data: one\n\n\r\n")  # and no last chunk: it was not all
        assert ended.wait(10)


def test_a_page_for_a_person() -> None:
    with Relay("http://127.0.0.1:1/<b>") as relay, Client(relay.port) as client:
        client.request("/<script>", "Accept: text/html", "Connection: close")
        said = client.rest().decode()
    assert said.startswith("HTTP/1.1 502 ")
    assert "\r\nX-Gwsync-Proxy-Error: TCP_REFUSED\r\n" in said
    assert "\r\nContent-Type: text/html; charset=utf-8\r\n" in said
    assert "<h1>" in said
    assert "<script" not in said
    assert "<b>" not in said


def test_tcp_finds_out_who_has_vanished(upstream: Upstream) -> None:
    """Both legs are asked by the system; a test cannot pull a cable on loopback."""
    with relay_to(upstream.port) as relay, Client(relay.port) as client:
        client.upgrade()
        assert client.status() == 101
        server = relay._server
        assert server is not None
        (entry,) = server.journal.live.values()
        tunnel = eventually(lambda: entry.live, "the tunnel")
        assert keeps_alive(tunnel.near.sock)
        assert keeps_alive(tunnel.far.sock)


def test_stopping_while_an_upload_hangs(bench: Bench) -> None:
    over = threading.Event()
    server = bench.server(lambda sock: over.wait(60))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.request("/", "Content-Length: 100", method="POST", body=b"some")
        eventually(lambda: server.accepted == 1, "it is asked")
        with elapsed_below(6, "the stop"):
            stopping = InThread(relay.stop, 0.3)
            client.rest()
            stopping.result(10)
        over.set()
