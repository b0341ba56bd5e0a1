"""WebSocket frames as they go by: where one ends, and with what code the last one closes.

The bytes are never changed. Knowing the boundaries lets the relay say 1001 when it stops,
and 1014 when the upstream is lost, in a place where a frame may stand.

Source: RFC 6455 sections 5.2 and 7.4.
"""

from __future__ import annotations

from ..transport.masking import mask_by_int

_CLOSE = 0x8


class FrameWalk:
    """Fed with one direction of a connection. ``code``: of the close frame, 1005 without."""

    __slots__ = ("_head", "_skip", "code", "reason")

    def __init__(self) -> None:
        self._head = b""  # of a frame that is not whole yet
        self._skip = 0  # bytes of payload still to come
        self.code: int | None = None
        self.reason = b""

    @property
    def between(self) -> bool:
        """Whether a frame of our own may follow: none is open, and none has closed."""
        return not self._head and not self._skip and self.code is None

    def feed(self, data: bytes) -> None:
        at = self._skip
        if at >= len(data):
            self._skip = at - len(data)
            return
        if self._head:  # never together with a payload to skip
            data = self._head + data
            self._head = b""
        end = len(data)
        while at < end and self.code is None:
            at = _past_small(data, at, end)
            if at >= end:
                break
            size = frame_size(data, at, end)
            if size is None:
                self._head = data[at:]
                self._skip = 0
                return
            if data[at] & 0x0F == _CLOSE:
                if at + size > end and size <= 131:  # wait for all of it
                    self._head = data[at:]
                    self._skip = 0
                    return
                self._closed(data[at : at + size])
            at += size
        self._skip = at - end if self.code is None else 0

    def _closed(self, frame: bytes) -> None:
        masked = bool(frame[1] & 0x80)
        start = 6 if masked else 2
        payload = frame[start : start + (frame[1] & 0x7F)]
        if masked:
            payload = mask_by_int(payload, frame[2:6])
        self.code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        self.reason = payload[2:]


def _past_small(data: bytes, at: int, end: int) -> int:
    """Where the first frame is that is not one of those of which a read has many."""
    last = end - 4  # a head of up to 64 KB, without a mask, is whole
    while at <= last and data[at] & 0x0F != _CLOSE:
        size = data[at + 1]
        if size < 126:
            at += 2 + size
        elif size == 126:
            at += 4 + (data[at + 2] << 8) + data[at + 3]
        else:
            break
    return at


def frame_size(data: bytes, at: int, end: int) -> int | None:
    """How many bytes the frame at ``at`` has; None if its head is not whole."""
    if end - at < 2:
        return None
    size = data[at + 1]
    head = 2
    if size & 0x80:
        head = 6
        size &= 0x7F
    if size < 126:
        return head + size
    wide = 2 if size == 126 else 8
    if end - at < 2 + wide:
        return None
    return head + wide + int.from_bytes(data[at + 2 : at + 2 + wide], "big")


def close_frame(code: int, reason: str) -> bytes:
    """An unmasked one, as servers send them."""
    payload = code.to_bytes(2, "big") + reason.encode()[:123]
    return bytes((0x80 | _CLOSE, len(payload))) + payload
