"""The relay as one more route of a service: under gevent.pywsgi, gunicorn and wsgiref."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import wsgiref.simple_server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from conformance.tools import eventually
from gwsync.relay import Route, wsgi
from gwsync.relay.mount import WsgiRelay
from gwsync.runtime.hub import HubThread
from gwsync.runtime.waiters import ThreadWaiter
from loopback.support import Bench, read_head, until_closed
from loopback.support_relay import KEY, Client, frame, websocket


class Upstream:
    """Echoes WebSockets; tells of other requests what it heard."""

    def __init__(self, bench: Bench) -> None:
        self.heads: list[bytes] = []
        self.closed = threading.Event()
        self.app: WsgiRelay | None = None  # what leads here, if it is of this process
        self.port = bench.server(self._serve).port

    def _serve(self, sock: socket.socket) -> None:
        head = sock.recv(65536, socket.MSG_PEEK)
        if b"/never" in head:
            self.heads.append(read_head(sock))
            until_closed(sock)
            self.closed.set()
            return
        if b"websocket" in head and not head.startswith(b"GET /declined "):
            self.heads.append(websocket(sock))
            with contextlib.suppress(ConnectionError):
                while data := sock.recv(65536):
                    sock.sendall(data if data[1] < 128 else unmasked(data))
            self.closed.set()
            sock.close()
            return
        head = read_head(sock)
        self.heads.append(head)
        body = json.dumps({"head": head.decode()}).encode()
        sock.sendall(b"HTTP/1.1 201 Made\r\nX-Up: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        until_closed(sock)


def unmasked(data: bytes) -> bytes:
    """One short frame, as a server sends it."""
    key, payload = data[2:6], data[6:]
    plain = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return frame(data[0] & 15, plain)


@pytest.fixture
def upstream(bench: Bench) -> Upstream:
    return Upstream(bench)


def legacy(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "6")])
    return [b"legacy"]


@pytest.fixture
def pywsgi(upstream: Upstream) -> Iterator[int]:
    """A service under gevent.pywsgi, on a thread of its own; its port."""
    url = f"http://127.0.0.1:{upstream.port}"
    kept = Route(url, "/dev/kept", strip=False, headers={"Authorization": "Basic a2VwdA=="})
    app = wsgi(url, prefix="/dev/ws", headers={"X-Route": "ws"}, routes=[kept], app=legacy)
    upstream.app = app
    hub, ready, made = HubThread("pywsgi"), ThreadWaiter(), []

    def serve() -> None:
        server = WSGIServer(("127.0.0.1", 0), app, log=None, error_log=sys.stderr)
        server.start()
        made.append(server)
        ready.notify()

    hub.spawn(serve)
    assert ready.wait(10)
    yield made[0].server_port
    over = ThreadWaiter()

    def stop() -> None:
        made[0].stop(timeout=1)
        gc.collect()  # pywsgi's tracebacks hold sockets, which nothing can close without the hub
        over.notify()

    hub.spawn(stop)
    over.wait(10)
    hub.stop()


GUNICORN = """
import gwsync.relay
def legacy(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"legacy"]
url = "http://127.0.0.1:%d"
kept = gwsync.relay.Route(
    url, "/dev/kept", strip=False, headers={"Authorization": "Basic a2VwdA=="})
app = gwsync.relay.wsgi(
    url, prefix="/dev/ws", headers={"X-Route": "ws"}, routes=[kept], app=legacy)
"""


@pytest.fixture
def gunicorn(upstream: Upstream, tmp_path: Path) -> Iterator[int]:
    """The same under gunicorn's gevent worker."""
    (tmp_path / "service.py").write_text(GUNICORN % upstream.port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "--bind",
             f"fd://{listener.fileno()}", "--graceful-timeout", "1", "service:app"],
            cwd=tmp_path, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )  # fmt: skip
        try:
            yield port
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(params=["pywsgi", "gunicorn"])
def port(request: pytest.FixtureRequest) -> int:
    return int(request.getfixturevalue(request.param))


def test_one_more_route(port: int, upstream: Upstream) -> None:
    with Client(port) as client:
        client.sock.settimeout(60)  # gunicorn imports all of it first
        client.request("/other", "Connection: close")
        assert client.rest().endswith(b"legacy")
    with Client(port) as client:
        client.request("/dev/ws/a%20b?x=%2F", "Connection: close", "X-Mine: 1", "Cookie: a=b")
        said = client.rest()
    assert said.startswith(b"HTTP/1.1 201 Made\r\n")
    assert b"X-Up: 1\r\n" in said
    head = upstream.heads[0].decode()
    assert head.startswith(f"GET /a%20b?x=%2F HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\n")
    assert "X-Mine: 1\r\n" in head
    assert "Cookie: a=b\r\n" in head


def test_what_is_not_the_relays_is_left_to_the_service(port: int, upstream: Upstream) -> None:
    """A load balancer's question without a Host, a path that a relay would refuse."""
    for request in (b"GET /health HTTP/1.0\r\n\r\n", b"GET /a/../b HTTP/1.0\r\nHost: a b\r\n\r\n"):
        with Client(port, request) as client:
            client.sock.settimeout(60)
            assert client.rest().endswith(b"legacy")
    assert not upstream.heads


def test_nobody_gets_in_without_a_permit(upstream: Upstream) -> None:
    said: list[str] = []
    app = wsgi(f"http://127.0.0.1:{upstream.port}", permit=lambda environ: False)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a"}
    assert b"does not permit" in b"".join(app(environ, lambda status, told: said.append(status)))
    assert said == ["403 Forbidden"]
    assert (app.journal.refused, app.journal.live) == (1, {})
    assert not upstream.heads


def test_a_permit_that_fails_leaves_nothing_behind(upstream: Upstream) -> None:
    def fails(environ: Any) -> bool:
        raise LookupError("no such session")

    app = wsgi(f"http://127.0.0.1:{upstream.port}", permit=fails)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a"}
    with pytest.raises(LookupError):
        app(environ, _nothing)
    assert not app.journal.live
    assert not upstream.heads


def test_each_route_has_its_own_path_and_headers(port: int, upstream: Upstream) -> None:
    for path in ("/dev/ws/a", "/dev/kept/a"):
        with Client(port) as client:
            client.sock.settimeout(60)
            client.request(path, "Connection: close", "X-Route: mine", "Authorization: mine")
            assert b" 201 Made" in client.rest()
        with Client(port) as client:
            client.upgrade(path, "Authorization: mine")
            assert client.status() == 101
    eventually(lambda: len(upstream.heads) == 4, "it was asked four times")
    assert [head.split(b" ")[1] for head in upstream.heads] == [
        *(b"/a", b"/a"),
        *(b"/dev/kept/a", b"/dev/kept/a"),
    ]
    for head in upstream.heads[:2]:
        assert b"X-Route: ws\r\n" in head
        assert b"X-Route: mine" not in head
        assert b"Authorization: mine\r\n" in head
    for head in upstream.heads[2:]:
        assert b"X-Route: ws" not in head
        assert b"Authorization: Basic a2VwdA==\r\n" in head
        assert b"Authorization: mine" not in head


def test_websockets(port: int, upstream: Upstream) -> None:
    with Client(port) as client:
        client.sock.settimeout(60)
        client.upgrade("/dev/ws/term?x=1")
        head = client.head()
        assert head.startswith("HTTP/1.1 101 ")
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        client.say(frame(1, b"hello", masked=True))
        assert client.exactly(7) == frame(1, b"hello")
        client.say(frame(8, b"\x0f\xa1", masked=True))
        assert client.exactly(4) == frame(8, b"\x0f\xa1")
    assert upstream.closed.wait(10)
    assert upstream.heads[0].startswith(b"GET /term?x=1 HTTP/1.1\r\n")


def test_a_browser_that_leaves_before_there_is_a_websocket(port: int, upstream: Upstream) -> None:
    with Client(port) as client:
        client.upgrade("/dev/ws/never")
        eventually(lambda: upstream.heads, "the upstream was asked", timeout=60)
    assert upstream.closed.wait(10)
    app = upstream.app
    if app is not None:
        eventually(lambda: not app.journal.live, "it is over for the journal too")


def test_an_upgrade_that_the_upstream_declines(port: int, upstream: Upstream) -> None:
    with Client(port) as client:
        client.sock.settimeout(60)
        client.upgrade("/dev/ws/declined")
        head = client.head()
        assert head.startswith("HTTP/1.1 201 Made")
        assert "X-Up: 1\r\n" in head
        assert client.until(b"}").count(b"GET /declined ") == 1
    assert upstream.heads[0].startswith(b"GET /declined HTTP/1.1\r\n")


def test_pages_of_other_sites(port: int, upstream: Upstream) -> None:
    with Client(port) as client:
        client.sock.settimeout(60)
        lines = ("Connection: Upgrade", "Upgrade: websocket", "Origin: http://evil.example")
        client.request("/dev/ws/", *lines, f"Sec-WebSocket-Key: {KEY}")
        assert client.status() == 403
    assert not upstream.heads


def test_a_server_without_gevent(upstream: Upstream) -> None:
    routes = [Route(f"http://127.0.0.1:{upstream.port}"), Route("http://127.0.0.1:1", "/gone")]
    app = wsgi(routes=routes)
    quiet = type("Quiet", (wsgiref.simple_server.WSGIRequestHandler,), {"log_message": _nothing})
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client(server.server_port) as client:
                client.request("/a", "Content-Length: 0", method="POST")
                assert b" 201 Made\r\n" in client.rest()
            with Client(server.server_port) as client:
                client.upgrade("/a")
                assert b" 501 " in (said := client.rest())
                assert b"gunicorn --worker-class gevent" in said
            with Client(server.server_port) as client:
                client.request("/gone")
                assert b"X-Gwsync-Proxy-Error: TCP_REFUSED" in client.rest()
            eventually(lambda: not app.journal.live, "all of it is over")
        finally:
            server.shutdown()
            thread.join()


def _nothing(*args: Any) -> None:
    pass
