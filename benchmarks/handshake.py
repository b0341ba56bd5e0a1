"""The server's half of a WebSocket's upgrade, for the servers here."""

from __future__ import annotations

import base64
import hashlib
import re

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"(?i)sec-websocket-key:\s*(\S+)")


def accept(head: bytes) -> bytes:
    """The 101 that answers ``head``."""
    found = _KEY.search(head)
    assert found is not None
    proof = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )
