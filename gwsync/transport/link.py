"""One open WebSocket (RFC 6455): messages in batches in, messages out.

The only module that knows WebSocket frames. websocket-client formats outgoing
frames and validates control frames; reading bytes is ours, because its reader has
no size limit and takes several recv calls a frame. One greenlet reads, one writes,
both on the hub thread.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from typing import Any, Protocol

import gevent
from gevent.event import Event
from websocket import ABNF, WebSocketProtocolException

from .. import limits
from ..errors import ConnectionLost, GatewayError, ProtocolError
from ..values import Binary

_TEXT, _BINARY, _CONTINUATION = ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY, ABNF.OPCODE_CONT


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
        self.max_message = max_message
        self.frames_in = self.frames_out = 0
        self.bytes_in = len(leftover)
        self.bytes_out = 0
        self.ended = False
        self._sock = sock
        self._buffer = bytearray(leftover)
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._fragment_opcode = 0
        self._end: GatewayError | None = None  # met behind messages still to be handed out
        self._outgoing: deque[tuple[bytes, Parcel | None]] = deque()
        self._blocked_at: float | None = None  # since when the writer makes no progress
        self._wake = Event()
        self._flushed = Event()
        self._flushed.set()
        self._next_yield = 0.0
        self._writer = gevent.spawn(self._write)

    # -- reading: one greenlet ----------------------------------------------------
    def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one; text as bytes, checked UTF-8.

        Raises ConnectionLost when the link has ended, ProtocolError when the other
        side broke RFC 6455.
        """
        while True:
            if self._end is not None:
                raise self._end
            messages: list[bytes] = []
            try:
                self._scan(messages)
            except GatewayError as error:
                self._end = error
            if messages:
                self.frames_in += len(messages)
                return messages
            if self._end is None:
                self._fill()

    def _fill(self) -> None:
        now = time.monotonic()
        if now >= self._next_yield:  # a socket that is never empty never yields by itself
            gevent.sleep(limits.YIELD_SLEEP_S)
            self._next_yield = time.monotonic() + limits.YIELD_EVERY_S
        try:
            data = self._sock.recv(limits.RECV_BUFFER_BYTES)
        except OSError as error:
            self._end = ConnectionLost(
                f"the link broke: {(error.strerror or str(error)).lower()}", reason="reset"
            )
            return
        if not data:
            self._end = ConnectionLost("the link ended without a close frame", reason="eof")
            return
        self.bytes_in += len(data)
        self._buffer += data

    def _scan(self, messages: list[bytes]) -> None:
        buffer = self._buffer
        view = memoryview(buffer)
        position, end = 0, len(buffer)
        try:
            while end - position >= 2:
                start = position + 2
                size = buffer[position + 1]
                if size == 126:
                    if end - position < 4:
                        break
                    size = int.from_bytes(view[start : start + 2], "big")
                    start += 2
                elif size == 127:
                    if end - position < 10:
                        break
                    size = int.from_bytes(view[start : start + 8], "big")
                    start += 8
                elif size > 127:
                    raise self._broken("a masked frame", 1002)
                if size > self.max_message:
                    raise self._broken(f"a message of {size} bytes", 1009)
                stop = start + size
                if stop > end:
                    break
                head = buffer[position]
                payload = bytes(view[start:stop])
                position = stop
                if head == 0x81 and not self._fragments:
                    messages.append(self._checked(payload))
                else:
                    self._special(head, payload, messages)
        finally:
            view.release()
            del buffer[:position]

    def _special(self, head: int, payload: bytes, messages: list[bytes]) -> None:
        """Anything but a whole text message: control, binary and fragmented frames."""
        fin, opcode = head >> 7, head & 15
        frame = ABNF(fin, head >> 6 & 1, head >> 5 & 1, head >> 4 & 1, opcode, 0, payload)
        try:
            frame.validate(True)
        except WebSocketProtocolException as error:
            raise self._broken(str(error).lower().rstrip("."), 1002) from None
        if opcode >= 8:
            if not fin or len(payload) > limits.CONTROL_FRAME_BYTES:
                raise self._broken("a control frame of illegal form", 1002)
            self._control(opcode, payload)
            return
        if (opcode == _CONTINUATION) != bool(self._fragments):
            raise self._broken("a fragment out of place", 1002)
        if not self._fragments:
            self._fragment_opcode = opcode
        self._fragments.append(payload)
        self._fragment_bytes += len(payload)
        if self._fragment_bytes > self.max_message or len(self._fragments) > limits.MAX_FRAGMENTS:
            raise self._broken("a fragmented message over the limit", 1009)
        if fin:
            whole = b"".join(self._fragments)
            self._fragments, self._fragment_bytes = [], 0
            text = self._fragment_opcode == _TEXT
            messages.append(self._checked(whole) if text else Binary(whole))

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == ABNF.OPCODE_PING:
            self._post(payload, ABNF.OPCODE_PONG)
        elif opcode == ABNF.OPCODE_CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            reason = self._checked(payload[2:]).decode()
            self._post(payload[:2], ABNF.OPCODE_CLOSE)
            shown = f" ({reason})" if reason else ""
            raise ConnectionLost(
                f"the gateway closed the link with code {code}{shown}",
                close_code=code,
                reason=reason,
            )

    def _checked(self, text: bytes) -> bytes:
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                raise self._broken("text that is not UTF-8", 1007) from None
        return text

    def _broken(self, what: str, code: int) -> ProtocolError:
        self._post(struct.pack("!H", code), ABNF.OPCODE_CLOSE)
        return ProtocolError(f"the gateway sent {what} (closed with {code})")

    # -- writing: the writer greenlet ------------------------------------------------
    def send(self, message: bytes, parcel: Parcel | None = None) -> None:
        """Queue a text message; never blocks.

        ``parcel`` is asked for the right to send it just before its last byte is
        written, and told when the kernel has that; no right, nothing is sent.
        """
        self.frames_out += 1
        self._post(message, _TEXT, parcel)

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
            self._outgoing.append((ABNF.create_frame(payload, opcode).format(), parcel))
            self._flushed.clear()
            self._wake.set()

    def _write(self) -> None:
        wake = self._wake
        try:
            while True:
                wake.wait()
                wake.clear()
                while self._outgoing:
                    self._write_some()
                self._flushed.set()
        except OSError:
            self._sock.close()  # the reader sees it and reports; one voice is enough

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
        last = (len(frame) - 1) // limits.WRITE_CHUNK_BYTES * limits.WRITE_CHUNK_BYTES
        if parcel is not None and parcel.settled:
            return
        self._push(frame[:last])
        if parcel is not None and not parcel.claim():
            # Its caller was told "not sent", so its end must not follow, nor anything else.
            raise OSError("a request was given up in the middle of its frame")
        self._push(frame[last:])
        if parcel is not None:
            parcel.hand_over()

    def _push(self, data: bytes) -> None:
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
        """Give what is queued up to ``timeout`` seconds to leave, then abort. Greenlet."""
        try:
            if not self.ended:
                self._flushed.wait(timeout)
        finally:
            self.abort()

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
