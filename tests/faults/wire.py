"""What a gateway says, as bytes: RFC 6455 frames and the gateway's own, right and wrong ones."""

from __future__ import annotations

import json
import struct
from typing import Any

from unit.protocol.scene import challenge, event, hello, ok, refused

__all__ = ["challenge", "close", "event", "frame", "hello", "ok", "refused", "text"]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, fin: int = 1, rsv: int = 0, size: int | None = None
) -> bytes:
    """One unmasked frame; ``size``: what its header says, if not the truth."""
    size = len(payload) if size is None else size
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65536:
        return head + b"\x7e" + struct.pack("!H", size) + payload
    return head + b"\x7f" + struct.pack("!Q", size) + payload


def masked(payload: bytes) -> bytes:
    """A frame as only a client may send it; the key is zero."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload


def text(value: Any) -> bytes:
    """A text message; what is neither str nor bytes is sent as JSON."""
    if isinstance(value, bytes):
        return frame(value)
    return frame((value if isinstance(value, str) else json.dumps(value)).encode())


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)
