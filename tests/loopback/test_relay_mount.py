"""The relay as a route of a service: what goes wrong, and what is said over TLS."""

from __future__ import annotations

import contextlib
import gc
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent.ssl
import pytest
from gevent.pywsgi import WSGIServer

from conformance.tools import eventually
from gwsync import limits
from gwsync.relay import wsgi
from gwsync.relay.mount import WsgiRelay
from gwsync.runtime.hub import HubThread
from gwsync.runtime.waiters import ThreadWaiter
from loopback.support import Bench, answers, http, read_head, until_closed
from loopback.support_relay import Client, NoAnswer, frame, websocket
from loopback.support_tls import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Service:
    """gevent.pywsgi with one route; ``errors`` is what it complains about."""

    def __init__(self, upstream_port: int, **options: Any) -> None:
        self.app: WsgiRelay = wsgi(f"http://127.0.0.1:{upstream_port}", prefix="/up", **options)
        self.errors = io.StringIO()
        self.port = 0
        self._hub = HubThread("pywsgi")
        self._server: Any = None

    @contextlib.contextmanager
    def running(self, **options: Any) -> Iterator[Service]:
        try:
            self._in_hub(lambda: self._start(options))
            yield self
        finally:
            self._in_hub(self._stop)
            self._hub.stop()

    def _start(self, options: dict[str, Any]) -> None:
        listen = ("127.0.0.1", 0)
        self._server = WSGIServer(listen, self.app, log=None, error_log=self.errors, **options)
        self._server.start()
        self.port = self._server.server_port

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop(timeout=1)
        gc.collect()  # pywsgi's tracebacks hold sockets, which nothing can close without the hub

    def _in_hub(self, function: Callable[[], object]) -> None:
        done = ThreadWaiter()

        def run() -> None:
            try:
                function()
            finally:
                done.notify()

        self._hub.spawn(run)
        assert done.wait(10)

    def quiet(self) -> bool:
        """Nothing is under way, and nothing was complained about."""
        eventually(lambda: not self.app.journal.live, "nothing is left")
        return self.errors.getvalue() == ""


@contextlib.contextmanager
def service(upstream_port: int, **options: Any) -> Iterator[Service]:
    with Service(upstream_port, **options).running() as running:
        yield running


def test_over_tls(bench: Bench, tmp_path: Path) -> None:
    """The upstream hears of it, and cookies stay secure; WebSockets work there too."""
    heads: list[str] = []

    def serve(sock: socket.socket) -> None:
        if b"websocket" in sock.recv(65536, socket.MSG_PEEK):
            websocket(sock)
            sock.sendall(frame(1, b"hello"))
            until_closed(sock)
            return
        heads.append(read_head(sock).decode())
        cookie = b"Set-Cookie: a=1; Domain=x.example; Secure; SameSite=None\r\n"
        sock.sendall(OK.replace(b"\r\n\r\n", b"\r\n" + cookie + b"\r\n"))
        until_closed(sock)

    authority = Authority(tmp_path)
    pem = authority.issue("127.0.0.1")
    context = ssl.create_default_context(cafile=authority.ca_file)
    upstream = bench.server(serve)
    made = Service(upstream.port, forwarded=True)
    own = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(pem)
    with made.running(ssl_context=own) as running:
        with Client(running.port) as client:
            client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1")
            client.request("/up/")
            head = client.head()
            assert "\r\nSet-Cookie: a=1; Secure; SameSite=None\r\n" in head
        with Client(running.port) as client:
            client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1")
            client.request(
                "/up/",
                f"Origin: https://127.0.0.1:{running.port}",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            )
            assert client.head().startswith("HTTP/1.1 101 ")
            assert client.exactly(7) == frame(1, b"hello")
        assert running.quiet(), running.errors.getvalue()
    assert "\r\nX-Forwarded-Proto: https\r\n" in heads[0]
    assert "\r\nX-Forwarded-For: 127.0.0.1\r\n" in heads[0]


def test_a_client_that_leaves_before_the_101(bench: Bench) -> None:
    upstream = NoAnswer(bench)
    with service(upstream.port) as running:
        with Client(running.port) as client:
            client.upgrade("/up/")
            upstream.asked()
        assert upstream.left.wait(10)
        assert running.quiet(), running.errors.getvalue()


def test_an_upgrade_that_the_upstream_refuses(bench: Bench) -> None:
    upstream = bench.server(answers(http("403 Forbidden", "no", X_Why="because")))
    with service(upstream.port) as running:
        with Client(running.port) as client:
            for _ in range(2):  # and the server has its connection back
                client.upgrade("/up/")
                head = client.head()
                assert head.startswith("HTTP/1.1 403 ")
                assert "\r\nX-Why: because\r\n" in head
                assert client.exactly(2) == b"no"
            assert not client.heard
        assert running.quiet(), running.errors.getvalue()


def test_an_upgrade_to_nowhere() -> None:
    with service(1) as running:
        with Client(running.port) as client:
            client.upgrade("/up/")
            head = client.head()
        assert head.startswith("HTTP/1.1 502 ")
        assert "\r\nX-Gwsync-Proxy-Error: TCP_REFUSED\r\n" in head
        assert running.quiet(), running.errors.getvalue()


@pytest.mark.parametrize("closes", [True, False], ids=["and closed", "and not read"])
def test_an_upload_that_is_answered_early(closes: bool, bench: Bench) -> None:
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        if closes:
            sock.shutdown(socket.SHUT_WR)
            until_closed(sock)
        else:
            over.wait(60)

    upstream = bench.server(serve)
    size = 24 * 1024 * 1024
    with service(upstream.port) as running, Client(running.port) as client:
        client.request("/up/", f"Content-Length: {size}", "Connection: close", method="POST")
        with contextlib.suppress(OSError):
            for _ in range(size // 65536):
                client.say(b"x" * 65536)
        assert client.status() == 413
        assert client.exactly(4) == b"much"
        over.set()


def test_a_chunked_upload(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        data = read_head(sock)
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        body = data.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        until_closed(sock)

    upstream = bench.server(serve)
    with service(upstream.port) as running, Client(running.port) as client:
        body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        client.request("/up/", "Transfer-Encoding: chunked", method="POST", body=body)
        assert client.status() == 200
        said = client.until(b"0\r\n\r\n")
    assert said.count(b"0\r\n\r\n") == 1
    assert b"".join(said.split(b"\r\n")[1::2]) == b"abcde"


@pytest.mark.parametrize(
    ("answer", "status", "finding"),
    [
        (b"", 502, "TUNNEL_CLOSED"),
        (b"SSH-2.0-x\r\n\r\n", 502, "BAD_RESPONSE"),
        (b"HTTP/1.1 101 S\r\n\r\n", 502, "BAD_RESPONSE"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 502, "BAD_RESPONSE"),
        (b"silence", 504, "TARGET_NO_ANSWER"),
    ],
)
def test_an_upstream_that_makes_no_sense(
    answer: bytes, status: int, finding: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_ANSWER_S", 0.3)

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        if answer != b"silence":
            sock.sendall(answer)
            sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    upstream = bench.server(serve)
    with service(upstream.port) as running:
        with Client(running.port) as client:
            client.request("/up/")
            head = client.head()
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert f"\r\nX-Gwsync-Proxy-Error: {finding}\r\n" in head
        assert running.quiet(), running.errors.getvalue()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n"],
)
def test_an_answer_that_breaks_off(head: bytes, bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        sock.shutdown(socket.SHUT_WR)
        until_closed(sock)

    upstream = bench.server(serve)
    with service(upstream.port) as running:
        with Client(running.port) as client:
            client.request("/up/")
            said = client.rest()
        assert b"HTTP/1.1 5" not in said or said.startswith(b"HTTP/1.1 5")
        assert not said.endswith(b"0\r\n\r\n")
        eventually(lambda: not running.app.journal.live, "nothing is left")
