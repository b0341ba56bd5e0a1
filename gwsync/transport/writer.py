"""The sending half of a link: what leaves, in order, in as few writes as possible.

One greenlet of the hub writes, and ends when there was nothing to for a while.
websocket-client formats the frames; who wants a message sent can take it back until
its last byte.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from socket import SHUT_RDWR
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.socket import socket
from websocket import ABNF

from .. import limits
from ..errors import ConnectionLost
from ..values import Binary


class Parcel(Protocol):
    """What is sent, to whoever wants it sent, or not any more."""

    def claim(self) -> bool: ...
    def hand_over(self) -> None: ...
    @property
    def settled(self) -> bool: ...


class Writer:
    """Writes to a link's socket; ``pings`` are those to be answered, put there by its reader."""

    def __init__(self, sock: Any, pings: deque[bytes]) -> None:
        self.frames_out = 0
        self.bytes_out = 0
        self.took_leave = False  # a close frame of ours is on its way
        self.broke: ConnectionLost | None = None  # what it met
        self.flushed = Event()
        self.flushed.set()
        self._sock = sock
        self._pings = pings
        self._outgoing: deque[tuple[bytes, Parcel | None]] = deque()
        self._blocked_at: float | None = None  # since when it makes no progress
        self._half_written: Parcel | None = None
        self._ended = False
        self._wake = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None  # while there is work

    def send(self, message: bytes, parcel: Parcel | None = None) -> None:
        """Queue a message, text unless it is Binary; never blocks.

        ``parcel`` is asked for the right to send it just before its last byte is
        written, and told when the kernel has that; no right, nothing is sent.
        """
        self.frames_out += 1
        opcode = ABNF.OPCODE_BINARY if type(message) is Binary else ABNF.OPCODE_TEXT
        self.post(message, opcode, parcel)

    def withdraw(self) -> None:
        """Take back every message that is not being written yet: it will not be sent here."""
        self._outgoing = deque((frame, None) for frame, parcel in self._outgoing if not parcel)

    def stalled_s(self, now: float) -> float:
        """How long the other side has taken nothing of what is to be written."""
        return now - self._blocked_at if self._blocked_at is not None else 0.0

    def post(self, payload: bytes, opcode: int, parcel: Parcel | None = None) -> None:
        """Queue one frame."""
        if not self._ended:
            self.took_leave = self.took_leave or opcode == ABNF.OPCODE_CLOSE
            self._outgoing.append((ABNF.create_frame(payload, opcode).format(), parcel))
            self.wake()

    def wake(self) -> None:
        """There is something to write."""
        if self.broke is not None:
            return  # nothing will leave any more
        self.flushed.clear()
        self._wake.set()
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._write)

    def rest(self) -> None:
        """Let go of a greenlet that has nothing to do: thousands of links may be idle."""
        if self._greenlet is not None and self.flushed.is_set() and self.broke is None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def _write(self) -> None:
        wake = self._wake
        try:
            while True:
                wake.wait()
                wake.clear()
                while self._outgoing or self._pings:
                    self._write_pongs()
                    self._write_some()
                self.flushed.set()
        except OSError as error:
            # What the other side said last may still be unread, a close frame above all:
            # so the reader goes on to the end of that, and reports.
            self.broke = self.broke or broken_by(error)
            self.flushed.set()  # nothing will leave any more
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would have the rest read undeciphered.
                socket.shutdown(self._sock, SHUT_RDWR)

    def _write_pongs(self) -> None:
        pings = self._pings
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
        self.broke = ConnectionLost(
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

    def end(self) -> None:
        """Nothing is written any more."""
        self._ended = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)


def broken_by(error: OSError) -> ConnectionLost:
    """What a socket's error means to the link."""
    why = (error.strerror or str(error)).lower()
    return ConnectionLost(f"the link broke: {why}", reason="reset")
