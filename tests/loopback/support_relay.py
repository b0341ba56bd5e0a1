"""What the relay's tests share: raw clients, upstreams that do as told, WebSockets by hand."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from conformance.tools import eventually
from gwsync.relay import Relay
from loopback.support import WAIT_S, Bench, accepted, read_head, until_closed

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Client:
    """A TCP connection to the relay that says what the test wants, and hears every byte."""

    def __init__(self, port: int, said: bytes = b"") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.port = port
        self.heard = b""
        if said:
            self.say(said)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, path: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> None:
        """A request with the right Host."""
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *lines]
        self.say("\r\n".join([*head, "", ""]).encode() + body)

    def upgrade(self, path: str = "/", *lines: str) -> None:
        """Ask for a WebSocket, as the relay's own page would."""
        self.request(
            path,
            f"Origin: http://127.0.0.1:{self.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {KEY}",
            *lines,
        )

    def until(self, end: bytes) -> bytes:
        """What is heard up to and with ``end``, taken off."""
        while end not in self.heard:
            data = self.sock.recv(65536)
            assert data, self.heard
            self.heard += data
        at = self.heard.index(end) + len(end)
        taken, self.heard = self.heard[:at], self.heard[at:]
        return taken

    def exactly(self, size: int) -> bytes:
        while len(self.heard) < size:
            data = self.sock.recv(65536)
            assert data, self.heard
            self.heard += data
        taken, self.heard = self.heard[:size], self.heard[size:]
        return taken

    def head(self) -> str:
        return self.until(b"\r\n\r\n").decode()

    def status(self) -> int:
        return int(self.head().split(" ")[1])

    def rest(self) -> bytes:
        """All that comes until the relay closes."""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                self.heard += data
        taken, self.heard = self.heard, b""
        return taken


class NoAnswer:
    """An upstream that hears a request and says nothing; ``left``: nobody waits for it any more."""

    def __init__(self, bench: Bench) -> None:
        self.left = threading.Event()
        self._server = bench.server(self._serve)
        self.port = self._server.port

    def _serve(self, sock: socket.socket) -> None:
        read_head(sock)
        until_closed(sock)
        self.left.set()

    def asked(self) -> None:
        eventually(lambda: self._server.accepted == 1, "it is asked")


def websocket(sock: socket.socket, *lines: str) -> bytes:
    """The upstream's side of an upgrade; the head that asked for it."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(65536)
    answer = accepted(head)
    more = "".join(f"{line}\r\n" for line in lines).encode()
    sock.sendall(answer[:-2] + more + b"\r\n")
    return head


def frame(opcode: int, payload: bytes, *, masked: bool = False, final: bool = True) -> bytes:
    """A WebSocket frame of up to 64 KiB."""
    size = len(payload)
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if final else 0) | opcode])
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2, "big")
    if masked:
        key = os.urandom(4)
        return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return head + payload


@contextlib.contextmanager
def relay_to(port: int, **options: Any) -> Iterator[Relay]:
    """A relay to a server on loopback."""
    with Relay(f"http://127.0.0.1:{port}", **options) as relay:
        yield relay


Serve = Callable[[socket.socket], None]
