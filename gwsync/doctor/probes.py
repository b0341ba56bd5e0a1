"""Doctor's own questions, each on a connection of its own. On the hub thread.

They do not reuse the connection that failed: what was said there already decides what
comes next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket

from ..transport.deadline import Deadline
from ..transport.resolve import Address
from . import wire

Open = Callable[[Deadline], Any]  # a connected gevent socket, or OSError
_ENOUGH = 2048


@dataclass(frozen=True)
class Answer:
    """What came back, and how it ended: ``data``, ``eof``, ``reset``, ``silence``, ``refused``."""

    end: str
    data: bytes = field(default=b"", repr=False)

    @property
    def kind(self) -> str:
        return wire.kind(self.data)


def connector(address: Address) -> Open:
    """Opens plain TCP connections to one address."""

    def connect(deadline: Deadline) -> Any:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(deadline.remaining(), 0.001))
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    return connect


def first_of(ways: Sequence[Open]) -> Open:
    """The first of them that opens."""

    def connect(deadline: Deadline) -> Any:
        error: OSError = ConnectionRefusedError()
        for open_ in ways:
            try:
                return open_(deadline)
            except OSError as failed:
                error = failed
        raise error

    return connect


def exchange(open_: Open, *messages: bytes, limit_s: float) -> Answer:
    """Connect, and after each message read once what is answered; the last answer counts."""
    deadline = Deadline(limit_s)
    try:
        sock = open_(deadline)
    except ConnectionRefusedError:
        return Answer("refused")
    except ConnectionResetError:
        return Answer("reset")
    except OSError:
        return Answer("silence")
    answer = Answer("silence")
    with contextlib.closing(sock):
        for message in messages:
            answer = _ask(sock, message, deadline)
            if answer.end != "data":
                break
    return answer


def _ask(sock: Any, message: bytes, deadline: Deadline) -> Answer:
    data = b""
    try:
        sock.settimeout(max(deadline.remaining(), 0.001))
        sock.sendall(message)
        while len(data) < _ENOUGH:
            sock.settimeout(max(deadline.remaining(), 0.001))
            more = sock.recv(_ENOUGH)
            data += more
            if not more or not _unfinished(data):
                break
    except TimeoutError:
        return Answer("data" if data else "silence", data)
    except OSError:
        return Answer("data" if data else "reset", data)
    return Answer("data" if data else "eof", data)


def _unfinished(data: bytes) -> bool:
    """An HTTP head is read to its end, since what matters is in a header."""
    return data.startswith(b"HTTP/1.") and b"\r\n\r\n" not in data


def ask_all(
    open_: Open, questions: Mapping[str, tuple[bytes, ...]], limit_s: float
) -> dict[str, Answer]:
    """Each question on a connection of its own, all at the same time."""
    asked = {
        name: gevent.spawn(exchange, open_, *messages, limit_s=limit_s)
        for name, messages in questions.items()
    }
    try:
        gevent.joinall(list(asked.values()), timeout=limit_s + 0.1)
        return {
            name: one.value if isinstance(one.value, Answer) else Answer("silence")
            for name, one in asked.items()
        }
    finally:
        gevent.killall(list(asked.values()))
