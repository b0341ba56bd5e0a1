"""One open WebSocket: messages in batches in, messages out.

The socket, and who may use it: one greenlet reads on the hub thread, the writer writes.
What arrives is taken apart by a Scanner.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.socket import socket
from websocket import ABNF

from .. import limits
from ..errors import ConnectionLost, GatewayError
from .framing import Scanner
from .writer import Parcel, Writer, broken_by


class Link:
    """Made by the dial, used on the hub thread, but for its writer; ended by :meth:`abort`."""

    def __init__(
        self,
        sock: Any,
        leftover: bytes = b"",
        max_message: int = limits.MAX_MESSAGE_BYTES,
        call_soon: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        sock.settimeout(None)
        self.frames_in = 0
        self.bytes_in = len(leftover)
        self.bytes_at = time.monotonic()  # when the last of them came
        self.ended = False
        self._sock = sock
        self._leftover = leftover
        self._scanner = Scanner(max_message)
        self._end: GatewayError | None = None
        self._next_yield = 0.0
        self._clock = gevent.get_hub().loop.now
        self._room = limits.RECV_MIN_BYTES
        self._plain = type(sock) is socket  # TLS may hold what the socket does not show
        self._emptied = False
        self.writer = Writer(sock, self._scanner.pings, call_soon)

    @property
    def max_message(self) -> int:
        """The largest message accepted, in bytes; what is over it is refused by its head."""
        return self._scanner.max_message

    @max_message.setter
    def max_message(self, size: int) -> None:
        self._scanner.max_message = size

    # -- reading: one greenlet ----------------------------------------------------
    def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one; text as bytes, checked UTF-8.

        Raises ConnectionLost when the link has ended, ProtocolError when the other
        side broke RFC 6455; in both cases once what came before has been handed out.
        """
        scanner = self._scanner
        while self._end is None:
            if scanner.error is not None:
                self.writer.post(scanner.answer, ABNF.OPCODE_CLOSE)
                self._end = scanner.error
                break
            data = self._leftover or self._recv()
            messages = scanner.feed(data)
            self._leftover = b""
            self._make_room(len(data), scanner.taken)
            if scanner.pings:
                self.writer.wake()
            if messages:
                self.frames_in += len(messages)
                return messages
        raise self._end

    def _recv(self) -> bytes:
        """What has arrived; nothing when the link has ended."""
        sock, turn = self._sock, self._clock()
        try:
            if self._emptied and sock._read_event is not None:
                # Not a recv in vain first. It costs a system call, and lets go of the GIL just
                # when a caller was woken: then the two threads would get in each other's way.
                sock._wait(sock._read_event)
            elif time.monotonic() >= self._next_yield:
                # A socket that is never empty never yields by itself.
                gevent.sleep(limits.YIELD_SLEEP_S)
                self._next_yield = time.monotonic() + limits.YIELD_EVERY_S
            data: bytes = sock.recv(self._room)
        except OSError as error:
            self._end = self._end or self.writer.broke or broken_by(error)
            return b""
        if not data:
            eof = ConnectionLost("the link ended without a close frame", reason="eof")
            self._end = self.writer.broke or eof
        self._emptied = self._plain and len(data) < limits.EMPTIED_BYTES
        self.bytes_in += len(data)
        self.bytes_at = now = time.monotonic()
        if self._clock() != turn:  # it had to wait, so others had their turn
            self._next_yield = now + limits.YIELD_EVERY_S
        return data

    def _make_room(self, got: int, frames: int) -> None:
        """Read more at once from now on, or less.

        A fresh buffer each time, of which only what was filled is kept: an idle link
        holds none, and messages are cut out of bytes at half the price of a bytearray.
        """
        room = self._room
        most = limits.RECV_BUFFER_BYTES if frames > limits.RECV_FEW else limits.RECV_MAX_BYTES
        if got < room // 4 or frames > limits.RECV_FRAMES:
            self._room = max(room // 2, limits.RECV_MIN_BYTES)
        elif got == room < most:
            self._room = room * 2

    # -- writing: the writer's -----------------------------------------------------
    def send(self, message: bytes, parcel: Parcel | None = None) -> None:
        """Queue a message, text unless it is Binary; never blocks.

        ``parcel`` is asked for the right to send it just before its last byte is
        written, and told when the kernel has that; no right, nothing is sent.
        """
        self.writer.send(message, parcel)

    def ping(self) -> None:
        """Ask the other side for a sign of life; the answer is bytes, no message."""
        self.writer.post(b"", ABNF.OPCODE_PING)

    def withdraw(self) -> None:
        """Take back every message that is not being written yet: it will not be sent here."""
        self.writer.withdraw()

    def give_up(self, parcel: Parcel) -> None:
        """Nobody wants it sent any more; if half of it is out, the link cannot go on."""
        self.writer.give_up(parcel)

    def stalled_s(self, now: float) -> float:
        """How long the other side has taken nothing of what is to be written."""
        return self.writer.stalled_s(now)

    def rest(self) -> None:
        """Asked now and then: hold no more than an idle link needs."""
        self.writer.rest()

    @property
    def takes_calls(self) -> bool:
        """Whether what is sent now may still be answered."""
        return not (self.ended or self._end or self.writer.took_leave)

    @property
    def frames_out(self) -> int:
        return self.writer.frames_out

    @property
    def bytes_out(self) -> int:
        return self.writer.bytes_out

    # -- ending --------------------------------------------------------------------------
    def close(self, code: int = 1000) -> None:
        """Queue a close frame; the other side answers by closing. Never blocks."""
        self.writer.post(struct.pack("!H", code), ABNF.OPCODE_CLOSE)

    def finish(self, timeout: float) -> None:
        """Give what is queued, and the answer to a close frame, up to ``timeout`` seconds, then
        abort. In the greenlet that reads."""
        end = time.monotonic() + timeout
        try:
            if not self.ended and self.writer.flushed.wait(timeout) and self.writer.took_leave:
                self._hear_out(end)
        finally:
            self.abort()

    def _hear_out(self, end: float) -> None:
        """Let the other side hang up first: closing a socket that has something unread, or yet
        to come, is a reset to it, and an error in the log of a proxy between."""
        with contextlib.suppress(OSError):
            while (left := end - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(limits.RECV_BUFFER_BYTES):
                    return
                gevent.sleep(limits.YIELD_SLEEP_S)

    def abort(self) -> None:
        """Let go of the socket at once; what was queued is lost. Idempotent."""
        if not self.ended:
            self.ended = True
            self.writer.end()

    def detach_after_fork(self) -> int:
        """In a forked child: the descriptor, to be closed raw; nothing else is touched."""
        self.ended = True
        return int(self._sock.fileno())
