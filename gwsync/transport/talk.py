"""The dialogue with a proxy: exact reads under one deadline, and a record of both sides.

The record is what errors show and the log tells at DEBUG, so no credential gets into it:
what is sent names its own harmless form, and what comes back is searched for them.
"""

from __future__ import annotations

from gevent import socket

from .. import limits
from .deadline import Deadline
from .trace import log

_SHORTEST_SECRET = 3  # what is shorter would be found in anything


class Refused(Exception):
    """Why there is no tunnel, before anybody has added to whom and after how long."""

    def __init__(self, finding: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.finding = finding
        self.message = message
        self.hint = hint


class Ended(Exception):
    """The proxy closed or reset the connection in the middle of the dialogue."""


class Talk:
    """``phase``: what the proxy is asked for just now, for the error if no answer comes."""

    def __init__(self, sock: socket.socket, deadline: Deadline, secrets: tuple[bytes, ...]) -> None:
        self.sock = sock
        self.deadline = deadline
        self.phase = "greeting"
        self._secrets = tuple(one for one in secrets if len(one) >= _SHORTEST_SECRET)
        self._sent = b""
        self._received = b""

    @property
    def sent(self) -> bytes:
        return self._sent[: limits.PROXY_KEPT_BYTES]

    @property
    def received(self) -> bytes:
        return self.mask(self._received)

    def mask(self, data: bytes) -> bytes:
        """What came back, without the credentials that it may repeat."""
        for secret in self._secrets:
            data = data.replace(secret, b"***")
        return data

    def mask_text(self, text: str) -> str:
        return self.mask(text.encode()).decode()

    def send(self, data: bytes, shown: bytes | None = None) -> None:
        """All of it. ``shown``: the same without the credentials."""
        shown = data if shown is None else shown
        self._sent += shown
        log.debug("proxy: sent %s", dump(shown))
        self._arm()
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            # It may have said why before it closed; if not, the next read tells.
            log.debug("proxy: it does not take any more")

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes. Raises Ended, TimeoutError."""
        data = b""
        try:
            while len(data) < size:
                data += self.some(size - len(data))
        finally:
            if data:
                self.tell(data)
        return data

    def some(self, size: int) -> bytes:
        """At least one byte and at most ``size``, not logged."""
        self._arm()
        try:
            data: bytes = self.sock.recv(size)
        except TimeoutError:
            raise
        except OSError as error:
            raise Ended((error.strerror or str(error)).lower()) from None
        if not data:
            raise Ended("end of stream")
        if len(self._received) < limits.PROXY_KEPT_BYTES:
            self._received += data
        return data

    def tell(self, data: bytes) -> None:
        log.debug("proxy: received %s", dump(self.mask(data)))

    def overhear(self, read: bytes, seconds: float = 0.2) -> bytes:
        """``read`` and what else is there at once, to tell who it is that answers so strangely."""
        data = b""
        limit = self.deadline.within(seconds)
        try:
            while len(data) < 256:
                self.sock.settimeout(max(limit.remaining(), 0.001))
                more = self.sock.recv(256)
                if not more:
                    break
                data += more
                self._received += more
        except OSError:
            pass
        if data:
            self.tell(data)
        return self.mask(read + data)

    def _arm(self) -> None:
        remaining = self.deadline.remaining()
        if not remaining:
            raise TimeoutError("the proxy took too long")
        self.sock.settimeout(remaining)


def dump(data: bytes) -> str:
    """Bytes as hex and text, in one line."""
    part = data[:256]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    more = f" and {len(data) - 256} bytes more" if len(data) > 256 else ""
    return f"{part.hex(' ')} |{text}|{more}"
