"""What the loopback tests share: a bench with gateways and connections, and raw servers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import gwsync
from gwsync.testing import LocalGateway

WAIT_S = 10.0
FAST = gwsync.ReconnectPolicy(first=0.05, spread=0.02, multiplier=0.05, max=0.1)
SLOW = gwsync.ReconnectPolicy(first=1e6, spread=1e6, multiplier=1e6, max=1e6)  # never by itself


class Bench:
    """Opens gateways and connections for one test, and closes them after it."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = str(directory / "state")
        self._opened = contextlib.ExitStack()
        self._gateway: LocalGateway | None = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    @property
    def gateway(self) -> LocalGateway:
        """The test's own gateway, started by the first use."""
        if self._gateway is None:
            self._gateway = self.another_gateway()
        return self._gateway

    def another_gateway(self, **options: Any) -> LocalGateway:
        return self._opened.enter_context(LocalGateway(**options))

    def config(self, **options: Any) -> gwsync.Config:
        """How to reach the test's gateway, unless ``url`` says otherwise."""
        settings: dict[str, Any] = {"state_dir": self.state_dir, "reconnect": FAST}
        if "url" not in options:
            settings.update(url=self.gateway.url, token=self.gateway.token)
        return gwsync.Config(**{**settings, **options})

    def connection(self, **options: Any) -> gwsync.Connection:
        """A connection, not connected yet."""
        connection = gwsync.Connection(self.config(**options))
        self._opened.callback(connection.close, timeout=1)
        return connection

    def server(self, serve: Callable[[socket.socket], Any], **options: Any) -> RawServer:
        """A TCP server that does what ``serve`` does with each connection."""
        return self._opened.enter_context(RawServer(serve, **options))

    def environment(self) -> dict[str, str]:
        """How a script finds the test's gateway."""
        return {
            "GWSYNC_URL": self.gateway.url,
            "GWSYNC_TOKEN": self.gateway.token,
            "GWSYNC_STATE_DIR": self.state_dir,
        }


class RawServer:
    """Accepts TCP connections on loopback and hands each to ``serve`` on a thread of its own.

    ``serve`` may block: when the server ends, every socket is shut down under it.
    """

    def __init__(
        self, serve: Callable[[socket.socket], Any], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._serve = serve
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=64)
        self._listener.settimeout(WAIT_S)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def __enter__(self) -> RawServer:
        acceptor = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(acceptor)
        acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in tuple(self._threads):
            thread.join(WAIT_S)
        for sock in (self._listener, *self._sockets):
            sock.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.accepted += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._one, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(sock)


def until_closed(sock: socket.socket) -> bytes:
    """Read, and answer nothing, until the other side is gone; what it said."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            said += data
    return said


def read_head(sock: socket.socket) -> bytes:
    """The request head of an upgrade."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("it left before its request was whole")
        head += data
    return head


def accepted(head: bytes) -> bytes:
    """The 101 that this request deserves."""
    key = next(
        line.split(b":", 1)[1].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def answers(response: str | bytes) -> Callable[[socket.socket], None]:
    """A server that reads the upgrade and answers this."""
    raw = response.encode() if isinstance(response, str) else response

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(raw)
        until_closed(sock)

    return serve


def http(status: str, body: str = "", **headers: str) -> str:
    """An HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body])


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Pipe:
    """Forwards bytes between two sockets until one of them ends; keeps what came from ``near``."""

    def __init__(self, near: Any, far: Any) -> None:
        self.said = b""
        self._near = near
        self._far = far

    def run(self) -> None:
        for sock in (self._near, self._far):
            sock.settimeout(WAIT_S)
        while True:
            pending = getattr(self._near, "pending", lambda: 0)()
            ready = [self._near]
            if not pending:
                ready, _, _ = select.select([self._near, self._far], [], [], WAIT_S)
            if not ready:
                return
            for sock in ready:
                data = sock.recv(65536)
                if not data:
                    return
                if sock is self._near:
                    self.said += data
                    self._far.sendall(data)
                else:
                    self._near.sendall(data)


def is_state(push: Any, state: str) -> bool:
    return isinstance(push, gwsync.StateChange) and push.state == state


def is_event(push: Any, name: str) -> bool:
    return isinstance(push, gwsync.Event) and push.name == name


def shown(push: Any) -> str:
    """A push in one word, for comparing orders."""
    return push.state if isinstance(push, gwsync.StateChange) else push.name


def error_of(function: Callable[..., Any], *args: Any, **options: Any) -> gwsync.GatewayError:
    """The gwsync error that calling it raises, for a thread that reports to a test."""
    try:
        result = function(*args, **options)
    except gwsync.GatewayError as error:
        return error
    raise AssertionError(f"it returned {result!r}")
