"""The upgrade's reading: few calls, nothing lost behind the head, and never more than allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from gwsync import endpoint, limits
from gwsync.errors import UpgradeError
from gwsync.transport.deadline import Deadline
from gwsync.transport.trace import Tracer
from gwsync.transport.upgrade import _HeadSocket, upgrade
from loopback.support import accepted

URL = "ws://127.0.0.1:18789"


class Server:
    """A socket whose other side answers with what ``answer`` makes of the request, in pieces."""

    def __init__(self, answer: Callable[[bytes], bytes], piece: int = 4096) -> None:
        self._answer, self._piece = answer, piece
        self._request = b""
        self._left: bytes | None = None
        self.reads = 0
        self.closed = False

    def sendall(self, data: bytes) -> None:
        self._request += data

    def recv(self, size: int) -> bytes:
        self.reads += 1
        if self._left is None:
            self._left = self._answer(self._request)
        size = min(size, self._piece)
        data, self._left = self._left[:size], self._left[size:]
        return data

    def settimeout(self, timeout: float | None) -> None: ...

    def close(self) -> None:
        self.closed = True


def upgraded(server: Any) -> bytes:
    return upgrade(
        server,
        endpoint.parse(URL),
        headers=(),
        limit_s=5.0,
        deadline=Deadline(5.0),
        tracer=Tracer(URL),
    )


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize("behind", [b"", b"\x81\x02{}", b"\r\n\r\n" * 20])
def test_what_comes_behind_the_head_is_kept(piece: int, behind: bytes) -> None:
    server = Server(lambda request: accepted(request) + behind, piece)
    leftover = upgraded(server)
    rest = server._left or b""
    assert leftover + rest == behind
    assert not server.closed


def test_a_head_takes_one_read_and_two_calls_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """websocket-client asks for one byte at a time."""
    calls: list[int] = []
    real = _HeadSocket.recv

    def recv(self: _HeadSocket, size: int) -> bytes:
        calls.append(size)
        return real(self, size)

    monkeypatch.setattr(_HeadSocket, "recv", recv)
    server = Server(lambda request: accepted(request) + b"\x81\x02{}")
    assert upgraded(server) == b"\x81\x02{}"
    assert server.reads == 1
    lines = accepted(b"Sec-WebSocket-Key: k\r\n\r\n").count(b"\n")
    assert len(calls) <= 2 * lines


@pytest.mark.parametrize("piece", [1000, 4096])
def test_a_head_without_an_end_is_read_up_to_the_limit(piece: int) -> None:
    def endless(request: bytes) -> bytes:
        key = re.sub(rb"\r\n\r\n\Z", b"\r\n", accepted(request))
        return key + b"X-More: " + b"x" * (3 * limits.UPGRADE_MAX_BYTES)

    server = Server(endless, piece)
    with pytest.raises(UpgradeError, match=f"over {limits.UPGRADE_MAX_BYTES} bytes"):
        upgraded(server)
    assert server.closed
    assert server.reads <= limits.UPGRADE_MAX_BYTES // piece + 1
