"""Proxies that do as they are told: working ones, and scripts of bytes for all others."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from loopback.support import WAIT_S, Bench, Pipe, RawServer, read_head, until_closed

CANARY = "canary-9876543210-proxy"


class Proxy:
    """A SOCKS4(a), SOCKS5 or HTTP proxy; whatever name it is asked for is on 127.0.0.1.

    ``asked``: the targets it was asked for; ``heads``: what HTTP clients said.
    """

    def __init__(
        self,
        bench: Bench,
        kind: str,
        *,
        user: str | None = None,
        password: str = "",
        tls: Any = None,
        **options: Any,
    ) -> None:
        self._kind = kind
        self._user = user
        self._password = password
        self._tls = tls
        self.asked: list[tuple[str, int]] = []
        self.heads: list[bytes] = []
        self.server: RawServer = bench.server(self._serve, **options)

    def url(self, scheme: str, credentials: str = "", host: str = "127.0.0.1") -> str:
        at = f"{credentials}@" if credentials else ""
        return f"{scheme}://{at}{host}:{self.server.port}"

    def _serve(self, sock: socket.socket) -> None:
        near: Any = sock
        if self._tls is not None:
            near = self._tls.wrap_socket(sock.dup(), server_side=True)
        try:
            answer = getattr(self, f"_{self._kind}")(near)
            if answer is None:
                return
            with socket.create_connection(("127.0.0.1", self.asked[-1][1]), timeout=WAIT_S) as far:
                near.sendall(answer)
                Pipe(near, far).run()
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if near is not sock:
                near.close()

    def _socks5(self, sock: Any) -> bytes | None:
        methods = exactly(sock, exactly(sock, 2)[1])
        if self._user is None:
            sock.sendall(b"\x05\x00")
        else:
            assert 2 in methods
            sock.sendall(b"\x05\x02")
            user = exactly(sock, exactly(sock, 2)[1]).decode()
            password = exactly(sock, exactly(sock, 1)[0]).decode()
            good = (user, password) == (self._user, self._password)
            sock.sendall(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return None
        _, command, _, kind = exactly(sock, 4)
        if kind == 3:
            host = exactly(sock, exactly(sock, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, exactly(sock, 4 if kind == 1 else 16))
        self.asked.append((host, struct.unpack(">H", exactly(sock, 2))[0]))
        if command != 1:
            sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x07")
            until_closed(sock)
            return None
        return b"\x05\x00\x00\x04" + bytes(16) + b"\x12\x34"

    def _socks4(self, sock: Any) -> bytes | None:
        _, _, port, address = struct.unpack(">BBH4s", exactly(sock, 8))
        user = text_until_nul(sock)
        by_name = address[:3] == b"\0\0\0" and address[3]
        self.asked.append((text_until_nul(sock) if by_name else socket.inet_ntoa(address), port))
        good = self._user is None or user == self._user
        reply = b"\x00" + (b"\x5a" if good else b"\x5d") + bytes(6)
        if not good:
            sock.sendall(reply)
            return None
        return reply

    def _http(self, sock: Any) -> bytes | None:
        head = read_head(sock)
        self.heads.append(head)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        self.asked.append((host.strip("[]"), int(port)))
        if self._user is not None:
            token = base64.b64encode(f"{self._user}:{self._password}".encode())
            if b"\r\nProxy-Authorization: Basic " + token + b"\r\n" not in head:
                sock.sendall(b"HTTP/1.1 407 Nope\r\nContent-Length: 0\r\n\r\n")
                return None
        return b"HTTP/1.1 200\r\nVia: \xff\xfe\r\n\r\n"


def exactly(sock: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError("it left in the middle")
        data += more
    return data


def text_until_nul(sock: Any) -> str:
    data = b""
    while not data.endswith(b"\0"):
        data += exactly(sock, 1)
    return data[:-1].decode()


def says(*exchanges: tuple[int, bytes]) -> Callable[[socket.socket], None]:
    """A server that reads so many bytes, says this, and so on; then it is silent."""

    def serve(sock: socket.socket) -> None:
        for size, answer in exchanges:
            exactly(sock, size)
            sock.sendall(answer)
        until_closed(sock)

    return serve


def then_closes(*exchanges: tuple[int, bytes]) -> Callable[[socket.socket], None]:
    """The same, but it hangs up."""

    def serve(sock: socket.socket) -> None:
        for size, answer in exchanges:
            exactly(sock, size)
            sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    return serve
