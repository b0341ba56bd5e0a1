"""WebSockets through the relay: bytes across as they are, and every end told to the other side."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import elapsed_below, eventually
from gwsync import limits
from gwsync.relay import Relay
from loopback.support import Bench, RawServer, answers, http, reset, until_closed
from loopback.support_proxy import Proxy
from loopback.support_relay import Client, frame, relay_to, websocket

Heads = queue.Queue[bytes]


class Scene:
    """One browser, the relay, and an upstream whose socket the test holds."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.sockets: queue.Queue[socket.socket] = queue.Queue()
        self.heads: Heads = queue.Queue()
        self.lines: tuple[str, ...] = ()
        self.over = threading.Event()
        self.opened = contextlib.ExitStack()
        self.server: RawServer = bench.server(self._serve)
        self.relay = Relay(f"http://127.0.0.1:{self.server.port}", **options)

    def __enter__(self) -> Scene:
        self.relay.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.over.set()
        self.opened.close()
        self.relay.stop()

    def client(self) -> Client:
        return self.opened.enter_context(Client(self.relay.port))

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        self.heads.put(websocket(sock, *self.lines))
        self.sockets.put(sock)
        self.over.wait(60)

    def open(self, *lines: str, path: str = "/") -> tuple[Client, socket.socket]:
        client = self.client()
        client.upgrade(path, *lines)
        assert client.head().startswith("HTTP/1.1 101 ")
        return client, self.sockets.get(timeout=10)


@pytest.fixture
def scene(bench: Bench) -> Iterator[Scene]:
    with Scene(bench) as made:
        yield made


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, data
        data += more
    return data


def test_frames_go_across_as_they_are(scene: Scene) -> None:
    client, upstream = scene.open(path="/a%20b?x=%2F")
    assert scene.heads.get().startswith(b"GET /a%20b?x=%2F HTTP/1.1\r\n")
    for opcode, payload in ((1, "grüße".encode()), (2, bytes(range(256))), (9, b"ping"), (10, b"")):
        for final in (True, False) if opcode < 8 else (True,):
            up = frame(opcode, payload, masked=True, final=final)
            client.say(up)
            assert exactly(upstream, len(up)) == up
            down = frame(opcode, payload, final=final)
            upstream.sendall(down)
            assert client.exactly(len(down)) == down


def test_a_client_that_speaks_first(bench: Bench, scene: Scene) -> None:
    with Client(scene.relay.port) as client:
        client.upgrade()
        first = frame(1, b"first", masked=True)
        client.say(first)  # before it knows that there is a WebSocket
        assert client.head().startswith("HTTP/1.1 101 ")
        assert exactly(scene.sockets.get(timeout=10), len(first)) == first


def test_subprotocols(scene: Scene) -> None:
    scene.lines = ("Sec-WebSocket-Protocol: v1.kernel",)
    client = scene.client()
    client.upgrade("/", "Sec-WebSocket-Protocol: v1.kernel, other", "Sec-WebSocket-Extensions: x")
    head = client.head()
    assert "Sec-WebSocket-Protocol: v1.kernel\r\n" in head
    told = scene.heads.get(timeout=10)
    assert b"Sec-WebSocket-Protocol: v1.kernel, other\r\n" in told
    assert b"Sec-WebSocket-Extensions: x\r\n" in told
    scene.lines = ("Sec-WebSocket-Protocol: invented",)
    client = scene.client()
    client.upgrade("/", "Sec-WebSocket-Protocol: v1.kernel")
    assert client.status() == 502


def test_the_upstream_is_there_before_the_client_hears_101(bench: Bench) -> None:
    with Relay("http://127.0.0.1:1") as relay, Client(relay.port) as client:
        client.upgrade()
        head = client.head()
        assert head.startswith("HTTP/1.1 502 ")
        assert "X-Gwsync-Proxy-Error: TCP_REFUSED" in head


def test_an_upstream_that_refuses_the_upgrade(bench: Bench) -> None:
    server = bench.server(answers(http("403 Forbidden", "no", X_Why="because")))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.upgrade()
        head = client.head()
        assert head.startswith("HTTP/1.1 403 ")
        assert "X-Why: because" in head
        assert client.exactly(2) == b"no"


def test_a_101_that_is_not_for_this_request(bench: Bench) -> None:
    answer = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    server = bench.server(answers(answer + "Sec-WebSocket-Accept: nonsense\r\n\r\n"))
    with relay_to(server.port) as relay, Client(relay.port) as client:
        client.upgrade()
        assert client.status() == 502


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_pages_of_other_sites(origin: str, scene: Scene) -> None:
    with Client(scene.relay.port) as client:
        lines = ["Connection: Upgrade", "Upgrade: websocket"]
        client.request("/", *lines, *([f"Origin: {origin}"] if origin else []))
        assert client.status() == 403
    assert scene.server.accepted == 0


@pytest.mark.parametrize("size", [2, 30])
def test_close_codes_go_across(size: int, scene: Scene) -> None:
    reason = ("grüße" * 30).encode()[: size - 2]
    client, upstream = scene.open()
    ours = frame(8, (4001).to_bytes(2, "big") + reason, masked=True)
    client.say(ours)
    assert exactly(upstream, len(ours)) == ours
    theirs = frame(8, (4002).to_bytes(2, "big") + reason)
    upstream.sendall(theirs)
    upstream.shutdown(socket.SHUT_RDWR)
    assert client.rest() == theirs


def test_the_log_has_the_close_codes(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "gwsync.relay"):
        client, upstream = scene.open()
        upstream.sendall(frame(8, (4002).to_bytes(2, "big")))
        client.say(frame(8, (4001).to_bytes(2, "big"), masked=True))
        exactly(upstream, 8)
        upstream.shutdown(socket.SHUT_RDWR)
        client.rest()
        client.sock.close()
        eventually(lambda: caplog.records, "the line")
    line = caplog.records[-1].getMessage()
    assert " 101 | resolve " in line
    assert "close codes 4001 (client) 4002 (upstream)" in line


def test_what_was_said_last_arrives_though_the_other_talks_on(scene: Scene) -> None:
    """A socket that is closed with unread bytes is reset, and that may overtake a close frame."""
    client, upstream = scene.open()
    talk = frame(2, b"x" * 60_000, masked=True)
    for _ in range(20):
        client.say(talk)
    upstream.sendall(frame(8, b"\x0f\xa1"))
    upstream.shutdown(socket.SHUT_WR)
    assert client.exactly(4) == frame(8, b"\x0f\xa1")


def test_an_upstream_that_is_lost(scene: Scene) -> None:
    client, upstream = scene.open()
    upstream.sendall(frame(1, b"words"))
    reset(upstream)
    said = client.rest()
    assert said in (frame(1, b"words") + frame(8, b"\x03\xf6"), frame(8, b"\x03\xf6"))


def test_an_upstream_that_is_lost_in_the_middle_of_a_frame(scene: Scene) -> None:
    client, upstream = scene.open()
    half = frame(1, b"words")[:4]
    upstream.sendall(half)
    assert client.exactly(4) == half
    upstream.shutdown(socket.SHUT_RDWR)
    assert client.rest() == b""  # no frame of ours has a place there


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_client_that_is_lost(how: str, scene: Scene) -> None:
    client, upstream = scene.open()
    if how == "rst":
        reset(client.sock)
    client.sock.close()
    assert until_closed(upstream) == b""
    eventually(lambda: not scene.relay.status().connections, "nothing is left")


def test_silence_ends_both(bench: Bench) -> None:
    with Scene(bench, idle_timeout=0.2) as scene:
        client, upstream = scene.open()
        assert client.rest() == frame(8, b"\x03\xe9")
        assert until_closed(upstream) == b""


def test_a_slow_reader_holds_the_writer(scene: Scene) -> None:
    """What is not read stays with the upstream, but for the systems' own buffers."""
    client, upstream = scene.open()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    upstream.settimeout(0.5)
    block, sent = frame(2, b"x" * 65_000), 0
    with contextlib.suppress(TimeoutError):
        while sent < 256 * 1024 * 1024:
            sent += upstream.send(block)
    assert sent < 64 * 1024 * 1024
    assert len(client.exactly(1 << 20)) == 1 << 20
    assert scene.relay.status().open == 1  # and the hub is well


def test_stopping_says_1001(scene: Scene) -> None:
    client, upstream = scene.open()
    with elapsed_below(5, "the stop"):
        stopper = threading.Thread(target=scene.relay.stop)
        stopper.start()
        assert client.rest() == frame(8, b"\x03\xe9")
        client.sock.close()
        assert until_closed(upstream) == b""
        upstream.close()
        stopper.join()


def test_clients_that_do_not_read_do_not_keep_it_from_stopping(scene: Scene) -> None:
    for _ in range(12):
        client, upstream = scene.open()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        upstream.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            while True:
                upstream.send(frame(2, b"x" * 65_000))
    with elapsed_below(8, "the stop"):  # one after another would take more
        scene.relay.stop(1.0)


def test_stopping_lets_an_answer_end(bench: Bench) -> None:
    go, asked = threading.Event(), threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        asked.set()
        go.wait(10)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        until_closed(sock)

    server = bench.server(serve)
    with relay_to(server.port) as relay, Client(relay.port) as idle, Client(relay.port) as client:
        client.request()
        assert asked.wait(10)
        stopper = threading.Thread(target=relay.stop)
        stopper.start()
        assert idle.rest() == b""
        go.set()
        assert client.status() == 200
        assert client.exactly(2) == b"ok"
        client.sock.close()
        stopper.join()
        with pytest.raises(ConnectionRefusedError):
            Client(relay.port)


@pytest.mark.parametrize("proxied", [False, True])
def test_gwsync_through_it(proxied: bool, bench: Bench) -> None:
    options: dict[str, Any] = {}
    if proxied:
        options["proxy"] = Proxy(bench, "socks5").url("socks5h")
    with relay_to(bench.gateway._core.door.port, allow_missing_origin=True, **options) as relay:
        url = f"ws://127.0.0.1:{relay.port}"
        connection = bench.connection(url=url, token=bench.gateway.token)
        assert connection.connect().protocol == 4
        assert connection.request("health")["ok"] is True
        with connection.pushes("presence") as pushes:
            bench.gateway.push("presence", {"presence": []})
            assert next(push for push in pushes if push.name == "presence")
        before = relay.status()
        assert before.connections[0].kind == "websocket"
        bench.gateway.drop()
        eventually(lambda: connection.status().reconnects == 1, "it is back")
        assert connection.request("health")["ok"] is True


def test_a_wrong_token_is_told_as_the_gateway_tells_it(bench: Bench) -> None:
    with relay_to(bench.gateway._core.door.port, allow_missing_origin=True) as relay:
        connection = bench.connection(url=f"ws://127.0.0.1:{relay.port}", token="wrong")
        with pytest.raises(gwsync.AuthError):
            connection.connect()


def test_the_idle_limit_is_long() -> None:
    assert limits.RELAY_IDLE_S >= 3600


def test_the_gateways_token_is_added_on_the_way(bench: Bench, tmp_path: Path) -> None:
    """The client has a wrong one; the gateway sees the right one, and the relay's device."""
    options = {"inject_token": bench.gateway.token, "state_dir": str(tmp_path / "relay")}
    port = bench.gateway._core.door.port
    with relay_to(port, allow_missing_origin=True, **options) as relay:
        connection = bench.connection(url=f"ws://127.0.0.1:{relay.port}", token="browsers-own")
        assert connection.connect().scopes == ("operator.read", "operator.write")
        assert connection.request("health")["ok"] is True
