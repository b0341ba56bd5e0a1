"""One open WebSocket: messages in batches in, messages out.

The socket, and who may use it: one greenlet reads, one writes, both on the hub
thread. What arrives is taken apart by a Scanner; websocket-client formats what leaves.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections import deque
from socket import SHUT_RDWR
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.socket import socket
from websocket import ABNF

from .. import limits
from ..errors import ConnectionLost, GatewayError
from ..values import Binary
from .framing import Scanner


class Parcel(Protocol):
    """What is sent, to whoever wants it sent, or not any more."""

    def claim(self) -> bool: ...
    def hand_over(self) -> None: ...
    @property
    def settled(self) -> bool: ...


class Link:
    """Made by the dial, used on the hub thread only, ended by :meth:`abort`."""

    def __init__(
        self, sock: Any, leftover: bytes = b"", max_message: int = limits.MAX_MESSAGE_BYTES
    ) -> None:
        sock.settimeout(None)
        self.frames_in = self.frames_out = 0
        self.bytes_in = len(leftover)
        self.bytes_at = time.monotonic()  # when the last of them came
        self.bytes_out = 0
        self.ended = False
        self._took_leave = False  # a close frame of ours is on its way
        self._sock = sock
        self._leftover = leftover
        self._scanner = Scanner(max_message)
        self._end: GatewayError | None = None
        self._broke: ConnectionLost | None = None  # what the writer met
        self._outgoing: deque[tuple[bytes, Parcel | None]] = deque()
        self._blocked_at: float | None = None  # since when the writer makes no progress
        self._half_written: Parcel | None = None
        self._wake = Event()
        self._flushed = Event()
        self._flushed.set()
        self._next_yield = 0.0
        self._writer = gevent.spawn(self._write)

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
                self._post(scanner.answer, ABNF.OPCODE_CLOSE)
                self._end = scanner.error
                break
            messages = scanner.feed(self._leftover or self._recv())
            self._leftover = b""
            if scanner.pings:
                self._wake_writer()
            if messages:
                self.frames_in += len(messages)
                return messages
        raise self._end

    def _recv(self) -> bytes:
        """What has arrived; nothing when the link has ended."""
        now = time.monotonic()
        if now >= self._next_yield:  # a socket that is never empty never yields by itself
            gevent.sleep(limits.YIELD_SLEEP_S)
            self._next_yield = time.monotonic() + limits.YIELD_EVERY_S
        try:
            data: bytes = self._sock.recv(limits.RECV_BUFFER_BYTES)
        except OSError as error:
            self._end = self._end or self._broke or _broken_by(error)
            return b""
        if not data:
            eof = ConnectionLost("the link ended without a close frame", reason="eof")
            self._end = self._broke or eof
        self.bytes_in += len(data)
        self.bytes_at = time.monotonic()
        return data

    # -- writing: the writer greenlet ------------------------------------------------
    def send(self, message: bytes, parcel: Parcel | None = None) -> None:
        """Queue a message, text unless it is Binary; never blocks.

        ``parcel`` is asked for the right to send it just before its last byte is
        written, and told when the kernel has that; no right, nothing is sent.
        """
        self.frames_out += 1
        opcode = ABNF.OPCODE_BINARY if type(message) is Binary else ABNF.OPCODE_TEXT
        self._post(message, opcode, parcel)

    def withdraw(self) -> None:
        """Take back every message that is not being written yet: it will not be sent here."""
        self._outgoing = deque((frame, None) for frame, parcel in self._outgoing if not parcel)

    def ping(self) -> None:
        """Ask the other side for a sign of life; the answer is bytes, no message."""
        self._post(b"", ABNF.OPCODE_PING)

    def stalled_s(self, now: float) -> float:
        """How long the other side has taken nothing of what is to be written."""
        return now - self._blocked_at if self._blocked_at is not None else 0.0

    def _post(self, payload: bytes, opcode: int, parcel: Parcel | None = None) -> None:
        if not self.ended:
            self._took_leave = self._took_leave or opcode == ABNF.OPCODE_CLOSE
            self._outgoing.append((ABNF.create_frame(payload, opcode).format(), parcel))
            self._wake_writer()

    def _wake_writer(self) -> None:
        self._flushed.clear()
        self._wake.set()

    def _write(self) -> None:
        wake = self._wake
        try:
            while True:
                wake.wait()
                wake.clear()
                while self._outgoing or self._scanner.pings:
                    self._write_pongs()
                    self._write_some()
                self._flushed.set()
        except OSError as error:
            # What the other side said last may still be unread, a close frame above all:
            # so the reader goes on to the end of that, and reports.
            self._broke = _broken_by(error)
            self._flushed.set()  # nothing will leave any more
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would have the rest read undeciphered.
                socket.shutdown(self._sock, SHUT_RDWR)

    def _write_pongs(self) -> None:
        pings = self._scanner.pings
        if pings:
            frames = [ABNF.create_frame(ping, ABNF.OPCODE_PONG).format() for ping in pings]
            pings.clear()
            self._push(b"".join(frames))

    def _write_some(self) -> None:
        """The next frames, as many as fit into one chunk, or one that is longer."""
        frames: list[bytes] = []
        ends: list[tuple[int, Parcel]] = []  # where each parcel ends in the stream of bytes
        size = 0
        while self._outgoing and size < limits.WRITE_CHUNK_BYTES:
            frame, parcel = self._outgoing[0]
            if len(frame) > limits.WRITE_CHUNK_BYTES:
                if not frames:
                    self._outgoing.popleft()
                    self._write_long(frame, parcel)
                break
            self._outgoing.popleft()
            if parcel is not None:
                if not parcel.claim():
                    continue
                ends.append((self.bytes_out + size + len(frame), parcel))
            frames.append(frame)
            size += len(frame)
        try:
            if frames:
                self._push(b"".join(frames) if len(frames) > 1 else frames[0])
        finally:
            for end, parcel in ends:
                if end <= self.bytes_out:
                    parcel.hand_over()

    def _write_long(self, frame: bytes, parcel: Parcel | None) -> None:
        view = memoryview(frame)
        last = (len(frame) - 1) // limits.WRITE_CHUNK_BYTES * limits.WRITE_CHUNK_BYTES
        if parcel is not None and parcel.settled:
            return
        self._half_written = parcel
        self._push(view[:last])
        self._half_written = None
        if parcel is not None and not parcel.claim():
            self._break_off()
            return
        self._push(view[last:])
        if parcel is not None:
            parcel.hand_over()

    def give_up(self, parcel: Parcel) -> None:
        """Nobody wants it sent any more; if half of it is out, the link cannot go on."""
        if parcel is self._half_written:
            self._break_off()

    def _break_off(self) -> None:
        # Its caller was told "not sent", so its end must not follow, nor anything else.
        self._end = ConnectionLost(
            "the link was ended here: a request was given up in the middle of its frame",
            reason="half a frame",
        )
        self._sock.close()

    def _push(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                self._blocked_at = time.monotonic()
                sent = self._sock.send(view)
                self.bytes_out += sent
                view = view[sent:]
        finally:
            self._blocked_at = None

    # -- ending --------------------------------------------------------------------------
    def close(self, code: int = 1000) -> None:
        """Queue a close frame; the other side answers by closing. Never blocks."""
        self._post(struct.pack("!H", code), ABNF.OPCODE_CLOSE)

    def finish(self, timeout: float) -> None:
        """Give what is queued, and the answer to a close frame, up to ``timeout`` seconds, then
        abort. In the greenlet that reads."""
        end = time.monotonic() + timeout
        try:
            if not self.ended and self._flushed.wait(timeout) and self._took_leave:
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
            self._writer.kill(block=False)
            self._sock.close()

    def detach_after_fork(self) -> int:
        """In a forked child: the descriptor, to be closed raw; nothing else is touched."""
        self.ended = True
        return int(self._sock.fileno())


def _broken_by(error: OSError) -> ConnectionLost:
    why = (error.strerror or str(error)).lower()
    return ConnectionLost(f"the link broke: {why}", reason="reset")
