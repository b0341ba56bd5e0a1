"""The two encodings of the wire: JSON and WebSocket frames, as a server writes them.

The WebSocket end is ``websockets``' sans-I/O core, on purpose not the library
that gwsync's own client uses: a mistake they shared would hide.
"""

from __future__ import annotations

import logging
from typing import Any

try:
    import msgspec
    from websockets.datastructures import Headers
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request, Response
    from websockets.protocol import OPEN
    from websockets.server import ServerProtocol
except ImportError as missing:  # pragma: no cover - depends on the installation
    raise ImportError(
        f"gwsync.testing needs {missing.name}: pip install 'gwsync[testing]'"
    ) from missing

__all__ = ["OPEN", "Frame", "Headers", "Opcode", "Request", "Response", "Wire"]

# Outside the tree of loggers, and never at DEBUG: websockets would write frames to it,
# and with them tokens.
_log = logging.Logger("gwsync.testing.wire", logging.WARNING)

dumps = msgspec.json.Encoder().encode
_loads = msgspec.json.Decoder().decode


def loads(text: bytes) -> Any:
    """Decode JSON; ValueError for whatever is not JSON."""
    try:
        return _loads(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ValueError(str(exc)) from None


class Wire(ServerProtocol):
    """The server end of one WebSocket, without I/O."""

    def __init__(self, max_size: int) -> None:
        super().__init__(max_size=max_size, logger=_log)

    def allow(self, max_size: int) -> None:
        """Change the largest message that is read, from here on."""
        # One attribute in websockets 16 and later, the other before.
        self.max_message_size = self.max_size = max_size

    def fail(self, code: int, reason: str = "") -> None:
        # The real gateway gives no reason with 1009.
        super().fail(code, "" if code == 1009 else reason)


def http_response(status: int, phrase: str, body: bytes, content_type: str) -> Response:
    """An answer for whoever did not come to speak WebSocket."""
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Cache-Control"] = "no-store"
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(status, phrase, headers, body)


def text_frame(data: bytes) -> bytes:
    """One unmasked, final text frame; only for floods, where building objects is the cost."""
    size = len(data)
    if size < 126:
        return bytes((0x81, size)) + data
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + data
    return b"\x81\x7f" + size.to_bytes(8, "big") + data


def event_head(event: str, payload: bytes) -> bytes:
    """An event frame up to its payload; ``event_tail`` completes it per connection."""
    return b'{"type":"event","event":' + dumps(event) + b',"payload":' + payload


def event_tail(seq: int | None, state_version: Any) -> bytes:
    tail = b"" if seq is None else b',"seq":%d' % seq
    if state_version is not None:
        tail += b',"stateVersion":' + dumps(state_version)
    return tail + b"}"
