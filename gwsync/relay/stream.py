"""A gevent socket that is read head by head and body by body, each with its own patience."""

from __future__ import annotations

import contextlib
import select
import socket as stdlib_socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent

from .. import limits
from . import heads
from .bodies import Decoder
from .heads import BadHead

_QUIETLY: Any = False  # how gevent is told to end a block and raise nothing


class Gone(Exception):
    """The other side ended the connection, or said nothing for too long."""


class Silent(Gone):
    """It is there, as far as one knows, and said nothing for too long."""


class Stream:
    """``buffer`` holds what was read and not used. ``received`` and ``sent`` count bytes."""

    def __init__(self, sock: Any, buffer: bytes = b"") -> None:
        self.sock = sock
        self.buffer = bytearray(buffer)
        self.received = self.sent = 0

    def read(self, timeout: float | None) -> bytes:
        """What comes next; empty at the end. Raises Gone."""
        if self.buffer:
            kept = bytes(self.buffer)
            self.buffer.clear()
            return kept
        try:
            self.sock.settimeout(timeout)
            data: bytes = self.sock.recv(limits.RELAY_COPY_BYTES)
        except TimeoutError:
            raise Silent("it says nothing") from None
        except OSError as error:
            raise Gone(error.strerror or str(error)) from error
        self.received += len(data)
        return data

    def write(self, data: bytes) -> None:
        """All of it, however long that takes: idle connections are ended from outside."""
        try:
            self.sock.settimeout(None)
            sent = self.sock.send(data)
            if sent < len(data):
                self.sock.sendall(memoryview(data)[sent:])
        except OSError as error:
            raise Gone(error.strerror or str(error)) from error
        self.sent += len(data)

    def head(self, patience: float, limit: float) -> bytes | None:
        """The next head: ``patience`` seconds for its first byte, ``limit`` for the rest.

        None if the connection ends before its first byte. Raises BadHead and Gone.
        """
        if not self.buffer:
            data = self.read(patience)
            if not data:
                return None
            self.buffer += data
        head = heads.split(self.buffer)
        return self._rest_of_head(limit) if head is None else head  # most come whole

    def _rest_of_head(self, limit: float) -> bytes:
        timer = gevent.Timeout.start_new(limit)  # a drip of bytes does not put it off
        try:
            while (head := heads.split(self.buffer)) is None:
                more = self._more()
                if not more:
                    raise Gone("it ended in the middle of a head")
                self.buffer += more
            return head
        except gevent.Timeout as caught:
            if caught is not timer:
                raise
            raise BadHead("the head took too long", 408) from None
        finally:
            timer.close()

    def _more(self) -> bytes:
        kept, self.buffer = self.buffer, bytearray()
        try:
            return self.read(None)
        finally:
            self.buffer = kept

    def body(self, decoder: Decoder, timeout: float) -> Iterator[bytes]:
        """The payload as it comes. Raises BadHead and Gone."""
        while not decoder.done:
            data = self.read(timeout)
            if not data:
                if decoder.eof():
                    return
                raise Gone("it ended in the middle of a body")
            payload = self._payload(decoder, data)
            if payload:
                yield payload

    def at_hand(self, decoder: Decoder) -> bytes:
        """The payload in what was read already. No wait. Raises BadHead."""
        if decoder.done or not self.buffer:
            return b""
        return self._payload(decoder, self.read(None))

    def _payload(self, decoder: Decoder, data: bytes) -> bytes:
        payload = decoder.feed(data)
        if decoder.done:
            self.buffer[:0] = decoder.rest
        return payload

    def ended(self) -> bool:
        """Whether the other side has closed, or says something nobody asked for. No wait."""
        if self.buffer:
            return True
        pending = getattr(self.sock, "pending", None)
        if pending is not None and pending():
            return True
        return readable(self.sock)

    def at_end(self) -> bool:
        """Whether what is readable now is the end, for a plain socket."""
        try:
            return not native(self.sock).recv(1, stdlib_socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def linger(self) -> None:
        """Say that nothing comes any more, hear the other side out, and close.

        A socket closed with unread bytes is reset, and the reset may overtake what was
        written last: an error page, a close frame.
        """
        try:
            with gevent.Timeout(limits.RELAY_CLOSE_S, _QUIETLY), contextlib.suppress(OSError):
                self.sock.settimeout(None)
                self.sock.shutdown(stdlib_socket.SHUT_WR)
                while self.sock.recv(limits.RELAY_COPY_BYTES):
                    pass
        finally:
            self.close()

    def close(self) -> None:
        self.sock.close()


class Watch:
    """Calls ``left`` when the other side closes, until that says something.

    By the loop itself: most answers come before a greenlet would have begun to wait.
    """

    def __init__(self, stream: Stream, left: Callable[[], object]) -> None:
        self._stream = stream
        self._left = left
        self._io: Any = gevent.get_hub().loop.io(stream.sock.fileno(), 1)
        self._io.start(self._look)

    def _look(self) -> None:
        self._io.stop()
        if self._stream.at_end():
            self._left()

    def stop(self) -> None:
        self._io.stop()
        self._io.close()


def native(sock: Any) -> Any:
    """The stock socket below a gevent one, or below one of ours: its calls never wait."""
    inner = sock._sock
    return getattr(inner, "_sock", inner)


def readable(sock: Any) -> bool:
    """Whether a read of the descriptor would return at once."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return bool(select.select([sock.fileno()], [], [], 0)[0])
    asked = poll()
    asked.register(sock.fileno(), select.POLLIN)
    return bool(asked.poll(0))


def keep_alive(sock: Any) -> None:
    """Have TCP find out when the peer has vanished without a word."""
    for level, option, value in _OPTIONS:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)


def keeps_alive(sock: Any) -> bool:
    """Whether that is so already: on Linux a socket is accepted with its listener's options."""
    try:
        return all(sock.getsockopt(level, option) == value for level, option, value in _OPTIONS)
    except OSError:
        return False


def _options() -> Iterator[tuple[int, int, int]]:
    tcp = stdlib_socket.IPPROTO_TCP
    idle = int(limits.RELAY_KEEPALIVE_S)
    for level, name, value in (
        (tcp, "TCP_NODELAY", 1),
        (stdlib_socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (tcp, "TCP_KEEPIDLE", idle),
        (tcp, "TCP_KEEPINTVL", 10),
        (tcp, "TCP_KEEPCNT", 3),
        (tcp, "TCP_USER_TIMEOUT", int(limits.RELAY_GONE_S * 1000)),
    ):
        option = getattr(stdlib_socket, name, None)
        if option is not None:
            yield level, option, value


_OPTIONS = tuple(_options())
